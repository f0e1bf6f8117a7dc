"""The tables in Postgres: the shared ones with the organization in front, guarded row by row, and the journal's.

Everything is in a schema of its own. A role without any right but to read and write rows does the work; what is only
added to (ledger, versions, edits) it can't change. Policies compare each row's organization with a setting of the
transaction, for the owner of the tables too; where the setting is missing, no row is seen.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    text,
)
from sqlalchemy.schema import CreateSchema

from engine.storage.sql import schema, views
from engine.storage.sql.postgres_connection import APP_ROLE, SCHEMA, SETTING

CHANNEL = "treadle"
"""Where commits that moved a ledger's head tell so: 'ORGANIZATION:SEQUENCE'."""

metadata = MetaData(schema=SCHEMA)

_TEXT = Text(collation="C")
_APPENDED = ("ledger", "versions", "edit_batches")
_KEPT = ("ledger_head", "blobs")
_LONG_KEYS = {"steps": "path", "settings": "key"}
"""Keys of any length: an index holds 2,700 bytes at most, so it holds their hash."""


def _organization() -> Column[Any]:
    return Column("organization", _TEXT, nullable=False, server_default=text(f"current_setting('{SETTING}')"))


def _hash_of(column: str) -> Column[Any]:
    """Return a column with the SHA-256 of another: a cast to bytea would read backslashes as escapes."""
    sha256 = Computed(f"sha256(replace({column}, '\\', '\\\\')::bytea)", persisted=True)
    return Column(f"{column}_sha256", LargeBinary, sha256)


def _belonging(shared: Table[Any]) -> Table[Any]:
    """Return a shared table as it is here: each row belongs to an organization, which leads its key."""
    columns = [
        Column(column.name, column.type, nullable=column.nullable, autoincrement=False)
        for column in shared.columns
        if column.name != "organization"
    ]
    long_key = _LONG_KEYS.get(shared.name)
    keys = [name + "_sha256" if name == long_key else name for name in _keys(shared)]
    extra: list[Any] = [_hash_of(long_key)] if long_key else []
    if keys:
        extra.append(PrimaryKeyConstraint("organization", *keys, name=f"{shared.name}_pkey"))
    named = CheckConstraint("organization <> ''", name=f"{shared.name}_belongs")
    made = Table(shared.name, metadata, _organization(), *columns, *extra, named)
    for index in shared.indexes:
        Index(index.name, made.c.organization, *(made.columns[column.name] for column in index.columns))
    return made


def _keys(table: Table[Any]) -> list[str]:
    return [column.name for column in table.primary_key.columns if column.name != "organization"]


version = schema.schema_version.to_metadata(metadata, schema=SCHEMA)
_shared = {
    name: _belonging(table) for name, table in schema.metadata.tables.items() if name != schema.schema_version.name
}
blobs = Table(
    "blobs",
    metadata,
    _organization(),
    Column("sha256", _TEXT, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("organization", "sha256", name="blobs_pkey"),
    CheckConstraint("organization <> ''", name="blobs_belongs"),
)
journal_owners = Sequence("journal_owners", metadata=metadata, data_type=Integer, cycle=True)
_journal = {
    "journal_runs": Table(
        "journal_runs",
        metadata,
        _organization(),
        Column("run", _TEXT, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("records", BigInteger, nullable=False),
        Column("crc", BigInteger, nullable=False),
        PrimaryKeyConstraint("organization", "run", name="journal_runs_pkey"),
        CheckConstraint("organization <> ''", name="journal_runs_belongs"),
    ),
    "journal_records": Table(
        "journal_records",
        metadata,
        _organization(),
        Column("run", BigInteger, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("kind", _TEXT, nullable=False),
        Column("path", _TEXT, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("ts_us", BigInteger, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("crc", BigInteger, nullable=False),
        PrimaryKeyConstraint("organization", "run", "position", name="journal_records_pkey"),
        CheckConstraint("organization <> ''", name="journal_records_belongs"),
    ),
    "journal_claims": Table(
        "journal_claims",
        metadata,
        _organization(),
        Column("run", _TEXT, nullable=False),
        Column("owner", Integer, nullable=False),
        PrimaryKeyConstraint("organization", "run", name="journal_claims_pkey"),
        CheckConstraint("organization <> ''", name="journal_claims_belongs"),
    ),
}
journal_numbers = Sequence("journal_numbers", metadata=metadata, data_type=BigInteger)
_guarded = (*_shared, *_journal, blobs.name)
FIRST_VERSION = 2
"""The first schema there was in Postgres."""


def _index(name: str, table: str, *columns: str, **options: Any) -> None:
    found = _shared[table].columns
    Index(name, found["organization"], *(found[column] for column in columns), **options)


_index("models_by_name", "models", "name_key", unique=True, postgresql_where=text("deleted_at IS NULL"))
_index("models_by_age", "models", "updated_at", "id")
_index("runs_by_age", "runs", "created_at", "id")
_index("runs_by_model", "runs", "model", "created_at", "id")
_index("ledger_by_entity", "ledger", "entity", "sequence")
Index("settings_by_key", _shared["settings"].c.key, postgresql_using="hash")


def create(connection: Connection) -> None:
    """Make schema, tables, policies and the trigger for news, in the transaction of `connection`."""
    connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
    metadata.create_all(connection, checkfirst=False)
    for name in _guarded:
        guard(connection, name)
    for statement in _NEWS:
        connection.exec_driver_sql(statement)
    views.create_views(connection)
    connection.execute(version.insert(), {"version": schema.SCHEMA_VERSION})


def guard(connection: Connection, table: str) -> None:
    """Let each organization see, change and add only its own rows of a table, whoever asks.

    The setting is read in a subquery, once a statement: read for each row it would cost 0.2 us a row.
    """
    own = f"organization = (SELECT current_setting('{SETTING}', true))"
    where = f"{SCHEMA}.{table}"
    connection.exec_driver_sql(f"ALTER TABLE {where} ENABLE ROW LEVEL SECURITY")
    connection.exec_driver_sql(f"ALTER TABLE {where} FORCE ROW LEVEL SECURITY")
    connection.exec_driver_sql(f"CREATE POLICY own_organization ON {where} USING ({own}) WITH CHECK ({own})")


def grant(connection: Connection) -> None:
    """Give the role that does the work what it needs and nothing else. Repeating it changes nothing."""
    connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {APP_ROLE}")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {APP_ROLE}")
    for name in _guarded:
        connection.exec_driver_sql(f"GRANT {_rights(name)} ON {SCHEMA}.{name} TO {APP_ROLE}")
    connection.exec_driver_sql(f"GRANT SELECT ON {SCHEMA}.{version.name} TO {APP_ROLE}")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {views.SCHEMA} TO {APP_ROLE}")
    connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {views.SCHEMA} TO {APP_ROLE}")
    for sequence in (journal_owners, journal_numbers):
        connection.exec_driver_sql(f"GRANT USAGE ON SEQUENCE {SCHEMA}.{sequence.name} TO {APP_ROLE}")


def _rights(table: str) -> str:
    if table in _APPENDED:
        return "SELECT, INSERT"
    return "SELECT, INSERT, UPDATE" if table in _KEPT else "SELECT, INSERT, UPDATE, DELETE"


_NEWS = (
    f"""
    CREATE FUNCTION {SCHEMA}.tell_news() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('{CHANNEL}', NEW.organization || ':' || NEW.sequence);
        RETURN NULL;
    END $$
    """,
    f"""
    CREATE TRIGGER tell_news AFTER UPDATE ON {SCHEMA}.ledger_head
        FOR EACH ROW WHEN (OLD.sequence < NEW.sequence) EXECUTE FUNCTION {SCHEMA}.tell_news()
    """,
)
"""A trigger, so that whoever adds to a ledger tells it, within the same commit."""
