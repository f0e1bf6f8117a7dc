"""People's own SELECTs on a Postgres store: one statement, in a transaction that can change nothing.

Rows of other organizations stay unseen as long as the setting that row-level security compares with can't be changed,
so functions that change settings, or run text as SQL, are refused by name.
"""

from __future__ import annotations

import re
from typing import cast

import psycopg
from sqlalchemy import Connection, text

from engine.domain.writes import Answer
from engine.errors import QueryRefused
from engine.storage.sql.views import SCHEMA

LONGEST_S = 60
_PREPARE = text(
    "SELECT set_config('search_path', :path, true), set_config('statement_timeout', :longest, true)"
).bindparams(path=f"{SCHEMA}, pg_catalog, pg_temp", longest=f"{LONGEST_S}s")
_IGNORED = re.compile(r"(\s|--[^\n]*(\n|$)|/\*.*?\*/|\()*", re.DOTALL)
_WORD = re.compile(r"\w+|\S")
_QUESTIONS = ("SELECT", "WITH", "VALUES", "TABLE")
_REFUSED = re.compile(
    r"set_config|\bU&|to_xml|ts_stat|ts_rewrite|crosstab|connectby|xpath_table|dblink|\blo_\w+"
    r"|pg_(sleep|notify|terminate|cancel|\w*advisory)",
    re.IGNORECASE,
)
_TOO_LONG = "57014"


def answer(connection: Connection, sql: str, limit: int | None) -> Answer:
    """Return what `sql` gives, at most `limit` rows of it; `QueryRefused` for anything but one right SELECT."""
    _check(sql)
    connection.execute(_PREPARE)
    driver = cast("psycopg.Connection", connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor:
            # in binary, so that the server takes one statement only
            cursor.execute(f"DECLARE answer NO SCROLL CURSOR FOR {sql}".encode(), binary=True)
            cursor.execute(b"FETCH ALL FROM answer" if limit is None else f"FETCH {int(limit)} FROM answer".encode())
            names = tuple(column.name for column in cursor.description or ())
            return Answer(names, cursor.fetchall())
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57P", "53")):
            raise
        if error.sqlstate == _TOO_LONG:
            raise QueryRefused(reason=f"it took longer than {LONGEST_S} s; ask for less") from None
        raise QueryRefused(reason=_first_line(error)) from None


def _check(sql: str) -> None:
    if "\x00" in sql:
        raise QueryRefused(reason="it holds a null character")
    skipped = _IGNORED.match(sql)
    begins = _WORD.match(sql, skipped.end() if skipped else 0)
    if begins is None:
        raise QueryRefused(reason="it has 0 statements; ask one at a time")
    if begins[0].upper() not in _QUESTIONS:
        raise QueryRefused(reason=f"it is a {begins[0].upper()}; only SELECT is answered")
    if refused := _REFUSED.search(sql):
        raise QueryRefused(reason=f"it uses {refused[0]}, which is not allowed here")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300].rstrip(".")
