"""One suite for every store: the memory ones say what is right, the others have to agree."""

import pytest

from engine.storage.blobs import FileBlobs
from engine.storage.journal_postgres import PostgresJournal
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.memory import MemoryCatalog
from engine.storage.memory_journal import MemoryBlobs, MemoryJournal
from engine.storage.sql.duckdb import open_duckdb
from engine.storage.sql.postgres import open_postgres


@pytest.fixture(params=["memory", "duckdb", "postgres"])
def catalog(request, tmp_path):
    match request.param:
        case "memory":
            opened = MemoryCatalog()
        case "duckdb":
            opened = open_duckdb(tmp_path / "store.duckdb")
        case _:
            opened = open_postgres(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def journal(request, tmp_path):
    match request.param:
        case "memory":
            opened = MemoryJournal()
        case "sqlite":
            opened = SqliteJournal(tmp_path / "journal.db")
        case _:
            opened = PostgresJournal(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "files"])
def blobs(request, tmp_path):
    return MemoryBlobs() if request.param == "memory" else FileBlobs(tmp_path / "blobs")
