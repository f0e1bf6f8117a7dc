"""Two people's edits of one model, put together: what is apart merges by itself, what is not is named.

Both batches are applied to the base, and the three models are compared field by field. The merged model depends on
the two sides alike, so it does not matter who saved first: each gets the edits that lead from the other's model to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from engine.domain.canonical import Json, as_object
from engine.domain.differences import FieldChange, edits_between, model_changes, node_changes, same_value
from engine.domain.edits import Edit, apply
from engine.domain.graph import cycle
from engine.domain.model import Dependency, FunctionModel, Wire, element_json
from engine.domain.nodes import NODE, ActionFields, Node
from engine.domain.touches import FieldKey, mentions, overlap, touched
from engine.errors import EditConflict

__all__ = ["Conflict", "FieldKey", "Merged", "attempt", "merge", "overlap", "touched"]

_FIELDS_SHOWN = 3
_E = TypeVar("_E", Wire, Dependency)


class Conflict(NamedTuple):
    """A field that both sides changed, to different values."""

    node: str | None
    """The node's id; None for the model itself."""
    name: str
    """The node's name, or the model's."""
    field: str
    """Such as 'name', 'parameters.path', 'input rows', 'removed' or 'order'."""
    base: Json
    ours: Json
    theirs: Json


class Merged(NamedTuple):
    """What to apply on top of their model; nothing if there are conflicts."""

    edits: tuple[Edit, ...]
    conflicts: tuple[Conflict, ...] = ()


def merge(base: FunctionModel, ours: Sequence[Edit], theirs: Sequence[Edit]) -> Merged:
    """Return the edits that bring our change on top of theirs.

    Both batches apply to `base`; `EditRefused` if one does not. Raises `EditConflict` if both changed the same, with
    the conflicts among its facts.
    """
    found = attempt(base, ours, theirs)
    if found.conflicts:
        told = [f"{one.field} of {one.name!r}" for one in found.conflicts[:_FIELDS_SHOWN]]
        more = len(found.conflicts) - len(told)
        fields = ", ".join(told) + (f" and {more} more" if more else "")
        raise EditConflict(fields=fields, conflicts=found.conflicts)
    return found


def attempt(base: FunctionModel, ours: Sequence[Edit], theirs: Sequence[Edit]) -> Merged:
    """Return what `merge` does, or the conflicts by node and field for a person to settle."""
    mine, others = apply(base, ours), apply(base, theirs)
    merging = _Merging(base, mine, others)
    merged = merging.model()
    if merged is None:
        return Merged((), merging.in_order())
    return Merged(edits_between(others, merged))


class _Merging:
    """Builds the merged model, or gathers what stands in the way. Nothing in it depends on which side is which."""

    def __init__(self, base: FunctionModel, ours: FunctionModel, theirs: FunctionModel) -> None:
        self.base, self.ours, self.theirs = base, ours, theirs
        self.conflicts: list[Conflict] = []
        self.nodes: dict[str, Node] = {}
        self.unsettled: set[str] = set()
        """Nodes in conflict: which side's stands in `nodes` says nothing."""

    def model(self) -> FunctionModel | None:
        """Return the merged model; None if there are conflicts."""
        self._merge_nodes()
        wires = self._merged_edges(self.base.wires, self.ours.wires, self.theirs.wires)
        edges = self._merged_edges(self.base.dependencies, self.ours.dependencies, self.theirs.dependencies)
        fields = self._merged_fields()
        self._refuse_removed_ends([*wires.values(), *edges.values()])
        self._refuse_removedmentions()
        self._refuse_lost_ports(wires)
        wires = self._once(wires, lambda wire: (wire.source, wire.source_port, wire.target, wire.target_port))
        edges = self._once(edges, lambda edge: (edge.source, edge.target))
        self._refuse_filled_ports(wires)
        if self.conflicts:
            return None
        self._give_places()
        found = self.theirs.changed(nodes=self.nodes, wires=wires, dependencies=edges, **fields)
        self._refuse_cycle(found)
        return None if self.conflicts else found

    def in_order(self) -> tuple[Conflict, ...]:
        """Return the conflicts by node and field, the model's own first."""
        return tuple(sorted(self.conflicts, key=lambda one: (one.node or "", one.field)))

    def _merge_nodes(self) -> None:
        for key in sorted({*self.base.nodes, *self.ours.nodes, *self.theirs.nodes}):
            base, ours, theirs = (model.nodes.get(key) for model in (self.base, self.ours, self.theirs))
            if _equal(ours, base) or _equal(ours, theirs):
                found = theirs
            elif _equal(theirs, base):
                found = ours
            elif ours is None or theirs is None:
                self._conflict(key, "removed", None, _told(base, ours), _told(base, theirs))
                self.unsettled.add(key)
                found = ours or theirs
            else:
                known = len(self.conflicts)
                found = self._merged_node(key, base, ours, theirs)
                if len(self.conflicts) > known:
                    self.unsettled.add(key)
            if found is not None:
                self.nodes[key] = found

    def _merged_node(self, key: str, base: Node | None, ours: Node, theirs: Node) -> Node:
        if base is None or not base.kind == ours.kind == theirs.kind:
            for change in node_changes(ours, theirs):
                self._conflict(key, ".".join(change.path), None, change.old, change.new)
            return theirs
        mine, others = node_changes(base, ours), node_changes(base, theirs)
        clashing = self._clashes(key, mine, others)
        if clashing:
            return theirs
        try:
            return NODE.validate_python(_with(element_json(theirs), mine))
        except ValidationError:  # each side is right by itself, but they don't go together
            told = [", ".join(".".join(change.path) for change in side) for side in (mine, others)]
            self._conflict(key, told[0], None, told[0], told[1])
            return theirs

    def _clashes(self, key: str | None, mine: list[FieldChange], others: list[FieldChange]) -> bool:
        found = False
        for one in mine:
            for other in others:
                shorter = min(len(one.path), len(other.path))
                if one.path[:shorter] != other.path[:shorter]:
                    continue
                if one == other and same_value(one.new, other.new):
                    continue
                found = True
                path = one.path if len(one.path) <= len(other.path) else other.path
                self._conflict(key, ".".join(path), one.old, one.new, other.new)
        return found

    def _merged_fields(self) -> dict[str, Any]:
        mine, others = model_changes(self.base, self.ours), model_changes(self.base, self.theirs)
        self._clashes(None, mine, others)
        return {change.path[0]: getattr(self.ours, change.path[0]) for change in mine}

    def _merged_edges(self, base: Mapping[str, _E], ours: Mapping[str, _E], theirs: Mapping[str, _E]) -> dict[str, _E]:
        merged: dict[str, _E] = {}
        for key in sorted({*base, *ours, *theirs}):
            before, mine, other = base.get(key), ours.get(key), theirs.get(key)
            found = other if mine == before else mine
            if mine not in (before, other) and other != before:
                target = min(edge.target for edge in (mine, other, before) if edge is not None)
                self._conflict(target, f"wire {key}", _json(before), _json(mine), _json(other))
            elif found is not None:
                merged[key] = found
        return merged

    def _refuse_removed_ends(self, edges: Sequence[Wire | Dependency]) -> None:
        """Neither side may use what the other took out, or made an action of: as an end, or as a container."""
        for edge in edges:
            for end in {edge.source, edge.target} - self.unsettled:
                if end not in self.nodes or (isinstance(edge, Dependency) and not self._is_container(end)):
                    self._used(end, f"connected by {edge.id}")
        for key, node in self.nodes.items():
            if isinstance(node, ActionFields) and key not in self.unsettled and not self._is_container(node.parent):
                self._used(node.parent, f"given {node.name!r}")

    def _is_container(self, key: str) -> bool:
        """Say whether a node can hold actions; of one in conflict nothing more is asked."""
        return key in self.unsettled or (key in self.nodes and not isinstance(self.nodes[key], ActionFields))

    def _used(self, key: str, use: str) -> None:
        base = self.base.nodes.get(key)
        if base is not None:
            ours, theirs = (self._use(base, side.nodes.get(key), use) for side in (self.ours, self.theirs))
            if ours != theirs:
                self._conflict(key, "removed", None, ours, theirs)

    def _use(self, base: Node, side: Node | None, use: str) -> str:
        if side is None:
            return "removed"
        return use if side.kind == base.kind else "made anew"

    def _refuse_removedmentions(self) -> None:
        for key, node in self.nodes.items():
            for mentioned in () if key in self.unsettled else mentions(node):
                if mentioned in self.nodes or mentioned not in self.base.nodes:
                    continue
                remover = self.ours if mentioned not in self.ours.nodes else self.theirs
                if mentioned not in mentions(remover.nodes.get(key)):
                    self._used(mentioned, f"named by {node.name!r}")

    def _refuse_lost_ports(self, wires: Mapping[str, Wire]) -> None:
        for key, wire in wires.items():
            if key in self.base.wires:
                continue
            for end, port, side in (
                (wire.source, wire.source_port, "output"),
                (wire.target, wire.target_port, "input"),
            ):
                if end in self.unsettled or end not in self.nodes:
                    continue
                if not _has_port(self.nodes[end], port, side):
                    here, there = (_has_port(one.nodes.get(end), port, side) for one in (self.ours, self.theirs))
                    if here != there and key in (self.ours if here else self.theirs).wires:
                        told = ("connected", "taken away")
                        self._conflict(end, f"{side} {port}", None, *(told if here else reversed(told)))

    def _refuse_filled_ports(self, wires: Mapping[str, Wire]) -> None:
        added: dict[tuple[str, str], list[Wire]] = {}
        for key, wire in wires.items():
            if key not in self.base.wires:
                added.setdefault((wire.target, wire.target_port), []).append(wire)
        for (target, port), found in added.items():
            node = self.nodes.get(target)
            if node is None or target in self.unsettled or any(one.many for one in node.inputs if one.name == port):
                continue
            mine = [wire for wire in found if wire.id in self.ours.wires]
            others = [wire for wire in found if wire.id in self.theirs.wires]
            if mine and others and mine != others:
                self._conflict(target, f"input {port}", None, _json(mine[0]), _json(others[0]))

    def _once(self, edges: Mapping[str, _E], ends: Callable[[Any], tuple[str, ...]]) -> dict[str, _E]:
        """Keep one of those edges that both sides added under different ids: the one with the first id."""
        kept: dict[tuple[str, ...], str] = {}
        found: dict[str, _E] = {}
        for key in sorted(edges):
            other = kept.setdefault(ends(edges[key]), key)
            in_one_side = any(
                {key, other} <= {*side.wires, *side.dependencies} for side in (self.base, self.ours, self.theirs)
            )
            if key == other or in_one_side:
                found[key] = edges[key]
        return found

    def _give_places(self) -> None:
        """Give the actions that both sides put at one place of a stage a place each: the first id stays."""
        taken: dict[tuple[str, int], str] = {}
        last: dict[str, int] = {}
        new: list[str] = []
        for key in sorted(self.nodes):
            node = self.nodes[key]
            if isinstance(node, ActionFields):
                last[node.parent] = max(last.get(node.parent, 0), node.order)
                if _place(self.base, key) == (node.parent, node.order):
                    taken.setdefault((node.parent, node.order), key)
                else:
                    new.append(key)
        for key in new:
            node = self.nodes[key]
            assert isinstance(node, ActionFields)
            place = (node.parent, node.order)
            other = taken.setdefault(place, key)
            clashed_before = any(_place(side, key) == _place(side, other) == place for side in (self.ours, self.theirs))
            if other != key and not clashed_before:
                last[node.parent] += 1
                self.nodes[key] = node.model_copy(update={"order": last[node.parent]})

    def _refuse_cycle(self, found: FunctionModel) -> None:
        circle = cycle(found)
        if circle is not None and cycle(self.ours) is None and cycle(self.theirs) is None:
            told = " → ".join(found.nodes[key].name for key in [*circle, circle[0]])
            self._conflict(circle[0], "order", None, told, told)

    def _conflict(self, node: str | None, field: str, base: Json, ours: Json, theirs: Json) -> None:
        name = self.base.name
        if node is not None:
            called = [side.nodes[node].name for side in (self.ours, self.theirs) if node in side.nodes]
            name = self.base.nodes[node].name if node in self.base.nodes else min(called, default=node)
        conflict = Conflict(node, name, field, base, ours, theirs)
        if conflict not in self.conflicts:
            self.conflicts.append(conflict)


def _equal(one: Node | None, other: Node | None) -> bool:
    if one is None or other is None or one is other:
        return one is other
    return one.kind == other.kind and not node_changes(one, other)


def _told(base: Node | None, side: Node | None) -> str:
    """Say what a side did to a node that the other one removed."""
    if side is None:
        return "removed"
    if base is None or base.kind != side.kind:
        return "made anew"
    return "changed: " + ", ".join(".".join(change.path) for change in node_changes(base, side))


def _with(plain: dict[str, Json], changes: Iterable[FieldChange]) -> dict[str, Json]:
    merged = dict(plain)
    for change in changes:
        place = merged
        if change.path[1:]:
            place = merged[change.path[0]] = dict(as_object(merged.get(change.path[0])))
        if change.gone:
            place.pop(change.path[-1], None)
        else:
            place[change.path[-1]] = change.new
    return merged


def _has_port(node: Node | None, name: str, side: str) -> bool:
    ports = () if node is None else node.inputs if side == "input" else node.outputs
    return any(port.name == name for port in ports)


def _place(model: FunctionModel, key: str) -> tuple[str, int] | None:
    node = model.nodes.get(key)
    return (node.parent, node.order) if isinstance(node, ActionFields) else None


def _json(edge: Wire | Dependency | None) -> Json:
    return None if edge is None else element_json(edge)
