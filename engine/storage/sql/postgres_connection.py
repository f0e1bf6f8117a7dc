"""Reaching a Postgres server: its address without secrets, connections as we want them, and what its errors mean."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from engine.errors import (
    NotCanonical,
    StoreConflict,
    StoreCorrupted,
    StoreError,
    StoreUnreachable,
    TreadleError,
)

SCHEMA = "treadle"
APP_ROLE = "treadle_app"
SETTING = "app.organization"
"""What the policies of row-level security compare with."""
CONNECT_S = 10
_WAIT_FOR_LOCK_S = 60
_DEFAULTS = {
    "connect_timeout": str(CONNECT_S),
    "application_name": "treadle",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""For what the address leaves open. With keepalives a vanished server is noticed within a minute, even when idle."""
_SESSION = SQL("""
    SET search_path = {}, pg_catalog, pg_temp;
    SET TimeZone = 'UTC';
    SET lock_timeout = {};
    SET idle_session_timeout = 0;
    SET standard_conforming_strings = on
""").format(Identifier(SCHEMA), f"{_WAIT_FOR_LOCK_S}s")
"""Temporary tables come last, or one of them could stand in for ours."""

_UNREADABLE = "its URL can't be read; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special signs as %XX"
_STARTING = r"starting up|in recovery mode|not yet accepting connections"
_STARTING_WAIT_S = 0.1
_NOBODY = (
    r"refused|No such file or directory|could not translate|not known|timeout expired|unreachable|No route to host"
    r"|failed to resolve|failure in name resolution"
)
_SIGNS = (
    (
        r"password authentication failed|no password supplied",
        "user or password are wrong; check both in its URL",
    ),
    (
        r'database ".*" does not exist',
        "there is no such database; make it with createdb, or mend its URL",
    ),
    (r'role ".*" does not exist', "there is no such user; mend its URL"),
    (r"no pg_hba\.conf entry", "the server does not let this user in from here; ask who looks after it (pg_hba.conf)"),
    (
        r"SSL negotiation|expected authentication request|server closed the connection|unsupported frontend protocol",
        "what answers there does not speak as Postgres does; check host and port in its URL",
    ),
    (r"invalid (port number|integer value)", _UNREADABLE),
    (
        r"too many (clients|connections)|remaining connection slots",
        "all connections of the server are taken; try later",
    ),
    (rf"{_STARTING}|shutting down", "the server is starting or stopping; try again in a moment"),
    (_NOBODY, "no server answers there; start it, or check host and port in its URL"),
)
"""libpq tells why a connection failed in words only."""
_STATES = {
    "53100": "its disk is full; make room on the server and repeat",
    "53200": "the server is out of memory",
    "53300": "all connections of the server are taken; try later",
    "25006": "it can only be read: it is a standby; use the URL of the primary server",
    "55P03": f"another program has held the same records for {_WAIT_FOR_LOCK_S} s; find it in pg_stat_activity",
    "57014": "the server was told to stop this statement",
    "42501": f"the user may not do this; grant it the role {APP_ROLE}",
}
_DAMAGE = ("XX001", "XX002", "42P01", "42703", "3F000")
"""Damaged data or index; a table, column or schema that is missing."""
_CONFLICTS = ("40001", "40P01")
_TOO_LARGE = "54000"
"""A limit of the program; among those a statement of ours can meet, the size of a row of an index."""
_GONE = ("57P01", "57P02", "57P03", "25P03")
"""The server ended the connection: shut down, crashed, starting, idle too long inside a transaction."""
_LONGEST_REASON = 300


_AT_BEHIND_SLASH = re.compile(r"^[^?]*//[^/?]*/[^?]*@")
"""A password with a slash in it: libpq would take what is before the slash for host and port, and show it."""


class Address(NamedTuple):
    """Where a database is."""

    parameters: dict[str, str]
    """For libpq, secrets included."""
    place: str
    """For people: without secrets."""


def address_of(url: str) -> Address:
    """Read a URL 'postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS'; what it leaves out, libpq's defaults give."""
    try:
        found = conninfo_to_dict(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url))
    except psycopg.Error:
        # libpq's words quote what it could not read, and that may be the password
        raise _unreadable(url) from None
    given = {key: str(value) for key, value in found.items() if value is not None}
    if any("@" in given.get(key, "") for key in ("host", "port")) or _AT_BEHIND_SLASH.search(url):
        raise _unreadable(url)
    user = f"{given['user']}@" if "user" in given else ""
    port = f":{given['port']}" if "port" in given else ""
    place = f"postgresql://{user}{given.get('host', '')}{port}/{given.get('dbname', '')}"
    return Address({**_DEFAULTS, **given, "client_encoding": "utf8"}, place)


def _unreadable(url: str) -> StoreUnreachable:
    return StoreUnreachable(
        path=re.sub(r"//.*@", "//…@", url, flags=re.DOTALL),
        reason=_UNREADABLE,
    )


def connect(address: Address, *, role: str | None) -> psycopg.Connection:
    """Return a new connection whose session sees our tables and acts in `role`, if given.

    A server that is starting or recovering is waited for, as long as for one that does not answer.
    Raises what psycopg raises.
    """
    until = time.monotonic() + CONNECT_S
    while True:
        try:
            connection = psycopg.connect(**address.parameters)  # pyright: ignore[reportArgumentType]  (libpq parses texts)
            break
        except psycopg.OperationalError as error:
            if not re.search(_STARTING, str(error)) or time.monotonic() > until:
                raise
        time.sleep(_STARTING_WAIT_S)
    try:
        connection.autocommit = True
        connection.execute(_SESSION)
        if role is not None:
            connection.execute(SQL("SET ROLE {}").format(Identifier(role)))
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def is_conflict(error: BaseException) -> bool:
    """Say whether the server took a transaction back because of another one: then it can be repeated."""
    return _state(error) in _CONFLICTS


def is_gone(error: BaseException) -> bool:
    """Say whether an error means that the connection is lost."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        error = error.orig or error
    state = _state(error)
    if state is not None:
        return state in _GONE or state.startswith("08")
    return isinstance(error, psycopg.OperationalError)


def told(error: BaseException, place: str) -> TreadleError:
    """Say what an error of psycopg, or one that SQLAlchemy wrapped around it, means."""
    if isinstance(error, PoolTimeoutError):
        return StoreUnreachable(path=place, reason="all connections of this program are in use; try again in a moment")
    if isinstance(error, DBAPIError):
        error = error.orig or error
    if isinstance(error, UnicodeEncodeError):
        return NotCanonical(reason="a text holds half of a surrogate pair")
    if isinstance(error, psycopg.DataError) and (_state(error) in {None, "22021"}):
        return NotCanonical(reason="a text holds a null character, which Postgres can't keep")
    if _state(error) == _TOO_LARGE:
        return NotCanonical(reason="a name or key is longer than an index of Postgres can hold; use a shorter one")
    return _told_by_state(error, place)


def _told_by_state(error: BaseException, place: str) -> StoreError:
    state = _state(error)
    if state is None:
        return StoreUnreachable(path=place, reason=_reason(error))
    if state.startswith("23") or state in _CONFLICTS:
        return StoreConflict()
    if state in _DAMAGE:
        return StoreCorrupted(path=place, reason=first_line(error))
    if state in _GONE:
        return StoreUnreachable(path=place, reason="the server ended the connection; try again in a moment")
    return StoreUnreachable(path=place, reason=_STATES.get(state) or first_line(error))


def _reason(error: BaseException) -> str:
    words = str(error)
    return next((reason for sign, reason in _SIGNS if re.search(sign, words)), first_line(error))


def first_line(error: BaseException) -> str:
    """Return the first line of what the driver says."""
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:_LONGEST_REASON]


def _state(error: BaseException) -> str | None:
    """Return the five characters by which Postgres classes an error (appendix A of its manual)."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    return error.sqlstate if isinstance(error, psycopg.Error) else None
