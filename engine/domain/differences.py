"""What differs between two models: field by field, and as the edits that lead from one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from engine.domain.canonical import Json, as_object, canonical_bytes
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
    blank,
)
from engine.domain.model import Dependency, FunctionModel, Wire, element_json
from engine.domain.nodes import ActionFields, Node

MODEL_FIELDS = ("name", "description", "tags", "permissions")
_SPLIT = frozenset(
    {
        "parameters",
        "metadata",
        "visual",
        "headers",
        "output_mapping",
        "context_mapping",
        "output_extraction",
        "retry",
        "raci",
        "limits",
        "resources",
    }
)
"""Fields that are compared key by key: their keys don't depend on one another."""
_PLACE = frozenset({"position", "parent"})
_MISSING = object()


class FieldChange(NamedTuple):
    """A field that differs: its path, and its value before and after as JSON; None where it has its default."""

    path: tuple[str, ...]
    old: Json
    new: Json
    gone: bool = False
    """True: the field is back at its default, or the key is taken out."""


def field_changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> list[FieldChange]:
    """Return the fields that differ between two JSON forms, by path."""
    found: list[FieldChange] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, _MISSING), new.get(name, _MISSING)
        if same_value(before, after):
            continue
        if name in _SPLIT and _both_objects(before, after):
            found += [
                FieldChange((name, *change.path), change.old, change.new, change.gone)
                for change in _key_changes(as_object(before), as_object(after))
            ]
        else:
            found.append(_change((name,), before, after))
    return found


def node_changes(old: Node, new: Node) -> list[FieldChange]:
    """Return the fields that differ between two nodes of one kind, by path."""
    return [] if old is new else field_changes(element_json(old), element_json(new))


def model_changes(old: FunctionModel, new: FunctionModel) -> list[FieldChange]:
    """Return the fields of the model itself that differ: name, description, tags, permissions."""
    return field_changes(_model_json(old), _model_json(new))


def edits_for(model: FunctionModel) -> tuple[Edit, ...]:
    """Return the edits that make the content of `model` from `blank(model.id, model.name)`."""
    return edits_between(blank(model.id, model.name), model)


def edits_between(old: FunctionModel, new: FunctionModel) -> tuple[Edit, ...]:
    """Return the edits that give `old` the content of `new`: nodes, wires, dependencies and the model's fields.

    Both must be models that edits can make: every parent and every end of a wire or dependency exists.
    """
    kept, replaced = _kept_and_replaced(old, new)
    cut_wires = {key: w for key, w in old.wires.items() if _is_cut(w, new.wires.get(key), replaced)}
    cut_edges = {key: d for key, d in old.dependencies.items() if _is_cut(d, new.dependencies.get(key), replaced)}
    gone = [key for key in sorted(old.nodes) if key not in kept]
    return (
        *(Disconnect(id=key) for key in sorted(cut_wires)),
        *(Undepend(id=key) for key in sorted(cut_edges)),
        *(RemoveNode(id=key) for key in gone if isinstance(old.nodes[key], ActionFields)),
        *(RemoveNode(id=key) for key in gone if key in replaced and not isinstance(old.nodes[key], ActionFields)),
        *_additions(new, kept),
        *(edit for key in sorted(kept) for edit in _node_edits(old.nodes[key], new.nodes[key])),
        *(RemoveNode(id=key) for key in gone if key not in replaced and not isinstance(old.nodes[key], ActionFields)),
        *(Connect(wire=w) for key, w in sorted(new.wires.items()) if key not in old.wires or key in cut_wires),
        *(
            Depend(dependency=d)
            for key, d in sorted(new.dependencies.items())
            if key not in old.dependencies or key in cut_edges
        ),
        *_description(old, new),
    )


def _kept_and_replaced(old: FunctionModel, new: FunctionModel) -> tuple[set[str], set[str]]:
    """Return the nodes that stay, and those that keep their id but must be taken out and put in anew."""
    replaced = {key for key, node in new.nodes.items() if key in old.nodes and old.nodes[key].kind != node.kind}
    for node in old.actions():  # what is in a container that is replaced can't stay meanwhile
        if node.parent in replaced and node.id in new.nodes:
            replaced.add(node.id)
    return (old.nodes.keys() & new.nodes.keys()) - replaced, replaced


def _is_cut(old: Wire | Dependency, new: Wire | Dependency | None, replaced: set[str]) -> bool:
    return old != new or old.source in replaced or old.target in replaced


def _additions(new: FunctionModel, kept: set[str]) -> list[Edit]:
    added = [new.nodes[key] for key in sorted(new.nodes) if key not in kept]
    return [
        *(AddNode(node=node) for node in added if not isinstance(node, ActionFields)),
        *(AddNode(node=node) for node in added if isinstance(node, ActionFields)),
    ]


def _node_edits(old: Node, new: Node) -> list[Edit]:
    if old is new:
        return []
    edits: list[Edit] = []
    if isinstance(old, ActionFields) and isinstance(new, ActionFields) and old.parent != new.parent:
        edits.append(Reparent(id=new.id, parent=new.parent, to=new.position))
    elif old.position != new.position:
        edits.append(Move(id=new.id, to=new.position))
    changes = _as_changes(change for change in node_changes(old, new) if change.path[0] not in _PLACE)
    return [*edits, Configure(id=new.id, changes=changes)] if changes else edits


def _description(old: FunctionModel, new: FunctionModel) -> list[Edit]:
    changes = _as_changes(model_changes(old, new))
    return [Describe(changes=changes)] if changes else []


def _as_changes(found: Iterable[FieldChange]) -> tuple[Change, ...]:
    return tuple(
        Change(path=change.path, remove=True) if change.gone else Change(path=change.path, value=change.new)
        for change in found
    )


def _model_json(model: FunctionModel) -> dict[str, Json]:
    plain = model.changed(nodes={}, wires={}, dependencies={}).model_dump(mode="json", exclude_defaults=True)
    return {name: plain[name] for name in MODEL_FIELDS if name in plain}


def _both_objects(before: Any, after: Any) -> bool:
    return all(value is _MISSING or isinstance(value, dict) for value in (before, after))


def _key_changes(old: dict[str, Json], new: dict[str, Json]) -> list[FieldChange]:
    return [
        _change((key,), old.get(key, _MISSING), new.get(key, _MISSING))
        for key in sorted(old.keys() | new.keys())
        if not same_value(old.get(key, _MISSING), new.get(key, _MISSING))
    ]


def same_value(before: Any, after: Any) -> bool:
    """Return whether two JSON values are one and the same; for Python, True equals 1 as well."""
    if before is _MISSING or after is _MISSING or before != after:
        return before is after
    return before is after or canonical_bytes(before) == canonical_bytes(after)


def _change(path: tuple[str, ...], before: Any, after: Any) -> FieldChange:
    return FieldChange(
        path,
        None if before is _MISSING else before,
        None if after is _MISSING else after,
        after is _MISSING,
    )
