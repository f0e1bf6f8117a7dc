"""Compensation: what undoes completed steps, in reverse, after a step failed for good in a stage that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.execution.frames import Frame, Job
from engine.execution.plan import Work

if TYPE_CHECKING:
    from engine.execution.attempts import Attempts


class Undo(NamedTuple):
    """How to undo a step that was done: the compensating action, with what the step got and gave."""

    work: Work
    path: str
    values: dict[str, Any]
    place: int
    """When it was done, among all of its run: later ones are undone first."""


class Undoing:
    """The compensations of one frame, one after the other. Used on the run's own thread."""

    def __init__(self, frame: Frame, attempts: Attempts) -> None:
        """Undo what the frame has noted as done."""
        self._frame, self._attempts = frame, attempts
        self._left = sorted(frame.undos, key=lambda undo: undo.place)
        self._total, self._failures = len(self._left), list[str]()

    def go_on(self) -> bool:
        """Begin the next compensation; False when there is none left, and then the frame's error says how it went."""
        frame = self._frame
        if not self._left:
            done = self._total - len(self._failures)
            told = f" {done} of {self._total} completed steps were undone." if self._total else ""
            frame.error = " ".join([f"{frame.error}{told}", *self._failures])
            return False
        undo = self._left.pop()
        frame.running += 1
        job = Job(frame, -1, undo.work, f"{frame.prefix}{undo.work.node.id}#{undo.path}", undo.values)
        job.undoing = self
        self._attempts.attempt(job)
        return True

    def ended(self, job: Job, error: str | None) -> None:
        """Take in how a compensation ended."""
        self._frame.running -= 1
        if error is not None:
            self._failures.append(f"{job.work.node.name!r} could not undo it: {error}")
