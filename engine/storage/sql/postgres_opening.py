"""Opening a Postgres store: is it one, is it ours, is its schema known, and in which role we act."""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from sqlalchemy import Connection, create_engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from engine.errors import StoreCorrupted, StoreNewer, StoreOlder, StoreUnreachable
from engine.storage.sql import migrations, postgres_schema, schema
from engine.storage.sql.postgres_connection import APP_ROLE, SCHEMA, Address, connect, told

_LOCK = 0x7472_6561_646C_65
"""'treadle': whoever makes or mends the schema holds this advisory lock."""
_OLDEST_SERVER = 15
"""The first one whose views may ask as who asks them."""

_FACTS = text(
    """
    SELECT version() AS version, current_setting('server_version_num')::int / 10000 AS major,
        current_setting('server_encoding') AS encoding, current_user AS login,
        has_database_privilege(current_database(), 'CREATE') AS may_make,
        role.rolsuper OR role.rolbypassrls AS bypasses, role.rolsuper OR role.rolcreaterole AS may_make_roles,
        to_regnamespace(:schema) IS NOT NULL AS has_schema, to_regclass(:version) IS NOT NULL AS has_version
    FROM pg_roles AS role WHERE role.rolname = current_user
    """
).bindparams(schema=SCHEMA, version=f"{SCHEMA}.{postgres_schema.version.name}")
_VERSION_TABLE = f"{SCHEMA}.{postgres_schema.version.name}"
_OWNS = text(
    "SELECT pg_has_role(current_user, relowner, 'MEMBER') FROM pg_class WHERE oid = to_regclass(:version)"
).bindparams(version=_VERSION_TABLE)
_ROLE = text(
    """
    SELECT rolsuper OR rolbypassrls AS bypasses, has_table_privilege(oid, :version, 'SELECT') AS is_granted,
        pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION') AS may_give,
        CASE WHEN current_setting('server_version_num')::int < 160000 THEN pg_has_role(current_user, oid, 'MEMBER')
        ELSE pg_has_role(current_user, oid, 'SET') END AS may_take
    FROM pg_roles WHERE rolname = :role
    """
).bindparams(role=APP_ROLE, version=_VERSION_TABLE)
_MAKE_ROLE = f"""
    DO $$ BEGIN
        CREATE ROLE {APP_ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
"""
"""Roles belong to the whole server: two databases may be opened for the first time at once."""
_AS_SET = " WITH SET TRUE"
"""Since version 16 one who makes a role may give it away, but not act in it."""


class _Facts(NamedTuple):
    version: str
    major: int
    encoding: str
    login: str
    may_make: bool
    bypasses: bool
    may_make_roles: bool
    has_schema: bool
    has_version: bool


def open_schema(address: Address, *, migrate: bool = False) -> str | None:
    """Make the schema if the database has none, check it, and return the role to act in, None for the login's own.

    An older one is brought up to date if that is safe or `migrate` asks for it, in one transaction.

    Raises `StoreUnreachable`, `StoreCorrupted`, `StoreNewer` or `StoreOlder`, and leaves the database as it was.
    """
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(address, role=None), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            facts = _checked_server(connection, address.place)
            if not facts.has_version:
                _make(connection, facts, address.place)
            role = _role(connection, facts, address.place)
            _check_schema(connection, address.place, migrate=migrate)
            _grant(connection)
            return role
    except (DBAPIError, psycopg.Error, UnicodeEncodeError) as error:
        raise told(error, address.place) from None
    finally:
        engine.dispose()


def _checked_server(connection: Connection, place: str) -> _Facts:
    facts = _Facts(*connection.execute(_FACTS).one())
    reason = None
    if not facts.version.startswith("PostgreSQL "):
        reason = f"it is {facts.version[:80]}, not PostgreSQL"
    elif facts.major < _OLDEST_SERVER:
        reason = f"it is PostgreSQL {facts.major}; at least {_OLDEST_SERVER} is needed"
    elif facts.encoding != "UTF8":
        reason = f"its database keeps text as {facts.encoding}; make one with ENCODING 'UTF8'"
    if reason is not None:
        raise StoreUnreachable(path=place, reason=reason)
    return facts


def _make(connection: Connection, facts: _Facts, place: str) -> None:
    """Make the schema, unless another program does just now: then wait for it."""
    if not facts.has_schema and not facts.may_make:
        reason = f"it has no schema {SCHEMA}, and {facts.login} may not make one; open it once as the database's owner"
        raise StoreUnreachable(path=place, reason=reason)
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if connection.execute(_FACTS).one().has_version:
        return
    if inspect(connection).get_table_names(schema=SCHEMA):
        raise StoreCorrupted(path=place, reason=f"its schema {SCHEMA} is not one of ours")
    postgres_schema.create(connection)


def _check_schema(connection: Connection, place: str, *, migrate: bool) -> None:
    """Refuse a schema that isn't ours or is newer; bring an older one up to date if that is safe or asked for."""
    found = _found_version(connection)
    if not isinstance(found, int) or found < postgres_schema.FIRST_VERSION:
        raise StoreCorrupted(path=place, reason=f"its schema version is {found}")
    if found > schema.SCHEMA_VERSION:
        raise StoreNewer(path=place, found=found, known=schema.SCHEMA_VERSION)
    if found < schema.SCHEMA_VERSION:
        if not (migrate or migrations.are_safe(found)) or not connection.execute(_OWNS).scalar():
            raise StoreOlder(path=place, found=found, known=schema.SCHEMA_VERSION)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if _found_version(connection) == found:
            migrations.upgrade(connection, found)
            postgres_schema.grant(connection)
    there = set(inspect(connection).get_table_names(schema=SCHEMA))
    if missing := {table.name for table in postgres_schema.metadata.tables.values()} - there:
        raise StoreCorrupted(path=place, reason=f"it has no table {min(missing)}")


def _found_version(connection: Connection) -> object:
    return connection.execute(select(func.max(postgres_schema.version.c.version))).scalar()


def _role(connection: Connection, facts: _Facts, place: str) -> str | None:
    """Return the role to act in, made where it is missing and the login may; None for the login's own."""
    owns = bool(connection.execute(_OWNS).scalar())
    role = connection.execute(_ROLE).first()
    if owns and facts.may_make_roles and (role is None or not role.may_take):
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.exec_driver_sql(_MAKE_ROLE)
        if connection.execute(_ROLE).one().may_give:
            connection.exec_driver_sql(f"GRANT {APP_ROLE} TO CURRENT_USER{_AS_SET if facts.major >= 16 else ''}")
        role = connection.execute(_ROLE).one()
    if not (facts.bypasses or owns):
        return None
    if role is not None and role.may_take and not role.bypasses:
        return APP_ROLE
    if facts.bypasses:
        reason = (
            f"{facts.login} sees the rows of every organization and can't act as {APP_ROLE}; "
            f"use a user who doesn't, or 'GRANT {APP_ROLE} TO {facts.login}'"
        )
        raise StoreUnreachable(path=place, reason=reason)
    return None


def _grant(connection: Connection) -> None:
    """Give the role its rights where they are missing, as after a restore into another server."""
    role = connection.execute(_ROLE).first()
    if role is not None and not role.is_granted and connection.execute(_OWNS).scalar():
        postgres_schema.grant(connection)
