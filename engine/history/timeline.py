"""Time travel: the whole state of a run after any of its events."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple

from engine.domain.canonical import Json
from engine.domain.runs import RunStatus, Step, StepStatus, StoredValue
from engine.execution.plan import ACTION, SOURCE, Plan
from engine.execution.records import fold
from engine.history.containers import Container, summed
from engine.history.events import Moment, Recording
from engine.history.refusals import MomentUnknown


class Asked(NamedTuple):
    """Something that a step waits or waited for."""

    path: str
    """The step; with '?failed-N' when it is asked what becomes of it."""
    question: str
    since: datetime
    chosen: str | None = None
    """None while it is open, or when its step failed meanwhile."""
    by: str | None = None
    """Who chose; None: the deadline."""
    value: Json = None
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """A run right after one of its events."""

    moment: Moment
    status: RunStatus
    steps: Mapping[str, Step]
    """By path, nested ones and items included; those of the outermost model that have not begun are 'pending'."""
    decisions: tuple[Asked, ...]
    """In the order they were asked."""
    inputs: Mapping[str, Mapping[str, StoredValue]]
    """What entered the run: by boundary and port."""
    plan: Plan

    @property
    def number(self) -> int:
        """The number of the event."""
        return self.moment.number

    @property
    def values(self) -> dict[str, Mapping[str, StoredValue]]:
        """The values that there were, by path of the step (or boundary that takes inputs) and port."""
        return {**self.inputs, **{path: step.outputs for path, step in self.steps.items() if step.outputs}}

    def containers(self) -> dict[str, Container]:
        """Return stages, nested calls and per-item steps, at every level, by path, each summed up."""
        return summed(self.plan, self.steps, ended=self.moment.kind == "ended")


class Timeline:
    """The events of one run. Neighbouring states are cheap: what changed is folded anew, step by step.

    Safe to use from any thread.
    """

    def __init__(self, recording: Recording, plan: Plan) -> None:
        """Take in the records of a run; `plan` is that of the model as it ran."""
        self.run, self.plan = recording.run, plan
        self.moments = recording.moments()
        self._is_whole = recording.is_whole
        self._bare = replace(plan, kinds=bytearray(), nodes=[])
        """Enough of the plan to describe a path; a fold over it adds no steps that never began."""
        self._of_step: dict[str, list[int]] = {}
        for moment in self.moments:
            if moment.path:
                self._of_step.setdefault(moment.step, []).append(moment.number)
        self._pending = self._rest("pending")
        self._cancelled = self._rest("cancelled") if self._is_whole else ()
        self._inputs = MappingProxyType(self._entered())
        self._steps: dict[str, Step] = {}
        self._asked: dict[str, list[tuple[int, Asked]]] = {}
        self._at = -1
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.moments)

    def at(self, number: int) -> State:
        """Return the state right after event `number`; -1 is the last one. Raises `MomentUnknown`."""
        count = len(self.moments)
        place = count + number if number < 0 else number
        if not 0 <= place < count:
            raise MomentUnknown(run=self.run.id, number=number, count=count)
        with self._lock:
            self._move(place)
            return self._state(self.moments[place])

    def _move(self, number: int) -> None:
        """Fold anew what happened between here and there, in whichever direction."""
        low, high = sorted((self._at, number))
        self._at = number
        for path in dict.fromkeys(moment.step for moment in self.moments[low + 1 : high + 1] if moment.path):
            self._refold(path, number)

    def _refold(self, path: str, number: int) -> None:
        known = self._of_step[path]
        happened = [self.moments[each] for each in known[: bisect_right(known, number)]]
        found = fold(self.run.id, (moment.record for moment in happened), self._bare, ended=False)
        if found:
            self._steps[path] = found[0]
        else:
            self._steps.pop(path, None)
        asked = _asked(happened)
        if asked:
            self._asked[path] = asked
        else:
            self._asked.pop(path, None)

    def _state(self, moment: Moment) -> State:
        ended = moment.kind == "ended"
        steps = {path: _over(step) if ended else step for path, step in self._steps.items()}
        for step in self._cancelled if ended else self._pending:
            if step.path not in steps and f"{step.path}[0]" not in steps:
                steps[step.path] = step
        asked = [each for group in self._asked.values() for each in group]
        decisions = tuple(each for _, each in sorted(asked, key=lambda found: found[0]))
        return State(
            moment=moment,
            status=self._status(moment, decisions),
            steps=MappingProxyType(steps),
            decisions=decisions,
            inputs=self._inputs,
            plan=self.plan,
        )

    def _rest(self, status: StepStatus) -> tuple[Step, ...]:
        """Return the steps of the outermost model as they are before they begin, or when they never do."""
        return tuple(
            Step(run=self.run.id, path=node.id, node=node.id, name=node.name, kind=node.kind, status=status)
            for kind, node in zip(self.plan.kinds, self.plan.nodes, strict=True)
            if kind == ACTION
        )

    def _entered(self) -> dict[str, Mapping[str, StoredValue]]:
        return {
            node.id: {port.name: self.run.inputs[port.name] for port in node.outputs if port.name in self.run.inputs}
            for kind, node in zip(self.plan.kinds, self.plan.nodes, strict=True)
            if kind == SOURCE
        }

    def _status(self, moment: Moment, decisions: Sequence[Asked]) -> RunStatus:
        """Return the run's status: it waited if a question was open and the next thing that happened is an answer."""
        if moment.kind == "ended":
            return moment.body["status"]
        following = self.moments[moment.number + 1] if moment.number + 1 < len(self.moments) else None
        if following is None and not self._is_whole:
            return self.run.status
        is_open = any(asked.is_open for asked in decisions)
        return "waiting" if is_open and following is not None and following.kind == "answered" else "running"


def _over(step: Step) -> Step:
    """Return a step as it counts once the run has ended."""
    if step.status in ("running", "retrying", "waiting", "pending"):
        return step.model_copy(update={"status": "cancelled"})
    return step


def _asked(happened: Sequence[Moment]) -> list[tuple[int, Asked]]:
    """Return what a step asked for, each with the number of the event that asked first."""
    found: list[tuple[int, Asked]] = []
    for moment in happened:
        last = found[-1] if found and found[-1][1].is_open else None
        if moment.kind == "waiting" and last is None:
            found.append((moment.number, Asked(moment.path, moment.body[1], moment.ts)))
        elif moment.kind == "answered":
            chosen, by, value = moment.body
            before = last or (moment.number, Asked(moment.path, "", moment.ts))
            closed = before[1]._replace(path=moment.path, chosen=chosen, by=by, value=value, is_open=False)
            found = [*(found[:-1] if last else found), (before[0], closed)]
        elif last is not None and moment.kind in ("done", "failed", "skipped"):
            found[-1] = (last[0], last[1]._replace(is_open=False))
    return found


def state_json(state: State) -> dict[str, Json]:
    """Return a state as plain JSON: what `treadle show RUN --at N --json` prints."""
    return {
        "number": state.number,
        "ts": state.moment.ts.isoformat(),
        "happened": state.moment.text,
        "status": state.status,
        "steps": [
            json.loads(step.model_dump_json(exclude={"outputs": {"__all__": {"data"}}}))
            for step in state.steps.values()
        ],
        "containers": [
            {"path": each.path, "kind": each.kind, "status": each.status, "counts": dict(each.counts)}
            for each in state.containers().values()
        ],
        "decisions": [{**each._asdict(), "since": each.since.isoformat()} for each in state.decisions],
    }
