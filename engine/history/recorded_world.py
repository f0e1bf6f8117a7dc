"""The world that a replay runs in: everything that is not a pure function answers from the record."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from threading import Condition
from typing import Any

from engine.domain.entities import Decision
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, AgentTask, Stage, Tether
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import RetryPolicy
from engine.errors import StepCancelled, StepError, StepTimedOut
from engine.execution.frames import Seed
from engine.execution.invocation import Context
from engine.execution.paces import Paces
from engine.execution.records import recover
from engine.execution.waits import Answer
from engine.history.events import Moment, Recording
from engine.history.outside import kept_inside
from engine.history.recorded_plans import AGENT, as_tether
from engine.history.refusals import NotRecorded
from engine.ports import Blobs, Clock, Invoke, JournalRecord, StepContext, Tethers

_OUTSIDE = ("files.", "system.", "sql.", "http.", "flow.sleep")
"""Functions of the library that have no effect and still depend on more than their inputs."""
_PATIENCE_S = 5.0
_MOST_AT_A_TIME = 100
_LEAST_TIMEOUT_S = 60.0
TIMED_OUT = str(StepTimedOut(timeout_s="\0")).split("\0", maxsplit=1)[0]


def is_pure(spec: TetherSpec, node: Tether | None = None) -> bool:
    """Say whether a function's outputs depend on its inputs alone, so that a replay calls it."""
    effect = spec.effect if node is None or node.effect is None else node.effect
    bindings = {spec.binding, node.binding if node is not None else "function"}
    return (
        not effect and bindings == {"function"} and spec.runs != "process" and not spec.reference.startswith(_OUTSIDE)
    )


class RecordedFailure(StepError):
    """An attempt failed in the record."""

    def __init__(self, text: str, *, final: bool) -> None:
        """Say what the record says."""
        Exception.__init__(self, text)
        self.facts = {"permanent": final}


class Record:
    """What a recording says of each attempt, decision and seed, by path."""

    def __init__(self, recording: Recording, blobs: Blobs) -> None:
        """Look through all records."""
        self.run, self._blobs = recording.run, blobs
        self.moments = recording.moments()
        self.succeeded = recording.run.status == "succeeded"
        found = recover(recording.records)
        self._found = found
        self.endings: dict[tuple[str, int], Moment] = {}
        self.decided: dict[str, Sequence[Any]] = {}
        self.asked = set[str]()
        self.seeds: dict[str, Seed] = {}
        for moment in self.moments:
            if moment.kind in ("done", "failed"):
                self.endings[moment.path, moment.attempt] = moment
            elif moment.kind == "answered" and moment.path != moment.step:
                self.decided[moment.path] = moment.body
            if moment.kind in ("waiting", "answered"):
                self.asked.add(moment.step)
            if moment.kind == "done" and moment.reason is not None:
                self.seeds[moment.path] = Seed(found.outputs_of(moment.path, blobs), moment.reason)

    def answers(self, path: str) -> list[Answer]:
        """Return what a step asked for and got."""
        return [Answer(*each) for each in self._found.answers.get(path, ())]

    def outputs(self, path: str) -> dict[str, Any]:
        """Return what a step gave."""
        return self._found.outputs_of(path, self._blobs)


class Notebook:
    """The journal of a replay: it ends with it. Safe to use from any thread."""

    def __init__(self) -> None:
        """Begin empty."""
        self._records: list[JournalRecord] = []
        self._ended = set[tuple[str, int]]()
        self._news = Condition()

    def append(self, record: JournalRecord) -> int:
        """Keep a record."""
        with self._news:
            self._records.append(record)
            if record.kind in ("done", "failed", "skipped"):
                self._ended.add((record.path, record.attempt))
            self._news.notify_all()
        return len(self._records)

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records."""
        del run
        return self._records.copy()

    def wait_for(self, attempts: set[tuple[str, int]]) -> None:
        """Return when all these attempts (path, number) have ended, or after a while in which they did not."""
        with self._news:
            self._news.wait_for(lambda: attempts <= self._ended, _PATIENCE_S)

    def sync(self, ticket: int) -> None:
        """Return at once."""
        del ticket

    def unfinished(self) -> list[str]:
        """Return none."""
        return []

    def claim(self, run: str) -> bool:
        """Nobody else is here."""
        return bool(run)

    def claim_next(self) -> str | None:
        """There is none."""
        return None

    def held(self) -> set[str]:
        """Nobody else is here."""
        return set()

    def forget(self, run: str) -> None:
        """Forget everything."""
        del run
        self._records = []

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class RecordedTethers:
    """Functions as the record has them: pure ones are called, all others give what they gave then."""

    tethers: Tethers
    record: Record
    notebook: Notebook
    called: list[str] = field(default_factory=list[str])
    """The paths of the steps whose function was called."""

    def specs(self) -> list[TetherSpec]:
        """Return those of today."""
        return self.tethers.specs()

    def spec(self, reference: str) -> TetherSpec:
        """Return how a function is called in a replay: on a thread, where it may be held back."""
        name, pure = _meant(reference)
        if not pure:
            return TetherSpec(reference=reference, name=name, category="", runs="thread")
        found = self.tethers.spec(name)
        return found if found.runs == "async" else found.model_copy(update={"runs": "thread"})

    def function(self, reference: str) -> Invoke:
        """Return what is called in its place."""
        name, pure = _meant(reference)
        return self._guarded(name) if pure else self._recalled

    def load_all(self, sources: Iterable[str]) -> None:
        """Load what the run had."""
        self.tethers.load_all(sources)

    def sources(self) -> tuple[str, ...]:
        """Return what is loaded."""
        return self.tethers.sources()

    def _guarded(self, reference: str) -> Invoke:
        """Return a pure function that is called with the answers it got then, and can't reach anything outside."""
        invoke = self.tethers.function(reference)

        def call(inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext) -> Any:
            ending, own = self._prepared(context)
            self._hold(ending)
            with kept_inside():
                return invoke(inputs, settings, own)

        async def call_later(inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext) -> Any:
            ending, own = self._prepared(context)
            await asyncio.to_thread(self._hold, ending)
            with kept_inside():
                result = invoke(inputs, settings, own)
                return await result if inspect.isawaitable(result) else result

        return call_later if self.tethers.spec(reference).runs == "async" else call

    def _prepared(self, context: StepContext) -> tuple[Moment | None, Context]:
        """Return how an attempt ended then, and the context that its function is called with."""
        path, attempt = _path_of(context), context.attempt
        ending = self.record.endings.get((path, attempt))
        if ending is None and path not in self.record.asked:
            raise self._beyond()
        if ending is not None and ending.kind == "failed" and ending.body[1].startswith(TIMED_OUT):
            raise RecordedFailure(ending.body[1], final=ending.body[2])
        own = Context(self.record.run.id, path, attempt, None)
        own.answers = self.record.answers(path)
        self.called.append(path)
        return ending, own

    def _recalled(self, inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext) -> Any:
        del inputs, settings
        path = _path_of(context)
        ending = self.record.endings.get((path, context.attempt))
        if ending is None:
            raise self._beyond()
        self._hold(ending)
        if ending.kind == "failed":
            raise RecordedFailure(ending.body[1], final=ending.body[2])
        return self.record.outputs(path)

    def _beyond(self) -> StepError:
        """Return why a call that the record doesn't have is not made: a run that was stopped may have come so far."""
        return NotRecorded(permanent=True) if self.record.succeeded else StepCancelled(permanent=True)

    def _hold(self, ending: Moment | None) -> None:
        """Keep a failure that may have ended the run back until everything has ended that ended before it then."""
        if ending is not None and ending.kind == "failed" and ending.body[2] and not self.record.succeeded:
            earlier = self.record.moments[: ending.number]
            ended = ("done", "failed", "skipped")
            self.notebook.wait_for({(each.path, each.attempt) for each in earlier if each.kind in ended})


def _path_of(context: StepContext) -> str:
    return getattr(context, "path", "")


_RECALLED = "recalled:"


def _meant(reference: str) -> tuple[str, bool]:
    """Return (reference, whether it is called) of what a node in a model for replay names."""
    return reference.removeprefix(_RECALLED), not reference.startswith(_RECALLED)


def for_replay(tethers: Tethers, *, wide: bool) -> Callable[[FunctionModel], FunctionModel]:
    """Return what makes a model ready for a replay.

    Nodes that answer from the record name it instead of their function; nothing waits between attempts, and timeouts
    are wide, because it is the record that says what timed out. With `wide`, stages take as many steps at a time as
    there may be: where a run was stopped, one that the record lacks must not take the place of one that it has.
    """

    def change(model: FunctionModel) -> FunctionModel:
        actions = {node.id: _quick(_recalled(node, tethers)) for node in model.actions()}
        stages = {
            node.id: node.model_copy(update={"parallelism": _MOST_AT_A_TIME})
            for node in model.containers()
            if wide and isinstance(node, Stage)
        }
        return model.changed(nodes={**model.nodes, **actions, **stages})

    return change


def _recalled(node: Any, tethers: Tethers) -> Any:
    if isinstance(node, AgentTask):
        return as_tether(node).model_copy(update={"reference": _RECALLED + AGENT})
    if not isinstance(node, Tether):
        return node
    if node.binding == "function" and is_pure(tethers.spec(node.reference), node):
        return node
    changes: dict[str, Any] = {"reference": _RECALLED + node.reference, "binding": "function", "output_mapping": {}}
    return node.model_copy(update={**changes, "effect": False, "endpoint": None, "authentication": None})


def _quick(node: Any) -> Any:
    assert isinstance(node, ActionFields)
    kept = node.retry
    retry = RetryPolicy(
        max_attempts=kept.max_attempts, failure_threshold=kept.failure_threshold, backoff="immediate", jitter=0.0
    )
    timeout_s = None if node.timeout_s is None else max(_LEAST_TIMEOUT_S, 10 * node.timeout_s)
    return node.model_copy(update={"retry": retry, "timeout_s": timeout_s})


@dataclass(frozen=True, slots=True)
class RecordedDecisions:
    """Answers from the record; what was open then stays open."""

    record: Record

    def open(self, decision: Decision) -> Decision:
        """Return the decision as it was made then."""
        found = self.record.decided.get(decision.path)
        if found is None:
            return decision.model_copy(update={"deadline": None})
        chosen, by, value = found
        return decision.model_copy(update={"deadline": None, "chosen": chosen, "chosen_by": by, "value": value})

    def settle(self, decision: Decision) -> Decision:
        """Return it as it is: deadlines are in the record."""
        return decision


class RecordedClock:
    """A clock that begins when the run began, without chance."""

    def __init__(self, began: datetime, clock: Clock) -> None:
        """Begin at `began`; `clock` only says how time passes."""
        self._began, self._clock, self._from = began, clock, clock.monotonic()

    def now(self) -> datetime:
        """Return the time."""
        return self._began + timedelta(seconds=self.monotonic() - self._from)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic()

    def new_id(self) -> str:
        """Refuse: nothing in a run needs one."""
        raise NotRecorded

    def noise(self) -> float:
        """Return no noise."""
        return 0.0


class Unhurried(Paces):
    """Takes no function for quick: quick ones share a thread, and one that is held back would keep the others."""

    def is_quick(self, reference: str) -> bool:
        """Return False."""
        del reference
        return False

    def took_s(self, reference: str) -> float:
        """Return that it takes for ever."""
        del reference
        return inf


class NoSecrets:
    """Gives no secret away."""

    def secret(self, name: str) -> str | None:
        """Return none."""
        del name


class Scraps:
    """The large values of a replay. Those of the store are read, never written."""

    def __init__(self, blobs: Blobs) -> None:
        """Read also what is in `blobs`."""
        self._blobs, self._own = blobs, dict[str, bytes]()

    def put(self, data: bytes) -> str:
        """Keep a value until the replay ends."""
        name = hashlib.sha256(data).hexdigest()
        self._own[name] = data
        return name

    def get(self, sha256: str) -> bytes:
        """Return a value."""
        return self._own[sha256] if sha256 in self._own else self._blobs.get(sha256)

    def names(self) -> list[str]:
        """Return the names of the replay's own."""
        return sorted(self._own)
