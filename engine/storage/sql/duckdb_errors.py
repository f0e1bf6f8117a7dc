"""What DuckDB's errors mean; it has one class for many reasons, so the words decide."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
from sqlalchemy.exc import DBAPIError, IntegrityError

from engine.errors import StoreConflict, StoreCorrupted, StoreError, StoreLocked, StoreNewer, StoreUnreachable
from engine.storage.disk import FULL, says_full

_NOT_WRITTEN = re.compile(r"Could not|Cannot (write|open)|IO Error|checkpoint")


def told(error: DBAPIError, path: Path) -> StoreError:
    """Say what an error that SQLAlchemy wrapped means."""
    if isinstance(error, IntegrityError):
        return StoreConflict()
    if isinstance(error.orig, duckdb.Error):
        return told_by_driver(error.orig, path)
    return StoreUnreachable(path=path, reason=_first_line(error))


def told_by_driver(error: duckdb.Error, path: Path) -> StoreError:
    """Say what an error of DuckDB means; it has one class for many reasons, so the words decide."""
    words = str(error)
    if "Could not set lock" in words or "different configuration" in words:
        owner = re.search(r"PID (\d+)", words)
        return StoreLocked(path=path, owner=f" (process {owner[1]})" if owner else "")
    if newer := re.search(r"version number (\d+), but we can only read versions? (?:between \d+ and )?(\d+)", words):
        return StoreNewer(path=path, found=f"DuckDB {newer[1]}", known=f"DuckDB {newer[2]}")
    if says_full(words):
        return StoreUnreachable(path=path, reason=FULL)
    if isinstance(error, duckdb.ConstraintException) or is_conflict(error):
        return StoreConflict()
    if _says_damage(error, words):
        return StoreCorrupted(path=path, reason=_first_line(error))
    return StoreUnreachable(path=path, reason=_first_line(error))


def is_about_text(error: Exception) -> bool:
    """Say whether a text could not be handed to the driver, which has no class of its own for that."""
    return isinstance(error, UnicodeEncodeError) or "Unable to cast Python instance" in str(error)


def is_conflict(error: BaseException | None) -> bool:
    """Say whether another transaction came first; a COMMIT that could not be written is of the same class."""
    return isinstance(error, duckdb.TransactionException) and _NOT_WRITTEN.search(str(error)) is None


def is_spoiling(error: BaseException | None) -> bool:
    """Say whether the file has to be opened anew: it could not be written, or DuckDB refuses to go on."""
    if isinstance(error, duckdb.TransactionException):
        return not is_conflict(error)
    return isinstance(error, duckdb.FatalException | duckdb.InternalException) or says_full(str(error))


def _says_damage(error: duckdb.Error, words: str) -> bool:
    kinds = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    signs = ("not a valid DuckDB", "orrupt", "replaying WAL", "hecksum", "CatalogException", "deserializ")
    return isinstance(error, kinds) or any(sign in words for sign in signs)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
