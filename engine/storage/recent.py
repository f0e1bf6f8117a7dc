"""The last ledger entries that a catalog committed itself: who follows the ledger need not ask the store for them."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from engine.domain.events import Entry

_KEPT = 1_000


class Recent:
    """Entries by sequence. Safe to use from any thread."""

    def __init__(self) -> None:
        """Begin with none."""
        self._entries: dict[int, Entry] = {}
        self._guard = Lock()

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in what a commit made, and drop what is old."""
        with self._guard:
            self._entries.update((entry.sequence, entry) for entry in entries)
            for old in sorted(self._entries)[: max(0, len(self._entries) - _KEPT)]:
                del self._entries[old]

    def follow(self, position: int) -> list[Entry]:
        """Return the entries from `position` + 1 on without a gap; what lies beyond a gap is known to the store."""
        found: list[Entry] = []
        while (entry := self._entries.get(position + 1 + len(found))) is not None:
            found.append(entry)
        return found
