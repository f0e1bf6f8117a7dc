"""What a driver holds while a run goes on: a frame for each plan being run, a job for each attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.domain.runs import RunStatus
from engine.execution.core import Core
from engine.execution.invocation import Context
from engine.execution.plan import SOURCE, Plan, Work

if TYPE_CHECKING:
    from engine.execution.breaker import Admission
    from engine.execution.timers import Timer
    from engine.execution.undoing import Undo, Undoing
    from engine.execution.waits import Answer


class RunEvent(NamedTuple):
    """Something a watcher may want to show. `state` is a step status, 'progress', or 'run' for the run itself."""

    ts_us: int
    path: str
    node: str
    state: str
    facts: Mapping[str, Any]


Watch = Callable[[list[RunEvent]], None]
"""Receives events in batches, about 15 a second, on the run's own thread; it must return soon."""


class Outcome(NamedTuple):
    """How a run ended."""

    status: RunStatus
    outputs: dict[str, Any]
    error: str | None


class Seed(NamedTuple):
    """A result that is taken instead of running a step, and why."""

    outputs: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """How much of a model is run, and where it pauses."""

    until: tuple[str, ...] = ()
    """Nodes: only they and what they need are run."""
    only: tuple[str, ...] = ()
    """Nodes: only they are run; what they need comes from seeds."""
    breakpoints: frozenset[str] = frozenset()
    """Nodes or paths of steps before which the run pauses."""
    passed: frozenset[str] = frozenset()
    """Paths of steps whose breakpoint was passed already."""
    most_steps: int | None = None
    """The run pauses after so many steps."""
    capacity: int = 8
    """Calls on worker threads at a time."""

    def wanted(self, plan: Plan, seeds: Iterable[str]) -> set[int] | None:
        """Return the slots that may run, None for all; those with a seed have their result already."""
        if not self.only:
            return plan.ancestors(*self.until) if self.until else None
        found = {slot for slot, kind in enumerate(plan.kinds) if kind == SOURCE}
        for node in (*self.only, *seeds):
            slot = plan.slots.get(node)
            if slot is not None:
                found.update((slot, *plan.members[slot]))
        return found


class Frame:
    """One plan being run: the root model, or a nested one for one call of its step."""

    __slots__ = (
        "compensates",
        "core",
        "error",
        "inputs",
        "left",
        "outputs",
        "over",
        "parent",
        "plan",
        "prefix",
        "running",
        "undoing",
        "undos",
        "values",
    )

    def __init__(self, plan: Plan, core: Core, inputs: Mapping[str, Any], prefix: str, parent: Job | None) -> None:
        self.plan, self.core, self.inputs, self.prefix, self.parent = plan, core, inputs, prefix, parent
        self.values: list[Any] = [None] * len(plan.kinds)
        self.left = plan.consumers.copy()
        self.outputs: dict[str, Any] = {}
        self.running = 0
        self.error: str | None = None
        self.over = False
        self.compensates = False
        """A step failed in a stage that asks for compensation."""
        self.undos: list[Undo] = []
        self.undoing: Undoing | None = None

    def arguments(self, slot: int) -> dict[str, Any]:
        """Return the values that wires bring to the ports of a slot; ports that got nothing are absent."""
        found: dict[str, Any] = {}
        for argument in self.plan.arguments[slot]:
            given = [
                self.values[source][port]
                for source, port in argument.sources
                if self.values[source] is not None and port in self.values[source]
            ]
            if argument.many:
                found[argument.port] = given
            elif given:
                found[argument.port] = given[0]
        return found

    def keep(self, slot: int, outputs: dict[str, Any]) -> None:
        """Hold a slot's outputs for its consumers and let go of inputs that nobody needs any more."""
        if self.left[slot]:
            self.values[slot] = outputs
        self.release(slot)

    def release(self, slot: int) -> None:
        """Count a slot as consumer of its sources."""
        for argument in self.plan.arguments[slot]:
            for source, _ in argument.sources:
                self.left[source] -= 1
                if self.left[source] == 0:
                    self.values[source] = None


class Items:
    """The items of a per-item step, their results and where it stands."""

    __slots__ = ("ended", "error", "inputs", "limit", "next", "results", "running", "starting", "values")

    def __init__(self, values: list[Any], inputs: dict[str, Any], limit: int) -> None:
        self.values, self.inputs, self.limit = values, inputs, limit
        self.results: list[dict[str, Any] | None] = [None] * len(values)
        self.next = self.running = self.ended = 0
        self.error: str | None = None
        self.starting = False

    @property
    def has_next(self) -> bool:
        """True when another item may begin now."""
        return self.next < len(self.values) and self.running < self.limit


class Job:
    """One action being done, through all its attempts; for a per-item step, the whole and one for each item."""

    __slots__ = (
        "admission",
        "answers",
        "attempt",
        "began_us",
        "cancel",
        "child",
        "context",
        "error",
        "frame",
        "generation",
        "inputs",
        "is_awaited",
        "is_left",
        "is_slow",
        "item",
        "items",
        "path",
        "slot",
        "stands_for",
        "threaded",
        "timer",
        "undoing",
        "whole",
        "work",
    )

    def __init__(self, frame: Frame, slot: int, work: Work, path: str, inputs: dict[str, Any]) -> None:
        self.frame, self.slot, self.work, self.path, self.inputs = frame, slot, work, path, inputs
        self.attempt = 0
        self.generation = 0
        """Grows with each attempt and when one is given up: a late result of an older one is ignored."""
        self.began_us = 0
        self.context: Context | None = None
        self.cancel: Callable[[], None] | None = None
        self.threaded = False
        self.is_slow = self.is_awaited = False
        self.is_left = False
        """Given up while its call was on a thread."""
        self.child: Frame | None = None
        self.error = ""
        self.items: Items | None = None
        self.whole: Job | None = None
        self.item = -1
        self.stands_for: Job | None = None
        self.admission: Admission | None = None
        """That its target's breaker let it through."""
        self.timer: Timer | None = None
        """When the attempt under way times out."""
        self.undoing: Undoing | None = None
        """What it compensates, and for whom."""
        self.answers: list[Answer] = []
        """What its function asked for and got, in order."""

    @property
    def is_whole(self) -> bool:
        """True for the whole of a per-item step."""
        return (
            self.item < 0 and self.stands_for is None and self.undoing is None and self.work.node.for_each is not None
        )

    @property
    def key(self) -> str:
        """The idempotency key of the attempt under way."""
        return self.context.idempotency_key if self.context is not None else ""
