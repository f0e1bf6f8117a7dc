"""What edits touch: the fields, ports and places that two people's edits may both want."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeAlias

from engine.domain.canonical import Json, as_object
from engine.domain.edits import (
    AddNode,
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
)
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import ActionFields, Node

FieldKey: TypeAlias = tuple[str, ...]
"""What an edit touches: ("nodes", id, "name"), ("wires", id), ("model", "tags"). A prefix covers all below it."""


def touched(edits: Iterable[Edit], model: FunctionModel) -> frozenset[FieldKey]:
    """Return what edits touch in `model`, to which they apply. Batches that don't `overlap` merge by themselves."""
    found: set[FieldKey] = set()
    after = model
    for edit in edits:
        found.update(_touched(edit, after))
        after = apply(after, (edit,))
    return frozenset(found)


def overlap(one: Collection[FieldKey], other: Collection[FieldKey]) -> bool:
    """Return whether a field is in both, or below one that is in the other."""
    wide, narrow = set(one), set(other)
    return any(key[:length] in wide for key in narrow for length in range(1, len(key) + 1)) or any(
        key[:length] in narrow for key in wide for length in range(1, len(key) + 1)
    )


def _touched(edit: Edit, model: FunctionModel) -> Iterator[FieldKey]:  # noqa: C901, PLR0912 - a case for each
    match edit:
        case AddNode():
            yield "nodes", edit.node.id
            if isinstance(edit.node, ActionFields):
                yield "nodes", edit.node.parent, "holds", edit.node.id
                for key in mentions(edit.node):
                    yield "nodes", key, "mentioned", edit.node.id
        case RemoveNode():
            yield "nodes", edit.id
        case Move():
            yield "nodes", edit.id, "position"
        case Reparent():
            yield "nodes", edit.id, "position"
            yield "nodes", edit.id, "parent"
            yield "nodes", edit.parent, "holds", edit.id
        case Configure():
            for change in edit.changes:
                yield "nodes", edit.id, *change.path[:2]
                named = _named(change.value) if change.path[0] in ("fallback", "compensation") else None
                if named is not None:
                    yield "nodes", named, "mentioned", edit.id
        case Describe():
            for change in edit.changes:
                yield "model", change.path[0]
        case Connect():
            yield from _touched_by_wire(edit.wire, model)
        case Disconnect():
            yield from _touched_by_wire(model.wires[edit.id], model)
        case Depend():
            yield from _touched_by_dependency(edit.dependency)
        case Undepend():
            yield from _touched_by_dependency(model.dependencies[edit.id])


def mentions(node: Node | None) -> tuple[str, ...]:
    """Return the actions that a node names as its fallback and compensation."""
    if not isinstance(node, ActionFields):
        return ()
    fallback = None if node.fallback is None else node.fallback.action
    return tuple(key for key in (fallback, node.compensation) if key is not None)


def _named(value: Json) -> str | None:
    found = as_object(value).get("action") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def _touched_by_wire(wire: Wire, model: FunctionModel) -> Iterator[FieldKey]:
    yield "wires", wire.id
    port = model.port(wire.target, wire.target_port, "input")
    into = ("nodes", wire.target, "inputs", wire.target_port)
    yield (*into, wire.id) if port is not None and port.many else into
    yield "nodes", wire.source, "outputs", wire.source_port, wire.id
    for end, contract in ((wire.source, "input_contract"), (wire.target, "output_contract")):
        if not isinstance(model.nodes.get(end), ActionFields):
            yield "nodes", end, contract, wire.id


def _touched_by_dependency(edge: Dependency) -> Iterator[FieldKey]:
    yield "dependencies", edge.id
    yield "nodes", edge.source, "dependencies", edge.id
    yield "nodes", edge.target, "dependencies", edge.id
