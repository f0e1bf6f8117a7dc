"""One organization can't read, change, add or remove what another one keeps in the same Postgres database."""

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import text

from engine.domain.queries import EntityQuery, EntryQuery, ModelQuery, RunQuery
from engine.domain.values import Semver
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
    Write,
)
from engine.errors import ModelNotFound, OrganizationForeign, QueryRefused, StoreCorrupted
from engine.ledger.verification import verify
from engine.ports import Catalog, JournalRecord
from engine.storage.journal_postgres import PostgresJournal
from engine.storage.sql import views
from engine.storage.sql.postgres import open_postgres
from engine.storage.sql.postgres_blobs import PostgresBlobs
from engine.storage.sql.postgres_schema import metadata
from tests.contract.samples import at, batch, draft, entities, everything, run, step, version

TABLES = sorted(table.name for table in metadata.tables.values() if table.name != "schema_version")
APPENDED = ("ledger", "versions", "edit_batches")


@pytest.fixture
def ours(postgres_url):
    """Return the catalog of an organization that keeps one of everything, its journal too."""
    catalog = open_postgres(postgres_url, organization="ours")
    fill(catalog)
    remembered = text("INSERT INTO remote_commits (id, ts, first, last) VALUES ('c1', now(), 1, 1)")
    catalog.database.writing(lambda connection: connection.execute(remembered))
    PostgresBlobs(catalog.database).put(b"ours")
    journal = PostgresJournal(postgres_url, organization="ours")
    journal.sync(journal.append(JournalRecord("r1", "done", "a", 1, 1, b"{}")))
    assert journal.claim("r1")
    yield catalog
    journal.close()
    catalog.close()


@pytest.fixture
def theirs(postgres_url, ours):
    """Return the catalog of another organization in the same database."""
    catalog = open_postgres(postgres_url, organization="theirs")
    yield catalog
    catalog.close()


@pytest.fixture
def app(postgres_url, ours):
    """Return a raw connection that acts as the app does."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET ROLE treadle_app")
        connection.execute("SET search_path = treadle")
        yield connection


def fill(catalog):
    catalog.commit(
        InsertModel(model=everything().changed(organization=catalog.organization)),
        InsertBatch(batch=batch(of="m-all"), revision=8),
        InsertVersion(version=version("1.0.0", of="m-all")),
        PutRun(run=run(1, model="m-all")),
        PutSteps(steps=(step("a", started=1), step("b"))),
        PutSetting(key="k", value="kept"),
        *(PutEntity(entity=entity) for entity in entities()),
        Record(draft=draft(1, entity="m-all")),
    )


def everything_in(catalog):
    """Return what every verb that reads gives."""
    with catalog.ledger() as (head, rows):
        ledger = (head, list(rows))
    reads = {
        "model": catalog.model("m-all"),
        "model_named": catalog.model_named("Everything"),
        "models": (
            catalog.models(),
            catalog.models(ModelQuery(deleted=True)),
            catalog.models(ModelQuery(text="Größe")),
            catalog.models(ModelQuery(tag="b c")),
        ),
        "nodes": catalog.nodes(),
        "edges": catalog.edges(),
        "batches": catalog.batches("m-all"),
        "version": catalog.version("m-all", Semver.parse("1.0.0")),
        "versions": catalog.versions("m-all"),
        "run": catalog.run("r1"),
        "runs": (catalog.runs(), catalog.runs(RunQuery(text="model")), catalog.runs(RunQuery(model="m-all"))),
        "steps": catalog.steps("r1"),
        "entries": (
            catalog.entries(),
            catalog.entries(EntryQuery(text="model")),
            catalog.entries(EntryQuery(entity="m-all")),
        ),
        "head": catalog.head(),
        "ledger": ledger,
        "news": catalog.news(0, 0),
        "setting": catalog.setting("k"),
        "settings": catalog.settings(),
        "entity": [catalog.entity(entity.kind, entity.key) for entity in entities()],
        "entities": [
            (
                catalog.entities(EntityQuery(kind=entity.kind)),
                catalog.entities(EntityQuery(kind=entity.kind, due_before=at(99))),
            )
            for entity in entities()
        ],
        "query": [catalog.query(f"SELECT * FROM {view}").rows for view in views.NAMES],
        "describe": {
            name: count for name, count in catalog.describe().items() if name in {"models", "runs", "steps", "entries"}
        },
    }
    verbs = {name for name in vars(Catalog) if not name.startswith("_")} - {"commit", "close"}
    assert reads.keys() == verbs
    return reads


def is_nothing(value):
    if isinstance(value, dict):
        return all(map(is_nothing, value.values()))
    return not value or (isinstance(value, list | tuple) and all(map(is_nothing, value)))


def test_nothing_of_another_organization_is_read_by_any_verb(ours, theirs):
    seen, head = everything_in(theirs), theirs.head()
    assert head.sequence == 0
    assert (seen.pop("head"), seen.pop("ledger")) == (head, (head, []))
    assert {name for name, value in seen.items() if not is_nothing(value)} == set()
    kept = everything_in(ours)
    assert {name for name, value in kept.items() if is_nothing(value)} == set()


def test_nothing_of_another_organization_is_changed_by_any_verb(ours, theirs):
    before = everything_in(ours)
    other = everything().changed(organization="theirs", name="Taken over", revision=8)
    with pytest.raises(ModelNotFound):
        theirs.commit(UpdateModel(model=other, expected_revision=7))
    with pytest.raises(OrganizationForeign):
        theirs.commit(UpdateModel(model=other.changed(organization="ours"), expected_revision=7))
    writes = [
        InsertModel(model=other),
        InsertBatch(batch=batch(9, of="m-all"), revision=8),
        InsertVersion(version=version("1.0.0", of="m-all", message="theirs")),
        PutRun(run=run(1, model="m-all", status="failed", error="theirs")),
        PutSteps(steps=(step("a", status="failed", error="theirs"),)),
        PutSetting(key="k", value="theirs"),
        *(PutEntity(entity=entity) for entity in entities()),
        *(RemoveEntity(kind=entity.kind, key=entity.key) for entity in entities()),
        Record(draft=draft(2, entity="m-all", actor="theirs")),
    ]
    assert {type(write) for write in writes} | {UpdateModel} == set(Write.__args__)
    theirs.commit(*writes)
    assert everything_in(ours) == before
    assert (theirs.model("m-all").name, theirs.setting("k"), theirs.head().sequence) == ("Taken over", "theirs", 1)
    for catalog in (ours, theirs):
        with catalog.ledger() as (head, rows):
            assert verify(rows, head).ok


def test_blobs_are_kept_apart(ours, theirs):
    name = PostgresBlobs(ours.database).put(b"ours")
    assert PostgresBlobs(theirs.database).names() == []
    with pytest.raises(StoreCorrupted, match="missing"):
        PostgresBlobs(theirs.database).get(name)
    assert PostgresBlobs(theirs.database).put(b"ours") == name
    assert PostgresBlobs(ours.database).get(name) == b"ours"


def test_every_table_is_guarded_for_its_owner_too(postgres, postgres_url):
    found = postgres.run(
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class "
        "WHERE relnamespace = 'treadle'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname",
        database=postgres_url.rpartition("/")[2],
    )
    assert [row for row in found if row[0] != "schema_version"] == [(table, True, True) for table in TABLES]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("organization", ["theirs", "", None])
def test_sql_of_another_organization_or_of_none_reaches_no_row(app, table, organization):
    name = Identifier(table)
    app.execute("SET app.organization = 'ours'")
    count = SQL("SELECT count(*) FROM {}").format(name)
    kept = app.execute(count).fetchone()[0]
    assert kept > 0
    copied = app.execute(SQL("SELECT * FROM {} LIMIT 1").format(name)).fetchone()
    columns = [column.name for column in app.execute(SQL("SELECT * FROM {} LIMIT 0").format(name)).description]
    if organization is None:
        app.execute("RESET app.organization")
    else:
        app.execute(SQL("SET app.organization = {}").format(Literal(organization)))
    where = SQL(" WHERE organization = 'ours'")
    assert app.execute(count + where).fetchone() == (0,)
    assert app.execute(count).fetchone() == (0,)
    for statement in ("UPDATE {} SET organization = organization", "DELETE FROM {}"):
        try:
            assert app.execute(SQL(statement).format(name) + where).rowcount == 0
        except InsufficientPrivilege:
            assert table in (*APPENDED, "ledger_head", "blobs")
    written = [column for column in columns if not column.endswith("_sha256")]
    values = [copied[columns.index(column)] for column in written]
    insert = SQL("INSERT INTO {} ({}) VALUES ({})").format(
        name, SQL(", ").join(map(Identifier, written)), SQL(", ").join(map(Literal, values))
    )
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        app.execute(insert)
    app.execute("SET app.organization = 'ours'")
    assert app.execute(count).fetchone()[0] == kept


def test_a_row_can_not_be_given_to_another_organization(app):
    app.execute("SET app.organization = 'ours'")
    for table in TABLES:
        if table not in APPENDED:
            with pytest.raises(InsufficientPrivilege, match="row-level security"):
                app.execute(SQL("UPDATE {} SET organization = 'theirs'").format(Identifier(table)))


def test_a_row_without_an_organization_is_refused(app):
    for statement in ("RESET app.organization", "SET app.organization = ''"):
        app.execute(statement)
        with pytest.raises((CheckViolation, InsufficientPrivilege)):
            app.execute("INSERT INTO settings (key, value) VALUES ('k', '1')")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET actor = 'mallory'",
        "DELETE FROM ledger",
        "DELETE FROM ledger_head",
        "DELETE FROM blobs",
        "UPDATE versions SET author = 'mallory'",
        "DELETE FROM versions",
        "DELETE FROM edit_batches",
        "UPDATE schema_version SET version = 99",
        "TRUNCATE settings",
        "DROP TABLE settings",
        "ALTER TABLE settings DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE settings NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own_organization ON settings",
        "CREATE POLICY mine ON settings USING (true)",
        "DROP TRIGGER tell_news ON ledger_head",
        "CREATE TABLE treadle.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "DROP SCHEMA treadle CASCADE",
        "CREATE ROLE mine",
        "ALTER ROLE treadle_app BYPASSRLS",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY settings TO PROGRAM 'cat'",
        "COPY settings TO '/tmp/x'",
        "ALTER SYSTEM SET fsync = off",
    ],
)
def test_the_app_may_do_its_work_and_nothing_else(app, statement):
    app.execute("SET app.organization = 'ours'")
    with pytest.raises(InsufficientPrivilege):
        app.execute(statement)


def test_the_role_of_the_app_has_no_powers(postgres):
    powers = "rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolinherit"
    assert postgres.run(f"SELECT {powers} FROM pg_roles WHERE rolname = 'treadle_app'") == [(False,) * 7]


def test_a_superuser_acts_as_the_app(ours):
    with ours.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT session_user || ' ' || current_user").scalar() == (
            "postgres treadle_app"
        )


def test_the_organization_of_one_transaction_is_not_that_of_the_next(ours):
    ours.commit(PutSetting(key="x", value=1))
    with ours.database._engine.connect() as connection:
        left = connection.exec_driver_sql("SELECT current_setting('app.organization', true)").scalar()
        assert not left
        assert connection.exec_driver_sql("SELECT count(*) FROM settings").scalar() == 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT set_config('app.organization', 'ours', true), (SELECT count(*) FROM runs)",
        "SELECT U&\"set\\005fconfig\"('app.organization', 'ours', true)",
        "SELECT query_to_xml('select set_' || 'config(''app.organization'', ''ours'', true)', true, true, '')",
        "WITH x AS (INSERT INTO treadle.settings (key, value) VALUES ('a', '1') RETURNING 1) SELECT * FROM x",
        "SELECT 1; SET app.organization = 'ours'",
        "SELECT pg_notify('treadle', 'ours:1')",
    ],
)
def test_a_question_can_not_put_on_another_organization(theirs, sql):
    with pytest.raises(QueryRefused):
        theirs.query(sql)
    assert theirs.query("SELECT count(*) FROM runs").rows == [(0,)]


def test_a_question_reaches_tables_only_within_its_organization(ours, theirs):
    for name in TABLES:
        count = f"SELECT count(*) FROM treadle.{name} WHERE organization = 'ours'"
        assert theirs.query(count).rows == [(0,)]
        assert ours.query(count).rows[0][0] > 0
