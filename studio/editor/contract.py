"""Contracts and ports as lists of fields: what a boundary takes or gives, the ports of a step one writes oneself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.domain.canonical import Json
from engine.domain.edits import Change, Configure, Connect, Disconnect, Edit
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, Boundary, Node
from engine.domain.schemas import short_name
from engine.domain.values import Port, Schema
from engine.errors import EditRefused

Side = Literal["inputs", "outputs"]
_NOTHING: Any = object()
SCHEMAS: dict[str, Schema] = {
    "any": {},
    "text": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "table": {"type": "array", "items": {"type": "object"}, "format": "table"},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "chart": {"type": "object", "format": "chart"},
}
_NOTES = ("title", "description", "default")
_TYPE_WORDS = ("type", "items", "format")


@dataclass(frozen=True)
class PortField:
    """One field of a contract, or one port: its name, its type in a word, and the schema behind it."""

    name: str
    type: str
    required: bool = True
    default: Json = _NOTHING
    description: str = ""
    schema: Any = None

    @property
    def has_default(self) -> bool:
        """Whether it has a value when none is given."""
        return self.default is not _NOTHING

    def with_type(self, word: str) -> PortField:
        """Return it with another type; bounds and choices of the old type go."""
        kept = {name: self.schema[name] for name in _NOTES if isinstance(self.schema, dict) and name in self.schema}
        return replace(self, type=word, schema={**SCHEMAS.get(word, {}), **kept})

    def with_default(self, value: Json) -> PortField:
        """Return it with a default."""
        return replace(self, default=value)

    def without_default(self) -> PortField:
        """Return it without a default."""
        return replace(self, default=_NOTHING)

    def to_schema(self) -> Schema:
        """Return its schema, description and default included."""
        plain = {name: value for name, value in (self.schema or {}).items() if name not in ("description", "default")}
        if self.description:
            plain["description"] = self.description
        return {**plain, "default": self.default} if self.has_default else plain


def fields_of(node: Node, side: Side) -> tuple[PortField, ...]:
    """Return the ports of a node on one side as fields."""
    ports: Sequence[Port] = node.inputs if side == "inputs" else node.outputs
    return tuple(
        PortField(
            name=port.name,
            type=short_name(port.port_schema),
            required=port.required,
            default=port.port_schema.get("default", _NOTHING),
            description=str(port.port_schema.get("description") or port.description),
            schema=port.port_schema,
        )
        for port in ports
    )


def contract_of(node: Boundary, side: Side) -> Schema:
    """Return the contract behind a boundary's ports: `inputs` of a boundary are what leaves the model through it."""
    return (node.output_contract if side == "inputs" else node.input_contract) or {"type": "object"}


def replaced(
    model: FunctionModel, node: Node, side: Side, fields: Sequence[PortField], *, renamed: tuple[str, str] | None = None
) -> list[Edit]:
    """Return the edits that give a node these ports; wires of a renamed port follow it, wires of a lost one go.

    Raises:
        EditRefused: two fields have one name, or a name is empty.
    """
    names = [field.name for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not all(names):
        reason = f"there is a field {twice!r} already" if twice else "a field needs a name"
        raise EditRefused(edit="Configure", reason=reason)
    old = {field.name for field in fields_of(node, side)}
    wires = model.wires_into(node.id) if side == "inputs" else model.wires_out_of(node.id)
    place = "target_port" if side == "inputs" else "source_port"
    cut: list[Edit] = []
    again: list[Edit] = []
    for wire in wires:
        port = getattr(wire, place)
        follows = renamed is not None and port == renamed[0]
        if follows or (port in old and port not in names):
            cut.append(Disconnect(id=wire.id))
        if follows and renamed is not None:
            again.append(Connect(wire=wire.model_copy(update={place: renamed[1]})))
    return [*cut, Configure(id=node.id, changes=(_change(node, side, fields),)), *again]


def fresh_field(fields: Sequence[PortField]) -> PortField:
    """Return a new field with a name of its own."""
    taken = {field.name for field in fields}
    number = 1
    while (name := "value" if number == 1 else f"value_{number}") in taken:
        number += 1
    return PortField(name=name, type="any", schema={})


def _change(node: Node, side: Side, fields: Sequence[PortField]) -> Change:
    if isinstance(node, Boundary):
        name = "output_contract" if side == "inputs" else "input_contract"
        rest = {key: value for key, value in contract_of(node, side).items() if key not in ("properties", "required")}
        properties: dict[str, Json] = {field.name: field.to_schema() for field in fields}
        required: list[Json] = [field.name for field in fields if field.required]
        return Change(path=(name,), value={"type": "object", **rest, "properties": properties, "required": required})
    assert isinstance(node, ActionFields)
    known = {port.name: port for port in (node.inputs if side == "inputs" else node.outputs)}
    ports: list[Json] = []
    for field in fields:
        plain: dict[str, Json] = {"name": field.name, "schema": field.to_schema()}
        if not field.required:
            plain["required"] = False
        if field.name in known and known[field.name].many:
            plain["many"] = True
        ports.append(plain)
    return Change(path=(side,), value=ports)
