"""What starts next in each frame of a run, and when a frame is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import TreadleError
from engine.execution.collecting import uncollected
from engine.execution.core import Core
from engine.execution.frames import Frame
from engine.execution.plan import ACTION, SINK, SOURCE
from engine.execution.sweep import sweep
from engine.execution.undoing import Undoing

if TYPE_CHECKING:
    from engine.execution.attempts import Attempts
    from engine.execution.local import LocalRun


class Walk:
    """Goes through the frames of one run, on the run's own thread."""

    def __init__(self, loop: LocalRun, attempts: Attempts) -> None:
        self._loop, self._attempts = loop, attempts
        self._expressions, self._scribe = loop.services.expressions, loop.scribe
        self._held: list[Frame] = []
        self._begun = 0

    def unhold(self) -> None:
        """Let frames go on that waited for a worker thread."""
        for frame in self._held:
            self._loop.wake(frame)
        self._held.clear()

    def advance(self, frame: Frame) -> None:
        """Start everything in a frame that may start now; leave it when nothing is left to do."""
        if frame.over:
            return
        while not self._halted(frame) and self._go_on(frame):
            pass
        if not self._loop.recovered.empty and not self._loop.cancelling and not self._loop.pausing:
            self._catch_up(frame)
        if frame.core.skips:
            self._note_skips(frame)
        if self._loop.stopping:
            self._loop.hasten()
        if self._loop.pausing or frame.running or not (frame.core.finished or self._halted(frame)):
            return
        if frame.undos and frame.error is not None and frame.compensates and not self._loop.cancelling:
            frame.undoing = frame.undoing or Undoing(frame, self._attempts)
            if frame.undoing.go_on():
                return
        frame.over = True
        if frame.parent is not None:
            self._attempts.nested_ended(frame, cancelled=not frame.core.finished)

    def _go_on(self, frame: Frame) -> bool:
        """Start what is next; False when nothing may start, or others have their turn first."""
        core = frame.core
        if core.skips:
            self._note_skips(frame)
        if self._is_plain(frame, core):
            with uncollected():
                is_cut = sweep(frame, self._attempts)
            if is_cut:
                self._loop.look_around(frame)
                return False
            return True
        if not self._attempts.calls.has_room(self._loop.capacity):
            self._held.append(frame)
            return False
        slot = core.take()
        if slot < 0:
            return False
        self._begin(frame, slot)
        return True

    def _catch_up(self, frame: Frame) -> None:
        """Take from the journal what was done or begun in a frame beside what failed, though nothing new starts."""
        core, recovered = frame.core, self._loop.recovered
        if not _has_failed(frame):
            return
        while (slot := core.take()) >= 0:
            path = frame.prefix + frame.plan.nodes[slot].id
            is_action = frame.plan.kinds[slot] == ACTION
            if is_action and (recovered.is_done(path) or path in recovered.begun):
                self._attempts.begin(frame, slot)
            elif is_action:
                core.running[frame.plan.container[slot]] -= 1
            else:
                self._begin(frame, slot)

    def _is_plain(self, frame: Frame, core: Core) -> bool:
        if core.trouble or not core.ready or self._loop.is_stepping:
            return False
        slot = frame.plan.by_rank[core.ready[0]]
        call, home = frame.plan.plain[slot], frame.plan.container[slot]
        return (
            call is not None
            and core.running[home] < core.limits[home]
            and not (call.learned and not self._attempts.paces.is_quick(call.reference))
            and not (self._attempts.touched and frame.prefix + frame.plan.nodes[slot].id in self._attempts.touched)
        )

    def _halted(self, frame: Frame) -> bool:
        """Say whether nothing new may start in a frame: the run stops, or it or one around it has failed.

        A nested model that undoes a failure goes on in spite of it.
        """
        return self._loop.cancelling or self._loop.pausing or _has_failed(frame)

    def _begin(self, frame: Frame, slot: int) -> None:
        kind = frame.plan.kinds[slot]
        if kind == ACTION:
            path = frame.prefix + frame.plan.nodes[slot].id
            if not self._loop.stops_before(path, counts=slot not in frame.plan.nested):
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
                broken = self._expressions.evaluate(rule.expression.cel, scope) is not True
                reason = rule.message
            except TreadleError as error:
                broken, reason = True, str(error)
            if broken:
                frame.error = f"{node.name!r}: {reason}"
                return
        frame.values[slot] = values if frame.left[slot] else None
        frame.core.succeeded(slot)
        if self._loop.watched:
            self._loop.emit(frame.prefix + node.id, node.id, "succeeded", {"outputs": values})

    def _decide(self, frame: Frame, slot: int) -> None:
        """Begin a stage whose dependencies have conditions: all must hold."""
        for source, necessity, condition in frame.plan.guards.get(slot, ()):
            if necessity != "conditional" or condition is None:
                continue
            steps: dict[str, Any] = {
                frame.plan.nodes[member].id: frame.values[member] or {} for member in frame.plan.members[source]
            }
            try:
                holds = self._expressions.evaluate(condition.cel, {"steps": steps, "run": self._loop.facts})
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
            if path not in self._loop.recovered.skipped:
                self._scribe.skipped(path, reason)
            self._loop.emit(path, node.id, "skipped", {"reason": reason})


def _has_failed(frame: Frame) -> bool:
    """Say whether a frame or one around it has failed; one that undoes a failure has not."""
    around: Frame | None = frame
    while around is not None:
        if around.error is not None or around.over:
            return True
        parent = around.parent
        around = parent.frame if parent is not None and parent.undoing is None else None
    return False
