"""Replay: a recorded run through today's engine and functions, with everything from outside taken from the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.domain.nodes import NestedModel
from engine.domain.queries import RunQuery
from engine.domain.runs import Run
from engine.errors import TreadleError
from engine.execution.breaker import Breakers
from engine.execution.compiling import compile_plan
from engine.execution.frames import Directions, Outcome
from engine.execution.local import LocalRun, Services
from engine.execution.paces import Paces
from engine.execution.plan import Plan
from engine.execution.records import Recovered, describe_path
from engine.execution.scribe import Scribe
from engine.execution.values import load, store
from engine.history.comparing import Divergence, compare, compare_outputs
from engine.history.events import Moment, Recording
from engine.history.recorded_plans import ChangedModels
from engine.history.recorded_world import (
    TIMED_OUT,
    NoSecrets,
    Notebook,
    Record,
    RecordedClock,
    RecordedDecisions,
    RecordedTethers,
    Scraps,
    Unhurried,
    for_replay,
)
from engine.history.refusals import NotReplayable
from engine.models import Models
from engine.ports import Catalog, Tethers
from engine.run_keeping import ENDED
from engine.run_models import as_it_ran, checked_outputs
from engine.run_reuse import names_of

_THREADS = 64
"""Calls at a time: those that are held back must not keep the others from going on."""
_NESTED = NestedModel.model_fields["kind"].default


class Replay(NamedTuple):
    """What a replay found."""

    ok: bool
    compared: int
    """Endings of steps and attempts that came again and were compared."""
    left_out: int
    """Endings recorded after the run had failed or been stopped that did not come again: their order is chance."""
    called: int
    """Calls of today's pure functions. All others were answered from the record."""
    first_divergence: Divergence | None


@dataclass(frozen=True, slots=True)
class Replayer:
    """Replays the runs of a store. Writes nothing, calls no effect, reaches no network."""

    catalog: Catalog
    services: Services
    models: Models
    tethers: Tethers

    def replay(self, recording: Recording) -> Replay:
        """Replay what is recorded of a run, as far as it has come.

        Raises `NotReplayable` for one whose values were not kept, and what compiling raises: `TetherUnknown` for a
        pure function that is gone.
        """
        run = recording.run
        if run.durability == "off":
            raise NotReplayable(run=run.id, reason="its values were not kept (durability off)")
        self.tethers.load_all(run.options.get("tethers") or ())
        world = _World(self, recording)
        outcome = world.go()
        return world.judged(outcome)

    def last_good(self, run: Run, path: str) -> dict[str, Any] | None:
        """Return what the step at a path had given in the last good run before this one."""
        for other in self.catalog.runs(RunQuery(model=run.model, status="succeeded", limit=100)):
            if other.created_at < run.created_at:
                for step in self.catalog.steps(other.id):
                    if step.path == path and step.status in ("succeeded", "cached"):
                        return {port: load(value, self.services.blobs) for port, value in step.outputs.items()}
        return None


class _World:
    """One replay."""

    def __init__(self, replayer: Replayer, recording: Recording) -> None:
        self.run = recording.run
        self.blobs = Scraps(replayer.services.blobs)
        self.record = Record(recording, self.blobs)
        self.notebook = Notebook()
        self.tethers = RecordedTethers(replayer.tethers, self.record, self.notebook)
        self.last_good: Callable[[str], dict[str, Any] | None] = lambda path: replayer.last_good(self.run, path)
        model, source = as_it_ran(self.run, replayer.models)
        change = for_replay(replayer.tethers, wide=not self.record.succeeded)
        self.plan = compile_plan(change(model), self.tethers, ChangedModels(source, change))
        self.timed_out = _timed_out(self.record.moments, self.plan)
        clock = RecordedClock(self.run.started_at or self.run.created_at, replayer.services.clock)
        self.services = Services(
            expressions=replayer.services.expressions,
            blobs=self.blobs,
            clock=clock,
            workers=replayer.services.workers,
            secrets=NoSecrets(),
            decisions=RecordedDecisions(self.record),
            breakers=Breakers(clock),
            paces=Paces() if self.record.succeeded else Unhurried(),
        )
        self.scribe = Scribe(self.run.id, clock, self.blobs, self.notebook)

    def go(self) -> Outcome:
        inputs: Mapping[str, Any] = {name: load(value, self.blobs) for name, value in self.run.inputs.items()}
        options = self.run.options
        directions = Directions(
            until=tuple(name for name in names_of(options.get("until")) if name in self.plan.slots),
            only=tuple(name for name in names_of(options.get("only")) if name in self.plan.slots),
            capacity=_THREADS,
        )
        local = LocalRun(
            self.run,
            self.plan,
            inputs,
            self.services,
            self.scribe,
            recovered=Recovered(failures=self.timed_out[0], final=self.timed_out[1]),
            last_good=self.last_good,
            directions=directions,
            seeds=self.record.seeds,
        )
        return checked_outputs(self.plan.model, local.go(), self.run)

    def judged(self, outcome: Outcome) -> Replay:
        now = Recording(self.run, tuple(self.scribe.records())).moments()
        whole = self.run.status == "succeeded"
        found = compare(self.record.moments, now, whole=whole, exempt=frozenset(self.timed_out[0]))
        first = found.first or self._end(outcome, now)
        return Replay(first is None, found.compared, found.left_out, len(self.tethers.called), first)

    def _end(self, outcome: Outcome, now: tuple[Moment, ...]) -> Divergence | None:
        """Compare how the run ended, if it has and was not stopped by somebody."""
        run = self.run
        if run.status not in ENDED or run.status == "cancelled":
            return None
        if outcome.status != run.status:
            return Divergence("", _ended(run.status, run.error), _ended(outcome.status, outcome.error))
        if run.status == "failed":
            known = {moment.body[1] for moment in now if moment.kind == "failed" and moment.body[2]}
            same = outcome.error == run.error or any(error in (run.error or "") for error in known)
            return None if same else Divergence("", _ended("failed", run.error), _ended("failed", outcome.error))
        try:
            outputs = {name: store(value, self.blobs, port=name) for name, value in outcome.outputs.items()}
        except TreadleError as error:
            return Divergence("", _ended(run.status, None), str(error))
        return compare_outputs(run.outputs, outputs)


def _ended(status: str, error: str | None) -> str:
    return f"it {status}" + (f": {error.rstrip('.')}" if error else "")


def _timed_out(moments: tuple[Moment, ...], plan: Plan) -> tuple[dict[str, int], dict[str, str]]:
    """Return (failed attempts, final failures) of calls of nested models that timed out: when, is in the record."""
    failures, final = dict[str, int](), dict[str, str]()
    for moment in moments:
        if moment.kind == "failed" and moment.body[1].startswith(TIMED_OUT):
            if describe_path(plan, moment.path)[2] != _NESTED:
                continue
            failures[moment.path] = moment.attempt
            if moment.body[2]:
                final[moment.path] = moment.body[1]
    return failures, final
