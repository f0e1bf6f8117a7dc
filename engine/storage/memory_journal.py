"""Journal and blobs in memory: for tests and throw-away sessions, and the reference of the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from threading import RLock

from engine.errors import JournalBroken, StoreCorrupted
from engine.ports import JournalRecord

_PLACE = "memory:"


class MemoryJournal:
    """A journal for runs that need not survive the process."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = RLock()
        self._closed = False
        self._tickets = 0
        self._records: dict[str, list[JournalRecord]] = {}
        self._claimed: set[str] = set()

    def append(self, record: JournalRecord) -> int:
        """Keep a record and return its ticket."""
        with self._open():
            self._records.setdefault(record.run, []).append(record)
            self._tickets += 1
            return self._tickets

    def sync(self, ticket: int) -> None:
        """Return at once: nothing here survives anyway."""
        with self._open():
            del ticket

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records of a run in order."""
        with self._open():
            return list(self._records.get(run, ()))

    def unfinished(self) -> list[str]:
        """Return the runs that have records, oldest first."""
        with self._open():
            return list(self._records)

    def claim(self, run: str) -> bool:
        """Return True: there is no other process."""
        with self._open():
            self._claimed.add(run)
            return True

    def claim_next(self) -> str | None:
        """Take the oldest run that is not taken."""
        with self._open():
            found = next((run for run in self._records if run not in self._claimed), None)
            if found is not None:
                self._claimed.add(found)
            return found

    def held(self) -> set[str]:
        """Return nothing: there is no other process."""
        with self._open():
            return set()

    def forget(self, run: str) -> None:
        """Drop the records of a run."""
        with self._open():
            self._records.pop(run, None)
            self._claimed.discard(run)

    def close(self) -> None:
        """Refuse further use. Calling it twice is harmless."""
        with self._lock:
            self._closed = True

    @contextmanager
    def _open(self) -> Generator[None]:
        with self._lock:
            if self._closed:
                raise JournalBroken(path=_PLACE, reason="it was closed")
            yield


class MemoryBlobs:
    """Large values in a dict."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256 in hex."""
        name = hashlib.sha256(data).hexdigest()
        self._kept[name] = bytes(data)
        return name

    def get(self, sha256: str) -> bytes:
        """Return the bytes of this name; `StoreCorrupted` if there are none."""
        data = self._kept.get(sha256)
        if data is None:
            raise StoreCorrupted(path=_PLACE, reason=f"the value {sha256} is missing")
        return data

    def names(self) -> list[str]:
        """Return the names of all values, in order."""
        return sorted(self._kept)
