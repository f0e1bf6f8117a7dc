"""One suite for every store: the memory ones say what is right, the others have to agree."""

import pytest

from engine.storage.blobs import FileBlobs
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.memory import MemoryBlobs, MemoryCatalog, MemoryJournal
from engine.storage.sql.duckdb import open_duckdb


@pytest.fixture(params=["memory", "duckdb"])
def catalog(request, tmp_path):
    opened = MemoryCatalog() if request.param == "memory" else open_duckdb(tmp_path / "store.duckdb")
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sqlite"])
def journal(request, tmp_path):
    opened = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "files"])
def blobs(request, tmp_path):
    return MemoryBlobs() if request.param == "memory" else FileBlobs(tmp_path / "blobs")
