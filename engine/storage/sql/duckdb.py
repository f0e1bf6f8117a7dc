"""DuckDB: a catalog in one file, owned by one process.

Facts this rests on (DESIGN, section 5): a second process is refused even for reading; conflicts show as
TransactionException at a statement or at COMMIT, duplicate keys of concurrent transactions too; a connection is for
one thread at a time; a crash right after DDL was unsafe before 1.5.6, so the file is made elsewhere, checkpointed,
and only then put in its place.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import duckdb
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from engine.domain.canonical import Json
from engine.domain.events import Head
from engine.errors import (
    StoreConflict,
    StoreCorrupted,
    StoreError,
    StoreLocked,
    StoreNewer,
    StoreUnreachable,
)
from engine.storage.sql import schema
from engine.storage.sql.catalog import SqlCatalog

_T = TypeVar("_T")
_CONFIGURATION: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
}
"""A statement in the catalog never reads another file or the network."""
_MAGIC_AT, _MAGIC = 8, b"DUCK"
"""Where a DuckDB file says what it is: behind the checksum of its first block."""
_ATTEMPTS = 30
_FIRST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.1
_IDLE_CONNECTIONS = 8
"""Readers above this number get a connection of their own for one read."""


def open_duckdb(path: str | Path) -> SqlCatalog:
    """Return the catalog in the file at `path`, made with its directory if there is none.

    Raises `StoreLocked`, `StoreCorrupted`, `StoreNewer` or `StoreUnreachable`, and leaves the file as it was.
    """
    return SqlCatalog(DuckDB(Path(path)))


class DuckDB:
    """A DuckDB file: one lock for writers, a pool of connections for readers."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        self.place = str(path)
        self._path = path
        self._turn = Lock()
        self._closed = False
        if not path.exists():
            _make(path)
        self._root = _connect(path)
        self._engine = _engine(self._root)
        try:
            with self._telling():
                _check_schema(self._engine, path)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Generator[Connection]:
        """Give a connection for reads; with `snapshot` all of them in one transaction."""
        with self._telling():
            engine = self._engine if snapshot else self._engine.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                yield connection

    def writing(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work` in a transaction, repeated when another catalog on this file in this process came first."""
        with self._turn, self._telling():
            for attempt in range(_ATTEMPTS):
                with suppress(_Conflict):
                    return self._attempt(work)
                longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
                time.sleep(random.uniform(0, longest))  # noqa: S311  (spreads waiters, guards nothing)
            raise StoreConflict

    def describe(self) -> dict[str, Json]:
        """Return kind, place and size in bytes, the write-ahead log included."""
        files = (self._path, _log_of(self._path))
        return {
            "kind": "duckdb",
            "place": self.place,
            "duckdb_version": duckdb.__version__,
            "size_bytes": sum(file.stat().st_size for file in files if file.exists()),
        }

    def close(self) -> None:
        """Wait for the commit under way, then let go of the file. Calling it twice is harmless."""
        with self._turn:
            self._closed = True
            self._engine.dispose()
            self._root.close()

    def _attempt(self, work: Callable[[Connection], _T]) -> _T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            if isinstance(error.orig, duckdb.TransactionException):
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
            raise _told(error, self._path) from error
        except duckdb.Error as error:
            raise _told_by_driver(error, self._path) from error


class _Conflict(Exception):
    """Another transaction came first; the driver may say so at any statement or at COMMIT."""


def _engine(root: duckdb.DuckDBPyConnection) -> Engine:
    """Return an engine whose connections are cursors of `root`: each is a connection of its own to the same file."""
    return create_engine(
        "duckdb://",
        creator=lambda: ConnectionWrapper(root.cursor()),
        poolclass=QueuePool,
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=-1,
    )


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    _check_header(path)
    try:
        root = duckdb.connect(str(path), config=_CONFIGURATION)
        root.execute("SET GLOBAL TimeZone = 'UTC'")
    except duckdb.Error as error:
        raise _told_by_driver(error, path) from None
    return root


def _check_header(path: Path) -> None:
    """Refuse another kind of file: DuckDB would try to load an extension that can read it."""
    try:
        if path.is_dir():
            raise StoreUnreachable(path=path, reason="it is a directory, and a store is a file")
        if path.exists():
            with path.open("rb") as file:
                header = file.read(_MAGIC_AT + len(_MAGIC))
            if header[_MAGIC_AT:] != _MAGIC:
                raise StoreCorrupted(path=path, reason="it is not a DuckDB file" if header else "it is empty")
    except OSError as error:
        raise StoreUnreachable(path=path, reason=error.strerror or str(error)) from None


def _make(path: Path) -> None:
    """Make a store beside `path` and link it there whole, so that a crash leaves either a store or none.

    Linking fails where a file is: when two programs make the same store, both end up with the first one's.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{random.getrandbits(32):08x}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        root = _connect(draft)
        engine = _engine(root)
        try:
            with engine.begin() as connection:
                _create_tables(connection)
            root.execute("CHECKPOINT")
        finally:
            engine.dispose()
            root.close()
        with suppress(FileExistsError):
            os.link(draft, path)
    except OSError as error:
        raise StoreUnreachable(path=path, reason=error.strerror or str(error)) from None
    except StoreError as error:
        raise type(error)(**{**error.facts, "path": path}) from None
    finally:
        for file in (draft, _log_of(draft)):
            with suppress(OSError):
                file.unlink()


def _create_tables(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    first = Head()
    head = {"id": schema.HEAD_ID, "sequence": first.sequence, "hash": first.hash, "turn": 0}
    connection.execute(schema.ledger_head.insert(), head)
    connection.execute(schema.schema_version.insert(), {"version": schema.SCHEMA_VERSION})


def _check_schema(engine: Engine, path: Path) -> None:
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        if "schema_version" not in tables:
            raise StoreCorrupted(path=path, reason="it is a DuckDB file, but not one of ours")
        found = connection.execute(text("SELECT max(version) FROM schema_version")).scalar()
        if not isinstance(found, int) or found < schema.SCHEMA_VERSION:
            raise StoreCorrupted(path=path, reason=f"its schema version is {found}")
        if found > schema.SCHEMA_VERSION:
            raise StoreNewer(path=path, found=found, known=schema.SCHEMA_VERSION)
        if missing := schema.metadata.tables.keys() - tables:
            raise StoreCorrupted(path=path, reason=f"it has no table {min(missing)}")


def _told(error: DBAPIError, path: Path) -> StoreError:
    """Say what an error that SQLAlchemy wrapped means."""
    if isinstance(error, IntegrityError):
        return StoreConflict()
    if isinstance(error.orig, duckdb.Error):
        return _told_by_driver(error.orig, path)
    return StoreUnreachable(path=path, reason=_first_line(error))


def _told_by_driver(error: duckdb.Error, path: Path) -> StoreError:
    """Say what an error of DuckDB means; it has one class for many reasons, so the words decide."""
    words = str(error)
    if "Could not set lock" in words or "different configuration" in words:
        owner = re.search(r"PID (\d+)", words)
        return StoreLocked(path=path, owner=f" (process {owner[1]})" if owner else "")
    if newer := re.search(r"version number (\d+), but we can only read versions? (?:between \d+ and )?(\d+)", words):
        return StoreNewer(path=path, found=f"DuckDB {newer[1]}", known=f"DuckDB {newer[2]}")
    if isinstance(error, duckdb.ConstraintException | duckdb.TransactionException):
        return StoreConflict()
    if _says_damage(error, words):
        return StoreCorrupted(path=path, reason=_first_line(error))
    return StoreUnreachable(path=path, reason=_first_line(error))


def _says_damage(error: duckdb.Error, words: str) -> bool:
    kinds = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    signs = ("not a valid DuckDB", "orrupt", "replaying WAL", "hecksum", "CatalogException", "deserializ")
    return isinstance(error, kinds) or any(sign in words for sign in signs)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
