"""What is done to a store as a whole, while nobody else uses it: upgrade, copy, back up, restore."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import LedgerTampered, TransferRefused
from engine.ledger.verification import verify
from engine.settings import Settings
from engine.storage import archive, transfer
from engine.storage.transfer import Part, Summary, Whole
from engine.wiring import MEMORY, open_stores

__all__ = ["Summary", "back_up", "copy", "migrate", "restore"]


def migrate(store: str | None = None, *, settings: Settings | None = None) -> int:
    """Bring a store to the newest schema, whatever it takes, and return its number."""
    with _opened(store, settings, migrate=True) as whole:
        return int(whole.catalog.describe()["schema_version"])


def back_up(file: Path, store: str | None = None, *, settings: Settings | None = None) -> Summary:
    """Write everything in a store into one file. `TransferRefused` if the store is changed meanwhile."""
    with _opened(store, settings) as whole:
        about = {"made_at": datetime.now(UTC).isoformat(), "from": whole.catalog.describe()["kind"]}
        return archive.write(file, _at_rest(whole), about)


def restore(file: Path, store: str | None = None, *, settings: Settings | None = None) -> Summary:
    """Fill an empty store from a backup and prove that everything is there."""
    parts = archive.read(file)
    with _opened(store, settings) as whole:
        return _fill(whole, parts)


def copy(source: str, target: str, *, settings: Settings | None = None) -> Summary:
    """Fill an empty store with everything in another one and prove that everything is there."""
    with _opened(source, settings) as giving, _opened(target, settings) as taking:
        return _fill(taking, _at_rest(giving))


def _fill(target: Whole, parts: Iterable[Part]) -> Summary:
    given: list[Summary] = []
    transfer.receive(target, transfer.summarized(parts, given))
    found = transfer.summary_of(target)
    if found != given[0]:
        raise TransferRefused(reason="what arrived differs from what was sent; delete the target and try again")
    with target.catalog.ledger() as (head, rows):
        verified = verify(rows, head)
    if not verified.ok:
        raise LedgerTampered(reason=verified.reason)
    return found


def _at_rest(whole: Whole) -> Generator[Part]:
    """Give the parts of a store, and fail at the end if somebody changed it meanwhile: they would not fit together."""
    before = whole.catalog.head()
    yield from transfer.contents(whole)
    if whole.catalog.head() != before:
        raise TransferRefused(reason="the store was changed meanwhile; try again when nobody is working in it")


@contextmanager
def _opened(store: str | None, settings: Settings | None, *, migrate: bool = False) -> Generator[Whole]:
    chosen = settings or Settings.from_environment()
    url = store or chosen.store
    if url == MEMORY:
        raise TransferRefused(reason="a store in memory ends with its program; name another one")
    stores = open_stores(url, chosen, migrate=migrate)
    try:
        yield Whole(stores.catalog, stores.journal, stores.blobs)
    finally:
        stores.close()
