"""Attempts of actions: made, timed, repeated, replaced by a fallback, worked through item by item."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from engine.domain.nodes import Knowledge, NestedModel, Tether
from engine.errors import StepCancelled, TargetUnavailable, TetherFailed, TreadleError
from engine.execution import invocation
from engine.execution.calls import Calls
from engine.execution.core import RUNNING, Core
from engine.execution.frames import Frame, Job, Seed
from engine.execution.items import PerItem
from engine.execution.plan import Work
from engine.execution.targets import target_of
from engine.execution.undoing import Undo
from engine.execution.values import Encoded
from engine.execution.waits import RETRY, SKIP, Answer, StepWaits, Waits

if TYPE_CHECKING:
    from engine.execution.local import LocalRun


class Attempts:
    """Everything that happens to the jobs of one run; called on the run's own thread."""

    def __init__(self, loop: LocalRun) -> None:
        self._loop = loop
        self._services = loop.services
        self.run = loop.run.id
        self.scribe = loop.scribe
        self.recovered = loop.recovered
        self.touched = loop.recovered.touched
        if loop.seeds:
            self.touched = {*(self.touched or ()), *loop.seeds}
        self._done = 0
        self.paces = loop.services.paces
        self.blobs = loop.services.blobs
        self.clock = loop.services.clock.monotonic
        self.watcher = loop.seen if loop.watched else None
        self._items = PerItem(loop, self)
        self.waits = Waits(loop, self)
        self.calls = Calls(loop, self)

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
        seed = self._loop.seeds.get(job.path)
        if seed is not None:
            self._chosen(job)
            self._plant(job, seed)
            return
        if node.condition is not None and not self._holds(job, node.condition.cel):
            return
        self._chosen(job)
        if node.for_each is not None and job.path not in self.recovered.final:
            self._items.begin(job, node.for_each)
        else:
            self.attempt(job)

    def failed_plainly(
        self,
        frame: Frame,
        slot: int,
        inputs: dict[str, Any],
        context: invocation.Context,
        *,
        began: float,
        error: BaseException,
    ) -> None:
        """Go on with a plain call that failed as with any other attempt; `began` in times of the run's clock."""
        job = Job(frame, slot, frame.plan.work(slot), context.path, inputs)
        job.began_us, job.attempt, job.context = self.scribe.us(began), 1, context
        frame.running += 1
        frame.core.state[slot] = RUNNING
        if isinstance(error, StepWaits):
            self.waits.open(job, error.request)
        else:
            self.fail(job, invocation.as_step_error(error))

    def _chosen(self, job: Job) -> None:
        if job.slot in job.frame.plan.next_choice:
            job.frame.core.chosen(job.slot)

    def _plant(self, job: Job, seed: Seed) -> None:
        """Take a result that is there already for a step's."""
        job.began_us = self.scribe.now_us()
        self.scribe.done(job.path, 1, job.began_us, self.scribe.encoded(seed.outputs), reason=seed.reason)
        self._complete(job, seed.outputs, recovered=True)

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

    def attempt(self, job: Job, *, failures: int | None = None) -> None:
        """Make the next attempt of a job, unless the journal already says how it ended.

        `failures`: how many attempts there were, when more is known of it than the journal says.
        """
        path, recovered = job.path, self.recovered
        if recovered.is_done(path):
            self._complete(job, recovered.outputs_of(path, self._services.blobs), recovered=True)
            return
        seed = self._loop.seeds.get(path) if failures is None and job.attempt == 0 else None
        if seed is not None:
            self._plant(job, seed)
            return
        if path in recovered.final and failures is None:
            job.attempt = recovered.failures.get(path, 0)
            self._give_up(job, recovered.final[path])
            return
        job.attempt = max(job.attempt, recovered.failures.get(path, 0) if failures is None else failures)
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
            if job.work.effect and isinstance(node, Tether):
                self._admit(job, str(inputs.get("url") or settings.get("url") or node.endpoint or ""))
        except TreadleError as error:
            self.fail(job, error)
            return
        self.calls.dispatch(job, inputs, settings)

    def _admit(self, job: Job, url: str) -> None:
        """Ask the breaker of what the step calls; raise `TargetUnavailable` while it is open."""
        target = target_of(url)
        if target is not None:
            job.admission = self._services.breakers.admit(target)

    def _settle(self, job: Job, error: BaseException | None = None) -> None:
        """Tell the target's breaker how the call ended."""
        admission, job.admission = job.admission, None
        if admission is not None:
            self._services.breakers.settle(admission, error)

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
        if not job.answers:
            job.answers = [Answer(*each) for each in self.recovered.answers.get(job.path, ())]
        job.context.answers = job.answers

    def _enter(self, job: Job, node: NestedModel, inputs: dict[str, Any]) -> None:
        plan = job.work.nested
        assert plan is not None
        facts = self._loop.facts
        given = invocation.nested_inputs(node, plan.model, inputs, self._services.expressions, facts)
        prefix = job.path + (f"#{job.attempt}" if job.attempt > 1 else "") + "/"
        job.child = Frame(plan, Core(plan), given, prefix, job)
        self.calls.deadline(job)
        self._loop.wake(job.child)

    # ---- endings ----------------------------------------------------------------------------------------------

    def ended(
        self,
        job: Job,
        generation: int,
        outputs: dict[str, Any] | None,
        kept: dict[str, Encoded] | None,
        failure: TreadleError | StepWaits | None,
    ) -> None:
        """Take in what a call gave; a late result of an attempt that was given up is ignored."""
        if generation != job.generation:
            return
        self.calls.landed(job)
        if isinstance(failure, StepWaits):
            self._settle(job, StepCancelled())
            self.waits.open(job, failure.request)
        elif failure is not None or outputs is None:
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

    def succeed(self, job: Job, outputs: dict[str, Any], kept: dict[str, Encoded] | None = None) -> None:
        """Record that a step succeeded, then let what follows have its outputs."""
        self._settle(job)
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
        self._done += 1
        if job.undoing is not None:
            job.undoing.ended(job, None)
            self._loop.wake(job.frame)
        elif job.stands_for is not None:
            self._complete(job.stands_for, outputs, replaced=True)
        elif job.whole is not None:
            self._items.ended(job, outputs, None)
        else:
            frame = job.frame
            if job.work.compensation is not None and not replaced:
                values = {**job.inputs, **outputs}
                frame.undos.append(Undo(job.work.compensation, job.work.node.id, values, self._place(job, recovered)))
            frame.keep(job.slot, outputs)
            frame.running -= 1
            frame.core.succeeded(job.slot)
            self._loop.wake(frame)

    def _place(self, job: Job, recovered: bool) -> int:  # noqa: FBT001 - as in _complete
        """Return when a step was done, among all of its run."""
        before = self.recovered.places
        return before.get(job.path, 0) if recovered else len(before) + self._done

    def again(self, job: Job) -> None:
        """Call a job's function again, in the same attempt: what it waited for is there."""
        if self._loop.stops(job):
            self.fail_cancelled(job)
            return
        job.attempt -= 1
        self.attempt(job, failures=job.attempt)

    def decided(self, job: Job, choice: str) -> None:
        """Do with a step that failed for good what somebody chose."""
        if choice == RETRY and not self._loop.stops(job):
            self.attempt(job, failures=job.attempt)
        else:
            self._settle_loss(job, job.error, skip=choice == SKIP, cancelled=self._loop.cancelling)

    def fail_cancelled(self, job: Job) -> None:
        """Give up a job because the run is cancelled."""
        self.fail(job, StepCancelled(), final=True)

    def fail(self, job: Job, error: TreadleError, *, final: bool = False) -> None:
        """Record a failed attempt; try again by policy, or give the step up."""
        policy = job.work.node.retry
        final = final or self._loop.stops(job) or job.attempt >= policy.attempts() or not invocation.is_retryable(error)
        told = self._loop.cancelling and job.context is not None and job.context.is_cancelled
        cancelled = told or isinstance(error, StepCancelled)
        job.generation += 1
        self._settle(job, StepCancelled() if cancelled else error)
        if not cancelled:
            logs = job.context.lines if job.context is not None else ()
            self.scribe.failed(job.path, job.attempt, job.began_us, str(error), final=final, key=job.key, logs=logs)
        if final:
            self._give_up(job, str(error), cancelled=cancelled)
            return
        delay_s = policy.delay_s(job.attempt, noise=self._services.clock.noise())
        if isinstance(error, TargetUnavailable):
            delay_s = max(delay_s, float(str(error.facts.get("retry_in_s", 0))))
        self._loop.emit(job.path, job.work.node.id, "retrying", {"error": str(error), "delay_s": delay_s})
        self._loop.later(delay_s, partial(self.retry, job, job.generation), hastens=True)

    def retry(self, job: Job, generation: int) -> None:
        """Make the next attempt after its wait, or give up when the run stops."""
        if generation != job.generation:
            return
        if self._loop.stops(job):
            self._give_up(job, "It was cancelled.", cancelled=True)
        else:
            self.attempt(job)

    def _give_up(self, job: Job, error: str, *, cancelled: bool = False) -> None:
        """A step failed for good: its fallback stands in, or its container's rule decides."""
        work = job.work
        self._loop.emit(job.path, work.node.id, "cancelled" if cancelled else "failed", {"error": error})
        stand_in = None if cancelled or job.is_whole else work.node.fallback
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
        whom = f"#{job.work.node.id}" if work.node.id in job.frame.plan.shared else ""
        other = Job(job.frame, job.slot, work, f"{job.frame.prefix}{work.node.id}{whom}{suffix}", job.inputs)
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
        elif job.undoing is not None:
            job.undoing.ended(job, error)
            self._loop.wake(job.frame)
        elif job.work.on_failure == "wait" and not cancelled and not job.is_whole and not self._loop.stops(job):
            job.error = error
            self.waits.open_failure(job, error)
        else:
            self._settle_loss(job, error, skip=job.work.on_failure == "skip" and not cancelled, cancelled=cancelled)

    def _settle_loss(self, job: Job, error: str, *, skip: bool, cancelled: bool) -> None:
        """Go on without a step that failed for good, or let its frame fail."""
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
            frame.compensates = frame.compensates or job.work.on_failure == "compensate"
            frame.error = frame.error or f"{job.work.node.name!r} failed{tries}: {error}"
        self._loop.wake(frame)
