"""The shape of a workflow, and where its steps stand on the canvas. All linear but for a sort within each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.domain.values import Position

_COLUMN_PX, _ROW_PX = 260.0, 96.0
_LEFT_PX, _TOP_PX = 20.0, 60.0
_ROWS = 50
"""A level with more steps goes on in a further column."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Steps by number. A step's level is the number of steps on the longest way to it, itself included."""

    levels: tuple[tuple[int, ...], ...]
    critical_path_s: float
    """The greatest sum of durations along a path."""
    circle: tuple[int, ...] = ()
    """Steps that wait for one another, each for the one before it; empty if there are none."""

    @property
    def depth(self) -> int:
        """The number of levels."""
        return len(self.levels)

    @property
    def width(self) -> int:
        """The greatest number of steps at one level."""
        return max(map(len, self.levels), default=0)


def shape_of(parents: Sequence[Sequence[int]], seconds: Sequence[float]) -> Shape:
    """Return the shape of steps that each wait for their `parents` and take `seconds`."""
    children: list[list[int]] = [[] for _ in parents]
    for step, before in enumerate(parents):
        for parent in before:
            children[parent].append(step)
    waiting = [len(before) for before in parents]
    began_s, critical_s = [0.0] * len(parents), 0.0
    level = [step for step, count in enumerate(waiting) if not count]
    levels: list[tuple[int, ...]] = []
    while level:
        levels.append(tuple(level))
        following: list[int] = []
        for step in level:
            ended_s = began_s[step] + seconds[step]
            critical_s = max(critical_s, ended_s)
            for child in children[step]:
                began_s[child] = max(began_s[child], ended_s)
                waiting[child] -= 1
                if not waiting[child]:
                    following.append(child)
        level = following
    return Shape(tuple(levels), critical_s, _circle(parents, waiting))


def places(shape: Shape, parents: Sequence[Sequence[int]]) -> list[Position]:
    """Return where each step stands in its stage: a column for each level, each step near its parents' height."""
    found = [Position()] * len(parents)
    height = [0.0] * len(parents)
    column = 0
    for level in shape.levels:
        wanted = {step: sum(height[p] for p in parents[step]) / max(1, len(parents[step])) for step in level}
        for place, step in enumerate(sorted(level, key=wanted.__getitem__)):
            height[step] = place / len(level)
            x, y = column + place // _ROWS, place % _ROWS
            found[step] = Position(x=_LEFT_PX + x * _COLUMN_PX, y=_TOP_PX + y * _ROW_PX)
        column += (len(level) - 1) // _ROWS + 1
    return found


def _circle(parents: Sequence[Sequence[int]], waiting: Sequence[int]) -> tuple[int, ...]:
    """Walk back from a step that could never begin, always to a parent that can't either, until one comes again."""
    step = next((step for step, count in enumerate(waiting) if count), -1)
    if step < 0:
        return ()
    seen: dict[int, int] = {}
    way: list[int] = []
    while step not in seen:
        seen[step] = len(way)
        way.append(step)
        step = next(parent for parent in parents[step] if waiting[parent])
    return tuple(reversed(way[seen[step] :]))
