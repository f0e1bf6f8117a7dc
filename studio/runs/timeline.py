"""The timeline of a run as values: rows, bars, and the longest chain of steps. Nothing here draws or reads a store."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, Stage
from engine.domain.runs import Attempt, Step

Tone = Literal["ok", "bad", "run", "idle"]
_TONES: Mapping[str, Tone] = {"succeeded": "ok", "failed": "bad", "running": "run", "retrying": "run"}
_ITEM = re.compile(r"(\[\d+\])?(#\d+)?$")
_ATTEMPT_WIDE_ENOUGH = 0.075
_WORD_WIDE_ENOUGH = 0.055


@dataclass(frozen=True)
class TimelineRow:
    """One step: where it stands and how deep it is nested."""

    step: Step
    depth: int


@dataclass(frozen=True)
class TimelineBar:
    """One attempt: seconds from the start of the run. `row` counts from 0."""

    key: str
    row: int
    start_s: float
    end_s: float
    tone: Tone
    label: str
    name: str
    result: str


@dataclass(frozen=True)
class Change:
    """What turns drawn bars into new ones: new values at places, then bars to add. `replace`: begin anew."""

    replace: bool
    patched: tuple[int, ...] = ()
    added: int = 0


def arrange(steps: Iterable[Step]) -> list[TimelineRow]:
    """Return the rows in order of their start, nested steps below the step they belong to, those never begun last."""
    known = {step.path: step for step in steps}
    below: dict[str | None, list[Step]] = {}
    for step in known.values():
        below.setdefault(_parent(step.path, known), []).append(step)
    for siblings in below.values():
        siblings.sort(key=lambda step: (step.started_at is None, step.started_at or 0, step.path))
    rows: list[TimelineRow] = []
    stack = [(step, 0) for step in reversed(below.get(None, []))]
    while stack:
        step, depth = stack.pop()
        rows.append(TimelineRow(step, depth))
        stack.extend((child, depth + 1) for child in reversed(below.get(step.path, [])))
    return rows


def bars(rows: Sequence[TimelineRow], *, began: datetime, now: datetime) -> list[TimelineBar]:
    """Return a bar for each attempt of these rows; one under way reaches until `now`."""
    span = span_s(rows, began=began, now=now)
    found: list[TimelineBar] = []
    for place, row in enumerate(rows):
        for attempt in row.step.attempts:
            start = max(0.0, (attempt.started_at - began).total_seconds())
            end = max(start, ((attempt.ended_at or now) - began).total_seconds())
            found.append(
                TimelineBar(
                    key=f"{row.step.path}\n{attempt.number}",
                    row=place,
                    start_s=start,
                    end_s=end,
                    tone="idle" if row.step.status == "cached" else _TONES.get(attempt.status, "idle"),
                    label=_label(row.step, attempt, (end - start) / span),
                    name=row.step.name,
                    result=attempt.error or (row.step.reason or row.step.status),
                )
            )
    return found


def span_s(rows: Sequence[TimelineRow], *, began: datetime, now: datetime) -> float:
    """Return how many seconds the rows reach from the start of the run; never 0."""
    ends = (attempt.ended_at or now for row in rows for attempt in row.step.attempts)
    return max(0.001, max(((end - began).total_seconds() for end in ends), default=0.001))


def change(before: Sequence[TimelineBar], after: Sequence[TimelineBar]) -> Change:
    """Return the least that makes `after` of what is drawn: a run under way mostly moves a few ends."""
    kept = len(before)
    if kept > len(after) or any(
        old.key != new.key or old.row != new.row for old, new in zip(before, after, strict=False)
    ):
        return Change(replace=True)
    patched = tuple(place for place in range(kept) if before[place] != after[place])
    return Change(replace=False, patched=patched, added=len(after) - kept)


def critical_path(model: FunctionModel, steps: Iterable[Step]) -> tuple[float, tuple[str, ...]]:
    """Return (seconds, node ids) of the longest chain of steps that waited for each other; nested ones count inside."""
    took = {step.path: step.duration_s or 0.0 for step in steps if "/" not in step.path and step.node == step.path}
    after = _edges(model)
    waits: dict[str, int] = dict.fromkeys(after, 0)
    for targets in after.values():
        for target in targets:
            waits[target] += 1
    best = {point: took.get(point, 0.0) for point in after}
    came_from: dict[str, str] = {}
    ready = deque(point for point, count in waits.items() if not count)
    while ready:
        point = ready.popleft()
        for target in after[point]:
            if best[point] + took.get(target, 0.0) > best[target]:
                best[target] = best[point] + took.get(target, 0.0)
                came_from[target] = point
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    last: str | None = max(best, key=lambda point: best[point], default=None)
    total = best[last] if last is not None else 0.0
    chain: list[str] = []
    while last is not None:
        if last in took:
            chain.append(last)
        last = came_from.get(last)
    return total, tuple(reversed(chain))


def _parent(path: str, known: Mapping[str, Step]) -> str | None:
    """Return the path of the step that this one is part of: 'a[3]/b' belongs to 'a[3]', or to 'a'."""
    outer = _ITEM.sub("", path)
    if outer == path:
        outer = path.rpartition("/")[0]
    while outer:
        if outer in known:
            return outer
        stripped = _ITEM.sub("", outer)
        outer = stripped if stripped != outer else outer.rpartition("/")[0]
    return None


def _label(step: Step, attempt: Attempt, share: float) -> str:
    if step.status == "cached":
        return "cached" if share > _WORD_WIDE_ENOUGH else ""
    if len(step.attempts) > 1:
        return f"attempt {attempt.number}" if share > _ATTEMPT_WIDE_ENOUGH else ""
    return ""


def _edges(model: FunctionModel) -> dict[str, list[str]]:
    """Return what follows what. A stage is two points: its id where it begins, its id and ' end' where it ends."""
    after: dict[str, list[str]] = {key: [] for key in model.nodes}
    ends = {key: f"{key} end" for key, node in model.nodes.items() if isinstance(node, Stage)}
    after.update({end: [] for end in ends.values()})
    for key, node in model.nodes.items():
        if isinstance(node, ActionFields) and node.parent in ends:
            after[node.parent].append(key)
            after[key].append(ends[node.parent])
        elif isinstance(node, Stage):
            after[key].append(ends[key])
            _sequence(model, node, after)
    for wire in model.wires.values():
        if wire.source in after and wire.target in after:
            after[wire.source].append(wire.target)
    for dependency in model.dependencies.values():
        if dependency.source in after and dependency.target in after:
            after[ends.get(dependency.source, dependency.source)].append(dependency.target)
    return after


def _sequence(model: FunctionModel, stage: Stage, after: dict[str, list[str]]) -> None:
    waiting: list[str] = []
    for action in model.children(stage.id):
        if (action.mode or stage.mode) == "sequential":
            for earlier in waiting:
                after[earlier].append(action.id)
            waiting = []
        waiting.append(action.id)
