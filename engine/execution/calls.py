"""How an action is called: inline, on a thread, on the event loop; told to stop, timed, given up."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.errors import StepCancelled, StepTimedOut, TetherUnknown, TreadleError
from engine.execution import invocation
from engine.execution.frames import Job
from engine.execution.plan import Work
from engine.execution.processes import ProcessCall
from engine.execution.waits import StepWaits
from engine.execution.workers import Result

if TYPE_CHECKING:
    from engine.execution.attempts import Attempts
    from engine.execution.local import LocalRun
    from engine.execution.process_handle import Ended

_QUICK_CALL_S = 0.0002
"""Calls that take less are not worth a thread each."""
_QUEUED = 8
"""So many quick calls are handed over for each thread there may be."""


class Calls:
    """The calls of one run. Begun and ended on the run's own thread."""

    def __init__(self, loop: LocalRun, attempts: Attempts) -> None:
        self._loop, self._attempts = loop, attempts
        self._services, self._scribe = loop.services, loop.scribe
        self._paces, self._clock = loop.services.paces, loop.services.clock.monotonic
        self.in_flight: set[Job] = set()
        """Jobs on a worker thread or on the event loop."""
        self._slow_in_flight = self._awaited = 0

    def dispatch(self, job: Job, inputs: dict[str, Any], settings: dict[str, Any]) -> None:
        """Make the call of an attempt, here or elsewhere; what comes of it goes to `Attempts.ended`."""
        work = job.work
        if self._is_inline(work):
            result = self._call(job, job.generation, inputs, settings)
            if result is not None:
                self._attempts.ended(*result)
            return
        ticket = self._scribe.intent(job.path, job.attempt, job.began_us, job.key) if work.effect else 0
        job.threaded = True
        self.in_flight.add(job)
        if work.runs == "process" and self._services.processes is not None:
            self._awaited += 1
            job.is_awaited = True
            self._begin_apart(job, job.generation, inputs, settings, ticket)
        elif work.runs == "async" and not work.effect:
            self._awaited += 1
            job.is_awaited = True
            self.deadline(job)
            self._services.workers.on_loop(partial(self._begin_async, job, job.generation, inputs, settings))
        else:
            call = partial(self._call_threaded, job, job.generation, inputs, settings, ticket)
            self._loop.crew.submit(call, quick=self._is_quick(job))

    def has_room(self, capacity: int) -> bool:
        """Say whether another call may be handed to a thread; of quick ones several wait in a queue."""
        on_threads = len(self.in_flight) - self._awaited
        return on_threads < (capacity if self._slow_in_flight else _QUEUED * capacity)

    def _is_quick(self, job: Job) -> bool:
        quick = (
            not job.work.effect
            and job.work.node.timeout_s is None
            and job.work.spec is not None
            and self._paces.took_s(job.work.spec.reference) < _QUICK_CALL_S
        )
        job.is_slow = not quick
        self._slow_in_flight += job.is_slow
        return quick

    def _is_inline(self, work: Work) -> bool:
        """Say whether a call is made on the run's own thread."""
        if work.effect or work.node.timeout_s is not None or work.spec is None:
            return False
        return work.runs == "inline" or (work.runs == "auto" and self._paces.is_quick(work.spec.reference))

    def _call_threaded(
        self, job: Job, generation: int, inputs: dict[str, Any], settings: dict[str, Any], ticket: int
    ) -> Result | None:
        """Call a tether on a worker's thread, unless the attempt was given up before its turn came."""
        if generation != job.generation:
            return None
        if job.work.node.timeout_s is not None:
            self._loop.begun(job, generation)
        try:
            if ticket:
                self._scribe.sync(ticket)
        except BaseException as error:  # noqa: BLE001 - as in _call
            return job, generation, None, None, invocation.as_step_error(error)
        result = self._call(job, generation, inputs, settings)
        if generation != job.generation and job.is_left:
            self._loop.crew.shrink()
        return result

    def _call(self, job: Job, generation: int, inputs: dict[str, Any], settings: dict[str, Any]) -> Result | None:
        """Call the tether, on whatever thread this is, and return what `ended` takes; None if it goes on."""
        work = job.work
        began = self._clock()
        try:
            result = work.invoke(inputs, settings, job.context)  # type: ignore[misc,arg-type]
            if inspect.isawaitable(result):
                self._await(job, generation, inputs, result)
                return None
            outputs = self._outputs(work, result, inputs)
            ended: Result = (job, generation, outputs, self._scribe.encoded(outputs), None)
        except StepWaits as wait:
            return job, generation, None, None, wait
        except BaseException as error:  # noqa: BLE001 - whatever a tether raises is the step's failure, never ours
            ended = (job, generation, None, None, invocation.as_step_error(error))
        self._paces.note(work.spec.reference, self._clock() - began)  # type: ignore[union-attr]
        return ended

    def _begin_async(self, job: Job, generation: int, inputs: dict[str, Any], settings: dict[str, Any]) -> None:
        """Call a coroutine function, on the loop's thread."""
        if generation != job.generation:
            return
        if job.context is not None and job.context.is_cancelled:
            self._loop.post(job, generation, None, None, StepCancelled())
            return
        try:
            result = job.work.invoke(inputs, settings, job.context)  # type: ignore[misc,arg-type]
        except BaseException as error:  # noqa: BLE001 - as in _call
            self._loop.post(job, generation, None, None, _told(error))
            return
        self._begin_task(job, generation, inputs, result)

    def _begin_apart(
        self, job: Job, generation: int, inputs: dict[str, Any], settings: dict[str, Any], ticket: int
    ) -> None:
        """Let a process make a call; one with an effect waits for its intent on a thread before."""
        if ticket:
            self._services.workers.submit(partial(self._begin_effect_apart, job, generation, inputs, settings, ticket))
            return
        work, context = job.work, job.context
        assert work.spec is not None
        assert context is not None
        begun = partial(self._loop.begun, job, generation) if work.node.timeout_s is not None else None
        call = ProcessCall(
            work.spec.reference, inputs, settings, self._loop.run.id, job.path, job.attempt, context, work.effect, begun
        )
        done = partial(self._ended_apart, job, generation, inputs, settings)
        assert self._services.processes is not None
        job.cancel = self._services.processes.submit(call, done)
        if context.is_cancelled:
            job.cancel()

    def _begin_effect_apart(
        self, job: Job, generation: int, inputs: dict[str, Any], settings: dict[str, Any], ticket: int
    ) -> None:
        try:
            self._scribe.sync(ticket)
        except BaseException as error:  # noqa: BLE001 - as in _call
            self._loop.post(job, generation, None, None, invocation.as_step_error(error))
            return
        if generation == job.generation:
            self._begin_apart(job, generation, inputs, settings, 0)

    def _ended_apart(
        self, job: Job, generation: int, inputs: dict[str, Any], settings: dict[str, Any], ended: Ended
    ) -> None:
        """Take in what a process gave; a function that only this process has is called on a thread of it."""
        if isinstance(ended.failure, TetherUnknown):
            self._loop.crew.submit(partial(self._call_threaded, job, generation, inputs, settings, 0), quick=False)
            return
        try:
            outputs = kept = None
            if ended.outputs is not None:
                outputs = self._outputs(job.work, ended.outputs, inputs)
                kept = self._scribe.encoded(outputs)
            self._loop.post(job, generation, outputs, kept, ended.failure)
        except BaseException as error:  # noqa: BLE001 - as in _call
            self._loop.post(job, generation, None, None, invocation.as_step_error(error))

    def _begin_task(self, job: Job, generation: int, inputs: dict[str, Any], result: Any) -> None:
        """Await what a call gave, in a task of the loop's thread, and post what comes of it."""
        task = asyncio.ensure_future(self._whole(job, generation, inputs, result))
        job.cancel = partial(self._services.workers.on_loop, task.cancel)
        if job.context is not None and job.context.is_cancelled:
            task.cancel()

    async def _whole(self, job: Job, generation: int, inputs: dict[str, Any], result: Any) -> None:
        try:
            outputs = self._outputs(job.work, await result if inspect.isawaitable(result) else result, inputs)
            self._loop.post(job, generation, outputs, self._scribe.encoded(outputs), None)
        except BaseException as error:  # noqa: BLE001 - as in _call
            self._loop.post(job, generation, None, None, _told(error))

    def _await(self, job: Job, generation: int, inputs: dict[str, Any], result: Any) -> None:
        """Let the loop await what a call on another thread gave."""
        if not job.threaded:
            job.threaded = True
            self.in_flight.add(job)
            self.deadline(job)
        self._services.workers.on_loop(partial(self._begin_task, job, generation, inputs, result))

    def begun(self, job: Job, generation: int) -> None:
        """Count a timeout from when the call really began."""
        if generation == job.generation:
            self.deadline(job)

    def _outputs(self, work: Work, result: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        return invocation.outputs_of(work, result, inputs, self._services.expressions, self._loop.facts)

    # ---- ends ---------------------------------------------------------------------------------------------------

    def give_up_all(self) -> None:
        """Leave every job that is still on a worker: the grace after a cancellation is over."""
        for job in list(self.in_flight):
            self.abandon(job)
            self._attempts.fail(job, StepCancelled(), final=True)

    def tell_all(self) -> None:
        """Tell every running job that the run is being cancelled."""
        for job in self.in_flight:
            self._tell(job)

    def _tell(self, job: Job) -> None:
        if job.context is not None:
            job.context.is_cancelled = True
        if job.cancel is not None:
            job.cancel()

    def landed(self, job: Job) -> None:
        """Count a job as back from wherever it was called."""
        job.cancel = None
        self.disarm(job)
        if job.threaded:
            job.threaded = False
            self.in_flight.discard(job)
            self._slow_in_flight -= job.is_slow
            self._awaited -= job.is_awaited
            job.is_slow = job.is_awaited = False
            self._loop.walk.unhold()

    def abandon(self, job: Job) -> None:
        """Give up the attempt under way: whatever still comes of it is ignored."""
        self._tell(job)
        if job.threaded and not job.is_awaited:
            job.is_left = True
            self._loop.crew.grow()
        job.generation += 1
        self.landed(job)
        if job.child is not None:
            job.child.over, job.child = True, None

    def deadline(self, job: Job) -> None:
        """Let the attempt under way time out, counted from now."""
        timeout_s = job.work.node.timeout_s
        if timeout_s is not None and job.items is None:
            self.disarm(job)
            job.timer = self._loop.later(timeout_s, partial(self._timed_out, job, job.generation, timeout_s))

    @staticmethod
    def disarm(job: Job) -> None:
        """Take back the timeout of the attempt under way: it has ended, or waits."""
        if job.timer is not None:
            job.timer.call = job.timer = None

    def _timed_out(self, job: Job, generation: int, timeout_s: float) -> None:
        if generation == job.generation:
            self.abandon(job)
            self._attempts.fail(job, StepTimedOut(timeout_s=f"{timeout_s:g}"))


def _told(error: BaseException) -> TreadleError | StepWaits:
    return error if isinstance(error, StepWaits) else invocation.as_step_error(error)
