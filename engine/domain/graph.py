"""A model seen as one graph: what must end before what may start, over wires, containers and dependencies together.

A stage is two points, where it begins and where it ends, with its actions between them; an action is one point. A
dependency runs from the end of one container to the beginning of another, a wire from node to node. So a wire that
leads back into an earlier stage closes a cycle with the dependency that put the stage first. An input-output boundary
is two points that don't wait for each other: data enters at one and leaves at the other.

Ends of edges that are not in the model are passed over: validation reports them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal

from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import ActionFields, Boundary, Stage

_TRIED = 8
"""Points of a cycle from which a shorter one is looked for."""


class Graph:
    """Points and edges of a model. Integers inside, node ids outside; nothing here recurses."""

    def __init__(self, model: FunctionModel, *, sequences: bool = False) -> None:
        """Build the graph; with `sequences` also the order that sequential actions keep among themselves."""
        self._nodes: list[str] = []
        self._leaving: dict[str, int] = {}
        self._entering: dict[str, int] = {}
        self._number(model)
        self._after: list[list[int]] = [[] for _ in self._nodes]
        self._contain(model)
        for wire in model.wires.values():
            self._join(wire.source, wire.target)
        for dependency in model.dependencies.values():
            self._join(dependency.source, dependency.target)
        if sequences:
            self._sequence(model)

    def cycle(self) -> list[str] | None:
        """Return the nodes of one short cycle, each before the one that waits for it; None if there is none."""
        rest = self._unsorted()
        if not rest:
            return None
        before = _reversed(self._after)
        point, seen = min(rest, key=lambda at: self._nodes[at]), set[int]()
        while point not in seen:  # every point left has a predecessor that is left, so walking back must repeat
            seen.add(point)
            point = next(at for at in before[point] if at in rest)
        around = self._path(point, point) or []
        shortest = min((self._path(at, at) or around for at in around[:_TRIED]), key=len)
        loop = _inner_loop(self._named(shortest))
        first = loop.index(min(loop))
        return [*loop[first:], *loop[:first]]

    def path(self, source: str, target: str) -> list[str] | None:
        """Return the nodes from `source` to `target`, both included, by a shortest way along the edges."""
        start, goal = self._entering.get(source), self._leaving.get(target)
        if start is None or goal is None:
            return None
        found = [] if start == goal else self._path(start, goal)
        return None if found is None else self._named([start, *found])

    def order(self) -> list[str]:
        """Return the nodes so that each stands after all it waits for, ties by id; those behind a cycle left out."""
        return [self._nodes[at] for at in self._sorted() if self._entering[self._nodes[at]] == at]

    def reachable(self, starts: Iterable[str], *, direction: Literal["after", "before"] = "after") -> set[str]:
        """Return the nodes that wait for any of `starts` (or, `before`: that these wait for), the starts included."""
        edges = self._after if direction == "after" else _reversed(self._after)
        openings = self._entering if direction == "after" else self._leaving
        stack = [openings[start] for start in starts if start in openings]
        seen = set(stack)
        while stack:
            for point in edges[stack.pop()]:
                if point not in seen:
                    seen.add(point)
                    stack.append(point)
        return {self._nodes[point] for point in seen}

    def _number(self, model: FunctionModel) -> None:
        for key in sorted(model.nodes):  # so that which of several cycles is named depends on the model alone
            node = model.nodes[key]
            self._entering[key] = self._leaving[key] = len(self._nodes)
            self._nodes.append(key)
            if isinstance(node, Stage) or (isinstance(node, Boundary) and node.boundary == "input-output"):
                self._leaving[key] = len(self._nodes)
                self._nodes.append(key)
            if isinstance(node, Boundary) and node.boundary == "input-output":
                # What enters the model is there before anything; what leaves is awaited: two points, no edge.
                self._entering[key], self._leaving[key] = self._leaving[key], self._entering[key]

    def _contain(self, model: FunctionModel) -> None:
        for key, node in model.nodes.items():
            if isinstance(node, Stage):
                self._after[self._entering[key]].append(self._leaving[key])
            elif isinstance(node, ActionFields) and isinstance(model.nodes.get(node.parent), Stage):
                self._after[self._entering[node.parent]].append(self._entering[key])
                self._after[self._entering[key]].append(self._leaving[node.parent])

    def _join(self, source: str, target: str) -> None:
        if source in self._leaving and target in self._entering:
            self._after[self._leaving[source]].append(self._entering[target])

    def _sequence(self, model: FunctionModel) -> None:
        for stage in model.containers():
            if not isinstance(stage, Stage):
                continue
            waiting: list[str] = []
            for action in model.children(stage.id):
                if (action.mode or stage.mode) == "sequential":
                    for earlier in waiting:
                        self._join(earlier, action.id)
                    waiting = []
                waiting.append(action.id)

    def _sorted(self) -> Iterator[int]:
        missing = self._predecessors
        left = list(missing)
        ready = deque(sorted((at for at, count in enumerate(left) if not count), key=self._nodes.__getitem__))
        while ready:
            point = ready.popleft()
            yield point
            opened: list[int] = []
            for following in self._after[point]:
                left[following] -= 1
                if not left[following]:
                    opened.append(following)
            opened.sort(key=self._nodes.__getitem__)
            ready.extend(opened)

    @cached_property
    def _predecessors(self) -> list[int]:
        counts = [0] * len(self._nodes)
        for targets in self._after:
            for target in targets:
                counts[target] += 1
        return counts

    def _unsorted(self) -> set[int]:
        return set(range(len(self._nodes))).difference(self._sorted())

    def _path(self, start: int, goal: int) -> list[int] | None:
        """Return the points after `start` up to `goal`, at least one step, by breadth first."""
        came_from: dict[int, int] = {}
        queue = deque([start])
        while queue:
            point = queue.popleft()
            for following in sorted(self._after[point]):
                if following in came_from:
                    continue
                came_from[following] = point
                if following == goal:
                    return _walk_back(came_from, start, goal)
                queue.append(following)
        return None

    def _named(self, points: Iterable[int]) -> list[str]:
        names: list[str] = []
        for point in points:
            if not names or names[-1] != self._nodes[point]:
                names.append(self._nodes[point])
        if len(names) > 1 and names[0] == names[-1]:
            names.pop()
        return names


def cycle(model: FunctionModel) -> list[str] | None:
    """Return the nodes of one cycle over wires, containers and dependencies; None if there is none."""
    return Graph(model).cycle()


def order(model: FunctionModel) -> list[str]:
    """Return the nodes in an order in which they could run; those on or behind a cycle are left out."""
    return Graph(model).order()


def reachable(
    model: FunctionModel, starts: Iterable[str], *, direction: Literal["after", "before"] = "after"
) -> set[str]:
    """Return the nodes that wait for any of `starts` (or that these wait for), the starts included."""
    return Graph(model).reachable(starts, direction=direction)


def would_cycle(model: FunctionModel, edge: Wire | Dependency) -> list[str] | None:
    """Return the cycle that `edge` would close, beginning where the edge ends; None if it closes none.

    A cycle that is there already does not count, unless the edge would be part of another one.
    """
    if edge.source not in model.nodes or edge.target not in model.nodes:
        return None
    return Graph(model).path(edge.target, edge.source)


def _inner_loop(names: list[str]) -> list[str]:
    """Return the part between two mentions of one node: a stage is left at its end and met again at its beginning."""
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in seen:
            return names[seen[name] : place]
        seen[name] = place
    return names


def _reversed(after: list[list[int]]) -> list[list[int]]:
    before: list[list[int]] = [[] for _ in after]
    for source, targets in enumerate(after):
        for target in targets:
            before[target].append(source)
    return before


def _walk_back(came_from: dict[int, int], start: int, goal: int) -> list[int]:
    path, point = [goal], came_from[goal]
    while point != start:
        path.append(point)
        point = came_from[point]
    path.reverse()
    return path
