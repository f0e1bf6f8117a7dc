"""Everything that can be written to a store, by a process made to be killed: what is written follows from its number.

Two lanes commit to the catalog, each on things of its own; every commit also moves the lane's position, so that the
position tells which commits are there. A third one writes the journal. Whoever knows the positions knows what has to
be in the store: `Expected` builds it in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Lock, Thread

import pytest

from engine.domain.events import Draft
from engine.domain.values import Permission, Semver
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
from engine.errors import StaleRevision, StoreError
from engine.ledger.chain import merkle_root
from engine.ports import Blobs, Catalog, JournalRecord
from engine.settings import Settings
from engine.storage.memory_journal import MemoryBlobs
from engine.wiring import Stores, open_stores
from tests.chaos import nursery
from tests.contract.samples import START, at, batch, entities, everything, run, step, value, version

LANES = ("ada", "bob's `lane`; --")
RECORDS = 30
"""Of each run in the journal."""
_BLOB_BYTES = 70_000


def position_of(catalog: Catalog, lane: str) -> int:
    """Return how many commits of a lane are there."""
    return catalog.setting(f"position of {lane}") or 0


def do_next(catalog: Catalog, blobs: Blobs, lane: str) -> int:
    """Make a lane's next commit, after one that is refused; return its position."""
    number = position_of(catalog, lane)
    if number % 3 == 2:
        _be_refused(catalog, lane, number)
    work = _KINDS[number % len(_KINDS)]
    catalog.commit(
        *work(catalog, blobs, lane, number // len(_KINDS)), PutSetting(key=f"position of {lane}", value=number + 1)
    )
    return number + 1


def _be_refused(catalog: Catalog, lane: str, number: int) -> None:
    never = everything().changed(id=f"{lane} never", name=f"{lane} never")
    with pytest.raises(StaleRevision):
        catalog.commit(
            PutSetting(key="never", value=number),
            InsertModel(model=never),
            _told("model.created", never.id, lane, number),
            UpdateModel(model=never, expected_revision=never.revision + 1),
        )


def _told(action: str, entity: str, lane: str, number: int) -> Record:
    patch = json.dumps([{"op": "add", "path": "/x", "value": number}])
    draft = Draft(ts=at(number), actor=lane, action=action, entity_kind="model", entity=entity, patch=patch)
    return Record(draft=draft)


def _saved(catalog: Catalog, key: str, lane: str, number: int, **fields: object) -> list[Write]:
    """Return what saves a model with these fields changed."""
    old = catalog.model(key)
    assert old is not None
    new = old.changed(revision=old.revision + 1, **fields)
    return [
        UpdateModel(model=new, expected_revision=old.revision),
        InsertBatch(batch=batch(number, of=key, base_revision=old.revision), revision=new.revision),
        _told("model.edited", key, lane, number),
    ]


def _insert(_catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    made = everything().changed(id=f"{lane}-{block}", name=f'{lane} "{block}" %$1', revision=0, status="draft")
    return [InsertModel(model=made), _told("model.created", made.id, lane, block)]


def _rename_nodes(catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    old = catalog.model(f"{lane}-{block}")
    assert old is not None
    nodes = {key: node.model_copy(update={"name": f"{node.name} {block}"}) for key, node in old.nodes.items()}
    return _saved(catalog, old.id, lane, block, nodes=nodes, description=f"saved by {lane}")


def _drop_wires(catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    changes = {"wires": {}, "tags": (f"t{block}",), "permissions": (Permission(subject=lane, role="admin"),)}
    return _saved(catalog, f"{lane}-{block}", lane, block, **changes)


def _publish_two(catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    """Publish a model with the one of the block before, as a nested child would be."""
    found: list[Write] = []
    for key in dict.fromkeys((f"{lane}-{block}", f"{lane}-{max(0, block - 1)}")):
        old = catalog.model(key)
        assert old is not None
        number = f"{old.revision + 1}.0.0"
        found += _saved(catalog, key, lane, block, status="published", version=Semver.parse(number))
        found += [InsertVersion(version=version(number, of=key)), _told("model.published", key, lane, block)]
    return found


def _delete(catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    old = catalog.model(f"{lane}-{block}")
    assert old is not None
    if block % 2:
        return _saved(catalog, old.id, lane, block, name=f"{old.name} again")
    return _saved(catalog, old.id, lane, block, deleted_at=at(block), deleted_by=lane)


def _put_entities(_catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    new = [_renamed(entity, lane, block) for entity in entities()]
    return [
        *(PutEntity(entity=entity, expected_revision=0) for entity in new),
        _told("model.edited", lane, lane, block),
    ]


def _renamed(entity, lane: str, block: int):  # the union of all kinds has no field of the same name in each
    field = {"subscription": "name", "decision": "path", "monitor": "path"}.get(entity.kind, "id")
    if entity.kind == "dead-letter":
        return entity.model_copy(update={"subscription": lane, "sequence": block + 1, "revision": 1})
    if entity.kind == "checkpoint":
        return entity.model_copy(update={"sequence": 2 * block + LANES.index(lane) + 1, "revision": 1})
    return entity.model_copy(update={field: f"{lane}-{block}", "revision": 1})


def _change_entities(catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    """Replace what the block put, and take every other one out."""
    found: list[Write] = []
    for number, entity in enumerate(_renamed(entity, lane, block) for entity in entities()):
        kept = catalog.entity(entity.kind, entity.key)
        assert kept is not None
        if number % 2:
            found.append(RemoveEntity(kind=kept.kind, key=kept.key, expected_revision=kept.revision))
        else:
            newer = kept.model_copy(update={"revision": kept.revision + 1})
            found.append(PutEntity(entity=newer, expected_revision=kept.revision))
    return found


def _begin_run(_catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    begun = _run(lane, block, status="running", model_file={"model": [lane, None]})
    steps = tuple(step(f"s{each}", of=begun.id) for each in range(5))
    return [PutRun(run=begun), PutSteps(steps=steps), _told("run.started", begun.id, lane, block)]


def _seal_run(_catalog: Catalog, blobs: Blobs, lane: str, block: int) -> list[Write]:
    large = (f"{lane} {block} " * _BLOB_BYTES).encode()[:_BLOB_BYTES]
    outputs = {"large": value(large).model_copy(update={"data": None, "sha256": blobs.put(large)}), "small": value()}
    root = merkle_root([f"{lane} {block}".encode()])
    sealed = _run(lane, block, status="succeeded", outputs=outputs, merkle_root=root, ended_at=at(block + 1))
    steps = tuple(
        step(f"s{each}", of=sealed.id, started=block + each, status="succeeded", outputs=outputs) for each in range(5)
    )
    return [PutRun(run=sealed), PutSteps(steps=steps), _told("run.ended", sealed.id, lane, block)]


def _run(lane: str, block: int, **fields: object):
    return run(block, id=f"{lane} run {block}", model=f"{lane}-{block}", **fields)


def _set(_catalog: Catalog, _blobs: Blobs, lane: str, block: int) -> list[Write]:
    """Settings alone do not wait for their turn at the ledger's head."""
    return [PutSetting(key=f"{lane} {each}", value={"block": block, "text": "'; --" * each}) for each in range(3)]


_KINDS: tuple[Callable[[Catalog, Blobs, str, int], list[Write]], ...] = (
    _insert, _rename_nodes, _put_entities, _begin_run, _publish_two, _set, _change_entities, _seal_run, _drop_wires,
    _delete,
)  # fmt: skip


def record_of(number: int) -> JournalRecord:
    """Return a record of the journal by its number."""
    body = json.dumps({"number": number, "text": "x" * (number * 37 % 3_000)}).encode()
    moment = START + timedelta(seconds=number)
    kind = ("started", "intent", "done", "failed")[number % 4]
    ts_us = int(moment.timestamp() * 1e6)
    return JournalRecord(f"j{number // RECORDS:06}", kind, f"s{number % 7}", 1, ts_us, body)


def records_in(stores: Stores) -> int:
    """Return how many records were ever appended, as the journal tells; what is damaged or out of order fails."""
    runs = sorted(stores.journal.unfinished())
    if not runs:
        return 0
    first, last = int(runs[0][1:]), int(runs[-1][1:])
    assert runs == [f"j{each:06}" for each in range(first, last + 1)], "a run is missing between others"
    assert last - first <= 3, "runs that were forgotten are there again"
    total = first * RECORDS
    for name in runs:
        found = stores.journal.read(name)
        assert found == [record_of(total + each) for each in range(len(found))]
        assert len(found) == RECORDS or name == runs[-1], "records in the middle are lost"
        total += len(found)
    return total


def journal_next(stores: Stores, number: int) -> int:
    """Append some records, wait until they are on disk, forget the run before last; return how many there are now."""
    ticket = 0
    for each in range(number, number + 1 + number % 9):
        ticket = stores.journal.append(record_of(each))
        number = each + 1
    stores.journal.sync(ticket)
    current = (number - 1) // RECORDS
    for old in stores.journal.unfinished():
        if int(old[1:]) < current - 1:
            stores.journal.forget(old)
    return number


class Expected:
    """What has to be in the catalog: the commits of both lanes up to their positions, made in memory."""

    def __init__(self) -> None:
        self._stores = open_stores("memory:", replace(Settings.from_environment({}), home=Path()))
        self.catalog = self._stores.catalog
        self.blobs = MemoryBlobs()

    def advance(self, lane: str, position: int) -> None:
        while position_of(self.catalog, lane) < position:
            do_next(self.catalog, self.blobs, lane)


def open_at(url: str, home: str) -> Stores:
    """Open the stores behind a URL."""
    return open_stores(url, replace(Settings.from_environment({}), home=Path(home)))


def write_on(order: str) -> None:
    """Write until killed, and say what was acknowledged: what a child of the nursery does."""
    told = json.loads(order)
    stores = open_at(told["url"], told["home"])
    if told["often"]:
        _checkpoint_often(stores)
    nursery.say("open")
    ending = Lock()
    threads = [Thread(target=_commit_on, args=(stores, lane, ending)) for lane in LANES]
    threads.append(Thread(target=_journal_on, args=(stores, ending)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _checkpoint_often(stores: Stores) -> None:
    """Let a small store meet the moments that a large one meets: its logs are folded into its files."""
    if stores.catalog.describe()["kind"] == "duckdb":
        stores.catalog.database._handle.cursor().execute("SET GLOBAL checkpoint_threshold = '60KB'")  # type: ignore[attr-defined]
        stores.journal._connection.execute("PRAGMA wal_autocheckpoint = 8")  # type: ignore[attr-defined]


def _commit_on(stores: Stores, lane: str, ending: Lock) -> None:
    with _ending_all(ending):
        while True:
            nursery.say(f"lane {LANES.index(lane)} {do_next(stores.catalog, stores.blobs, lane)}")


def _journal_on(stores: Stores, ending: Lock) -> None:
    with _ending_all(ending):
        number = records_in(stores)
        while True:
            number = journal_next(stores, number)
            nursery.say(f"journal {number}")


class _ending_all:  # noqa: N801  (reads as a verb where it is used)
    """End the process when something fails, and say what: a store that is gone is told apart from a mistake."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._lock.acquire()
        nursery.say(f"failed {type(error).__name__}: {error!s}"[:2_000].replace("\n", " "))
        os._exit(3 if isinstance(error, StoreError) else 4)


if __name__ == "__main__":
    import pandas as pd  # noqa: F401  (DuckDB imports it at its first query)

    import engine.storage.journal_postgres
    import engine.storage.journal_sqlite
    import engine.storage.sql.duckdb
    import engine.storage.sql.postgres  # noqa: F401

    nursery.serve(write_on)
