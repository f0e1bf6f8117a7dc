"""Writes what happens in a run to its journal; without one (durability off) only timings are remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.execution import records
from engine.execution.invocation import encoded
from engine.execution.values import Encoded
from engine.ports import Blobs, Clock, Journal, JournalRecord, RecordKind

_SAFE_INTEGER = 2**53
_SHORT_CHARS = 1_000
_HELD_S = 0.05
"""The longest that a plain step is noted and not written."""


class Scribe:
    """The pen of one run: writes on the run's own thread; `encoded`, `sync` and `records` on any."""

    def __init__(self, run: str, clock: Clock, blobs: Blobs, journal: Journal | None, *, strict: bool = False) -> None:
        """With `strict` every step is on disk before the next one begins."""
        self._run, self._clock, self._blobs, self._journal, self._strict = run, clock, blobs, journal, strict
        self._began = clock.monotonic()
        self._began_us = int(clock.now().timestamp() * 1e6)
        self._remembered: list[JournalRecord | list[records.Note]] = []
        """What was written when there is no journal."""
        self._noted: list[records.Note] = []
        """Plain steps that are not written yet."""

    def now_us(self) -> int:
        """Return Unix time in microseconds that never goes back within the run."""
        return self.us(self._clock.monotonic())

    def us(self, monotonic_s: float) -> int:
        """Return Unix time in microseconds for a time of the run's clock."""
        return self._began_us + int((monotonic_s - self._began) * 1e6)

    def plain(
        self, path: str, began: float, ended: float, outputs: dict[str, Any], lines: Sequence[str] | None
    ) -> None:
        """Note that a plain step succeeded, written with the next `flush`; times are those of the run's clock.

        Raises `NotSerializable` for outputs that can't be kept.
        """
        if self._journal is None:
            self._noted.append((path, began, ended, None, None, lines))
            return
        for value in outputs.values():
            kind = value.__class__
            if kind is int:
                if -_SAFE_INTEGER < value < _SAFE_INTEGER:
                    continue
            elif kind is str:
                if value.isascii() and len(value) < _SHORT_CHARS:
                    continue
            elif value is None or kind is bool or (kind is float and value - value == 0.0):
                continue
            kept = {port: records.kept(each, self._blobs) for port, each in encoded(outputs).items()}
            self._noted.append((path, began, ended, None, kept, lines))
            break
        else:
            self._noted.append((path, began, ended, outputs, None, lines))
        if self._strict:
            self.sync(self.flush())
        elif ended - self._noted[0][1] > _HELD_S:
            self.flush()

    def flush(self) -> int:
        """Write the plain steps that were noted; return the ticket of their record."""
        noted = self._noted
        if not noted:
            return 0
        self._noted = []
        if self._journal is not None:
            return self._journal.append(self._steps(noted))
        self._remembered.append(noted)
        return 0

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
        self,
        path: str,
        attempt: int,
        began_us: int,
        outputs: Mapping[str, Encoded],
        logs: Sequence[str] = (),
        *,
        reason: str | None = None,
    ) -> int:
        """Record that a step succeeded; `reason`: why its result was there already."""
        body = records.done_body(began_us, outputs, self._blobs, logs=logs, reason=reason)
        return self._write("done", path, attempt, body)

    def waiting(self, path: str, attempt: int, began_us: int, question: str) -> int:
        """Record that a step waits."""
        return self._write("waiting", path, attempt, records.waiting_body(began_us, question))

    def answered(self, path: str, answer: Sequence[Any]) -> int:
        """Record what a step got that waited: (chosen, by, value)."""
        return self._write("answered", path, 0, records.answered_body(answer))

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
        """Return every record of the run, in order; while it is under way any thread may ask."""
        noted = self._noted.copy()
        if self._journal is not None:
            found = self._journal.read(self._run)
        else:
            found = [each if isinstance(each, JournalRecord) else self._steps(each) for each in self._remembered]
        return [*found, self._steps(noted)] if noted else found

    def _steps(self, noted: list[records.Note]) -> JournalRecord:
        return JournalRecord(self._run, "steps", "", 0, self.us(noted[-1][2]), records.steps_body(noted, self.us))

    def _write(self, kind: RecordKind, path: str, attempt: int, body: bytes) -> int:
        self.flush()
        record = JournalRecord(self._run, kind, path, attempt, self.now_us(), body)
        if self._journal is not None:
            return self._journal.append(record)
        self._remembered.append(record)
        return 0
