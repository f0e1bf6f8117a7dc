"""Opening a DuckDB store: every way it can fail has a sentence of its own and leaves the file as it was."""

import subprocess
import sys

import duckdb
import pytest

from engine.domain.writes import InsertModel, Record
from engine.errors import LedgerTampered, StoreCorrupted, StoreLocked, StoreNewer, StoreUnreachable
from engine.storage.sql.duckdb import open_duckdb
from tests.contract.samples import draft, model


def a_store(path):
    catalog = open_duckdb(path)
    catalog.commit(InsertModel(model=model()), Record(draft=draft()))
    catalog.close()
    return path


def refused(path, error):
    before = path.read_bytes() if path.is_file() else None
    beside = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(error) as told:
        open_duckdb(path)
    assert str(path) in str(told.value)
    if before is not None:
        assert path.read_bytes() == before
    if beside is not None:
        assert sorted(each.name for each in path.parent.iterdir()) == beside
    return str(told.value)


def test_a_store_is_made_with_its_directories_and_nothing_else_is_left(tmp_path):
    path = a_store(tmp_path / "a" / "b" / "it's a störe.duckdb")
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    catalog = open_duckdb(path)
    assert (catalog.model("m1"), catalog.describe()["size_bytes"] > 0) == (model(), True)
    catalog.close()


def test_two_catalogs_of_one_process_share_a_file(tmp_path):
    path = a_store(tmp_path / "store.duckdb")
    first, second = open_duckdb(path), open_duckdb(path)
    first.commit(InsertModel(model=model(2)))
    assert second.model("m2") == model(2)
    first.close()
    second.commit(InsertModel(model=model(3)))
    second.close()


def test_another_process_is_refused_and_told_who_has_the_store(tmp_path):
    path = a_store(tmp_path / "store.duckdb")
    holder = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"open\n"
        assert f"(process {process.pid})" in refused(path, StoreLocked)
        process.stdin.close()
    open_duckdb(path).close()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"not a database " * 1_000, b"SQLite format 3\x00" + bytes(4_096), bytes(20_000)],
    ids=["empty", "a byte", "text", "SQLite", "zeros"],
)
def test_a_file_that_is_no_store_is_told(tmp_path, content):
    path = tmp_path / "store.duckdb"
    path.write_bytes(content)
    refused(path, StoreCorrupted)


def test_the_database_of_another_program_is_told(tmp_path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE theirs (a INTEGER)")
    assert "not one of ours" in refused(path, StoreCorrupted)


def test_a_store_of_a_newer_release_is_told(tmp_path):
    path = a_store(tmp_path / "store.duckdb")
    with duckdb.connect(str(path)) as raw:
        raw.execute("UPDATE schema_version SET version = 99")
    assert "schema 99, this one knows 2" in refused(path, StoreNewer)


def test_a_file_of_a_newer_duckdb_is_told(tmp_path):
    path = a_store(tmp_path / "store.duckdb")
    data = bytearray(path.read_bytes())
    data[12:20] = (999).to_bytes(8, "little")
    path.write_bytes(data)
    refused(path, (StoreNewer, StoreCorrupted))


@pytest.mark.parametrize(
    "damage", ["DELETE FROM schema_version", "UPDATE schema_version SET version = 0", "DROP TABLE runs"]
)
def test_a_store_that_lacks_something_is_told(tmp_path, damage):
    path = a_store(tmp_path / "store.duckdb")
    with duckdb.connect(str(path)) as raw:
        raw.execute(damage)
    refused(path, StoreCorrupted)


def test_a_store_cut_short_is_told(tmp_path):
    whole = a_store(tmp_path / "store.duckdb").read_bytes()
    for number, share in enumerate((0.01, 0.1, 0.5)):
        path = tmp_path / f"cut{number}.duckdb"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises((StoreCorrupted, StoreUnreachable)):
            open_and_read(path)


def open_and_read(path):
    catalog = open_duckdb(path)
    try:
        catalog.model("m1")
        catalog.entries()
    finally:
        catalog.close()


def test_a_damaged_write_ahead_log_is_told(tmp_path):
    path = tmp_path / "store.duckdb"
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from tests.contract.test_duckdb_opening import *\n"
        "catalog = open_duckdb(sys.argv[1]); catalog.commit(InsertModel(model=model())); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, path, "."], check=False)
    log = path.with_name(path.name + ".wal")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    refused(path, StoreCorrupted)


def test_places_that_can_not_be_are_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "directory" in refused(tmp_path, StoreUnreachable)
    refused(tmp_path / "file" / "store.duckdb", StoreUnreachable)
    with pytest.raises(StoreUnreachable):
        open_duckdb("/proc/no/store.duckdb")


def test_bodies_and_heads_that_nobody_wrote_are_told(tmp_path):
    path = a_store(tmp_path / "store.duckdb")
    with duckdb.connect(str(path)) as raw:
        raw.execute("UPDATE models SET body = 'x'::BLOB")
        raw.execute("UPDATE ledger SET action = 'no.such'")
        raw.execute("DELETE FROM ledger_head")
    catalog = open_duckdb(path)
    with pytest.raises(StoreCorrupted):
        catalog.model("m1")
    for use in (catalog.head, catalog.entries, lambda: catalog.commit(Record(draft=draft()))):
        with pytest.raises(LedgerTampered):
            use()
    catalog.close()
