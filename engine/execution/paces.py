"""Which functions are quick: a call that takes microseconds isn't worth a thread."""

from __future__ import annotations

from math import inf

QUICK_S = 0.002
"""Calls that take less are made on the run's own thread."""
_TRIALS = 3
"""Calls on a thread of their own before a function is taken for quick."""


class Paces:
    """What calls of each function took lately. Shared by all runs of a process; a lost update does no harm."""

    def __init__(self) -> None:
        """Begin without knowledge."""
        self._quick: set[str] = set()
        self._in_a_row: dict[str, int] = {}
        self._took_s: dict[str, float] = {}

    def is_quick(self, reference: str) -> bool:
        """Return whether the last calls of a function were all quick."""
        return reference in self._quick

    def took_s(self, reference: str) -> float:
        """Return the seconds that the last call of a function took; infinite before the first."""
        return self._took_s.get(reference, inf)

    def note(self, reference: str, seconds: float) -> None:
        """Learn what a call took."""
        self._took_s[reference] = seconds
        if seconds < QUICK_S:
            if reference in self._quick:
                return
            count = self._in_a_row[reference] = self._in_a_row.get(reference, 0) + 1
            if count >= _TRIALS:
                self._quick.add(reference)
        else:
            self._quick.discard(reference)
            self._in_a_row[reference] = -_TRIALS  # a function that is slow now and then stays on threads for longer
