"""The function model: the aggregate that edits make, versions keep and runs execute."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.domain.canonical import Json, as_list, as_object, canonical_bytes, content_hash, loads
from engine.domain.nodes import Action, ActionFields, Boundary, Container, Node, NodeFields
from engine.domain.values import (
    Expression,
    Frozen,
    FrozenMap,
    Identifier,
    Keyword,
    ModelName,
    Permission,
    Port,
    PortName,
    Semver,
    Text,
    Timestamp,
)
from engine.errors import FileMissing, NotAModel, UnknownFormat

FORMAT = "treadle/1"
_FILE_FIELDS = {"id", "name", "description", "tags", "version", "nodes", "wires", "dependencies"}
_CACHED = ("content_hash", "_children", "_wires_by_end")


class Wire(Frozen):
    """Data from an output port to an input port."""

    id: Identifier
    source: Identifier
    source_port: PortName
    target: Identifier
    target_port: PortName


class Dependency(Frozen):
    """Order between two containers: all of `source` ends before `target` starts."""

    id: Identifier
    source: Identifier
    target: Identifier
    necessity: Literal["required", "optional", "conditional"] = "required"
    """required: the source must succeed; optional: it must have ended; conditional: `condition` must hold."""
    condition: Expression | None = None


class FunctionModel(Frozen):
    """A workflow graph. Equal content has an equal `content_hash`, whoever made it and in whatever order."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    id: Identifier
    name: ModelName
    description: Text = ""
    tags: Annotated[tuple[Keyword, ...], Field(max_length=100)] = ()
    status: Literal["draft", "published", "archived"] = "draft"
    revision: Annotated[int, Field(ge=0)] = 0
    version: Semver | None = None
    owner: Keyword = "you"
    organization: Keyword = "local"
    permissions: tuple[Permission, ...] = ()
    deleted_at: Timestamp | None = None
    deleted_by: str | None = None
    nodes: FrozenMap[str, Node] = Field(default_factory=dict, validate_default=True)
    wires: FrozenMap[str, Wire] = Field(default_factory=dict, validate_default=True)
    dependencies: FrozenMap[str, Dependency] = Field(default_factory=dict, validate_default=True)

    @model_validator(mode="after")
    def _keys_are_ids(self) -> FunctionModel:
        for elements in (self.nodes, self.wires, self.dependencies):
            for key, element in elements.items():
                if key != element.id:
                    message = f"{element.id!r} is kept under another id, {key[:200]!r}"
                    raise ValueError(message)
        return self

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical content: name, description, tags, nodes, wires, dependencies."""
        return content_hash(self.content())

    def content(self) -> dict[str, Json]:
        """Return the JSON form of what the content hash covers; nodes, wires and dependencies sorted by id."""
        plain: dict[str, Json] = {"name": self.name, "description": self.description, "tags": list(self.tags)}
        for field in ("nodes", "wires", "dependencies"):
            elements = getattr(self, field)
            plain[field] = [element_json(elements[key]) for key in sorted(elements)]
        return plain

    def changed(self, **fields: Any) -> FunctionModel:
        """Return a copy with these fields; they must be valid already."""
        copy = self.model_copy(update=fields)
        for cached in _CACHED:
            vars(copy).pop(cached, None)
        return copy

    def actions(self) -> Iterator[Action]:
        """Yield every action."""
        return (node for node in self.nodes.values() if isinstance(node, ActionFields))

    def containers(self) -> Iterator[Container]:
        """Yield every boundary and stage."""
        return (node for node in self.nodes.values() if not isinstance(node, ActionFields))

    def children(self, container: str) -> list[Action]:
        """Return the actions of a container, by order and id."""
        return sorted(self._children.get(container, ()), key=lambda node: (node.order, node.id))

    def input_boundaries(self) -> list[Boundary]:
        """Return the boundaries where data enters, by id."""
        return self._boundaries("input")

    def output_boundaries(self) -> list[Boundary]:
        """Return the boundaries where data leaves, by id."""
        return self._boundaries("output")

    def port(self, node: str, name: str, side: Literal["input", "output"]) -> Port | None:
        """Return a port of a node, or None."""
        found = self.nodes.get(node)
        ports = () if found is None else found.inputs if side == "input" else found.outputs
        return next((port for port in ports if port.name == name), None)

    def wires_into(self, node: str) -> tuple[Wire, ...]:
        """Return the wires that end at a node, by id."""
        return self._wires_by_end["target"].get(node, ())

    def wires_out_of(self, node: str) -> tuple[Wire, ...]:
        """Return the wires that start at a node, by id."""
        return self._wires_by_end["source"].get(node, ())

    def to_file(self) -> bytes:
        """Return the canonical bytes of the model file: whatever is needed to have the same model elsewhere."""
        return canonical_bytes(self.to_json()) + b"\n"

    def to_json(self) -> dict[str, Json]:
        """Return the model file as JSON; see `from_json`."""
        plain: dict[str, Json] = {"format": FORMAT, "id": self.id, **self.content()}
        if self.version is not None:
            plain["version"] = str(self.version)
        return plain

    @classmethod
    def from_json(cls, value: Json, *, source: str = "The file") -> FunctionModel:
        """Return the draft in a model file's JSON, or raise `UnknownFormat` or `NotAModel` naming `source`."""
        if not isinstance(value, dict):
            raise NotAModel(source=source, where="top level", reason="it is not an object")
        fields = dict(as_object(value))
        found = fields.pop("format", None)
        if found != FORMAT:
            raise UnknownFormat(source=source, format=repr(found) if found is not None else "no format field")
        unknown = min(fields.keys() - _FILE_FIELDS, default=None)
        if unknown is not None:
            raise NotAModel(source=source, where=unknown, reason="there is no such field")
        for name in ("nodes", "wires", "dependencies"):
            fields[name] = _by_id(fields.get(name, []), name, source)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise _not_a_model(error, source) from None

    @classmethod
    def loads(cls, text: str | bytes, *, source: str = "The file") -> FunctionModel:
        """Read a model from the text of a model file."""
        return cls.from_json(loads(text, source=source), source=source)

    @classmethod
    def load(cls, path: str | Path) -> FunctionModel:
        """Read a model file; raise `FileMissing`, or what `loads` raises."""
        place = Path(path)
        try:
            text = place.read_bytes()
        except OSError:
            raise FileMissing(path=place) from None
        return cls.loads(text, source=place.name)

    def save(self, path: str | Path) -> None:
        """Write the model file, readable: canonical values with an indent of two."""
        import json

        text = json.dumps(loads(self.to_file()), indent=2, ensure_ascii=False, sort_keys=True)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @cached_property
    def _children(self) -> dict[str, list[Action]]:
        found: dict[str, list[Action]] = {}
        for node in self.actions():
            found.setdefault(node.parent, []).append(node)
        return found

    @cached_property
    def _wires_by_end(self) -> dict[str, dict[str, tuple[Wire, ...]]]:
        ends: dict[str, dict[str, list[Wire]]] = {"source": {}, "target": {}}
        for key in sorted(self.wires):
            wire = self.wires[key]
            ends["source"].setdefault(wire.source, []).append(wire)
            ends["target"].setdefault(wire.target, []).append(wire)
        return {end: {node: tuple(wires) for node, wires in found.items()} for end, found in ends.items()}

    def _boundaries(self, side: str) -> list[Boundary]:
        found = (node for node in self.nodes.values() if isinstance(node, Boundary) and side in node.boundary)
        return sorted(found, key=lambda node: node.id)


def element_json(element: NodeFields | Wire | Dependency) -> dict[str, Json]:
    """Return the JSON form of a node, wire or dependency: only what differs from the defaults, and its kind.

    Leaving defaults out keeps the hash of old content when a later release adds a field.
    """
    plain: dict[str, Json] = element.model_dump(mode="json", exclude_defaults=True)
    kind = getattr(element, "kind", None)
    return plain if kind is None else {"kind": kind, **plain}


def json_schema() -> dict[str, Json]:
    """Return the JSON Schema of a model file."""

    class _File(BaseModel):
        model_config = ConfigDict(extra="forbid", title="Treadle model file")

        format: Literal["treadle/1"]
        id: Identifier
        name: ModelName
        description: Text = ""
        tags: tuple[Keyword, ...] = ()
        version: str | None = None
        nodes: list[Node] = []
        wires: list[Wire] = []
        dependencies: list[Dependency] = []

    schema: dict[str, Any] = _File.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:treadle:model:1", **schema}


def _by_id(items: Json, field: str, source: str) -> dict[str, Json]:
    if not isinstance(items, list):
        raise NotAModel(source=source, where=field, reason="it is not a list")
    found: dict[str, Json] = {}
    for position, item in enumerate(as_list(items)):
        key = as_object(item).get("id")
        if not isinstance(key, str):
            raise NotAModel(source=source, where=f"{field}[{position}]", reason="it has no id")
        if key in found:
            raise NotAModel(source=source, where=f"{field}[{position}]", reason=f"the id {key!r} stands twice")
        found[key] = item
    return found


def _not_a_model(error: ValidationError, source: str) -> NotAModel:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "top level"
    return NotAModel(source=source, where=where, reason=first["msg"])
