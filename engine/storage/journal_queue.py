"""What journals share, wherever they write: the queue with its writer thread, and the chain of checksums.

`append` only queues. The writer thread hands everything queued to one `write`, which makes it durable as a whole, so
that the price of durability is shared by whatever happened meanwhile. The first failure is the last word: records
that are not on disk make everybody who asks later stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Lock, Thread
from typing import Any
from zlib import crc32

from engine.errors import JournalBroken
from engine.ports import JournalRecord

_BATCH_RECORDS = 20_000
"""At most this many records in one batch, so that a waiting step is not kept for seconds."""


class JournalQueue:
    """Records on their way to the disk, in the order they were appended. Safe to use from any thread."""

    def __init__(
        self,
        write: Callable[[list[JournalRecord]], None],
        broken: Callable[[str], JournalBroken],
        batch_records: int = _BATCH_RECORDS,
    ) -> None:
        """Begin a thread that calls `write`, which raises if it can't; `broken` makes the error that users see."""
        self._write = write
        self._broken = broken
        self._batch_records = batch_records
        self._queue: deque[JournalRecord] = deque()
        self._lock = Lock()
        """Guards what follows. Entered by itself where it is hot: a Condition's `with` costs three times as much."""
        self._changed = Condition(self._lock)
        """Told of what the writer or those who wait for it care about."""
        self._queued = 0
        self._written = 0
        self._sleeping = False
        self._closing = False
        self._failure: str | None = None
        self._writer = Thread(target=self._write_on, name="treadle-journal", daemon=True)
        self._writer.start()

    def append(self, record: JournalRecord) -> int:
        """Queue a record and return its ticket; `JournalBroken` once a write has failed or after `close`."""
        with self._lock:
            if self._failure is not None:
                raise self._broken(self._failure)
            self._queue.append(record)
            self._queued += 1
            if self._sleeping:
                self._sleeping = False
                self._changed.notify_all()
            return self._queued

    def sync(self, ticket: int | None = None) -> None:
        """Return when every record up to `ticket`, or queued so far, is on disk; `JournalBroken` if that can't be."""
        with self._lock:
            wanted = self._queued if ticket is None else ticket
            while self._written < wanted and self._failure is None:
                self._changed.wait()
            if self._failure is not None:
                raise self._broken(self._failure)

    def fail(self, reason: str) -> None:
        """Let nothing more be written."""
        with self._lock:
            self._failure = self._failure or reason
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is queued and stop. Calling it twice is harmless."""
        with self._lock:
            self._closing = True
            self._changed.notify_all()
        self._writer.join()

    def _write_on(self) -> None:
        """Write batch after batch until closing or a failure; the writer thread's whole life."""
        while True:
            with self._lock:
                while not self._queue and not self._closing and self._failure is None:
                    self._sleeping = True
                    self._changed.wait()
                if not self._queue or self._failure is not None:
                    self._failure = self._failure or "it was closed"
                    self._changed.notify_all()
                    return
            failure = self._write_batch()
            if failure is not None:
                self.fail(failure)
                return

    def _write_batch(self) -> str | None:
        """Write what is queued; return why that failed, if it did: nothing is lost unseen."""
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_records))]
        try:
            self._write(batch)
        except JournalBroken as error:
            return str(error.facts["reason"])
        except Exception as error:  # noqa: BLE001  (whatever it was, the records are not on disk: everybody is told)
            return str(error) or type(error).__name__
        with self._lock:
            self._written += len(batch)
            self._changed.notify_all()
        return None


class QueuedJournal:
    """What a journal with a queue does alike wherever it writes. `_queue` is made by whoever knows where that is."""

    _queue: JournalQueue

    def append(self, record: JournalRecord) -> int:
        """Queue a record and return its ticket; `JournalBroken` once a write has failed or after `close`."""
        return self._queue.append(record)

    def sync(self, ticket: int) -> None:
        """Return when every record up to `ticket` is on disk or committed; `JournalBroken` if that can't be."""
        self._queue.sync(ticket)


def record_crc(record: Sequence[Any], position: int, previous: int) -> int:
    """Return the CRC-32 of a record's fields, its position and the CRC of the record before."""
    run, kind, path, attempt, ts_us, body = record
    return crc32(body, crc32(f"{run}\0{position}\0{kind}\0{path}\0{attempt}\0{ts_us}\0".encode(), previous))
