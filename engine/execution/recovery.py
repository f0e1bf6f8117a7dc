"""Recovery: components that fail are stood in for, tried again by policy, and disabled or tried on when that is no use.

Nothing here has a timer. A driver asks `due(now)` and calls `attempt(name)` for each: a thread that sleeps until
`next_s()`, or a test with a clock of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Event, Lock, Thread
from typing import Literal, TypeAlias

from engine.domain.values import RetryPolicy
from engine.ports import Clock

Condition: TypeAlias = Literal["healthy", "degraded", "recovering", "failed", "disabled"]
"""healthy: its last check was good. degraded: it failed and its fallback stands in. recovering: it failed, and nothing
stands in. failed: its attempts are used up and it is tried on. disabled: left alone until it is enabled."""

_RECORDS_KEPT = 100
_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """How a component is brought back."""

    attempts: RetryPolicy = field(default_factory=lambda: RetryPolicy(max_attempts=5))
    """How many recovery attempts are made, and the delays before them."""
    afterwards: Literal["disable", "keep_trying"] = "disable"
    """What is done when they are used up; trying on has the last delay again and again."""
    timeout_s: float = 5.0
    """How long a check, a restart or a fallback may take before it is given up and counts as failed."""


@dataclass(frozen=True, slots=True)
class Component:
    """Something that can fail. What it hands over is called on threads of its own, each one at a time."""

    name: str
    check: Callable[[], object]
    """Healthy unless it returns False or raises."""
    restart: Callable[[], object] | None = None
    """Called at each attempt before the check."""
    fallback: Callable[[bool], object] | None = None
    """Called with True when it is to stand in for the component, with False when the component is back."""
    policy: RecoveryPolicy = field(default_factory=RecoveryPolicy)


@dataclass(frozen=True, slots=True)
class Health:
    """How a component is."""

    component: str
    condition: Condition
    last_error: str | None
    attempts: int
    """Recovery attempts that failed since it was healthy."""
    next_attempt_s: float | None
    """When the next one is due, by the monotonic clock."""
    stood_in_for: bool
    """Its fallback is in use."""
    since: datetime
    """When it took this condition."""


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """Something happened to a component."""

    component: str
    at: datetime
    before: Condition
    after: Condition
    reason: str
    attempts: int
    next_attempt_s: float | None


class Recovery:
    """The registry of components. Safe to use from any thread; nothing is called with its lock held.

    A call that hangs is left behind at its timeout, and not made again before it ends, so that a component costs
    three threads at most (check, restart and fallback) however often it is tried.
    """

    def __init__(self, clock: Clock, *, changed: Callable[[RecoveryEvent], None] | None = None) -> None:
        """`changed` is told of everything that is recorded; it must not raise."""
        self._clock = clock
        self._changed = changed
        self._lock = Lock()
        self._patients: dict[str, _Patient] = {}

    def register(self, component: Component) -> None:
        """Take a component in, as healthy. One of the same name is replaced."""
        with self._lock:
            self._patients[component.name] = _Patient(component, self._clock.now())

    def unregister(self, name: str) -> None:
        """Let a component go, if it is here."""
        with self._lock:
            self._patients.pop(name, None)

    def check(self, name: str) -> Health:
        """Check a component now and return how it is; KeyError if there is none of this name.

        One that is disabled stays so, whatever its check says.
        """
        patient = self._patients[name]
        error = patient.checking.call(patient.component.check, patient.policy.timeout_s)
        if error is None:
            return self._well(patient, "its check is good")
        return self.report(name, error)

    def report(self, name: str, error: object) -> Health:
        """Take in that somebody saw a component fail; unless it is known, its recovery begins. KeyError as above."""
        patient = self._patients[name]
        text = str(error)[:_ERROR_CHARS]
        event = None
        with self._lock:
            patient.last_error = text
            if patient.condition == "healthy":
                event = self._note(patient, "recovering", text, due_s=self._due_s(patient))
        return self._tell(patient, event)

    def health(self) -> dict[str, Health]:
        """Return how all components are, by name."""
        with self._lock:
            return {name: patient.health() for name, patient in sorted(self._patients.items())}

    def records(self, name: str) -> tuple[RecoveryEvent, ...]:
        """Return the last 100 events of a component, oldest first; KeyError as above."""
        with self._lock:
            return tuple(self._patients[name].records)

    def next_s(self) -> float | None:
        """Return when the next attempt of all is due by the monotonic clock, None if there is none."""
        with self._lock:
            return min((due_s for due_s, _ in self._waiting()), default=None)

    def due(self, now_s: float) -> list[str]:
        """Return the components whose attempt is due, longest due first, without those under way."""
        with self._lock:
            return [name for due_s, name in sorted(self._waiting()) if due_s <= now_s]

    def attempt(self, name: str) -> Health:
        """Try to bring a component back now, due or not: restart it, then check it. KeyError as above.

        Nothing is done for one that is disabled or healthy, or being tried at this moment.
        """
        patient = self._patients[name]
        with self._lock:
            if patient.condition in {"disabled", "healthy"} or patient.under_way:
                return patient.health()
            patient.under_way = True
        restart, timeout_s = patient.component.restart, patient.policy.timeout_s
        error = patient.restarting.call(restart, timeout_s) if restart is not None else None
        error = error or patient.checking.call(patient.component.check, timeout_s)
        with self._lock:
            patient.under_way = False
        return self._well(patient, "it was brought back") if error is None else self._failed_again(patient, error)

    def disable(self, name: str, reason: str = "it was asked for") -> Health:
        """Leave a component alone until it is enabled. KeyError as above."""
        patient = self._patients[name]
        with self._lock:
            event = None if patient.condition == "disabled" else self._note(patient, "disabled", reason)
        return self._tell(patient, event)

    def enable(self, name: str) -> Health:
        """Try a disabled component again, from the first attempt on, at once. KeyError as above."""
        patient = self._patients[name]
        event = None
        with self._lock:
            if patient.condition == "disabled":
                patient.attempts = 0
                event = self._note(patient, patient.ill, "it was enabled", due_s=self._clock.monotonic())
        return self._tell(patient, event)

    def _waiting(self) -> list[tuple[float, str]]:
        """Return (when, name) of those with an attempt to come; called with the lock held."""
        return [
            (patient.due_s, name)
            for name, patient in self._patients.items()
            if patient.due_s is not None and not patient.under_way
        ]

    def _well(self, patient: _Patient, reason: str) -> Health:
        event = None
        with self._lock:
            if patient.condition not in {"healthy", "disabled"}:
                patient.attempts, patient.left_alone = 0, False
                event = self._note(patient, "healthy", reason)
        return self._tell(patient, event)

    def _failed_again(self, patient: _Patient, error: str) -> Health:
        """Plan the next attempt after one that failed, or disable the component."""
        event = None
        with self._lock:
            patient.last_error = error
            if patient.condition not in {"healthy", "disabled"}:
                patient.attempts += 1
                used_up = patient.attempts >= patient.policy.attempts.attempts()
                if used_up and patient.policy.afterwards == "disable":
                    event = self._note(patient, "disabled", error)
                else:
                    condition = "failed" if used_up else patient.ill
                    event = self._note(patient, condition, error, due_s=self._due_s(patient))
        return self._tell(patient, event)

    def _due_s(self, patient: _Patient) -> float:
        """Return when the next attempt is due that follows those made."""
        policy = patient.policy.attempts
        number = min(patient.attempts + 1, policy.attempts())
        return self._clock.monotonic() + policy.delay_s(number, noise=self._clock.noise())

    def _note(
        self, patient: _Patient, condition: Condition, reason: str, *, due_s: float | None = None
    ) -> RecoveryEvent:
        """Give a component a condition and record it; called with the lock held."""
        at, before = self._clock.now(), patient.condition
        if condition != before:
            patient.condition, patient.since = condition, at
        patient.due_s = due_s
        event = RecoveryEvent(patient.component.name, at, before, condition, reason, patient.attempts, due_s)
        patient.records.append(event)
        return event

    def _tell(self, patient: _Patient, event: RecoveryEvent | None) -> Health:
        """Tell of an event, if there is one, see to the fallback, and return how the component is now."""
        if event is not None:
            if self._changed is not None:
                self._changed(event)
            self._switch(patient)
        with self._lock:
            return patient.health()

    def _switch(self, patient: _Patient) -> None:
        """Let the fallback stand in, or stand down, as the component's condition asks; one thread at a time."""
        fallback = patient.component.fallback
        if fallback is None:
            return
        while True:
            with self._lock:
                ill = patient.condition != "healthy"
                if patient.switching or patient.stood_in_for == ill or (ill and patient.left_alone):
                    return
                patient.switching = True
            error = patient.switches.call(partial(fallback, ill), patient.policy.timeout_s)
            with self._lock:
                patient.switching = False
                event = self._switched(patient, error, on=ill)
            if self._changed is not None:
                self._changed(event)

    def _switched(self, patient: _Patient, error: str | None, *, on: bool) -> RecoveryEvent:
        """Record what came of the fallback; called with the lock held."""
        patient.stood_in_for = on and error is None
        patient.left_alone = on and error is not None
        condition = patient.ill if patient.condition == "recovering" else patient.condition
        reason = "its fallback stands in" if on else "its fallback stood down"
        return self._note(patient, condition, f"its fallback: {error}" if error else reason, due_s=patient.due_s)


class _Patient:
    """A component and how it is; changed with the registry's lock held."""

    def __init__(self, component: Component, since: datetime) -> None:
        self.component, self.policy = component, component.policy
        self.condition: Condition = "healthy"
        self.since = since
        self.last_error: str | None = None
        self.attempts = 0
        self.due_s: float | None = None
        self.under_way = False
        """An attempt is being made."""
        self.stood_in_for = self.switching = False
        self.left_alone = False
        """Its fallback failed this time: it is not asked again before the component was well."""
        self.checking, self.restarting, self.switches = _Lane(), _Lane(), _Lane()
        self.records: deque[RecoveryEvent] = deque(maxlen=_RECORDS_KEPT)

    @property
    def ill(self) -> Condition:
        """The condition of one that failed and is being recovered."""
        return "degraded" if self.stood_in_for else "recovering"

    def health(self) -> Health:
        return Health(
            component=self.component.name,
            condition=self.condition,
            last_error=self.last_error,
            attempts=self.attempts,
            next_attempt_s=self.due_s,
            stood_in_for=self.stood_in_for,
            since=self.since,
        )


class _Lane:
    """Makes one call at a time, on a thread that ends with it; those who come meanwhile get the same result."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._call: _Call | None = None

    def call(self, work: Callable[[], object], timeout_s: float) -> str | None:
        """Return why the call failed, or None; it is given up after `timeout_s`."""
        with self._lock:
            call = self._call
            if call is None or call.over.is_set():
                call = self._call = _Call(work)
                Thread(target=call.make, daemon=True, name="treadle-recovery").start()
            elif call.given_up:
                return "it hangs: the call before has not ended"
        if not call.over.wait(timeout_s):
            call.given_up = True
            return f"it did not end within {timeout_s:g} s"
        return call.error


class _Call:
    """One call and what came of it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.over = Event()
        self.given_up = False
        self.error: str | None = None

    def make(self) -> None:
        try:
            if self._work() is False:
                self.error = "it says that it is not well"
        except BaseException as error:  # noqa: BLE001 - whatever it raises is the component's failure, never ours
            self.error = f"{type(error).__name__}: {error}".rstrip(": ")[:_ERROR_CHARS]
        finally:
            self.over.set()
