"""One suite for every store: the memory ones say what is right, the others have to agree."""

import shutil
from pathlib import Path

import pytest

from engine.storage.blobs import FileBlobs
from engine.storage.journal_postgres import PostgresJournal
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.memory import MemoryCatalog
from engine.storage.memory_journal import MemoryBlobs, MemoryJournal
from engine.storage.neo4j import Neo4jBlobs, Neo4jJournal, open_neo4j
from engine.storage.shared.catalog import open_shared
from engine.storage.sql.duckdb import open_duckdb
from engine.storage.sql.postgres import open_postgres
from engine.storage.sql.postgres_blobs import PostgresBlobs
from tests import neo4j_servers
from tests.contract import agents


@pytest.fixture
def neo4j_url():
    """Return the URL of the session's Neo4j server, whose one database has nothing of the organization 'local'."""
    server = neo4j_servers.neo4j()
    with neo4j_servers.emptied(server):
        yield server.url()


@pytest.fixture(scope="session")
def owner():
    """Return another process, which can own a store while a test works through it."""
    agent = agents.Agent()
    yield agent
    agent.close()


@pytest.fixture(scope="session")
def new_store(tmp_path_factory):
    """Return the file of a new store, to be copied: a copy is opened in a third of the time that making one takes."""
    path = tmp_path_factory.mktemp("new") / "store.duckdb"
    open_duckdb(path).close()
    return path


@pytest.fixture
def owned(owner, new_store, tmp_path):
    """Return the path of a store that another process owns."""
    path = Path(shutil.copy(new_store, tmp_path))
    assert owner.ask(agents.open_, path) == owner.pid
    yield path
    owner.ask(agents.close, path)


# what is shared is DuckDB once more, over a line, and Neo4j is slow: whole in CI, and their own tests each time
BY_CI = [pytest.param(name, marks=pytest.mark.ci) for name in ("shared", "neo4j")]


@pytest.fixture(params=["memory", "duckdb", "postgres", *BY_CI])
def catalog(request, tmp_path):
    match request.param:
        case "memory":
            opened = MemoryCatalog()
        case "duckdb":
            opened = open_duckdb(shutil.copy(request.getfixturevalue("new_store"), tmp_path))
        case "shared":
            opened = open_shared(request.getfixturevalue("owned"))
        case "neo4j":
            opened = open_neo4j(request.getfixturevalue("neo4j_url"))
        case _:
            opened = open_postgres(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sqlite", "postgres", "neo4j"])
def journal(request, tmp_path):
    match request.param:
        case "memory":
            opened = MemoryJournal()
        case "sqlite":
            opened = SqliteJournal(tmp_path / "journal.db")
        case "neo4j":
            opened = Neo4jJournal(request.getfixturevalue("neo4j_url"))
        case _:
            opened = PostgresJournal(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "files", "postgres", "neo4j"])
def blobs(request, tmp_path):
    match request.param:
        case "memory":
            yield MemoryBlobs()
        case "files":
            yield FileBlobs(tmp_path / "blobs")
        case "postgres":
            opened = open_postgres(request.getfixturevalue("postgres_url"))
            yield PostgresBlobs(opened.database)
            opened.close()
        case _:
            opened = open_neo4j(request.getfixturevalue("neo4j_url"))
            yield Neo4jBlobs(opened.database)
            opened.close()
