"""What may start now, and what follows when a step has ended. No I/O, no clock, no recursion.

One core holds the state of one plan being run. The driver asks `take()` for the next slot to start and reports each
end with `succeeded`, `failed` or `skipped`; marks of stages settle by themselves.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from heapq import heappop, heappush

from engine.execution.plan import ACTION, BEGIN, END, SINK, SOURCE, Plan

WAITING, READY, RUNNING, DONE, SKIPPED, FAILED = range(6)
NOT_WANTED = "it is not needed for the step asked for"
NOT_CHOSEN = "another branch was chosen"


class Core:
    """The state of one plan: a byte of state and a counter of open predecessors for each slot."""

    __slots__ = (
        "_excluded",
        "_passed_on",
        "limits",
        "open",
        "parked",
        "pending",
        "plan",
        "ready",
        "running",
        "skips",
        "state",
        "trouble",
    )

    def __init__(self, plan: Plan, *, wanted: AbstractSet[int] | None = None) -> None:
        """Begin at the sources; with `wanted`, every other slot is skipped."""
        self.plan = plan
        self.state = bytearray(len(plan.kinds))
        self.pending = plan.pending.copy()
        self.open = len(plan.kinds)
        """Slots that have not ended yet."""
        self.skips: list[tuple[int, str]] = []
        """Slots that were skipped since the driver last looked, with the reason."""
        self.ready: list[int] = []
        """The ranks of the slots that are ready, as a heap."""
        self.running = [0] * len(plan.limits)
        """How many slots of each container run."""
        self.limits = plan.limits
        self.parked: list[list[int]] = [[] for _ in plan.limits]
        """Ranks that are ready and wait for a place in their container, as heaps."""
        self.trouble = wanted is not None
        """Whether a slot may have to be skipped: something failed, was skipped or is not wanted."""
        self._excluded: dict[int, str] = {}
        self._passed_on = set[int]()
        if wanted is not None:
            self._excluded = {slot: NOT_WANTED for slot in range(len(plan.kinds)) if slot not in wanted}
        self._settle([slot for slot, count in enumerate(self.pending) if count == 0 and self._begin(slot)])

    @property
    def finished(self) -> bool:
        """True when every slot has ended."""
        return self.open == 0

    def take(self) -> int:
        """Return the next slot to start, or -1 when nothing may start now; it counts as running."""
        ready, container = self.ready, self.plan.container
        while ready:
            slot = self.plan.by_rank[heappop(ready)]
            home = container[slot]
            if home >= 0:
                if self.running[home] >= self.limits[home]:
                    heappush(self.parked[home], self.plan.rank[slot])
                    continue
                self.running[home] += 1
            self.state[slot] = RUNNING
            return slot
        return -1

    def succeeded(self, slot: int) -> None:
        """Report that a slot ended well; what waited only for it becomes ready."""
        self._end(slot, DONE)
        self._settle([slot])

    def failed(self, slot: int) -> None:
        """Report that a slot failed for good and the run goes on: what needs its outputs is skipped."""
        self.trouble = True
        self._end(slot, FAILED)
        self._settle([slot])

    def skipped(self, slot: int, reason: str) -> None:
        """Report that a slot was not run, such as for a condition that does not hold."""
        self.trouble = True
        self._end(slot, SKIPPED)
        self.skips.append((slot, reason))
        self._settle([slot])

    def chosen(self, slot: int) -> None:
        """Report that a candidate's condition holds: the later ones of a first-match choice are out."""
        first = later = self.plan.next_choice.get(slot)
        if first is None:
            return
        self.trouble = True
        while later is not None:
            self._excluded.setdefault(later, NOT_CHOSEN)
            later = self.plan.next_choice.get(later)
        self._passed_on.add(slot)
        self.pending[first] -= 1
        if self.pending[first] == 0 and self._begin(first):
            self._settle([first])

    def marked(self, target: int) -> None:
        """Settle a mark or boundary that waits for nothing any more."""
        if self._begin(target):
            self._settle([target])

    def _end(self, slot: int, state: int) -> None:
        home = self.plan.container[slot]
        if home >= 0 and self.state[slot] == RUNNING:
            self.running[home] -= 1
            if self.parked[home]:
                heappush(self.ready, heappop(self.parked[home]))
        self.state[slot] = state
        self.open -= 1

    def _settle(self, ended: list[int]) -> None:
        """Count down the successors of what ended; marks and skipped slots end at once and count on."""
        pending, successors = self.pending, self.plan.successors
        while ended:
            slot = ended.pop()
            for target in successors[slot]:
                left = pending[target] - 1
                pending[target] = left
                if left == 0 and self._begin(target):
                    ended.append(target)
            choice = self.plan.next_choice.get(slot)
            if choice is not None and slot not in self._passed_on:
                self._passed_on.add(slot)
                pending[choice] -= 1
                if pending[choice] == 0 and self._begin(choice):
                    ended.append(choice)

    def _begin(self, slot: int) -> bool:
        """Make a slot ready; return True if it ended at once instead, being a mark or blocked."""
        kind = self.plan.kinds[slot]
        reason = self._blocked(slot, kind) if self.trouble else None
        if reason is not None:
            self.state[slot] = SKIPPED
            self.open -= 1
            self.skips.append((slot, reason))
            return True
        if kind == END:
            self.state[slot] = self._stage_state(slot)
            self.open -= 1
            return True
        if kind == BEGIN and not any(condition for _, _, condition in self.plan.guards.get(slot, ())):
            self.state[slot] = DONE
            self.open -= 1
            return True
        self.state[slot] = READY
        heappush(self.ready, self.plan.rank[slot])
        return False

    def _stage_state(self, slot: int) -> int:
        states = {self.state[member] for member in self.plan.members[slot]}
        if FAILED in states:
            return FAILED
        return SKIPPED if states == {SKIPPED} else DONE

    def _blocked(self, slot: int, kind: int) -> str | None:
        excluded = self._excluded.get(slot)
        if excluded is not None:
            return excluded
        if kind == ACTION:
            begin = self.plan.members[slot][0]
            if self.state[begin] == SKIPPED:
                return f"its stage {self.plan.nodes[begin].name!r} was skipped"
            return self._starved(slot)
        if kind in (BEGIN, SINK, SOURCE):
            for source, necessity, _ in self.plan.guards.get(slot, ()):
                if necessity == "required" and self.state[source] == FAILED:
                    return f"{self.plan.nodes[source].name!r} before it failed"
        return None

    def _starved(self, slot: int) -> str | None:
        for argument in self.plan.arguments[slot]:
            given = [source for source, _ in argument.sources if self.state[source] == DONE]
            if argument.required and not given:
                source = argument.sources[0][0]
                what = "failed" if self.state[source] == FAILED else "was skipped"
                return f"{self.plan.nodes[source].name!r}, which feeds {argument.port!r}, {what}"
        return None
