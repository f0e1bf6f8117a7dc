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
from heapq import heapify, heappop, heappush
from queue import Empty, SimpleQueue
from typing import Any

from engine.domain.runs import Run
from engine.errors import TreadleError
from engine.execution.attempts import Attempts
from engine.execution.core import Core
from engine.execution.frames import Frame, Job, Outcome, RunEvent, Watch
from engine.execution.paces import Paces
from engine.execution.plan import ACTION, SINK, SOURCE, Plan
from engine.execution.records import Recovered
from engine.execution.scribe import Scribe
from engine.execution.sweep import sweep
from engine.execution.workers import Workers
from engine.ports import Blobs, Clock, Expressions, Secrets

_EVENT_INTERVAL_S = 1 / 15
_CANCEL_GRACE_S = 5.0
_STUCK = "Nothing can go on: this is a mistake in the engine. Please report it."


@dataclass(frozen=True, slots=True)
class Services:
    """What a driver needs of the world."""

    expressions: Expressions
    blobs: Blobs
    clock: Clock
    workers: Workers
    secrets: Secrets
    paces: Paces = field(default_factory=Paces)


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
        until: str | None = None,
        capacity: int = 8,
    ) -> None:
        """`until`: a node; only it and what it needs are run. `capacity`: calls on worker threads at a time.

        `last_good` gives the outputs that the step at a path had in its last good run, for fallbacks.
        """
        self.run, self.services, self.scribe = run, services, scribe
        self.recovered = recovered or Recovered()
        self.last_good = last_good
        self.facts = {"id": run.id, "model": run.model_name, "inputs": dict(inputs)}
        self.strict = run.durability == "strict"
        self.watched = watch is not None
        self._watch = watch
        self._capacity = capacity
        self._inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._dirty: deque[Frame] = deque()
        self._held: list[Frame] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_made = 0
        self._events: list[RunEvent] = []
        self._flushed_at_s = 0.0
        self._cancelled = self._suspended = False
        self._hastened = False
        self._attempts = Attempts(self)
        wanted = plan.ancestors(until) if until is not None else None
        self._root = Frame(plan, Core(plan, wanted=wanted), inputs, "", None)

    def go(self) -> Outcome:
        """Run to the end and return how it ended. Raises `JournalBroken` when nothing can be recorded any more."""
        self.wake(self._root)
        while True:
            while self._dirty:
                self._advance(self._dirty.popleft())
                if self._dirty and not self._inbox.empty():
                    self._take_in_all()
            if self._root.over:
                break
            self._wait()
        self._flush()
        if self._suspended:
            return Outcome("paused", {}, None)
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

    # ---- what attempts ask of the loop ------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """True once nothing new may start: the run was cancelled or has failed."""
        return self._cancelled or self._root.error is not None

    @property
    def cancelling(self) -> bool:
        """True once the run was cancelled or suspended: what a step told to stop raises then is no failure."""
        return self._cancelled

    def wake(self, frame: Frame) -> None:
        """See soon what may start in a frame."""
        self._dirty.append(frame)

    def unhold(self) -> None:
        """A worker thread is free: frames that waited for one go on."""
        self._dirty.extend(self._held)
        self._held.clear()

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something on the run's thread after a delay."""
        self._timers_made += 1
        heappush(self._timers, (self.services.clock.monotonic() + delay_s, self._timers_made, call))

    def post(self, job: Job, *result: Any) -> None:
        """Hand the result of a call to the run's thread; called on worker threads."""
        self._inbox.put(("ended", job, *result))

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
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2]()
        if self._dirty:
            return
        if not self._timers and not self._attempts.in_flight and self._inbox.empty():
            self._root.error = self._root.error or _STUCK
            self.wake(self._root)
            return
        if now - self._flushed_at_s >= _EVENT_INTERVAL_S:
            self._flush()
        timeout_s = self._timers[0][0] - now if self._timers else None
        if self._events:
            timeout_s = min(_EVENT_INTERVAL_S, timeout_s) if timeout_s is not None else _EVENT_INTERVAL_S
        with suppress(Empty):
            self._take_in(self._inbox.get(timeout=timeout_s))
            self._take_in_all()

    def _take_in_all(self) -> None:
        with suppress(Empty):
            while True:
                self._take_in(self._inbox.get_nowait())

    def _take_in(self, message: tuple[Any, ...]) -> None:
        what, *facts = message
        if what == "ended":
            self._attempts.ended(*facts)
        elif what == "progress":
            job, share, text = facts
            self.emit(job.path, job.work.node.id, "progress", {"progress": share, "text": text})
        elif not self._cancelled:
            self._cancelled, self._suspended = True, what == "suspend"
            self._attempts.tell_all()
            self.later(_CANCEL_GRACE_S, self._attempts.give_up_all)
            self.wake(self._root)

    def _hasten(self) -> None:
        """Let timers that only wait for a next attempt fire now, once, because the run stops."""
        if not self.stopping:
            return
        self._hastened = True
        now = self.services.clock.monotonic()
        self._timers = [
            (now if getattr(call, "func", None) == self._attempts.retry else due, number, call)
            for due, number, call in self._timers
        ]
        heapify(self._timers)

    def _flush(self) -> None:
        self._flushed_at_s = self.services.clock.monotonic()
        if self._events and self._watch is not None:
            events, self._events = self._events, []
            self._watch(events)

    # ---- frames -----------------------------------------------------------------------------------------------

    def _advance(self, frame: Frame) -> None:
        """Start everything in a frame that may start now; leave it when nothing is left to do."""
        if frame.over:
            return
        core, halted = frame.core, self._halted(frame)
        while not halted:
            if core.skips:
                self._note_skips(frame)
            if not core.trouble:
                if sweep(frame, self._attempts):
                    self._pause_for_others(frame)
                    return
                if self._halted(frame):
                    halted = True
                    break
            if len(self._attempts.in_flight) >= self._capacity:
                self._held.append(frame)
                return
            slot = core.take()
            if slot < 0:
                break
            self._begin(frame, slot)
            halted = self._halted(frame)
        if core.skips:
            self._note_skips(frame)
        if halted and not self._hastened:
            self._hasten()
        if (core.finished or halted) and frame.running == 0 and not frame.over:
            frame.over = True
            if frame.parent is not None:
                self._attempts.nested_ended(frame, cancelled=not core.finished)

    def _pause_for_others(self, frame: Frame) -> None:
        """Go on with a frame after a look at what else has happened."""
        self.wake(frame)
        if self._watch is not None and self.services.clock.monotonic() - self._flushed_at_s >= _EVENT_INTERVAL_S:
            self._flush()

    def _halted(self, frame: Frame) -> bool:
        """Say whether nothing new may start in a frame: the run stops, or it or one around it has failed."""
        if self.stopping:
            return True
        around: Frame | None = frame
        while around is not None:
            if around.error is not None or around.over:
                return True
            around = around.parent.frame if around.parent is not None else None
        return False

    def _begin(self, frame: Frame, slot: int) -> None:
        kind = frame.plan.kinds[slot]
        if kind == ACTION:
            self._attempts.begin(frame, slot)
        elif kind == SOURCE:
            node = frame.plan.nodes[slot]
            values = {port.name: frame.inputs[port.name] for port in node.outputs if port.name in frame.inputs}
            self._check_rules(frame, slot, values)
        elif kind == SINK:
            values = frame.arguments(slot)
            frame.outputs.update(values)
            frame.release(slot)
            self._check_rules(frame, slot, values)
        else:
            self._decide(frame, slot)

    def _check_rules(self, frame: Frame, slot: int, values: dict[str, Any]) -> None:
        """Settle a boundary: its rules hold, or the frame fails with the rule's own sentence."""
        node = frame.plan.nodes[slot]
        for rule in node.rules:
            try:
                scope = {**values, "inputs": values}
                broken = self.services.expressions.evaluate(rule.expression.cel, scope) is not True
                reason = rule.message
            except TreadleError as error:
                broken, reason = True, str(error)
            if broken:
                frame.error = f"{node.name!r}: {reason}"
                return
        frame.values[slot] = values if frame.left[slot] else None
        frame.core.succeeded(slot)
        if self.watched:
            self.emit(frame.prefix + node.id, node.id, "succeeded", {"outputs": values})

    def _decide(self, frame: Frame, slot: int) -> None:
        """Begin a stage whose dependencies have conditions: all must hold."""
        for source, necessity, condition in frame.plan.guards.get(slot, ()):
            if necessity != "conditional" or condition is None:
                continue
            steps: dict[str, Any] = {
                frame.plan.nodes[member].id: frame.values[member] or {} for member in frame.plan.members[source]
            }
            try:
                holds = self.services.expressions.evaluate(condition.cel, {"steps": steps, "run": self.facts})
            except TreadleError as error:
                frame.error = f"{frame.plan.nodes[slot].name!r}: {error}"
                return
            if holds is not True:
                frame.core.skipped(slot, f"its condition {condition.cel!r} does not hold")
                return
        frame.core.succeeded(slot)

    def _note_skips(self, frame: Frame) -> None:
        skips, frame.core.skips = frame.core.skips, []
        for slot, reason in skips:
            if frame.plan.kinds[slot] == SINK:
                frame.release(slot)
            if frame.plan.kinds[slot] != ACTION:
                continue
            frame.release(slot)
            node = frame.plan.nodes[slot]
            path = frame.prefix + node.id
            if path not in self.recovered.skipped:
                self.scribe.skipped(path, reason)
            self.emit(path, node.id, "skipped", {"reason": reason})
