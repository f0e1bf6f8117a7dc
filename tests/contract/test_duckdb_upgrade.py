"""A store of the first schema, made by the program of that time, is brought up to date and loses nothing."""

import shutil
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import inspect

import engine
from engine.domain.queries import EdgeQuery, NodeQuery
from engine.domain.writes import InsertModel, UpdateModel
from engine.errors import StoreNewer, StoreOlder
from engine.ledger.verification import verify
from engine.storage.sql import migrations, rows
from engine.storage.sql.duckdb import open_duckdb
from tests.contract.samples import model

FIRST = Path(__file__).parent.parent / "fixtures" / "store_v1.zip"


@pytest.fixture
def path(tmp_path):
    with zipfile.ZipFile(FIRST) as kept:
        kept.extractall(tmp_path)
    return tmp_path / "store.duckdb"


def test_everything_of_a_first_store_is_there_afterwards(path):
    with engine.open(path) as found:
        models = found.models.list()
        assert [row.name for row in models] == [
            "Hello", "Machine health", "Orders from many files", "Penguin field report", "Clean one file",
        ]  # fmt: skip
        assert [row.name for row in found.models.list(deleted=True)] == ["Gone"]
        assert found.models.get("Machine health").description == "Edited"
        assert str(found.models.versions("Penguin field report")[0].number) == "1.0.0"
        (run,) = found.runs.list()
        assert run.status == "failed"
        assert len(found.runs.steps(run.id)) == 9
    catalog = open_duckdb(path)
    with catalog.ledger() as (head, entries):
        verified = verify(entries, head)
    catalog.close()
    assert verified.ok
    assert verified.entries == 13


def test_what_is_new_is_filled_as_if_it_had_always_been_kept(path):
    catalog = open_duckdb(path)
    made = [catalog.model(row.id) for row in catalog.models()]
    for each in made:
        assert {row.node for row in catalog.nodes(NodeQuery(model=each.id))} == set(each.nodes)
        assert {row.edge for row in catalog.edges(EdgeQuery(model=each.id))} == {*each.wires, *each.dependencies}
        right = rows.model_row(each, each.deleted_at)
        with catalog.database.reading() as connection:
            asked = "SELECT nodes_key, edges_key, search FROM models WHERE id = ?"
            stored = connection.exec_driver_sql(asked, (each.id,))
            assert tuple(stored.one()) == (right["nodes_key"], right["edges_key"], right["search"])
    changed = made[0].changed(name="Renamed", revision=made[0].revision + 1)
    catalog.commit(UpdateModel(model=changed, expected_revision=made[0].revision), InsertModel(model=model(77)))
    assert catalog.model_named("renamed") == changed
    catalog.close()


def shape(columns):
    return sorted((column["name"], str(column["type"]), column["nullable"]) for column in columns)


def test_an_upgraded_store_has_the_tables_of_a_new_one(path, tmp_path):
    upgraded, new = open_duckdb(path), open_duckdb(tmp_path / "new.duckdb")
    shapes = []
    for catalog in (upgraded, new):
        with catalog.database.reading() as connection:
            found = inspect(connection)
            tables = set(found.get_table_names()) - {"alembic_version"}
            shapes.append({table: shape(found.get_columns(table)) for table in tables})
        catalog.close()
    assert shapes[0] == shapes[1]


def test_a_copy_of_the_old_store_stays_beside_it(path):
    before = path.read_bytes()
    open_duckdb(path).close()
    assert path.with_name("store.duckdb.schema-1").read_bytes() == before
    open_duckdb(path).close()


def test_a_step_that_is_not_safe_waits_for_the_command(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(migrations, "are_safe", lambda _: False)
    with pytest.raises(StoreOlder, match=r"older schema \(1, this program needs 2\). Run 'treadle migrate' first"):
        open_duckdb(path)
    assert path.read_bytes() == before
    open_duckdb(path, migrate=True).close()
    open_duckdb(path).close()


def test_a_failing_step_leaves_the_store_as_it_was(path, monkeypatch):
    class Stop(Exception):
        pass

    whole = migrations.upgrade

    def breaks(connection, found):
        whole(connection, found)
        raise Stop

    monkeypatch.setattr(migrations, "upgrade", breaks)
    with pytest.raises(Stop):
        open_duckdb(path)
    monkeypatch.undo()
    catalog = open_duckdb(path)
    assert len(catalog.models()) == 5
    catalog.close()


def test_a_store_of_a_newer_program_is_refused_with_one_sentence(path, tmp_path):
    catalog = open_duckdb(path)
    with catalog.database.reading() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 99")
    catalog.close()
    copied = shutil.copy(path, tmp_path / "again.duckdb")
    with pytest.raises(StoreNewer, match="newer treadle"):
        open_duckdb(copied)


def test_every_step_but_the_first_says_whether_it_is_safe():
    assert migrations.are_safe(1)
    assert all(hasattr(step.module, "is_safe") for step in migrations._steps(1))
