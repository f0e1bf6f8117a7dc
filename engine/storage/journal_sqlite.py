"""The journal of runs under way in a SQLite file: WAL, synchronous=FULL, one writer thread with group commit.

The writer thread takes everything queued into one transaction and calls fsync once for all of it. Every record
carries a CRC-32 that runs on from the record before, and the run's row keeps how many there are and the last CRC: a
byte changed or a record lost anywhere in the file shows when the run is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from zlib import crc32

from engine.errors import JournalBroken
from engine.ports import JournalRecord
from engine.storage.journal_queue import JournalQueue, QueuedJournal, record_crc
from engine.storage.journal_schema import DAMAGE, open_connection, reason_of
from engine.storage.process import Owner, is_alive, this_process

_RUNS = "SELECT number, records, crc FROM runs WHERE run = ?"
_NEW_RUN = """INSERT INTO runs (number, run, name_crc, records, crc)
    VALUES ((SELECT ifnull(max(number), 0) + 1 FROM runs), ?, ?, 0, 0)"""
_COUNT = "UPDATE runs SET records = ?, crc = ? WHERE number = ?"
_INSERT = "INSERT INTO records (run, position, kind, path, attempt, ts_us, body, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_RECORDS = "SELECT position, kind, path, attempt, ts_us, body, crc FROM records WHERE run = ? ORDER BY position"
_NAMES = "SELECT run, name_crc FROM runs ORDER BY number"
_STRAY = "SELECT 1 FROM records WHERE run NOT IN (SELECT number FROM runs) LIMIT 1"
_CLAIMS = "SELECT run, pid, started, host FROM claims"
_CLAIM = "INSERT OR REPLACE INTO claims (run, pid, started, host) VALUES (?, ?, ?, ?)"


class _Tail(NamedTuple):
    """Where a run's records end: its number, how many there are, the CRC of the last."""

    number: int
    records: int
    crc: int


class SqliteJournal(QueuedJournal):
    """A journal in one file, which several processes may have open. Safe to use from any thread."""

    def __init__(self, path: str | Path) -> None:
        """Open or make the file; `JournalBroken` if it is damaged or not a journal, and then it is left as it is."""
        self._path = Path(path)
        self._connection = open_connection(self._path)
        self._owner = this_process()
        self._database = Lock()
        """Held while the connection is used."""
        self._queue = JournalQueue(self._write, self._broken)

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records of a run in order; `JournalBroken` naming run and position if any is damaged."""
        self._queue.sync()
        with self._using() as connection:
            tail = _tail(connection, run)
            if tail is None:
                self._names(connection)
                return []
            return self._checked(run, tail, connection.execute(_RECORDS, (tail.number,)))

    def unfinished(self) -> list[str]:
        """Return the runs that have records, the first begun first."""
        self._queue.sync()
        with self._using() as connection:
            return self._names(connection)

    def claim(self, run: str) -> bool:
        """Take a run for this process; False while another live process has it."""
        with self._using() as connection, _transaction(connection):
            if _live_owners(connection).get(run, self._owner) != self._owner:
                return False
            connection.execute(_CLAIM, (run, *self._owner))
            return True

    def claim_next(self) -> str | None:
        """Take the oldest unfinished run that no live process has, and return it; None if there is none."""
        self._queue.sync()
        with self._using() as connection, _transaction(connection):
            taken = _live_owners(connection)
            found = next((run for run in self._names(connection) if run not in taken), None)
            if found is not None:
                connection.execute(_CLAIM, (found, *self._owner))
            return found

    def held(self) -> set[str]:
        """Return the runs that another live process has."""
        with self._using() as connection:
            return {run for run, owner in _live_owners(connection).items() if owner != self._owner}

    def forget(self, run: str) -> None:
        """Drop the records and the claim of a sealed run."""
        self._queue.sync()
        with self._using() as connection, _transaction(connection):
            connection.execute("DELETE FROM records WHERE run = (SELECT number FROM runs WHERE run = ?)", (run,))
            connection.execute("DELETE FROM runs WHERE run = ?", (run,))
            connection.execute("DELETE FROM claims WHERE run = ?", (run,))

    def close(self) -> None:
        """Write what is queued and close. Calling it twice is harmless."""
        self._queue.close()
        with self._database:
            self._connection.close()

    def _write(self, batch: list[JournalRecord]) -> None:
        with self._using() as connection, _transaction(connection):
            _insert(connection, batch)

    def _names(self, connection: sqlite3.Connection) -> list[str]:
        """Return the runs there are; `JournalBroken` if the name of one is lost: it would seem not to be there."""
        found = connection.execute(_NAMES).fetchall()
        if connection.execute(_STRAY).fetchone() or any(_name_crc(name) != stored for name, stored in found):
            raise self._broken("it holds records of a run whose name is lost or damaged")
        return [name for name, _ in found]

    def _checked(self, run: str, tail: _Tail, rows: Iterable[tuple[Any, ...]]) -> list[JournalRecord]:
        found: list[JournalRecord] = []
        crc, expected = 0, 0
        for position, *fields, stored in rows:
            expected += 1
            crc = _crc_of_row(run, position, fields, crc)
            if position != expected or stored != crc:
                raise self._broken(f"record {expected} of run {run} is damaged")
            found.append(JournalRecord(run, *fields))
        if (expected, crc) != (tail.records, tail.crc):
            raise self._broken(
                f"of the {tail.records} records of run {run}, those after {expected} are lost or damaged"
            )
        return found

    @contextmanager
    def _using(self) -> Generator[sqlite3.Connection]:
        with self._database:
            try:
                yield self._connection
            except DAMAGE as error:
                raise self._broken(reason_of(error, self._path)) from None

    def _broken(self, reason: str) -> JournalBroken:
        return JournalBroken(path=self._path, reason=reason)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Hold the file's write lock from the first statement on: several processes may write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _insert(connection: sqlite3.Connection, batch: list[JournalRecord]) -> None:
    by_run: dict[str, list[JournalRecord]] = {}
    for record in batch:
        by_run.setdefault(record.run, []).append(record)
    for run, records in by_run.items():
        tail = _tail(connection, run)
        if tail is None:
            connection.execute(_NEW_RUN, (run, _name_crc(run)))
            tail = _tail(connection, run)
            assert tail is not None
        number, position, crc = tail
        rows: list[tuple[object, ...]] = []
        for record in records:
            position += 1
            crc = record_crc(record, position, crc)
            rows.append((number, position, *record[1:], crc))
        connection.executemany(_INSERT, rows)
        connection.execute(_COUNT, (position, crc, number))


def _live_owners(connection: sqlite3.Connection) -> dict[str, Owner]:
    """Return who has which run, those that have ended left out."""
    claims = {run: Owner(*owner) for run, *owner in connection.execute(_CLAIMS)}
    living = {owner for owner in set(claims.values()) if is_alive(owner)}
    return {run: owner for run, owner in claims.items() if owner in living}


def _tail(connection: sqlite3.Connection, run: str) -> _Tail | None:
    row = connection.execute(_RUNS, (run,)).fetchone()
    return None if row is None else _Tail(*row)


def _name_crc(run: object) -> int:
    return crc32(str(run).encode())


def _crc_of_row(run: str, position: int, fields: Sequence[Any], previous: int) -> int:
    """Return the CRC-32 of what was read, or -1 for cells of other types than were written: damage can do that."""
    try:
        return record_crc((run, *fields), position, previous)
    except (TypeError, ValueError):
        return -1
