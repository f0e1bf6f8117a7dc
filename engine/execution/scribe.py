"""Writes what happens in a run to its journal; without one (durability off) only timings are remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.execution import records
from engine.execution.invocation import encoded
from engine.execution.values import Encoded
from engine.ports import Blobs, Clock, Journal, JournalRecord, RecordKind


class Scribe:
    """The pen of one run. Safe to call from any thread."""

    def __init__(self, run: str, clock: Clock, blobs: Blobs, journal: Journal | None) -> None:
        self._run, self._clock, self._blobs, self._journal = run, clock, blobs, journal
        self._began = clock.monotonic()
        self._began_us = int(clock.now().timestamp() * 1e6)
        self.remembered: list[JournalRecord] = []
        """All records when there is no journal."""

    def now_us(self) -> int:
        """Return Unix time in microseconds that never goes back within the run."""
        return self._began_us + int((self._clock.monotonic() - self._began) * 1e6)

    def encoded(self, outputs: Mapping[str, Any]) -> dict[str, Encoded]:
        """Return outputs as bytes when they are to be kept; raise `NotSerializable` for what can't be."""
        return encoded(outputs) if self._journal is not None else {}

    def started(self, body: bytes) -> int:
        """Record that the run began (`body`: the run as JSON)."""
        return self._write("started", "", 0, body)

    def intent(self, path: str, attempt: int, began_us: int, key: str) -> int:
        """Record that an effect is about to begin; return the ticket to wait for."""
        return self._write("intent", path, attempt, records.intent_body(began_us, key))

    def done(
        self, path: str, attempt: int, began_us: int, outputs: Mapping[str, Encoded], logs: Sequence[str] = ()
    ) -> int:
        """Record that a step succeeded."""
        return self._write("done", path, attempt, records.done_body(began_us, outputs, self._blobs, logs=logs))

    def failed(
        self, path: str, attempt: int, began_us: int, error: str, *, final: bool, key: str, logs: Sequence[str] = ()
    ) -> int:
        """Record that an attempt failed."""
        return self._write(
            "failed", path, attempt, records.failed_body(began_us, error, final=final, key=key, logs=logs)
        )

    def skipped(self, path: str, reason: str) -> int:
        """Record that a step was not run."""
        return self._write("skipped", path, 0, records.skipped_body(reason))

    def ended(self, body: bytes) -> int:
        """Record how the run ended."""
        return self._write("ended", "", 0, body)

    def sync(self, ticket: int) -> None:
        """Wait until a record is on disk."""
        if self._journal is not None:
            self._journal.sync(ticket)

    def records(self) -> list[JournalRecord]:
        """Return every record of the run, in order."""
        return self.remembered if self._journal is None else self._journal.read(self._run)

    def _write(self, kind: RecordKind, path: str, attempt: int, body: bytes) -> int:
        record = JournalRecord(self._run, kind, path, attempt, self.now_us(), body)
        if self._journal is None:
            self.remembered.append(record)
            return 0
        return self._journal.append(record)
