"""`open_engine`: the only place that names concrete adapters."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from engine.decisions import StoredDecisions
from engine.drafts import Drafts
from engine.engine import Engine
from engine.errors import StoreUnknown, StoreUnreachable
from engine.execution.breaker import Breakers
from engine.execution.local import Services
from engine.execution.processes import Processes
from engine.execution.workers import Workers
from engine.expressions import Cel
from engine.history.book import History
from engine.ledger.book import Ledger
from engine.ledger.checkpoints import KEY_BYTES, CheckpointFile
from engine.models import Models
from engine.ports import Blobs, Catalog, Journal
from engine.runs import Runs
from engine.settings import Settings
from engine.store_settings import StoreSettings
from engine.system import EnvironmentSecrets, SystemClock
from engine.tethers import Registry
from engine.waking import Waker

MEMORY = "memory:"
_DUCKDB = "duckdb:///"
_POSTGRES = ("postgresql", "postgres")
_NEO4J = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


def open_engine(
    store: str | Path | None = None,
    *,
    tethers: Sequence[object] = (),
    actor: str = "you",
    roots: Sequence[str | Path] = (),
    settings: Settings | None = None,
) -> Engine:
    """Open a store and return the engine over it.

    Args:
        store: 'duckdb:///FILE', a path, 'postgresql://…', 'neo4j://…' or 'memory:'. None: the user's own store
            (TREADLE_STORE).
        tethers: functions, modules or files with functions, besides the library and installed ones.
        actor: who acts, as the ledger names them.
        roots: folders where relative paths of files are looked for, after the current one.

    Raises `StoreUnknown`, `StoreLocked`, `StoreCorrupted`, `StoreNewer`, `StoreUnreachable`, `TetherSourceBroken`.
    """
    chosen = settings or Settings.from_environment()
    url = str(store) if store is not None else chosen.store
    registry = Registry(sources=(*chosen.tethers, *tethers), roots=tuple(Path(root) for root in roots))
    stored, journal, blobs, checkpoints = open_stores(url, chosen)
    catalog = stored if url == MEMORY else _cached(stored, chosen)
    clock, workers, expressions = SystemClock(), Workers(), Cel()
    models = Models(catalog, clock, registry, expressions, actor=actor)
    decisions = StoredDecisions(catalog, clock, actor=actor)

    processes = Processes(registry.sources, roots=roots)
    services = Services(
        processes=processes,
        expressions=expressions,
        blobs=blobs,
        clock=clock,
        workers=workers,
        secrets=EnvironmentSecrets(),
        decisions=decisions,
        breakers=Breakers(clock),
    )
    runs = Runs(catalog, journal, services, models, registry, decisions=decisions, actor=actor, capacity=chosen.workers)
    return Engine(
        url=_shown(url),
        catalog=catalog,
        models=models,
        runs=runs,
        ledger=Ledger(catalog, clock, checkpoints),
        tethers=registry,
        expressions=expressions,
        drafts=Drafts(catalog),
        settings=StoreSettings(catalog, clock, actor=actor),
        waker=Waker(catalog, runs, clock),
        history=History(catalog, journal, services, models, registry, runs=runs, live=runs.records),
        closers=(workers.close, processes.close, journal.close, catalog.close, registry.close),
    )


class Stores(NamedTuple):
    """What is behind a store URL."""

    catalog: Catalog
    journal: Journal
    blobs: Blobs
    checkpoints: CheckpointFile | None
    """None for a store that ends with the process."""

    def close(self) -> None:
        """Let go of all."""
        self.journal.close()
        self.catalog.close()


def open_stores(url: str, settings: Settings, *, migrate: bool = False) -> Stores:
    """Open the catalog, the journal, the blobs and the checkpoints behind a store URL; `migrate` upgrades it."""
    scheme = url.partition(":")[0].lower()
    if url == MEMORY:
        return _open_memory(settings)
    if scheme in _POSTGRES:
        return _open_postgres(url, settings, migrate=migrate)
    if scheme in _NEO4J:
        return _open_neo4j(url, settings)
    return _open_file(_file_of(url), settings, migrate=migrate)


def _open_memory(settings: Settings) -> Stores:
    from engine.storage.memory import MemoryCatalog
    from engine.storage.memory_journal import MemoryBlobs, MemoryJournal

    return Stores(MemoryCatalog(organization=settings.organization), MemoryJournal(), MemoryBlobs(), None)


def _open_file(path: Path, settings: Settings, *, migrate: bool) -> Stores:
    from engine.storage.blobs import FileBlobs
    from engine.storage.journal_sqlite import SqliteJournal
    from engine.storage.shared.catalog import open_shared

    catalog = open_shared(path, organization=settings.organization, migrate=migrate)
    with _closing_on_failure(catalog):
        journal = SqliteJournal(path.with_name(path.name + ".journal"))
        blobs = FileBlobs(path.with_name(path.name + ".blobs"))
        checkpoints = CheckpointFile(path.with_name(path.name + ".checkpoints"), _key(settings.home))
    return Stores(catalog, journal, blobs, checkpoints)


def _open_postgres(url: str, settings: Settings, *, migrate: bool) -> Stores:
    from engine.storage.journal_postgres import PostgresJournal
    from engine.storage.sql.postgres import open_postgres
    from engine.storage.sql.postgres_blobs import PostgresBlobs

    catalog = open_postgres(url, organization=settings.organization, migrate=migrate)
    with _closing_on_failure(catalog):
        journal = PostgresJournal(url, organization=settings.organization)
        return Stores(catalog, journal, PostgresBlobs(catalog.database), _checkpoints_of(catalog, settings))


def _open_neo4j(url: str, settings: Settings) -> Stores:
    from engine.storage.neo4j import Neo4jBlobs, Neo4jJournal, open_neo4j

    catalog = open_neo4j(url, organization=settings.organization)
    with _closing_on_failure(catalog):
        journal = Neo4jJournal(url, organization=settings.organization)
        return Stores(catalog, journal, Neo4jBlobs(catalog.database), _checkpoints_of(catalog, settings))


@contextmanager
def _closing_on_failure(catalog: Catalog) -> Generator[None]:
    try:
        yield
    except BaseException:
        catalog.close()
        raise


def _cached(catalog: Catalog, settings: Settings) -> Catalog:
    if settings.cache == "off":
        return catalog
    from engine.storage.cache.catalog import CachedCatalog

    if settings.cache == "memory":
        from engine.storage.cache.memory import MemoryCache

        return CachedCatalog(catalog, MemoryCache())
    from engine.storage.cache.redis import RedisCache

    with _closing_on_failure(catalog):
        place = f"{catalog.describe()['place']} {catalog.organization}"
        return CachedCatalog(catalog, RedisCache(settings.cache, prefix=place))


def _checkpoints_of(catalog: Catalog, settings: Settings) -> CheckpointFile:
    """Keep the checkpoints of a server's store in the user's own folder: outside of what they vouch for."""
    place = f"{catalog.describe()['place']} {catalog.organization}"
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    return CheckpointFile(settings.home / "checkpoints" / f"{name}.jsonl", _key(settings.home))


def _shown(url: str) -> str:
    """Return a URL as people may see it: without its password."""
    if url.partition(":")[0].lower() not in (*_POSTGRES, *_NEO4J):
        return url
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login.partition(':')[0]}{at}{host}", query="").geturl()


def _file_of(url: str) -> Path:
    if url.startswith(_DUCKDB):
        return Path(url.removeprefix(_DUCKDB)).expanduser()
    if "://" in url or not url.endswith(".duckdb"):
        raise StoreUnknown(url=re.sub(r"//.*@", "//…@", url, flags=re.DOTALL))
    return Path(url).expanduser()


def _key(home: Path) -> bytes:
    """Return the key that signs checkpoints; it is made once and kept outside of every store."""
    path = home / "ledger.key"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        return path.read_bytes()
    except OSError as error:
        raise StoreUnreachable(path=path, reason=error.strerror) from None


def _make_key(path: Path) -> None:
    """Make a key aside and link it to its place, so that it is whole or not there; another program's stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
