"""Attempts of actions: made, timed, repeated, replaced by a fallback, worked through item by item."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.domain.nodes import Knowledge, NestedModel, Tether
from engine.errors import StepCancelled, StepTimedOut, TetherFailed, TreadleError
from engine.execution import invocation
from engine.execution.core import RUNNING, Core
from engine.execution.frames import Frame, Job
from engine.execution.items import PerItem
from engine.execution.plan import Work
from engine.execution.values import Encoded

if TYPE_CHECKING:
    from engine.execution.local import LocalRun


class Attempts:
    """Everything that happens to the jobs of one run; called on the run's own thread but for `_call`."""

    def __init__(self, loop: LocalRun) -> None:
        self._loop = loop
        self._services = loop.services
        self.run = loop.run.id
        self.scribe = loop.scribe
        self.recovered = loop.recovered
        self.touched = loop.recovered.touched
        self.paces = loop.services.paces
        self.blobs = loop.services.blobs
        self.clock = loop.services.clock.monotonic
        self.watcher = loop.seen if loop.watched else None
        self._items = PerItem(loop, self)
        self.in_flight: set[Job] = set()
        """Jobs on a worker thread or on the event loop."""

    # ---- beginning --------------------------------------------------------------------------------------------

    def begin(self, frame: Frame, slot: int) -> None:
        """Begin an action whose turn has come: decide its condition, then make its first attempt."""
        work = frame.plan.work(slot)
        node = work.node
        job = Job(frame, slot, work, frame.prefix + node.id, frame.arguments(slot))
        frame.running += 1
        if self.recovered.is_done(job.path):
            self._chosen(job)
            self._complete(job, self.recovered.outputs_of(job.path, self._services.blobs), recovered=True)
            return
        if node.condition is not None and not self._holds(job, node.condition.cel):
            return
        self._chosen(job)
        if node.for_each is not None and job.path not in self.recovered.final:
            self._items.begin(job, node.for_each)
        else:
            self.attempt(job)

    def failed_plainly(
        self, frame: Frame, slot: int, inputs: dict[str, Any], began: float, context: invocation.Context, error: Exception
    ) -> None:
        """Go on with a plain call that failed as with any other attempt."""
        job = Job(frame, slot, frame.plan.work(slot), frame.prefix + frame.plan.nodes[slot].id, inputs)
        job.began_us, job.attempt, job.context = self.scribe.us(began), 1, context
        frame.running += 1
        frame.core.state[slot] = RUNNING
        self.fail(job, invocation.as_step_error(error))

    def _chosen(self, job: Job) -> None:
        if job.slot in job.frame.plan.next_choice:
            job.frame.core.chosen(job.slot)

    def _holds(self, job: Job, cel: str) -> bool:
        """Evaluate an action's condition; settle the action when it does not hold or can't be evaluated."""
        try:
            scope = invocation.scope_of({**job.work.constants, **job.inputs}, self._loop.facts)
            holds = self._services.expressions.evaluate(cel, scope)
        except TreadleError as error:
            self.start(job)
            self.fail(job, error, final=True)
            return False
        if holds is True:
            return True
        job.frame.running -= 1
        job.frame.core.skipped(job.slot, f"its condition {cel} does not hold")
        return False

    def attempt(self, job: Job) -> None:
        """Make the next attempt of a job, unless the journal already says how it ended."""
        path, recovered = job.path, self.recovered
        if recovered.is_done(path):
            self._complete(job, recovered.outputs_of(path, self._services.blobs), recovered=True)
            return
        if path in recovered.final:
            self._give_up(job, recovered.final[path])
            return
        job.attempt = max(job.attempt, recovered.failures.get(path, 0))
        self.start(job)
        node, expressions = job.work.node, self._services.expressions
        try:
            inputs, settings = invocation.with_parameters(job.work, job.inputs, expressions, self._loop.facts)
            if isinstance(node, NestedModel):
                self._enter(job, node, {**inputs, **settings})
                return
            if isinstance(node, Tether) and node.binding == "http":
                invocation.with_connection(node, inputs, settings, self._services.secrets)
            if isinstance(node, Knowledge):
                self.succeed(job, invocation.content_of(node))
                return
        except TreadleError as error:
            self.fail(job, error)
            return
        self._dispatch(job, inputs, settings)

    def start(self, job: Job) -> None:
        """Count a new attempt of a job and note when it began."""
        job.attempt += 1
        job.generation += 1
        job.began_us = self.scribe.now_us()
        watched = self._loop.watched
        if watched:
            facts = {"attempt": job.attempt, "attempts": job.work.node.retry.attempts(), "began_us": job.began_us}
            self._loop.emit(job.path, job.work.node.id, "running", facts)
        report = partial(self._loop.report, job) if watched else None
        job.context = invocation.Context(self._loop.run.id, job.path, job.attempt, report)

    def _enter(self, job: Job, node: NestedModel, inputs: dict[str, Any]) -> None:
        plan = job.work.nested
        assert plan is not None
        facts = self._loop.facts
        given = invocation.nested_inputs(node, plan.model, inputs, self._services.expressions, facts)
        prefix = job.path + (f"#{job.attempt}" if job.attempt > 1 else "") + "/"
        job.child = Frame(plan, Core(plan), given, prefix, job)
        self._deadline(job)
        self._loop.wake(job.child)

    def _dispatch(self, job: Job, inputs: dict[str, Any], settings: dict[str, Any]) -> None:
        work = job.work
        ticket = self.scribe.intent(job.path, job.attempt, job.began_us, job.key) if work.effect else 0
        if self._is_inline(work):
            self._call(job, job.generation, inputs, settings, 0, inline=True)
            return
        job.threaded = True
        self.in_flight.add(job)
        self._deadline(job)
        self._services.workers.submit(partial(self._call, job, job.generation, inputs, settings, ticket))

    def _is_inline(self, work: Work) -> bool:
        """Say whether a call is made on the run's own thread."""
        if work.effect or work.node.timeout_s is not None or work.spec is None:
            return False
        return work.runs == "inline" or (work.runs == "auto" and self.paces.is_quick(work.spec.reference))

    def _call(
        self,
        job: Job,
        generation: int,
        inputs: dict[str, Any],
        settings: dict[str, Any],
        ticket: int,
        *,
        inline: bool = False,
    ) -> None:
        """Call the tether, on whatever thread this is, and post what came of it."""
        outputs: dict[str, Any] | None = None
        kept: dict[str, Encoded] | None = None
        failure: TreadleError | None = None
        try:
            if ticket:
                self.scribe.sync(ticket)
            began = self.clock()
            result = job.work.invoke(inputs, settings, job.context)  # type: ignore[misc,arg-type]
            if job.work.runs == "auto" and job.work.spec is not None:
                self.paces.note(job.work.spec.reference, self.clock() - began)
            if inspect.isawaitable(result):
                self._await(job, generation, inputs, result)
                return
            outputs = self._outputs(job.work, result, inputs)
            kept = self.scribe.encoded(outputs)
        except BaseException as error:  # noqa: BLE001 - whatever a tether raises is the step's failure, never ours
            failure = invocation.as_step_error(error)
        if inline:
            self.ended(job, generation, outputs, kept, failure)
        else:
            self._loop.post(job, generation, outputs, kept, failure)

    def _outputs(self, work: Work, result: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        return invocation.outputs_of(work, result, inputs, self._services.expressions, self._loop.facts)

    def _await(self, job: Job, generation: int, inputs: dict[str, Any], awaitable: Any) -> None:
        async def whole() -> Any:
            return await awaitable

        def done(future: Any) -> None:
            try:
                outputs = self._outputs(job.work, future.result(), inputs)
                self._loop.post(job, generation, outputs, self.scribe.encoded(outputs), None)
            except BaseException as error:  # noqa: BLE001 - as in _call
                self._loop.post(job, generation, None, None, invocation.as_step_error(error))

        if not job.threaded:
            job.threaded = True
            self.in_flight.add(job)
            self._deadline(job)
        job.cancel = self._services.workers.schedule(whole(), done)

    # ---- endings ----------------------------------------------------------------------------------------------

    def ended(
        self,
        job: Job,
        generation: int,
        outputs: dict[str, Any] | None,
        kept: dict[str, Encoded] | None,
        failure: TreadleError | None,
    ) -> None:
        """Take in what a call gave; a late result of an attempt that was given up is ignored."""
        if generation != job.generation:
            return
        self._landed(job)
        if failure is not None or outputs is None:
            self.fail(job, failure or StepCancelled())
        else:
            self.succeed(job, outputs, kept)

    def nested_ended(self, frame: Frame, *, cancelled: bool) -> None:
        """Take in how a nested model ended."""
        job = frame.parent
        assert job is not None
        if job.child is not frame:
            return
        job.child = None
        node = job.work.node
        assert isinstance(node, NestedModel)
        if frame.error is not None and not node.error_propagation:
            self.succeed(job, {port.name: None for port in node.outputs} | {"error": frame.error})
        elif frame.error is not None:
            self.fail(job, TetherFailed(kind=f"In {frame.plan.model.name}", reason=frame.error))
        elif cancelled:
            self.fail(job, StepCancelled(), final=True)
        else:
            try:
                outputs = invocation.extracted(
                    node, frame.outputs, job.inputs, self._services.expressions, self._loop.facts
                )
            except TreadleError as error:
                self.fail(job, error)
                return
            self.succeed(job, outputs)

    def give_up_all(self) -> None:
        """Leave every job that is still on a worker: the grace after a cancellation is over."""
        for job in list(self.in_flight):
            self._abandon(job)
            self.fail(job, StepCancelled(), final=True)

    def tell_all(self) -> None:
        """Tell every running job that the run is being cancelled."""
        for job in self.in_flight:
            self._tell(job)

    def _tell(self, job: Job) -> None:
        if job.context is not None:
            job.context.is_cancelled = True
        if job.cancel is not None:
            job.cancel()

    def _landed(self, job: Job) -> None:
        job.cancel = None
        if job.threaded:
            job.threaded = False
            self.in_flight.discard(job)
            self._loop.unhold()

    def _abandon(self, job: Job) -> None:
        self._tell(job)
        job.generation += 1
        self._landed(job)
        if job.child is not None:
            job.child.over, job.child = True, None

    def _deadline(self, job: Job) -> None:
        timeout_s = job.work.node.timeout_s
        if timeout_s is not None and job.items is None:
            self._loop.later(timeout_s, partial(self._timed_out, job, job.generation, timeout_s))

    def _timed_out(self, job: Job, generation: int, timeout_s: float) -> None:
        if generation == job.generation:
            self._abandon(job)
            self.fail(job, StepTimedOut(timeout_s=f"{timeout_s:g}"))

    def succeed(self, job: Job, outputs: dict[str, Any], kept: dict[str, Encoded] | None = None) -> None:
        """Record that a step succeeded, then let what follows have its outputs."""
        try:
            kept = kept if kept is not None else self.scribe.encoded(outputs)
        except TreadleError as error:
            self.fail(job, error, final=True)
            return
        logs = job.context.lines if job.context is not None else ()
        ticket = self.scribe.done(job.path, job.attempt, job.began_us, kept, logs)
        if self._loop.strict:
            self.scribe.sync(ticket)
        self._complete(job, outputs)

    def _complete(self, job: Job, outputs: dict[str, Any], *, recovered: bool = False, replaced: bool = False) -> None:
        """Let what follows have a job's outputs; `replaced`: it failed, and something else gave them."""
        job.generation += 1
        if self._loop.watched and not replaced:
            facts = {"outputs": outputs, "began_us": job.began_us, "recovered": recovered}
            self._loop.emit(job.path, job.work.node.id, "succeeded", facts)
        if job.stands_for is not None:
            self._complete(job.stands_for, outputs, replaced=True)
        elif job.whole is not None:
            self._items.ended(job, outputs, None)
        else:
            frame = job.frame
            frame.keep(job.slot, outputs)
            frame.running -= 1
            frame.core.succeeded(job.slot)
            self._loop.wake(frame)

    def fail(self, job: Job, error: TreadleError, *, final: bool = False) -> None:
        """Record a failed attempt; try again by policy, or give the step up."""
        policy = job.work.node.retry
        final = final or self._loop.stopping or job.attempt >= policy.attempts() or not invocation.is_retryable(error)
        told = self._loop.cancelling and job.context is not None and job.context.is_cancelled
        cancelled = told or isinstance(error, StepCancelled)
        job.generation += 1
        if not cancelled:
            logs = job.context.lines if job.context is not None else ()
            self.scribe.failed(job.path, job.attempt, job.began_us, str(error), final=final, key=job.key, logs=logs)
        if final:
            self._give_up(job, str(error), cancelled=cancelled)
            return
        delay_s = policy.delay_s(job.attempt, noise=self._services.clock.noise())
        self._loop.emit(job.path, job.work.node.id, "retrying", {"error": str(error), "delay_s": delay_s})
        self._loop.later(delay_s, partial(self.retry, job, job.generation))

    def retry(self, job: Job, generation: int) -> None:
        """Make the next attempt after its wait, or give up when the run stops."""
        if generation != job.generation:
            return
        if self._loop.stopping:
            self._give_up(job, "It was cancelled.", cancelled=True)
        else:
            self.attempt(job)

    def _give_up(self, job: Job, error: str, *, cancelled: bool = False) -> None:
        """A step failed for good: its fallback stands in, or its container's rule decides."""
        work = job.work
        self._loop.emit(job.path, work.node.id, "cancelled" if cancelled else "failed", {"error": error})
        stand_in = None if cancelled or job.items is not None else work.node.fallback
        if stand_in is None:
            self._lost(job, error, cancelled=cancelled)
        elif stand_in.use == "constant":
            self._complete(job, invocation.constant_outputs(work, stand_in.constant), replaced=True)
        elif stand_in.use == "cached":
            self._last_good(job, error)
        elif work.fallback is not None:
            self._stand_in(job, work.fallback)
        else:
            self._lost(job, error, cancelled=False)

    def _stand_in(self, job: Job, work: Work) -> None:
        suffix = f"[{job.item}]" if job.item >= 0 else ""
        other = Job(job.frame, job.slot, work, f"{job.frame.prefix}{work.node.id}{suffix}", job.inputs)
        other.stands_for = job
        self.attempt(other)

    def _last_good(self, job: Job, error: str) -> None:
        outputs = self._loop.last_good(job.path)
        if outputs is None:
            self._lost(job, f"{error} There is no earlier good result to use instead.", cancelled=False)
        else:
            self._complete(job, outputs, replaced=True)

    def _lost(self, job: Job, error: str, *, cancelled: bool) -> None:
        """Nothing can stand in for a failed step."""
        if job.stands_for is not None:
            self._lost(job.stands_for, error, cancelled=cancelled)
            return
        skip = job.work.on_failure == "skip" and not cancelled
        if job.whole is not None:
            self._items.ended(job, None, None if skip else f"item {job.item + 1}: {error}")
            return
        frame = job.frame
        frame.running -= 1
        frame.release(job.slot)
        if skip:
            frame.core.failed(job.slot)
        elif not cancelled:
            tries = f" after {job.attempt} attempts" if job.attempt > 1 else ""
            frame.error = frame.error or f"{job.work.node.name!r} failed{tries}: {error}"
        self._loop.wake(frame)
