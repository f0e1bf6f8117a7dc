"""Opening the journal's SQLite file: what it holds, and how another file is told apart without touching it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.errors import JournalBroken
from engine.storage.disk import FULL, can_be_named, has_room, says_full, why

SCHEMA_VERSION = 1
BUSY_S = 30.0
"""How long to wait for another process's transaction; they take milliseconds."""

_APPLICATION_ID = 0x54524A4C
"""'TRJL' in SQLite's header: this is a journal of ours and no other program's database."""
DAMAGE = (sqlite3.Error, UnicodeDecodeError)
"""What the driver raises for a damaged file: names of tables that are no UTF-8 come as they are."""
_MAGIC = b"SQLite format 3\x00"

# No index but the keys: there are only as many runs as are under way, and an index is one more thing to be damaged.
_SCHEMA = (
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY, run TEXT NOT NULL, name_crc INTEGER NOT NULL, records INTEGER NOT NULL,
        crc INTEGER NOT NULL)""",
    """CREATE TABLE records (
        run INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL,
        attempt INTEGER NOT NULL, ts_us INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (run, position)) WITHOUT ROWID""",
    "CREATE TABLE claims (run TEXT PRIMARY KEY, pid INTEGER NOT NULL, started TEXT NOT NULL, host TEXT NOT NULL)",
)


def open_connection(path: Path) -> sqlite3.Connection:
    """Return a connection to the journal at `path`, made if there is none; `JournalBroken` says why it can't be."""
    if not can_be_named(path):
        raise JournalBroken(path=ascii(str(path)), reason="no file can have this name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_header(path)
    except OSError as error:
        raise JournalBroken(path=path, reason=why(error)) from None
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        _prepare(connection, path)
    except (*DAMAGE, JournalBroken) as error:
        if connection is not None:
            connection.close()
        reason = error.facts["reason"] if isinstance(error, JournalBroken) else reason_of(error, path)
        raise JournalBroken(path=path, reason=reason) from None
    return connection


def reason_of(error: Exception, path: Path) -> str:
    """Return what an error of the driver means; for files beside the journal it has one word for all reasons."""
    words = str(error)
    is_full = says_full(words) or ("disk I/O error" in words and not has_room(path.parent))
    return FULL if is_full else words


def _check_header(path: Path) -> None:
    """Refuse what SQLite would take for a new, empty database and write over. An empty file is a new one."""
    if path.is_dir():
        raise JournalBroken(path=path, reason="it is a directory")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise JournalBroken(path=path, reason="it is not a SQLite file")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Look before anything is written; then make the tables unless another process just did."""
    is_new = _is_new(connection, path)
    if is_new:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    if is_new:
        connection.execute("BEGIN IMMEDIATE")
        if _is_new(connection, path):
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not found and application == 0:
        return True
    if application != _APPLICATION_ID:
        raise JournalBroken(path=path, reason="it is a SQLite file of another program")
    if version != SCHEMA_VERSION:
        reason = f"it was written in format {version}, this program knows {SCHEMA_VERSION}"
        raise JournalBroken(path=path, reason=reason)
    if {name for (name,) in found} != {"runs", "records", "claims"}:
        raise JournalBroken(path=path, reason="its tables are damaged")
    return False
