"""Where the nodes of a written model stand: layers from left to right, stages as wide as what they hold.

Sizes are those of the flow editor (`geometry.js`), so that nothing overlaps when the studio shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from engine.domain.model import Dependency, Wire
from engine.domain.nodes import ActionFields, Stage
from engine.domain.values import Position

_NARROW, _WIDE = 176, 224
_HEAD, _ROW, _ROWS_PADDING, _FOOT = 46, 22, 6, 32
_INSET_X, _INSET_Y, _BELOW = 24, 60, 28
_GAP_X, _GAP_Y, _STAGE_GAP_X, _STAGE_GAP_Y = 48, 32, 104, 48


class Arrangement(NamedTuple):
    """Where one node stands, and the frame of a stage."""

    position: Position
    frame: dict[str, int] | None = None


class _Size(NamedTuple):
    width: int
    height: int


def arranged(nodes: Sequence[Any], wires: Sequence[Wire], orders: Sequence[Dependency]) -> dict[str, Arrangement]:
    """Return a place for each node. Of the wires, those that lead back to an earlier node count for nothing."""
    places: dict[str, Arrangement] = {}
    members: dict[str, list[Any]] = {}
    for node in nodes:
        if isinstance(node, ActionFields):
            members.setdefault(node.parent, []).append(node)
    container = {node.id: node.parent if isinstance(node, ActionFields) else node.id for node in nodes}
    edges = [(wire.source, wire.target) for wire in wires]
    inside: dict[str, list[tuple[str, str]]] = {}
    for source, target in edges:
        if container[source] == container[target]:
            inside.setdefault(container[source], []).append((source, target))
    sizes: dict[str, _Size] = {}
    for node in nodes:
        if isinstance(node, Stage):
            sizes[node.id] = _fill(node, members.get(node.id, ()), inside.get(node.id, ()), places)
        elif not isinstance(node, ActionFields):
            sizes[node.id] = _size(node)
    outer = [(container[source], container[target]) for source, target in edges]
    outer += [(order.source, order.target) for order in orders]
    outside = [node for node in nodes if node.id in sizes]
    columns = _columns([node.id for node in outside], outer)
    _spread(outside, columns, sizes, places)
    return places


def _fill(
    stage: Stage, members: Sequence[Any], edges: Sequence[tuple[str, str]], places: dict[str, Arrangement]
) -> _Size:
    """Place the members of a stage relative to it and return its size."""
    names = [node.id for node in members]
    in_turn = list(pairwise(names)) if stage.mode == "sequential" else []
    columns = _columns(names, [*edges, *in_turn])
    bottoms: dict[int, int] = {}
    for node in members:
        column = columns[node.id]
        y = bottoms.get(column, _INSET_Y)
        places[node.id] = Arrangement(Position(x=_INSET_X + column * (_WIDE + _GAP_X), y=y))
        bottoms[column] = y + _size(node).height + _GAP_Y
    last = max(columns.values(), default=0)
    height = max((bottom - _GAP_Y for bottom in bottoms.values()), default=_INSET_Y + _HEAD)
    return _Size(2 * _INSET_X + last * (_WIDE + _GAP_X) + _WIDE, height + _BELOW)


def _columns(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the layer of each: after everything earlier in `names` that leads to it."""
    place = {name: index for index, name in enumerate(names)}
    before: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        if source in place and target in place and place[source] < place[target]:
            before[target].append(source)
    found: dict[str, int] = {}
    for name in names:
        found[name] = max((found[other] + 1 for other in before[name]), default=0)
    return found


def _spread(
    nodes: Sequence[Any], columns: dict[str, int], sizes: Mapping[str, _Size], places: dict[str, Arrangement]
) -> None:
    """Place the containers, each layer centred on one line; what leaves the model stands last."""
    _to_the_ends(nodes, columns)
    x = 0
    for column in sorted(set(columns.values())):
        members = [node for node in nodes if columns[node.id] == column]
        total = sum(sizes[node.id].height for node in members) + _STAGE_GAP_Y * (len(members) - 1)
        y = -(total // 2)
        for node in members:
            size = sizes[node.id]
            frame = {"width": size.width, "height": size.height} if isinstance(node, Stage) else None
            places[node.id] = Arrangement(Position(x=x, y=y), frame)
            y += size.height + _STAGE_GAP_Y
        x += max(sizes[node.id].width for node in members) + _STAGE_GAP_X


def _to_the_ends(nodes: Sequence[Any], columns: dict[str, int]) -> None:
    """Give the first node (the input) the first layer for itself, the last one (the output) the last."""
    first, last = nodes[0].id, nodes[-1].id
    for node in nodes[1:]:
        columns[node.id] = max(columns[node.id], 1)
    columns[first] = 0
    columns[last] = max(columns.values()) + 1


def _size(node: Any) -> _Size:
    rows = max(len(node.inputs), len(node.outputs))
    if rows < 2:
        return _Size(_NARROW, _HEAD + _FOOT)
    return _Size(_WIDE, _HEAD + rows * _ROW + 2 * _ROWS_PADDING + _FOOT)
