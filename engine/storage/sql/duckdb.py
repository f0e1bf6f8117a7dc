"""DuckDB: a catalog in one file, owned by one process.

Facts this rests on (DESIGN, section 5): a second process is refused even for reading; conflicts show as
TransactionException at a statement or at COMMIT, duplicate keys of concurrent transactions too; a connection is for
one thread at a time; a crash right after DDL was unsafe before 1.5.6, so the file is made elsewhere, checkpointed,
and only then put in its place.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

import duckdb
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from engine.domain.canonical import Json
from engine.domain.writes import Answer
from engine.errors import NotCanonical, StoreConflict, StoreOlder, StoreUnreachable
from engine.storage.bell import Bell
from engine.storage.disk import why
from engine.storage.sql import migrations, schema
from engine.storage.sql.askable import READS, is_whole, let_all_be_asked
from engine.storage.sql.catalog import SqlCatalog
from engine.storage.sql.duckdb_errors import is_about_text, is_conflict, is_spoiling, told, told_by_driver
from engine.storage.sql.duckdb_file import check_tables, engine_over, is_there, log_of, make, schema_version
from engine.storage.sql.duckdb_handle import Handle
from engine.storage.sql.duckdb_query import answer
from engine.storage.sql.monitor import QueryMonitor

_T = TypeVar("_T")
_ATTEMPTS = 30
_FIRST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.1


def open_duckdb(path: str | Path, *, organization: str = "local", migrate: bool = False) -> SqlCatalog:
    """Return the catalog in the file at `path`, made with its directory if there is none.

    An older schema is brought up to date, after a copy was made beside the file, if that is safe or `migrate` asks
    for it. Raises `StoreLocked`, `StoreCorrupted`, `StoreNewer`, `StoreOlder` or `StoreUnreachable`, and leaves the
    file as it was.
    """
    return SqlCatalog(DuckDB(Path(path), migrate=migrate), organization=organization)


class DuckDB:
    """A DuckDB file: one lock for writers, a pool of connections for readers."""

    def __init__(self, path: Path, *, migrate: bool = False) -> None:
        """Open the file, or make it."""
        self.place = str(path)
        self._path = path
        self._turn = Lock()
        self._bell = Bell()
        self._closed = False
        if not is_there(path):
            make(path)
        self._handle = Handle(path, self._let_go_of_idle)
        self._engine = engine_over(self._handle.cursor)
        let_all_be_asked(self._engine, is_whole)
        self._monitor = QueryMonitor(self._engine)
        try:
            with self._telling():
                found = schema_version(self._engine, path)
                if found < schema.SCHEMA_VERSION:
                    self._upgrade(found, migrate=migrate)
                check_tables(self._engine, path)
                with self._handle.cursor() as cursor:
                    cursor.execute("SELECT $1", [1])  # the driver loads pandas now: no statement of ours is that slow
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Generator[Connection]:
        """Give a connection for reads; with `snapshot` all of them in one transaction."""
        with self._telling(), self._handle.using():
            level = {} if snapshot else {"isolation_level": "AUTOCOMMIT"}
            with self._engine.execution_options(**READS, **level).connect() as connection:
                yield connection

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work`, which only reads."""
        with self.reading() as connection:
            return work(connection)

    def writing(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work` in a transaction, repeated when another catalog on this file in this process came first."""
        with self._turn, self._telling(), self._handle.using():
            for attempt in range(_ATTEMPTS):
                with suppress(_Conflict):
                    return self._attempt(work)
                longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
                time.sleep(random.uniform(0, longest))  # noqa: S311  (spreads waiters, guards nothing)
            raise StoreConflict

    def query(self, sql: str, limit: int | None) -> Answer:
        """Answer one SELECT in the schema of the views, in a transaction that can change nothing."""
        with self._telling(), self._handle.using(), self._handle.cursor() as cursor:
            return answer(cursor, sql, limit)

    def tell(self) -> None:
        """Let those who wait look again: this process is the only one that commits."""
        self._bell.ring()

    def wait(self, is_news: Callable[[], bool], timeout_s: float) -> bool:
        """Ask `is_news` now and whenever somebody tells."""
        return self._bell.wait(is_news, timeout_s)

    def describe(self) -> dict[str, Json]:
        """Return kind, place and size in bytes, the write-ahead log included."""
        files = (self._path, log_of(self._path))
        return {
            "kind": "duckdb",
            "place": self.place,
            "duckdb_version": duckdb.__version__,
            "statements": self._monitor.describe(plans=True),
            "size_bytes": sum(file.stat().st_size for file in files if file.exists()),
        }

    def close(self) -> None:
        """Wait for the commit under way, then let go of the file. Calling it twice is harmless."""
        with self._turn:
            self._closed = True
            self._engine.dispose()
            self._handle.close()

    def _let_go_of_idle(self) -> None:
        self._engine.dispose()

    def _upgrade(self, found: int, *, migrate: bool) -> None:
        """Bring an older schema up to date in one transaction. What was there before stays beside it as a copy."""
        if not migrate and not migrations.are_safe(found):
            raise StoreOlder(path=self.place, found=found, known=schema.SCHEMA_VERSION)
        self._handle.checkpoint()
        copy = self._path.with_name(f"{self._path.name}.schema-{found}")
        try:
            shutil.copyfile(self._path, copy)
        except OSError as error:
            reason = f"it can't be copied before its upgrade: {why(error)}"
            raise StoreUnreachable(path=self.place, reason=reason) from None
        with self._engine.begin() as connection:
            migrations.upgrade(connection, found)
        self._handle.checkpoint()

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if is_conflict(error.orig):
                raise _Conflict from None
            raise

    @contextmanager
    def _telling(self) -> Generator[None]:
        """Turn what the driver raises into our errors."""
        if self._closed:
            raise StoreUnreachable(path=self.place, reason="it was closed")
        try:
            yield
        except DBAPIError as error:
            if is_spoiling(error.orig):
                self._handle.spoil()
            raise told(error, self._path) from error
        except duckdb.Error as error:
            if is_spoiling(error):
                self._handle.spoil()
            raise told_by_driver(error, self._path) from error
        except (UnicodeEncodeError, RuntimeError) as error:
            if is_about_text(error):
                raise NotCanonical(reason="a text holds half of a surrogate pair") from None
            raise


class _Conflict(Exception):
    """Another transaction came first; the driver may say so at any statement or at COMMIT."""
