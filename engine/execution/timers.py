"""What a run does later: one heap of times, on the run's own thread."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush


class Timer:
    """One call to make at a time, unless it is taken back."""

    __slots__ = ("call", "due_s", "hastens", "number")

    def __init__(self, due_s: float, number: int, call: Callable[[], None], *, hastens: bool) -> None:
        """Make it; `hastens`: it only waits for a next attempt, which a run that stops needn't wait for."""
        self.due_s, self.number, self.hastens = due_s, number, hastens
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: Timer) -> bool:
        """Order by time, then as they were made."""
        return (self.due_s, self.number) < (other.due_s, other.number)


class Timers:
    """The timers of one run."""

    def __init__(self) -> None:
        """Begin with none."""
        self._heap: list[Timer] = []
        self._made = 0

    def add(self, due_s: float, call: Callable[[], None], *, hastens: bool = False) -> Timer:
        """Call something at a time of the run's clock."""
        self._made += 1
        made = Timer(due_s, self._made, call, hastens=hastens)
        heappush(self._heap, made)
        return made

    def next_s(self) -> float | None:
        """Return when the next one is due, None if there is none."""
        while self._heap and self._heap[0].call is None:
            heappop(self._heap)
        return self._heap[0].due_s if self._heap else None

    def run_due(self, now_s: float) -> None:
        """Make the calls that are due."""
        while (due_s := self.next_s()) is not None and due_s <= now_s:
            call, timer = self._heap[0].call, heappop(self._heap)
            timer.call = None
            if call is not None:
                call()

    def hasten(self, now_s: float) -> None:
        """Let those be due now that only wait for a next attempt."""
        for timer in self._heap:
            if timer.hastens:
                timer.due_s = now_s
        heapify(self._heap)
