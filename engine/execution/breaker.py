"""Circuit breakers: a target outside that keeps failing is left alone for a while, then tried by one call at a time.

Closed, open, half-open as in Nygard, "Release It!" (2nd ed., 2018), ch. 5. A breaker never waits, calls nothing but
the callback for its events, and takes the time from whoever asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias

from engine.errors import TargetUnavailable
from engine.execution.targets import counts_against, was_answered
from engine.ports import Clock

State: TypeAlias = Literal["closed", "open", "half_open"]

_STALE_S = 1.0
"""How old a reading of the clock may be that a thread hands in after another one's; more, and the clock went back."""
_ERROR_CHARS = 500
_TARGETS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and closes. Times in seconds; ValueError for what makes no sense."""

    failure_threshold: int = 5
    """Failures that open it: in a row, or within `window_s` if that is given."""
    success_threshold: int = 2
    """Probes that must succeed, one after the other, to close it again."""
    open_s: float = 30.0
    """How long it stays open before a probe may go."""
    window_s: float | None = None
    """Failures count this long whatever succeeds between them. None: a success makes up for those before it."""
    probe_limit_s: float = 120.0
    """A probe that said nothing for so long is given up, so that one that hangs doesn't block its target."""

    def __post_init__(self) -> None:
        """Check the figures."""
        if self.failure_threshold < 1 or self.success_threshold < 1:
            raise ValueError("the thresholds of a breaker are 1 or more")
        if not (self.open_s >= 0 and self.probe_limit_s > 0 and (self.window_s is None or self.window_s > 0)):
            raise ValueError("the times of a breaker are not negative, its window and its limit not 0")


class Admission(NamedTuple):
    """Leave to make one call. Hand it back with `succeeded`, `failed` or `abandoned`."""

    target: str
    generation: int
    """Grows with each change of state and each probe: what an older one reports is ignored."""
    probe: bool


@dataclass(frozen=True, slots=True)
class BreakerEvent:
    """A breaker changed its state at `at_s`, by the clock it was asked with."""

    target: str
    before: State
    after: State
    at_s: float
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerFigures:
    """How a breaker stands and what it has seen since it was made."""

    target: str
    state: State
    failures: int
    """Failures that count towards opening it."""
    probes: int
    """Probes that have succeeded towards closing it."""
    succeeded: int
    failed: int
    abandoned: int
    late: int
    """Results of an older generation, which were ignored."""
    refused: int
    opened: int
    last_error: str | None
    since_s: float
    """When it took this state, by the clock it is asked with."""
    retry_in_s: float | None
    """Seconds until a probe may go: 0 if one may, or is under way; None while it is closed."""


class Breaker:
    """The circuit breaker of one target. Safe to use from any thread; `changed` is called without its lock held.

    Its time is `now_s` as it is handed in, but never goes back: a reading up to a second old counts as the latest
    one; when a clock is set back further, time goes on from the latest reading, and failures within a window are
    forgotten, because nobody can say how long ago they were. So a clock that goes back opens nothing and admits
    nobody early.
    """

    def __init__(
        self,
        target: str,
        policy: BreakerPolicy,
        *,
        now_s: float,
        changed: Callable[[BreakerEvent], None] | None = None,
    ) -> None:
        """Begin closed. `changed` is told of every change of state and must not raise."""
        self.target, self.policy = target, policy
        self._changed = changed
        self._lock = Lock()
        self._state: State = "closed"
        self._closed = Admission(target, 0, probe=False)
        self.idle: Admission | None = self._closed
        """What it admits with while it is closed and no failure counts: then the time doesn't matter."""
        self._generation = 0
        self._latest_s = self._since_s = now_s
        self._ahead_s = 0.0
        self._marks: deque[float] = deque(maxlen=policy.failure_threshold)
        self._probe_s: float | None = None
        self._probes = self._succeeded = self._failed = self._abandoned = 0
        self._late = self._refused = self._opened = 0
        self._last_error: str | None = None

    def admit(self, now_s: float) -> Admission | None:
        """Return leave to call the target, or None: leave it alone for now."""
        idle = self.idle
        if idle is not None:
            return idle
        event = None
        with self._lock:
            at_s = self._read(now_s)
            if self._state == "closed":
                return self._closed
            if self._state == "open":
                if at_s - self._since_s < self.policy.open_s:
                    self._refused += 1
                    return None
                event = self._turn("half_open", at_s, "it is tried again")
            elif self._probe_s is not None and at_s - self._probe_s < self.policy.probe_limit_s:
                self._refused += 1
                return None
            self._generation += 1
            self._probe_s = at_s
            admission = Admission(self.target, self._generation, probe=True)
        self._tell(event)
        return admission

    def passed(self, admission: Admission) -> bool:
        """Take in a success while idle, for which nobody has to look at the clock; False: call `succeeded`."""
        with self._lock:
            if admission is not self.idle:
                return False
            self._succeeded += 1
            return True

    def succeeded(self, admission: Admission, now_s: float) -> None:
        """Take in that the call was answered."""
        if self.passed(admission):
            return
        event = None
        with self._lock:
            at_s = self._read(now_s)
            if admission.generation != self._generation:
                self._late += 1
                return
            self._succeeded += 1
            if self._state == "half_open":
                self._free()
                self._probes += 1
                if self._probes >= self.policy.success_threshold:
                    event = self._turn("closed", at_s, f"successful probes: {self._probes}")
            elif self.policy.window_s is None or not self._counted(at_s):
                self._marks.clear()
                self.idle = self._closed
        self._tell(event)

    def failed(self, admission: Admission, now_s: float, *, error: object = None) -> None:
        """Take in that the call failed, and why."""
        text = str(error)[:_ERROR_CHARS] if error is not None else None
        event = None
        with self._lock:
            at_s = self._read(now_s)
            if admission.generation != self._generation:
                self._late += 1
                return
            self._failed += 1
            self._last_error = text or self._last_error
            if self._state == "half_open":
                event = self._turn("open", at_s, "its probe failed")
            else:
                self.idle = None
                self._marks.append(at_s)
                if self._counted(at_s) >= self.policy.failure_threshold:
                    event = self._turn("open", at_s, f"failures: {len(self._marks)}")
        self._tell(event)

    def abandoned(self, admission: Admission, now_s: float) -> None:
        """Take in that the call was given up from our side: it says nothing of the target; another probe may go."""
        with self._lock:
            self._read(now_s)
            if admission.generation != self._generation:
                self._late += 1
                return
            self._abandoned += 1
            if self._state == "half_open":
                self._free()

    def figures(self, now_s: float) -> BreakerFigures:
        """Return how it stands."""
        with self._lock:
            at_s = self._read(now_s)
            retry_in_s = None if self._state == "closed" else 0.0
            if self._state == "open":
                retry_in_s = max(0.0, self._since_s + self.policy.open_s - at_s)
            return BreakerFigures(
                target=self.target,
                state=self._state,
                failures=self._counted(at_s),
                probes=self._probes,
                succeeded=self._succeeded,
                failed=self._failed,
                abandoned=self._abandoned,
                late=self._late,
                refused=self._refused,
                opened=self._opened,
                last_error=self._last_error,
                since_s=self._since_s - self._ahead_s,
                retry_in_s=retry_in_s,
            )

    def _read(self, now_s: float) -> float:
        """Return the time as it counts here."""
        at_s = now_s + self._ahead_s
        latest_s = self._latest_s
        if at_s >= latest_s:
            self._latest_s = at_s
            return at_s
        if latest_s - at_s > _STALE_S:
            self._ahead_s = latest_s - now_s
            if self.policy.window_s is not None:
                self._marks.clear()
        return latest_s

    def _counted(self, at_s: float) -> int:
        window_s = self.policy.window_s
        return len(self._marks) if window_s is None else sum(at_s - mark_s <= window_s for mark_s in self._marks)

    def _free(self) -> None:
        """Let another probe go; what the last one may still report is of an older generation."""
        self._probe_s = None
        self._generation += 1

    def _turn(self, state: State, at_s: float, reason: str) -> BreakerEvent:
        before, self._state = self._state, state
        self._generation += 1
        self._since_s, self._probe_s, self._probes = at_s, None, 0
        if state == "open":
            self._opened += 1
        elif state == "closed":
            self._marks.clear()
            self.idle = self._closed = Admission(self.target, self._generation, probe=False)
        return BreakerEvent(self.target, before, state, at_s - self._ahead_s, self._generation, reason)

    def _tell(self, event: BreakerEvent | None) -> None:
        if event is not None and self._changed is not None:
            self._changed(event)


class Breakers:
    """The breakers of a process by target, made when first asked for. Safe to use from any thread.

    Of more than 10,000 targets those that are closed without a failure are forgotten.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        default: BreakerPolicy | None = None,
        policies: Mapping[str, BreakerPolicy] | None = None,
        changed: Callable[[BreakerEvent], None] | None = None,
    ) -> None:
        """`policies` by target, `default` for the others; `changed` as of a `Breaker`, for all of them."""
        self._clock = clock
        self._default = default or BreakerPolicy()
        self._policies = dict(policies or {})
        self._changed = changed
        self._lock = Lock()
        self._breakers: dict[str, Breaker] = {}
        self._room = _TARGETS_KEPT

    def at(self, target: str) -> Breaker:
        """Return the breaker of a target."""
        return self._breakers.get(target) or self._made(target)

    def admit(self, target: str) -> Admission:
        """Return leave to call a target; `TargetUnavailable` says when to try again (`facts["retry_in_s"]`)."""
        breaker = self._breakers.get(target) or self._made(target)
        idle = breaker.idle
        if idle is not None:
            return idle
        now_s = self._clock.monotonic()
        admission = breaker.admit(now_s)
        if admission is None:
            raise _unavailable(breaker.figures(now_s))
        return admission

    def settle(self, admission: Admission, error: BaseException | None = None) -> None:
        """Report how an admitted call ended. A target that answered is well, if only with a 404."""
        breaker = self._breakers.get(admission.target) or self._made(admission.target)
        if error is None and breaker.passed(admission):
            return
        now_s = self._clock.monotonic()
        if error is None or was_answered(error):
            breaker.succeeded(admission, now_s)
        elif counts_against(error):
            breaker.failed(admission, now_s, error=error)
        else:
            breaker.abandoned(admission, now_s)

    def figures(self) -> dict[str, BreakerFigures]:
        """Return how all stand, by target."""
        with self._lock:
            breakers = sorted(self._breakers.items())
        now_s = self._clock.monotonic()
        return {target: breaker.figures(now_s) for target, breaker in breakers}

    def _made(self, target: str) -> Breaker:
        now_s = self._clock.monotonic()
        with self._lock:
            if len(self._breakers) >= self._room:
                self._forget_idle(now_s)
            if target not in self._breakers:
                policy = self._policies.get(target, self._default)
                self._breakers[target] = Breaker(target, policy, now_s=now_s, changed=self._changed)
            return self._breakers[target]

    def _forget_idle(self, now_s: float) -> None:
        standing = ((breaker, breaker.figures(now_s)) for breaker in self._breakers.values())
        self._breakers = {one.target: one for one, how in standing if how.state != "closed" or how.failures}
        self._room = max(_TARGETS_KEPT, 2 * len(self._breakers))


def _unavailable(figures: BreakerFigures) -> TargetUnavailable:
    wait_s = figures.retry_in_s or 0.0
    when = f"in {wait_s:.3g} s" if wait_s else "under way"
    reason = (figures.last_error or "nothing is known of why").rstrip(". ")
    return TargetUnavailable(target=figures.target, reason=reason, when=when, retry_in_s=wait_s)
