"""A model made ready to run: flat lists indexed by slot, compiled once.

Slots are the actions and boundaries of one model, and two marks for each stage: where it begins and where it ends.
An edge from slot a to slot b means that b waits for a. Nested models are compiled once into sub-plans; a run enters a
sub-plan each time the nested step is called, so depth and per-item calls need no special case here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from engine.domain.model import FunctionModel
from engine.domain.nodes import Action
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Expression
from engine.ports import Invoke

ACTION, SOURCE, SINK, BEGIN, END = range(5)


class Argument(NamedTuple):
    """Where an input port's value comes from: (slot, port) of each wire."""

    port: str
    sources: tuple[tuple[int, str], ...]
    many: bool
    required: bool


class PlainCall(NamedTuple):
    """A call that needs no thread, no waiting and no expression; shared by all actions that make the same one."""

    invoke: Invoke
    reference: str
    outputs: tuple[str, ...]
    """Names of the output ports; none: whatever the function gives."""
    required: bool
    """Whether each of them must be given."""
    ports: dict[str, Any]
    """Constants for ports that no wire fills."""
    fixed: dict[str, Any]
    """Constants for settings."""
    learned: bool
    """Whether only calls that have been quick so far are made in this way."""


@dataclass(frozen=True, slots=True)
class Work:
    """What running an action means."""

    node: Action
    invoke: Invoke | None
    spec: TetherSpec | None
    effect: bool
    runs: str
    constants: dict[str, Any]
    """Parameters that are plain values."""
    expressions: dict[str, str]
    """Parameters that are CEL."""
    settings: frozenset[str]
    """Names of the parameters that are settings, not ports."""
    on_failure: str
    nested: Plan | None = None
    fallback: Work | None = None
    compensation: Work | None = None


@dataclass(slots=True)
class Plan:
    """Everything the core needs to know of a model, by slot."""

    model: FunctionModel
    slots: dict[str, int]
    """Node id -> slot; a stage's id -> its END mark."""
    kinds: bytearray
    nodes: list[Any]
    pending: list[int]
    successors: list[list[int]]
    rank: list[int]
    """Lower runs earlier among those that are ready: priority first, then order, then topology."""
    by_rank: list[int]
    container: list[int]
    """Index into `limits` for actions, -1 for the rest."""
    limits: list[int]
    arguments: list[tuple[Argument, ...]]
    guards: dict[int, tuple[tuple[int, str, Expression | None], ...]]
    """For BEGIN marks and boundaries: (END slot, necessity, condition) of each dependency."""
    members: list[tuple[int, ...]]
    """For END marks: the actions of the stage. For actions: the BEGIN mark."""
    consumers: list[int]
    """How many wires read a slot's outputs; its values are let go after the last."""
    next_choice: dict[int, int]
    """Candidates of a first-match choice: each with the next one."""
    plain: list[PlainCall | None]
    nested: dict[int, Plan]
    """The plans of the nested models, by the slot that calls them."""
    shared: frozenset[str]
    """Actions on call for several others: their steps say for whom."""
    steps: int
    """Actions that may become steps (those on call as a fallback left out)."""
    make_work: Callable[[Action], Work]
    _work: dict[int, Work] = field(default_factory=dict[int, Work])

    def work(self, slot: int) -> Work:
        """Return what running an action means."""
        found = self._work.get(slot)
        if found is None:
            found = self._work[slot] = self.make_work(self.nodes[slot])
        return found

    def ancestors(self, *nodes: str) -> set[int]:
        """Return the slots that must end before these nodes can, themselves included."""
        before: list[list[int]] = [[] for _ in self.kinds]
        for slot, after in enumerate(self.successors):
            for successor in after:
                before[successor].append(slot)
        return _reached(before, (self.slots[node] for node in nodes))

    def descendants(self, *nodes: str) -> set[int]:
        """Return the slots that wait for these nodes, themselves included."""
        return _reached(self.successors, (self.slots[node] for node in nodes))


def _reached(edges: list[list[int]], starts: Any) -> set[int]:
    found, stack = set[int](), list[int](starts)
    while stack:
        slot = stack.pop()
        if slot not in found:
            found.add(slot)
            stack.extend(edges[slot])
    return found


def cel_of(value: Any) -> str | None:
    """Return the expression in a parameter written `{"$cel": "…"}`, else None."""
    if not isinstance(value, dict):
        return None
    found = cast("dict[str, Any]", value)
    text = found.get("$cel")
    return text if len(found) == 1 and isinstance(text, str) else None
