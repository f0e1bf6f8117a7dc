"""People's own SELECTs on a DuckDB store: one statement, in a transaction that can change nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Timer
from typing import Any

import duckdb

from engine.domain.writes import Answer
from engine.errors import QueryRefused
from engine.storage.sql.views import SCHEMA

LONGEST_S = 60.0


def answer(cursor: duckdb.DuckDBPyConnection, sql: str, limit: int | None) -> Answer:
    """Return what `sql` gives, at most `limit` rows of it; `QueryRefused` for anything but one right SELECT."""
    stop = Timer(LONGEST_S, cursor.interrupt)
    stop.daemon = True
    try:
        _check(cursor, sql)
        cursor.execute(f"SET schema = '{SCHEMA}'")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        stop.start()
        cursor.execute(sql)
        rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
        return Answer(_names(cursor), [tuple(map(_plain, row)) for row in rows])
    except duckdb.InterruptException:
        raise QueryRefused(reason=f"it took longer than {LONGEST_S:.0f} s; ask for less") from None
    except (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError, duckdb.PermissionException) as error:
        raise QueryRefused(reason=_first_line(error)) from None
    finally:
        stop.cancel()


def _check(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise QueryRefused(reason=f"it has {len(statements)} statements; ask one at a time")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryRefused(reason=f"it is a {statements[0].type.name}; only SELECT is answered")


def _names(cursor: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    return tuple(str(column[0]) for column in cursor.description or ())


def _plain(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not None else value


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
