"""The journal of runs under way in a Postgres database, beside the catalog: one connection, one writer thread.

A claim names the instance that has it by a number, and an instance lives for as long as it holds the advisory lock of
that number. The lock belongs to the connection that writes: who has lost the lock can't write any more either, so no
run is ever written by two.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NamedTuple

import psycopg

from engine.errors import JournalBroken
from engine.ports import JournalRecord
from engine.storage.journal_queue import JournalQueue, QueuedJournal, record_crc
from engine.storage.sql.postgres_connection import SETTING, address_of, connect, is_conflict, told
from engine.storage.sql.postgres_opening import open_schema

_BATCH_RECORDS = 5_000
_ATTEMPTS = 5
"""How often a batch is written anew when the server took it back because of another program's."""
_OWNERS = "1953655404"
"""'trjl' as a number: the class of the advisory locks that owners hold."""

_NEW_OWNER = (
    f"SELECT owner, pg_try_advisory_lock({_OWNERS}, owner) FROM (SELECT nextval('journal_owners')::int AS owner)"  # noqa: S608  (a number of ours)
)
_TAILS = "SELECT run, number, records, crc FROM journal_runs WHERE run = ANY(%s) ORDER BY run FOR UPDATE"
_NEW_RUNS = """
    INSERT INTO journal_runs (run, number, records, crc)
    SELECT unnest(%s::text[]), nextval('journal_numbers'), 0, 0 ON CONFLICT DO NOTHING
"""
_INSERT = """
    INSERT INTO journal_records (run, position, kind, path, attempt, ts_us, body, crc) SELECT * FROM unnest(
    %b::bigint[], %b::bigint[], %b::text[], %b::text[], %b::int[], %b::bigint[], %b::bytea[], %b::bigint[])
"""
_COUNT = """
    UPDATE journal_runs AS runs SET records = new.records, crc = new.crc
    FROM unnest(%b::text[], %b::bigint[], %b::bigint[]) AS new(run, records, crc) WHERE runs.run = new.run
"""
_RECORDS = """
    SELECT runs.records, runs.crc, kept.position, kept.kind, kept.path, kept.attempt, kept.ts_us, kept.body, kept.crc
    FROM journal_runs AS runs LEFT JOIN journal_records AS kept ON kept.run = runs.number
    WHERE runs.run = %s ORDER BY kept.position
"""
_NAMES = "SELECT run FROM journal_runs ORDER BY number"
_IS_LIVE = f"""
    EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = {_OWNERS} AND objid::bigint = claims.owner
        AND objsubid = 2 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
"""  # noqa: S608  (a number of ours)
_CLAIM = f"""
    INSERT INTO journal_claims AS claims (run, owner) VALUES (%(run)s, %(owner)s)
    ON CONFLICT ON CONSTRAINT journal_claims_pkey DO UPDATE SET owner = excluded.owner
    WHERE claims.owner = excluded.owner OR NOT {_IS_LIVE} RETURNING run
"""  # noqa: S608  (as above)
_FREE_RUN = f"""
    SELECT runs.run FROM journal_runs AS runs LEFT JOIN journal_claims AS claims ON claims.run = runs.run
    WHERE runs.run <> ALL (%s) AND (claims.owner IS NULL OR NOT {_IS_LIVE})
    ORDER BY runs.number LIMIT 1 FOR UPDATE OF runs SKIP LOCKED
"""  # noqa: S608  (as above)
_HELD = f"SELECT run FROM journal_claims AS claims WHERE owner <> %s AND {_IS_LIVE}"  # noqa: S608  (as above)
_FORGET = (
    "DELETE FROM journal_records WHERE run = (SELECT number FROM journal_runs WHERE run = %s)",
    "DELETE FROM journal_runs WHERE run = %s",
    "DELETE FROM journal_claims WHERE run = %s",
)


class _Tail(NamedTuple):
    """Where a run's records end: its number, how many there are, the CRC of the last."""

    number: int
    records: int
    crc: int


class PostgresJournal(QueuedJournal):
    """A journal in a database, which several processes may have open. Safe to use from any thread."""

    def __init__(self, url: str, *, organization: str = "local") -> None:
        """Open the journal of an organization, and make the schema if there is none.

        Raises what `open_postgres` raises.
        """
        address = address_of(url)
        self._place = address.place
        role = open_schema(address)
        self._database = Lock()
        """Held while the connection is used."""
        try:
            self._connection = connect(address, role=role)
            try:
                self._connection.autocommit = True
                self._connection.execute("SELECT set_config(%s, %s, false)", (SETTING, organization))
                self._owner = self._new_owner()
            except BaseException:
                self._connection.close()
                raise
        except psycopg.Error as error:
            raise told(error, self._place) from None
        self._queue = JournalQueue(self._write, self._broken, _BATCH_RECORDS)

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records of a run in order; `JournalBroken` naming run and position if any is damaged."""
        self._queue.sync()
        with self._using() as connection:
            return self._checked(run, connection.execute(_RECORDS, (run,)).fetchall())

    def unfinished(self) -> list[str]:
        """Return the runs that have records, the first begun first."""
        self._queue.sync()
        with self._using() as connection:
            return [run for (run,) in connection.execute(_NAMES)]

    def claim(self, run: str) -> bool:
        """Take a run for this instance; False while another one that lives has it."""
        self._queue.sync()
        with self._using() as connection:
            return connection.execute(_CLAIM, {"run": run, "owner": self._owner}).fetchone() is not None

    def claim_next(self) -> str | None:
        """Take the oldest unfinished run that nobody who lives has, and return it; None if there is none.

        A run that another one is looking at is passed over.
        """
        self._queue.sync()
        tried: list[str] = []
        with self._using() as connection:
            while True:
                with connection.transaction():
                    row = connection.execute(_FREE_RUN, (tried,)).fetchone()
                    if row is None:
                        return None
                    tried.append(row[0])
                    if connection.execute(_CLAIM, {"run": row[0], "owner": self._owner}).fetchone():
                        return row[0]

    def held(self) -> set[str]:
        """Return the runs that another instance has that lives."""
        with self._using() as connection:
            return {run for (run,) in connection.execute(_HELD, (self._owner,))}

    def forget(self, run: str) -> None:
        """Drop the records and the claim of a sealed run."""
        self._queue.sync()
        with self._using() as connection, connection.transaction():
            for statement in _FORGET:
                connection.execute(statement, (run,))

    def close(self) -> None:
        """Write what is queued, let the claims go and close. Calling it twice is harmless."""
        self._queue.close()
        with self._database, suppress(psycopg.Error):
            self._connection.execute("SELECT pg_advisory_unlock_all()")  # the server takes its time to see the end
        self._connection.close()

    def _new_owner(self) -> int:
        """Take a number and its lock, which falls free with the connection."""
        while True:
            row = self._connection.execute(_NEW_OWNER).fetchone()
            assert row is not None
            if row[1]:
                return row[0]

    def _write(self, batch: list[JournalRecord]) -> None:
        by_run: dict[str, list[JournalRecord]] = {}
        for record in batch:
            by_run.setdefault(record.run, []).append(record)
        with self._using() as connection:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    with connection.transaction():
                        _insert(connection, by_run)
                except psycopg.Error as error:
                    if attempt == _ATTEMPTS or not is_conflict(error):
                        raise
                else:
                    return

    def _checked(self, run: str, rows: list[tuple[Any, ...]]) -> list[JournalRecord]:
        found: list[JournalRecord] = []
        records, last, crc = 0, 0, 0
        for records, last, position, *fields, stored in rows:  # noqa: B007  (each row tells where the run ends)
            if position is None:
                break
            record = JournalRecord(run, *fields)
            crc = record_crc(record, position, crc)
            if position != len(found) + 1 or stored != crc:
                raise self._broken(f"record {len(found) + 1} of run {run} is damaged")
            found.append(record)
        if (len(found), crc) != (records, last):
            raise self._broken(f"of the {records} records of run {run}, those after {len(found)} are lost or damaged")
        return found

    @contextmanager
    def _using(self) -> Generator[psycopg.Connection]:
        with self._database:
            try:
                yield self._connection
            except (psycopg.Error, UnicodeEncodeError) as error:
                means = told(error, self._place)
                raise self._broken(str(means.facts.get("reason", means))) from None

    def _broken(self, reason: str) -> JournalBroken:
        return JournalBroken(path=self._place, reason=reason)


def _insert(connection: psycopg.Connection, by_run: dict[str, list[JournalRecord]]) -> None:
    tails = _tails(connection, by_run)
    rows: list[tuple[object, ...]] = []
    ends: list[tuple[object, ...]] = []
    for run, records in by_run.items():
        number, position, crc = tails[run]
        for record in records:
            position += 1
            crc = record_crc(record, position, crc)
            rows.append((number, position, *record[1:], crc))
        ends.append((run, position, crc))
    connection.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
    connection.execute(_COUNT, [list(column) for column in zip(*ends, strict=True)])


def _tails(connection: psycopg.Connection, by_run: dict[str, list[JournalRecord]]) -> dict[str, _Tail]:
    """Return where each run ends, and hold its row so that nobody else appends; new runs begin in their order."""
    found = _found_tails(connection, list(by_run))
    if new := [run for run in by_run if run not in found]:
        connection.execute(_NEW_RUNS, (new,))
        found |= _found_tails(connection, new)
    return found


def _found_tails(connection: psycopg.Connection, runs: list[str]) -> dict[str, _Tail]:
    return {run: _Tail(*tail) for run, *tail in connection.execute(_TAILS, (runs,))}
