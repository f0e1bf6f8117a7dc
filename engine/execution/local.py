"""The local driver: runs a plan in this process, on the calling thread, worker threads and one event loop.

All decisions are made on the calling thread; workers only call tethers and post what came of it. The journal is
written with output commit: a pure step never waits for the disk, an effect waits until everything before it, and its
own intent, is on disk (Elnozahy et al., "A survey of rollback-recovery protocols", 2002).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from engine.domain.runs import Run
from engine.execution.attempts import Attempts
from engine.execution.breaker import Breakers
from engine.execution.core import Core
from engine.execution.frames import Directions, Frame, Job, Outcome, RunEvent, Seed, Watch
from engine.execution.paces import Paces
from engine.execution.plan import Plan
from engine.execution.records import Recovered
from engine.execution.scribe import Scribe
from engine.execution.timers import Timer, Timers
from engine.execution.waits import Answer
from engine.execution.walk import Walk
from engine.execution.workers import Crew, Result, Workers
from engine.ports import Blobs, Clock, Decisions, Expressions, Secrets

if TYPE_CHECKING:
    from engine.execution.processes import Processes

_EVENT_INTERVAL_S = 1 / 15
_CANCEL_GRACE_S = 5.0
_HURRY_S = 0.005
_STUCK = "Nothing can go on: this is a mistake in the engine. Please report it."


@dataclass(frozen=True, slots=True)
class Services:
    """What a driver needs of the world."""

    expressions: Expressions
    blobs: Blobs
    clock: Clock
    workers: Workers
    secrets: Secrets
    decisions: Decisions
    breakers: Breakers
    paces: Paces = field(default_factory=Paces)
    processes: Processes | None = None
    """For functions that ask for a process of their own; without, they are called on threads."""


class LocalRun:
    """One run under way. Call `go` once; `cancel` may be called from any thread."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        inputs: Mapping[str, Any],
        services: Services,
        scribe: Scribe,
        *,
        recovered: Recovered | None = None,
        watch: Watch | None = None,
        last_good: Callable[[str], dict[str, Any] | None] = lambda _: None,
        directions: Directions = Directions(),
        seeds: Mapping[str, Seed] | None = None,
    ) -> None:
        """`last_good` gives the outputs that the step at a path had in its last good run, for fallbacks.

        `seeds`: results by path that are taken instead of running the step.
        """
        self.run, self.services, self.scribe = run, services, scribe
        self.recovered = recovered or Recovered()
        self.last_good = last_good
        self.facts = {"id": run.id, "model": run.model_name, "inputs": dict(inputs)}
        self.strict = run.durability == "strict"
        self.watched = watch is not None
        self._watch = watch
        self.crew = Crew(services.workers, directions.capacity, self._post_all)
        self.capacity, self.directions, self.seeds = directions.capacity, directions, seeds or {}
        self._inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._dirty: deque[Frame] = deque()
        self._timers = Timers()
        self._events: list[RunEvent] = []
        self._flushed_at_s = 0.0
        self._cancelled = self._suspended = self._hastened = self._parked = False
        self.pausing = False
        """True once nothing new starts, because the run pauses: what is under way comes to its end."""
        self.is_stepping = directions.most_steps is not None or bool(directions.breakpoints)
        self._begun = 0
        self.paused_at: str | None = None
        """The step before which a breakpoint stopped the run."""
        self._attempts = Attempts(self)
        self.walk = Walk(self, self._attempts)
        self._root = Frame(plan, Core(plan, wanted=directions.wanted(plan, self.seeds)), inputs, "", None)

    def go(self) -> Outcome:
        """Run to the end and return how it ended. Raises `JournalBroken` when nothing can be recorded any more."""
        self._take_in_all()  # it may be cancelled before it begins
        self.wake(self._root)
        while True:
            while self._dirty:
                self.walk.advance(self._dirty.popleft())
                if self._dirty and not self._inbox.empty():
                    self._take_in_all()
            if self._root.over or self._parked:
                break
            self._wait()
        self._flush()
        return self._outcome()

    def _outcome(self) -> Outcome:
        if self._suspended or (self.pausing and not self._root.over):
            return Outcome("paused", {}, None)
        if self._parked:
            return Outcome("waiting", {}, None)
        if self._cancelled:
            return Outcome("cancelled", {}, "It was cancelled.")
        if self._root.error is not None:
            return Outcome("failed", {}, self._root.error)
        return Outcome("succeeded", self._root.outputs, None)

    def cancel(self) -> None:
        """Ask the run to stop: nothing new starts, running steps are told, and given up after a grace of 5 s."""
        self._inbox.put(("cancel",))

    def suspend(self) -> None:
        """Stop as `cancel` does, but leave the run to be resumed from its journal; `go` returns 'paused'."""
        self._inbox.put(("suspend",))

    def pause(self) -> None:
        """Let what is under way come to its end, start nothing new, and leave the run to be resumed."""
        self._inbox.put(("pause",))

    def answer(self, path: str, answer: Answer) -> None:
        """Hand an answer to the step that waits for it."""
        self._inbox.put(("answer", path, answer))

    @property
    def asked(self) -> set[str]:
        """The paths of the decisions that the run waits for."""
        return self._attempts.waits.paths

    # ---- what attempts ask of the loop ------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """True once nothing new may start: the run was cancelled or has failed."""
        return self._cancelled or self._root.error is not None

    @property
    def cancelling(self) -> bool:
        """True once the run was cancelled or suspended: what a step told to stop raises then is no failure."""
        return self._cancelled

    def stops(self, job: Job) -> bool:
        """Say whether nothing new may be begun for a job, because the run stops; what undoes a failure goes on."""
        if self._cancelled or self._root.error is None:
            return self._cancelled
        around: Job | None = job
        while around is not None:
            if around.undoing is not None:
                return False
            around = around.frame.parent
        return True

    def wake(self, frame: Frame) -> None:
        """See soon what may start in a frame."""
        self._dirty.append(frame)

    def look_around(self, frame: Frame) -> None:
        """Go on with a frame after a look at what else has happened."""
        self.wake(frame)
        if self._watch is not None and self.services.clock.monotonic() - self._flushed_at_s >= _EVENT_INTERVAL_S:
            self._flush()

    def stops_before(self, path: str, *, counts: bool) -> bool:
        """Say whether the run pauses before a step: at a breakpoint, or after as many steps as were asked for.

        `counts`: it is a step of its own; one around others is begun anew each time.
        """
        wishes = self.directions
        if not self.is_stepping or self.recovered.has_ended(path) or path in self.seeds:
            return False
        names = {path, path.rpartition("/")[2]}
        at_breakpoint = path not in wishes.passed and not names.isdisjoint(wishes.breakpoints)
        if at_breakpoint or (counts and self._begun == wishes.most_steps):
            self.pausing, self.paused_at = True, path
            return True
        self._begun += counts
        return False

    def later(self, delay_s: float, call: Callable[[], None], *, hastens: bool = False) -> Timer:
        """Call something on the run's thread after a delay; `hastens`: at once when the run stops."""
        return self._timers.add(self.services.clock.monotonic() + delay_s, call, hastens=hastens)

    def post(self, job: Job, *result: Any) -> None:
        """Hand the result of a call to the run's thread; called on worker threads."""
        self._inbox.put(("ended", job, *result))

    def _post_all(self, results: list[Result]) -> None:
        self._inbox.put(("all ended", results))

    def begun(self, job: Job, generation: int) -> None:
        """Tell that the call of an attempt with a timeout begins; called on worker threads."""
        self._inbox.put(("begun", job, generation))

    def report(self, job: Job, share: float, text: str) -> None:
        """Hand on progress; called on worker threads."""
        self._inbox.put(("progress", job, share, text))

    def emit(self, path: str, node: str, state: str, facts: Mapping[str, Any]) -> None:
        """Let watchers see something with the next batch."""
        if self._watch is not None:
            self._events.append(RunEvent(self.scribe.now_us(), path, node, state, facts))

    def seen(self, path: str, node: str, began: float, ended: float, outputs: dict[str, Any]) -> None:
        """Let watchers see a plain step with the next batch; times are those of the run's clock."""
        facts = {"outputs": outputs, "began_us": self.scribe.us(began), "recovered": False}
        self._events.append(RunEvent(self.scribe.us(ended), path, node, "succeeded", facts))

    # ---- the loop ---------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for a result, a timer or a word from outside, and take it in."""
        now = self.services.clock.monotonic()
        self._timers.run_due(now)
        if self._dirty:
            return
        next_s = self._timers.next_s()
        if not self._attempts.calls.in_flight and self._inbox.empty() and (self.pausing or next_s is None):
            self._rest()
            return
        if now - self._flushed_at_s >= _EVENT_INTERVAL_S:
            self._flush()
        timeout_s = max(0.0, next_s - now) if next_s is not None else None
        if self._events:
            timeout_s = min(_EVENT_INTERVAL_S, timeout_s) if timeout_s is not None else _EVENT_INTERVAL_S
        if self.crew.is_behind:
            timeout_s = min(_HURRY_S, timeout_s) if timeout_s is not None else _HURRY_S
        try:
            self._take_in(self._inbox.get(timeout=timeout_s))
            self._take_in_all()
        except Empty:
            self.crew.hurry()

    def _rest(self) -> None:
        """Leave a run in which nothing can happen by itself any more."""
        if self.pausing or len(self._attempts.waits):
            self._parked = True
        else:
            self._root.error = self._root.error or _STUCK
            self.wake(self._root)

    def _take_in_all(self) -> None:
        with suppress(Empty):
            while True:
                self._take_in(self._inbox.get_nowait())

    def _take_in(self, message: tuple[Any, ...]) -> None:
        what, *facts = message
        if what == "ended":
            self._attempts.ended(*facts)
        elif what == "all ended":
            for result in facts[0]:
                self._attempts.ended(*result)
        elif what == "begun":
            self._attempts.calls.begun(*facts)
        elif what == "progress":
            job, share, text = facts
            self.emit(job.path, job.work.node.id, "progress", {"progress": share, "text": text})
        elif what == "answer":
            self._attempts.waits.answered(*facts)
        elif what == "pause":
            self.pausing = True
        elif not self._cancelled:
            self._cancelled, self._suspended = True, what == "suspend"
            self._attempts.waits.drop_stopped()
            self._attempts.calls.tell_all()
            self.later(_CANCEL_GRACE_S, self._attempts.calls.give_up_all)
            self.wake(self._root)

    def hasten(self) -> None:
        """Let timers that only wait for a next attempt fire now, once, because the run stops."""
        self._attempts.waits.drop_stopped()
        if self._hastened:
            return
        self._hastened = True
        self._timers.hasten(self.services.clock.monotonic())

    def _flush(self) -> None:
        self._flushed_at_s = self.services.clock.monotonic()
        if self._events and self._watch is not None:
            events, self._events = self._events, []
            self._watch(events)
