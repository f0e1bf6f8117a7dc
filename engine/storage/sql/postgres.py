"""Postgres: a catalog on a server, for several programs at once, each bound to one organization.

Facts this rests on (DESIGN, section 5): commits that chain entries wait for each other at the ledger's head, so that
sequences are in the order of commits; row-level security compares with a setting of the transaction; a COMMIT whose
answer is lost may have been done, and the server can be asked (pg_xact_status, since version 10).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, QueuePool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from engine.domain.canonical import Json
from engine.domain.events import GENESIS_HASH
from engine.domain.writes import Answer
from engine.errors import StoreConflict, StoreError, StoreUnreachable
from engine.storage.sql import schema
from engine.storage.sql.askable import READS, is_whole, let_all_be_asked
from engine.storage.sql.catalog import SqlCatalog
from engine.storage.sql.monitor import QueryMonitor
from engine.storage.sql.postgres_connection import (
    SCHEMA,
    SETTING,
    address_of,
    connect,
    is_conflict,
    is_gone,
    told,
)
from engine.storage.sql.postgres_news import News
from engine.storage.sql.postgres_opening import open_schema
from engine.storage.sql.postgres_query import answer

_T = TypeVar("_T")
_IDLE_CONNECTIONS = 8
_MORE_CONNECTIONS = 16
"""What the pool may open besides when all are in use."""
_POOL_S = 30
_ATTEMPTS = 10
_LOST_ATTEMPTS = 2
"""How often a transaction is begun again when the connection is lost before COMMIT was sent."""
_READERS_S = 2.0
"""How long those who read may go on while the database is let go of."""
_FIRST_WAIT_S = 0.002
_LONGEST_WAIT_S = 0.2
_IN_DOUBT_S = 20.0
"""How long to ask what became of a COMMIT that got no answer."""
_PAGE_ROWS = 5_000

_READ = text(f"SELECT set_config('{SETTING}', :organization, true)")
_WRITE = text(
    f"SELECT set_config('{SETTING}', :organization, true), "
    "set_config('idle_in_transaction_session_timeout', '60s', true), pg_current_xact_id()::text AS transaction"
)
"""A program that stops in the middle of a transaction, holding the head, keeps the others for a minute at most."""
_STATUS = text("SELECT pg_xact_status(CAST(:transaction AS xid8))")
_FIRST_HEAD = text(
    f"INSERT INTO {SCHEMA}.ledger_head (id, sequence, hash, turn) "  # noqa: S608  (a name of ours)
    "SELECT :id, 0, :hash, 0 WHERE NOT EXISTS (SELECT FROM ledger) ON CONFLICT DO NOTHING"
)
_FACTS = text(
    """
    SELECT current_setting('server_version') AS version, (
        SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
        WHERE relnamespace = to_regnamespace(:schema) AND relkind = 'r'
    ) AS size_bytes
    """
).bindparams(schema=SCHEMA)


def open_postgres(url: str, *, organization: str = "local", migrate: bool = False) -> SqlCatalog:
    """Return the catalog of an organization in the database at `url`, with its schema made if it has none.

    An older schema is brought up to date if that is safe or `migrate` asks for it.
    Raises `StoreUnreachable`, `StoreCorrupted`, `StoreNewer` or `StoreOlder`, and leaves the database as it was.
    """
    return SqlCatalog(Postgres(url, organization=organization, migrate=migrate), organization=organization)


class Postgres:
    """A database of a Postgres server: a bounded pool of connections, all for one organization."""

    def __init__(self, url: str, *, organization: str, migrate: bool = False) -> None:
        """Check the server, make the schema if there is none, and begin the organization's ledger."""
        self._address = address_of(url)
        self.place = self._address.place
        self.organization = organization
        if not organization or "\x00" in organization:
            raise StoreUnreachable(path=self.place, reason="the organization's name is empty or holds a null character")
        self._role = open_schema(self._address, migrate=migrate)
        self._closed = False
        self._news: News | None = None
        self._guard = Lock()
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=self._connected,
            poolclass=QueuePool,
            pool_size=_IDLE_CONNECTIONS,
            max_overflow=_MORE_CONNECTIONS,
            pool_timeout=_POOL_S,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
        )
        let_all_be_asked(self._engine, _can_be_kept)
        self._monitor = QueryMonitor(self._engine)
        try:
            self.writing(
                lambda connection: connection.execute(_FIRST_HEAD, {"id": schema.HEAD_ID, "hash": GENESIS_HASH})
            )
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Generator[Connection]:
        """Give a connection for reads in one transaction; with `snapshot` all of them see one moment, in pages."""
        options: dict[str, Any] = {"postgresql_readonly": True, **READS}
        if snapshot:
            options |= {"isolation_level": "REPEATABLE READ", "stream_results": True, "max_row_buffer": _PAGE_ROWS}
        with self._telling(), self._engine.connect().execution_options(**options) as connection:
            connection.execute(_READ, {"organization": self.organization}, execution_options={"stream_results": False})
            yield connection

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work`, which only reads, and do it once more if the connection is lost meanwhile."""
        try:
            with self.reading() as connection:
                return work(connection)
        except StoreUnreachable as error:
            if self._closed or error.__cause__ is None or not is_gone(error.__cause__):
                raise
        with self.reading() as connection:
            return work(connection)

    def writing(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work` in a transaction: again when another came first or the connection was lost before COMMIT.

        When the COMMIT itself got no answer, the server is asked what became of it: what was done is never repeated.
        """
        lost = 0
        with self._telling():
            for attempt in range(_ATTEMPTS):
                try:
                    return self._attempt(work)
                except DBAPIError as error:
                    lost += is_gone(error)
                    if not (is_conflict(error) or (is_gone(error) and lost <= _LOST_ATTEMPTS)) or self._closed:
                        raise
                longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
                time.sleep(random.uniform(0, longest))  # noqa: S311  (spreads waiters, guards nothing)
            raise StoreConflict

    def tell(self) -> None:
        """Do nothing: the server tells everybody of a commit, this process among them."""

    def wait(self, is_news: Callable[[], bool], timeout_s: float) -> bool:
        """Ask `is_news` now and after each commit to the organization's ledger, by whatever program."""
        with self._guard:
            self._refuse_closed()
            if self._news is None:
                self._news = News(self._connected, self.organization)
            news = self._news
        return news.wait(is_news, timeout_s)

    def query(self, sql: str, limit: int | None) -> Answer:
        """Answer one SELECT in the schema of the views, in a transaction that can change nothing."""
        return self.read(lambda connection: answer(connection, sql, limit))

    def describe(self) -> dict[str, Json]:
        """Return kind, place, version, size in bytes, the time of a round trip and what the pool holds."""
        with self.reading() as connection:
            began = time.perf_counter()
            connection.execute(text("SELECT 1"))
            latency_ms = (time.perf_counter() - began) * 1_000
            facts = connection.execute(_FACTS).one()
        return {
            "kind": "postgres",
            "place": self.place,
            "organization": self.organization,
            "postgres_version": facts.version,
            "size_bytes": facts.size_bytes,
            "latency_ms": round(latency_ms, 3),
            "statements": self._monitor.describe(plans=True),
        }

    def close(self) -> None:
        """Let go of the database; a commit under way is finished. Calling it twice is harmless."""
        with self._guard:
            self._closed = True
            news, self._news = self._news, None
        if news is not None:
            news.close()
        self._let_readers_end()
        self._engine.dispose()

    def _let_readers_end(self) -> None:
        """Wait a moment for connections in use by other threads: the pool closes only those it has."""
        pool = self._engine.pool
        until = time.monotonic() + _READERS_S
        while isinstance(pool, QueuePool) and pool.checkedout() and time.monotonic() < until:
            time.sleep(_FIRST_WAIT_S)

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        with self._engine.connect() as connection:
            transaction = connection.execute(_WRITE, {"organization": self.organization}).one().transaction
            result = work(connection)
            try:
                connection.commit()
            except DBAPIError as error:
                if not is_gone(error) or not self._was_done(transaction):
                    raise
            return result

    def _was_done(self, transaction: str) -> bool:
        """Ask what became of a transaction whose COMMIT got no answer; `StoreUnreachable` if nobody knows."""
        until = time.monotonic() + _IN_DOUBT_S
        wait_s = _FIRST_WAIT_S
        while time.monotonic() < until:
            try:
                with self._engine.connect() as connection:
                    status = connection.execute(_STATUS, {"transaction": transaction}).scalar()
            except (DBAPIError, psycopg.Error):
                status = "in progress"
            if status in {"committed", "aborted"}:
                return status == "committed"
            if status != "in progress":
                break
            time.sleep(wait_s)
            wait_s = min(1.0, wait_s * 2)
        reason = "the connection was lost while a change was committed, and it is not known whether it was; look first"
        raise StoreUnreachable(path=self.place, reason=reason)

    def _connected(self) -> psycopg.Connection:
        return connect(self._address, role=self._role)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnreachable(path=self.place, reason="it was closed")

    @contextmanager
    def _telling(self) -> Generator[None]:
        """Turn what the driver raises into our errors."""
        self._refuse_closed()
        try:
            yield
        except StoreError:
            raise
        except (DBAPIError, PoolTimeoutError, psycopg.Error, UnicodeEncodeError) as error:
            raise told(error, self.place) from error


def _can_be_kept(value: str) -> bool:
    return "\x00" not in value and is_whole(value)
