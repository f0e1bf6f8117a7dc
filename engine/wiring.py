"""`open_engine`: the only place that names concrete adapters."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from engine.drafts import Drafts
from engine.engine import Engine
from engine.errors import StoreUnknown, StoreUnreachable
from engine.execution.local import Services
from engine.execution.workers import Workers
from engine.expressions import Cel
from engine.ledger.book import Ledger
from engine.ledger.checkpoints import KEY_BYTES, CheckpointFile
from engine.models import Models
from engine.ports import Blobs, Catalog, Journal
from engine.runs import Runs
from engine.settings import Settings
from engine.store_settings import StoreSettings
from engine.system import EnvironmentSecrets, SystemClock
from engine.tethers import Registry

MEMORY = "memory:"
_DUCKDB = "duckdb:///"


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
        store: 'duckdb:///FILE', a path, or 'memory:'. None: the user's own store (TREADLE_STORE).
        tethers: functions, modules or files with functions, besides the library and installed ones.
        actor: who acts, as the ledger names them.
        roots: folders where relative paths of files are looked for, after the current one.

    Raises `StoreUnknown`, `StoreLocked`, `StoreCorrupted`, `StoreNewer`, `StoreUnreachable`, `TetherSourceBroken`.
    """
    chosen = settings or Settings.from_environment()
    url = str(store) if store is not None else chosen.store
    registry = Registry(sources=(*chosen.tethers, *tethers), roots=tuple(Path(root) for root in roots))
    catalog, journal, blobs, checkpoints = open_stores(url, chosen.home)
    clock, workers, expressions = SystemClock(), Workers(), Cel()
    models = Models(catalog, clock, registry, expressions, actor=actor)
    services = Services(
        expressions=expressions, blobs=blobs, clock=clock, workers=workers, secrets=EnvironmentSecrets()
    )
    runs = Runs(catalog, journal, services, models, registry, actor=actor, capacity=chosen.workers)
    return Engine(
        url=url,
        catalog=catalog,
        models=models,
        runs=runs,
        ledger=Ledger(catalog, clock, checkpoints),
        tethers=registry,
        expressions=expressions,
        drafts=Drafts(catalog),
        settings=StoreSettings(catalog, clock, actor=actor),
        closers=(workers.close, journal.close, catalog.close, registry.close),
    )


def open_stores(url: str, home: Path) -> tuple[Catalog, Journal, Blobs, CheckpointFile | None]:
    """Open the catalog, the journal, the blobs and the checkpoints behind a store URL."""
    if url == MEMORY:
        from engine.storage.memory import MemoryBlobs, MemoryCatalog, MemoryJournal

        return MemoryCatalog(), MemoryJournal(), MemoryBlobs(), None
    path = _file_of(url)
    from engine.storage.blobs import FileBlobs
    from engine.storage.journal_sqlite import SqliteJournal
    from engine.storage.sql.duckdb import open_duckdb

    catalog = open_duckdb(path)
    try:
        journal = SqliteJournal(path.with_name(path.name + ".journal"))
        blobs = FileBlobs(path.with_name(path.name + ".blobs"))
        checkpoints = CheckpointFile(path.with_name(path.name + ".checkpoints"), _key(home))
    except BaseException:
        catalog.close()
        raise
    return catalog, journal, blobs, checkpoints


def _file_of(url: str) -> Path:
    if url.startswith(_DUCKDB):
        return Path(url.removeprefix(_DUCKDB)).expanduser()
    if "://" in url or not url.endswith(".duckdb"):
        raise StoreUnknown(url=url)
    return Path(url).expanduser()


def _key(home: Path) -> bytes:
    """Return the key that signs checkpoints; it is made once and kept outside of every store."""
    path = home / "ledger.key"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (
            suppress(FileExistsError),
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        ):
            file.write(secrets.token_bytes(KEY_BYTES))
        return path.read_bytes()
    except OSError as error:
        raise StoreUnreachable(path=path, reason=error.strerror) from None
