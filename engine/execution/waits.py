"""Steps that wait for a choice, a signal or a time, without a thread.

A function asks through its context. If the answer isn't there yet the call is left by an exception, a decision is
opened in the store, and the run goes on with whatever else it can do; when nothing else is left it is parked. Once
there is an answer the function is called again, from its start, and gets it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.domain.canonical import Json
from engine.domain.entities import Decision, Option
from engine.errors import StepTimedOut

if TYPE_CHECKING:
    from engine.execution.attempts import Attempts
    from engine.execution.frames import Job
    from engine.execution.local import LocalRun

NEAR_S = 10.0
"""A deadline that is nearer keeps the run's thread."""
RETRY, SKIP, FAIL = "retry", "skip", "fail"
_AFTER_A_FAILURE = (
    Option(id=RETRY, name="Try again"),
    Option(id=SKIP, name="Skip it and go on"),
    Option(id=FAIL, name="Fail the run"),
)


class Answer(NamedTuple):
    """What was chosen, by whom (None: by the deadline), and what came with it."""

    chosen: str
    by: str | None
    value: Json


@dataclass(frozen=True, slots=True)
class Request:
    """What a step waits for."""

    awaits: str
    question: str
    options: tuple[Option, ...]
    choosers: tuple[str, ...] = ()
    within_s: float | None = None
    default: str | None = None
    signal: str = ""


class StepWaits(BaseException):
    """A call was left because what it asks for isn't there yet."""

    def __init__(self, request: Request) -> None:
        """Carry what is asked for."""
        super().__init__(request.question)
        self.request = request


class Waits:
    """The steps of a run that wait. Used on the run's own thread."""

    def __init__(self, loop: LocalRun, attempts: Attempts) -> None:
        """Begin with none."""
        self._loop, self._attempts = loop, attempts
        self._waiting: dict[str, list[tuple[Job, bool]]] = {}

    def __len__(self) -> int:
        """Return how many steps wait."""
        return len(self._waiting)

    @property
    def paths(self) -> set[str]:
        """The paths of the decisions that are waited for."""
        return set(self._waiting)

    def open(self, job: Job, request: Request) -> None:
        """Let a job wait for what its function asked for."""
        number = len(job.answers)
        path = f"{job.path}?{number}" if number else job.path
        self._open(job, request, signal_path(request.signal) if request.signal else path, failed=False)

    def open_failure(self, job: Job, error: str) -> None:
        """Let a person say what becomes of a step that failed for good."""
        question = f"{job.work.node.name!r} failed: {error}"[:1_000]
        request = Request("failure", question, _AFTER_A_FAILURE)
        self._open(job, request, f"{job.path}?failed-{job.attempt}", failed=True)

    def answered(self, path: str, answer: Answer) -> None:
        """Take in an answer; one that nobody waits for any more is ignored."""
        for job, failed in self._waiting.pop(path, ()):
            if failed:
                self._loop.scribe.answered(path, answer)
                self._attempts.decided(job, answer.chosen)
            else:
                self._loop.scribe.answered(job.path, answer)
                job.answers.append(answer)
                self._attempts.again(job)

    def drop_stopped(self) -> None:
        """Let go of every job that waits and won't go on, because the run stops."""
        for path in list(self._waiting):
            jobs = self._waiting.pop(path)
            stopped = [job for job, _ in jobs if self._loop.stops(job)]
            if len(stopped) < len(jobs):
                self._waiting[path] = [pair for pair in jobs if pair[0] not in stopped]
            for job in stopped:
                self._attempts.fail_cancelled(job)

    def _open(self, job: Job, request: Request, path: str, *, failed: bool) -> None:
        loop = self._loop
        self._attempts.calls.disarm(job)
        job.generation += 1
        now = loop.services.clock.now()
        kept = loop.services.decisions.open(_decision(loop.run.id, path, request, now))
        if kept.chosen is None and kept.deadline is not None and kept.deadline <= now:
            kept = loop.services.decisions.settle(kept)
        self._waiting.setdefault(path, []).append((job, failed))
        if kept.chosen is not None:
            self.answered(path, Answer(kept.chosen, kept.chosen_by, kept.value))
        elif kept.deadline is not None and kept.deadline <= now:
            self._missed(path, request)
        else:
            loop.scribe.waiting(job.path, job.attempt, job.began_us, kept.question)
            facts = {"question": kept.question, "decision": path, "options": [option.id for option in kept.options]}
            loop.emit(job.path, job.work.node.id, "waiting", facts)
            left_s = (kept.deadline - now).total_seconds() if kept.deadline is not None else NEAR_S
            if left_s < NEAR_S:
                loop.later(max(0.0, left_s), partial(self._at_deadline, path, request, kept))

    def _at_deadline(self, path: str, request: Request, decision: Decision) -> None:
        if path not in self._waiting:
            return
        kept = self._loop.services.decisions.settle(decision)
        if kept.chosen is not None:
            self.answered(path, Answer(kept.chosen, kept.chosen_by, kept.value))
        else:
            self._missed(path, request)

    def _missed(self, path: str, request: Request) -> None:
        for job, _ in self._waiting.pop(path):
            self._attempts.fail(job, StepTimedOut(timeout_s=f"{request.within_s or 0:g}"), final=True)


def signal_path(name: str) -> str:
    """Return the path under which a run keeps what came with a signal."""
    return f"signal:{name}"


def _decision(run: str, path: str, request: Request, now: Any) -> Decision:
    within = timedelta(seconds=request.within_s) if request.within_s is not None else None
    return Decision(
        run=run,
        path=path,
        awaits=request.awaits,  # type: ignore[arg-type]
        signal=request.signal,
        question=request.question,
        options=request.options,
        choosers=request.choosers,
        opened_at=now,
        deadline=None if within is None else now + within,
        default=request.default,
    )
