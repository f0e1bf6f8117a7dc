"""The file of a DuckDB store: made whole or not at all, recognized before it is touched, connected to."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from engine.domain.events import Head
from engine.errors import StoreCorrupted, StoreError, StoreNewer, StoreUnreachable
from engine.storage.disk import can_be_named, why
from engine.storage.sql import schema
from engine.storage.sql.duckdb_errors import told, told_by_driver
from engine.storage.sql.views import create_views

_CONFIGURATION: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
}
"""A statement in the catalog never reads another file or the network."""
_MAGIC_AT, _MAGIC = 8, b"DUCK"
"""Where a DuckDB file says what it is: behind the checksum of its first block."""
_IDLE_CONNECTIONS = 8
"""Readers above this number get a connection of their own for one read."""


def engine_over(cursor: Callable[[], duckdb.DuckDBPyConnection]) -> Engine:
    """Return an engine whose connections are what `cursor` gives: each is one of its own to the same file."""
    return create_engine(
        "duckdb://",
        creator=lambda: ConnectionWrapper(cursor()),
        poolclass=QueuePool,
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=-1,
    )


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection to the file; raise what `open_duckdb` says."""
    _check_header(path)
    try:
        root = duckdb.connect(str(path), config=_CONFIGURATION)
        root.execute("SET GLOBAL TimeZone = 'UTC'")
    except duckdb.Error as error:
        raise told_by_driver(error, path) from None
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
        raise StoreUnreachable(path=path, reason=why(error)) from None


def is_there(path: Path) -> bool:
    """Say whether there is something at `path`; `StoreUnreachable` for a name that no file can have."""
    if not can_be_named(path):
        raise StoreUnreachable(path=ascii(str(path)), reason="no file can have this name")
    try:
        return path.exists()
    except OSError as error:
        raise StoreUnreachable(path=path, reason=why(error)) from None


def make(path: Path) -> None:
    """Make a store beside `path` and link it there whole, so that a crash leaves either a store or none.

    Linking fails where a file is: when two programs make the same store, both end up with the first one's.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{random.getrandbits(32):08x}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        root = connect(draft)
        engine = engine_over(root.cursor)
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
        raise StoreUnreachable(path=path, reason=why(error)) from None
    except (duckdb.Error, DBAPIError) as error:
        raise (told_by_driver(error, path) if isinstance(error, duckdb.Error) else told(error, path)) from None
    except StoreError as error:
        raise type(error)(**{**error.facts, "path": path}) from None
    finally:
        for file in (draft, log_of(draft)):
            with suppress(OSError):
                file.unlink()


def _create_tables(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    create_views(connection)
    first = Head()
    head = {"id": schema.HEAD_ID, "sequence": first.sequence, "hash": first.hash, "turn": 0}
    connection.execute(schema.ledger_head.insert(), head)
    connection.execute(schema.schema_version.insert(), {"version": schema.SCHEMA_VERSION})


def schema_version(engine: Engine, path: Path) -> int:
    """Return the schema of the file; `StoreCorrupted` if it is not ours, `StoreNewer` if it is too new."""
    with engine.connect() as connection:
        if "schema_version" not in inspect(connection).get_table_names():
            raise StoreCorrupted(path=path, reason="it is a DuckDB file, but not one of ours")
        found = connection.execute(text("SELECT max(version) FROM schema_version")).scalar()
    if not isinstance(found, int) or found < 1:
        raise StoreCorrupted(path=path, reason=f"its schema version is {found}")
    if found > schema.SCHEMA_VERSION:
        raise StoreNewer(path=path, found=found, known=schema.SCHEMA_VERSION)
    return found


def check_tables(engine: Engine, path: Path) -> None:
    """Raise `StoreCorrupted` if a table is missing."""
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
    if missing := schema.metadata.tables.keys() - set(tables):
        raise StoreCorrupted(path=path, reason=f"it has no table {min(missing)}")


def log_of(path: Path) -> Path:
    """Return where DuckDB keeps the file's write-ahead log."""
    return path.with_name(path.name + ".wal")
