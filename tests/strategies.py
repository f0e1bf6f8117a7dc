"""Hypothesis strategies: JSON, schemas, models that edits can make, models that make no sense, and edits.

JSON and schemas are drawn piece by piece. Models and edits are drawn as a size and a seed: a hundred times quicker,
so that the models are rich, and still smaller sizes are tried first when a law fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from engine.domain.edits import (
    AddNode,
    Change,
    Configure,
    Connect,
    Depend,
    Describe,
    Disconnect,
    Edit,
    Move,
    RemoveNode,
    Reparent,
    Undepend,
    apply,
    blank,
)
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import NODE, ActionFields, Node
from engine.domain.values import Position
from engine.errors import EditRefused

TABLE = {"type": "array", "items": {"type": "object"}, "format": "table"}
PORTS = ("a", "b", "rows")
IDS = tuple("nopqrstuv")
ACTIONS = ("tetherNode", "tetherNode", "tetherNode", "kbNode", "functionModelContainer", "agentNode")

texts: SearchStrategy[str] = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
numbers: SearchStrategy[float] = st.floats(allow_nan=False, allow_infinity=False)
scalars = (
    st.none() | st.booleans() | st.integers() | numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
json_values: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)


def schemas(*, wild: bool = False) -> SearchStrategy[dict[str, Any]]:
    """Schemas of everyday keywords; with `wild` also some whose keywords have senseless values."""
    plain = st.sampled_from(
        [
            {},
            {"type": "string"},
            {"type": "string", "minLength": 2},
            {"type": "integer", "minimum": 0},
            {"type": "number", "maximum": 10},
            {"type": "boolean"},
            {"type": ["string", "null"]},
            {"enum": ["x", "y"]},
            {"const": 3},
            TABLE,
        ]
    )
    if wild:
        plain |= st.dictionaries(
            st.sampled_from(["type", "items", "properties", "required", "enum", "anyOf", "minimum", "$ref", "pattern"]),
            json_values,
            max_size=3,
        )
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.builds(lambda item: {"type": "array", "items": item}, inner),
            st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=2)),
            st.builds(_object_schema, st.dictionaries(st.sampled_from(PORTS), inner, max_size=3), st.booleans()),
        ),
        max_leaves=4,
    )


def _object_schema(properties: dict[str, Any], closed: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
    return {**schema, "additionalProperties": False} if closed else schema


_seeds = st.integers(0, 2**64)


def models(*, steps: int = 24) -> SearchStrategy[FunctionModel]:
    """Models that edits can make: every parent and end exists; they may be wrong in other ways."""
    return st.builds(lambda size, seed: _Maker(seed).model(size), st.integers(0, steps), _seeds)


def batches(model: FunctionModel, *, steps: int = 4) -> SearchStrategy[tuple[Edit, ...]]:
    """Batches of edits that apply to `model`."""
    return st.builds(lambda size, seed: _Maker(seed).batch(model, size)[0], st.integers(1, steps), _seeds)


def edits(model: FunctionModel) -> SearchStrategy[Edit]:
    """Edits that could apply to `model`; some are refused because of their values."""
    return st.builds(lambda seed: _Maker(seed).edit(model), _seeds)


def wild_models() -> SearchStrategy[FunctionModel]:
    """Models of which nothing need make sense: everything may dangle or contradict."""
    return st.builds(lambda size, seed: _Maker(seed, wild=True).wild_model(size), st.integers(0, 9), _seeds)


class _Maker:
    """Makes models and edits from a seed."""

    def __init__(self, seed: int, *, wild: bool = False) -> None:
        self.random = random.Random(seed)
        self.wild = wild

    def model(self, size: int) -> FunctionModel:
        return self.batch(blank("m", self.name() + "abc"), size)[1]

    def batch(self, model: FunctionModel, size: int) -> tuple[tuple[Edit, ...], FunctionModel]:
        made: list[Edit] = []
        for _ in range(size * 3):
            edit = self.edit(model)
            try:
                model = apply(model, (edit,))
            except EditRefused:
                continue
            made.append(edit)
            if len(made) >= size:
                break
        return tuple(made), model

    def edit(self, model: FunctionModel) -> Edit:
        makers: list[Callable[[FunctionModel], Edit]] = [self.addition, self.description]
        if len(model.nodes) < len(IDS) - 2:
            makers += [self.addition] * 4
        if model.nodes:
            makers += [self.configuration, self.configuration, self.movement, self.removal]
        if any(model.containers()):
            makers.append(self.dependency)
        if any(model.actions()):
            makers += [self.connection] * 4
            makers.append(self.reparenting)
        if model.wires:
            makers.append(lambda model: Disconnect(id=self.one(sorted(model.wires))))
        if model.dependencies:
            makers.append(lambda model: Undepend(id=self.one(sorted(model.dependencies))))
        return self.one(makers)(model)

    def addition(self, model: FunctionModel) -> Edit:
        free = [key for key in IDS if key not in model.nodes] or ["z"]
        containers = sorted(node.id for node in model.containers())
        parent = self.one(containers) if containers and self.chance(0.75) else None
        return AddNode(node=NODE.validate_python(self.node(self.one(free), parent)))

    def description(self, model: FunctionModel) -> Edit:
        del model
        values = {"name": self.name() + "abc", "description": self.text(), "tags": [self.name()]}
        return Describe(changes=tuple(Change(path=(key,), value=values[key]) for key in self.some(sorted(values))))

    def configuration(self, model: FunctionModel) -> Edit:
        key = self.one(sorted(model.nodes))
        values = self.values_to_set(model.nodes[key])
        changes = [
            Change(path=path, remove=True) if self.chance(0.2) and path != ("name",) else Change(path=path, value=value)
            for path, value in self.some(list(values.items()))
        ]
        return Configure(id=key, changes=tuple(changes))

    def values_to_set(self, node: Node) -> dict[tuple[str, ...], Any]:
        values: dict[tuple[str, ...], Any] = {
            ("name",): self.name(),
            ("description",): self.text(),
            ("metadata", "k"): self.json(),
            ("metadata", "k", "deep"): self.json(),
            ("metadata",): {"l": self.json()},
            ("visual", "frame"): self.chance(0.5),
        }
        if isinstance(node, ActionFields):
            values |= {
                ("order",): self.random.randint(0, 3),
                ("inputs",): self.ports(),
                ("parameters", "a"): self.json(),
                ("parameters",): {"b": self.json()},
                ("retry", "max_attempts"): self.random.randint(0, 11),
                ("priority",): self.random.randint(1, 10),
            }
        return values

    def movement(self, model: FunctionModel) -> Edit:
        return Move(id=self.one(sorted(model.nodes)), to=self.place())

    def removal(self, model: FunctionModel) -> Edit:
        return RemoveNode(id=self.one(sorted(model.nodes)))

    def reparenting(self, model: FunctionModel) -> Edit:
        containers = sorted(node.id for node in model.containers())
        actions = sorted(node.id for node in model.actions())
        return Reparent(id=self.one(actions), parent=self.one(containers), to=self.place())

    def dependency(self, model: FunctionModel) -> Edit:
        containers = sorted(node.id for node in model.containers())
        return Depend(dependency=self.order(self.one(["d", "e", "f"]), containers))

    def order(self, key: str, ends: Sequence[str]) -> Dependency:
        necessity = self.one(["required", "optional", "conditional"])
        return Dependency(id=key, source=self.one(ends), target=self.one(ends), necessity=necessity)

    def connection(self, model: FunctionModel) -> Edit:
        return Connect(wire=self.wire(self.one(["w", "x", "y", "z"]), sorted(model.nodes)))

    def wire(self, key: str, ends: Sequence[str]) -> Wire:
        return Wire(
            id=key,
            source=self.one(ends),
            source_port=self.one(PORTS),
            target=self.one(ends),
            target_port=self.one(PORTS),
        )

    def wild_model(self, size: int) -> FunctionModel:
        keys = [*IDS[:size], "gone"]
        nodes = {key: self.node(key, self.one([*keys, *keys, None])) for key in IDS[:size]}
        wires = [self.wire(f"w{place}", keys) for place in range(self.random.randint(0, 2 * size))]
        edges = [self.order(f"d{place}", keys) for place in range(self.random.randint(0, size // 2))]
        return FunctionModel.model_validate(
            {
                "id": "m",
                "name": "wild",
                "nodes": nodes,
                "wires": {wire.id: wire for wire in wires},
                "dependencies": {edge.id: edge for edge in edges},
            }
        )

    def node(self, key: str, parent: str | None) -> dict[str, Any]:
        """Make the JSON form of a node: a container without `parent`, else an action in it."""
        common = {
            "description": self.text(),
            "metadata": {self.text(): self.json()},
            "visual": {"frame": self.chance(0.5)},
            "tags": [self.name()],
            "status": self.one(["draft", "configured", "inactive"]),
        }
        fields: dict[str, Any] = {"id": key, "name": self.name(), "position": {"x": self.random.randint(-9, 9)}}
        if parent is not None:
            return {**fields, "parent": parent, **self.action(common)}
        if self.chance(0.5):
            contracts = {"input_contract": self.contract(), "output_contract": self.contract()}
            rules = {"rules": [{"expression": self.cel(), "message": "no"}]}
            side = self.one(["input", "output", "input-output"])
            return {**fields, "kind": "ioNode", "boundary": side, **self.part({**common, **contracts, **rules})}
        optional = {
            **common,
            "mode": self.one(["sequential", "parallel", "conditional"]),
            "stage": self.one(["process", "gateway"]),
            "on_failure": self.one(["fail", "compensate"]),
            "completion": self.cel(),
        }
        return {**fields, "kind": "stageNode", **self.part(optional)}

    def action(self, common: dict[str, Any]) -> dict[str, Any]:
        kind = self.one(ACTIONS)
        fields: dict[str, Any] = {"kind": kind, "inputs": self.ports(), "outputs": self.ports()}
        optional: dict[str, Any] = {
            **common,
            "order": self.random.randint(0, 4),
            "parameters": {self.one(PORTS): self.one([self.json(), self.cel()])},
            "condition": self.cel(),
            "retry": {"max_attempts": self.random.randint(1, 10)},
            "timeout_s": self.random.random() + 0.1,
            "for_each": self.one(PORTS),
            "mode": self.one(["sequential", "conditional"]),
        }
        if self.wild or self.chance(0.2):
            optional["compensation"] = self.one(IDS)
            optional["fallback"] = self.one([{"use": "cached"}, {"use": "action", "action": self.one(IDS)}])
        mapping = {self.one(PORTS): self.cel()}
        if kind == "tetherNode":
            fields["reference"] = self.one(["files.read", "files.reed", "x"])
            optional |= {"headers": {self.name(): self.text()}, "output_mapping": mapping}
        elif kind == "functionModelContainer":
            fields["reference"] = self.one(["m", "child", "nowhere"])
            optional |= {"version": self.one(["1.0.0", "2.1.0"]), "context_mapping": mapping}
        else:
            fields |= {"reference": "k"} if kind == "kbNode" else {"agent": "helper"}
        return {**fields, **self.part(optional)}

    def ports(self) -> list[dict[str, Any]]:
        found = [self.one(PORTS) for _ in range(self.random.randint(0, 3))]
        named = found if self.wild else sorted(set(found))
        return [
            {"name": name, "schema": self.schema(), "required": self.chance(0.7), "many": self.chance(0.2)}
            for name in named
        ]

    def contract(self) -> Any:
        if self.wild and self.chance(0.3):
            return {self.one(["type", "properties", "required", "items", "enum", "anyOf", "$ref"]): self.json()}
        return _object_schema({name: self.schema() for name in self.some(PORTS)}, self.chance(0.3))

    def schema(self) -> dict[str, Any]:
        if self.wild and self.chance(0.1):
            return {self.one(["type", "items", "enum", "anyOf", "minimum", "pattern"]): self.json()}
        kind = self.one([{}, {"type": "string"}, {"type": "integer"}, {"enum": ["x", 1]}, TABLE, {"type": "object"}])
        return {"type": "array", "items": kind} if self.chance(0.2) else dict(kind)

    def json(self) -> Any:
        plain = [None, True, 1, 0, 1.5, -3, "text", "", "ä😀", [], {}, 10**21, 1e300, 2**53]
        if self.chance(0.3):
            return {self.text(): self.json(), "k": self.one(plain)}
        return [self.json()] if self.chance(0.2) else self.one(plain)

    def cel(self) -> dict[str, str]:
        return {"$cel": self.one(["true", "a > 1", "((("])}

    def name(self) -> str:
        return self.one(["Clean rows", "Read", "x", "Größe 2", "A/B"])

    def text(self) -> str:
        return self.one(["", "some words", "line\nline", "é", "k"])

    def place(self) -> Position:
        return Position(x=self.random.randint(-500, 500), y=self.random.random() * 100)

    def part(self, optional: dict[str, Any]) -> dict[str, Any]:
        """Leave most fields out."""
        return {key: value for key, value in optional.items() if self.chance(0.3)}

    def some(self, items: Sequence[Any]) -> list[Any]:
        return self.random.sample(items, k=self.random.randint(1, min(3, len(items))))

    def one(self, items: Sequence[Any]) -> Any:
        return self.random.choice(items)

    def chance(self, share: float) -> bool:
        return self.random.random() < share
