"""Everything in a store as a stream of parts: what copies, backups and restores are made of.

The parts of two stores with the same contents are the same, in the same order, whatever the technology: their digest
proves that a copy lost nothing. The ledger is written again entry by entry, and each hash has to come out as it was.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from engine.domain.canonical import Json
from engine.domain.entities import Kind
from engine.domain.events import Draft
from engine.domain.queries import EntityQuery, ModelQuery, Page, RunQuery
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    ModelRow,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    Write,
)
from engine.errors import TransferRefused
from engine.ledger.chain import Row, entry_of, ts_text
from engine.ports import Blobs, Catalog, Journal, JournalRecord
from engine.storage import documents

PartKind: TypeAlias = Literal[
    "setting", "model", "batch", "version", "run", "steps", "entity", "entry", "record", "blob"
]
_T = TypeVar("_T")
_Q = TypeVar("_Q", bound=Page)
_PAGE = 500
_AT_ONCE = 200
"""Parts in one commit."""
UNFINISHED = "transfer.unfinished"
"""The setting that a target has while it is being filled."""


class Part(NamedTuple):
    """One thing of a store: its kind, and its form as JSON or, for a blob, its bytes."""

    kind: PartKind
    value: Any


class Whole(NamedTuple):
    """The three places where a store keeps things."""

    catalog: Catalog
    journal: Journal
    blobs: Blobs


class Summary(NamedTuple):
    """What was carried over: how many things of each kind, and the SHA-256 over all parts in order."""

    counts: dict[str, int]
    digest: str


def contents(whole: Whole) -> Iterator[Part]:
    """Give everything there is, each kind in an order of its own; blobs last."""
    catalog = whole.catalog
    for key, value in catalog.settings().items():
        if key != UNFINISHED:
            yield Part("setting", {"key": key, "value": value})
    for row in sorted(_models(catalog), key=lambda row: row.id):
        yield from _of_model(catalog, row)
    for run in sorted(one.id for one in _pages(catalog.runs, RunQuery())):
        yield from _of_run(catalog, run)
    for kind in get_args(Kind):
        found = _pages(catalog.entities, EntityQuery(kind=kind))
        yield from (Part("entity", documents.entity_json(one)) for one in found)
    with catalog.ledger() as (_, rows):
        yield from (Part("entry", list(entry)) for entry in rows)
    for run in sorted(whole.journal.unfinished()):
        yield from (
            Part("record", [*record[:-1], b64encode(record.body).decode()]) for record in whole.journal.read(run)
        )
    yield from (Part("blob", whole.blobs.get(name)) for name in whole.blobs.names())


def receive(whole: Whole, parts: Iterable[Part]) -> None:
    """Write parts into an empty store. `TransferRefused` if it is not empty, or was left half filled by a crash."""
    _refuse_filled(whole.catalog)
    whole.catalog.commit(PutSetting(key=UNFINISHED, value=True))
    ticket = 0
    stream = iter(parts)
    while some := list(islice(stream, _AT_ONCE)):
        writes = [_WRITES[part.kind](part.value) for part in some if part.kind in _WRITES]
        made = iter(whole.catalog.commit(*writes) if writes else ())
        for part in some:
            if part.kind == "entry" and next(made).hash != part.value[-1]:
                raise TransferRefused(reason=f"entry {part.value[0]} of the ledger does not follow from those before")
            if part.kind == "record":
                *fields, body = part.value
                ticket = whole.journal.append(JournalRecord(*fields, body=b64decode(body)))
            if part.kind == "blob":
                whole.blobs.put(part.value)
    if ticket:
        whole.journal.sync(ticket)
    whole.catalog.commit(PutSetting(key=UNFINISHED, value=None))


def summarized(parts: Iterable[Part], summaries: list[Summary]) -> Iterator[Part]:
    """Pass parts on; when they end, put their summary into `summaries`."""
    counts: dict[str, int] = dict.fromkeys(get_args(PartKind), 0)
    digest = hashlib.sha256()
    for part in parts:
        counts[part.kind] += len(part.value) if part.kind == "steps" else 1
        digest.update(line(part) + b"\n")
        yield part
    summaries.append(Summary(counts, digest.hexdigest()))


def line(part: Part) -> bytes:
    """Return a part as one line of JSON; a blob by the name of its bytes."""
    value = hashlib.sha256(part.value).hexdigest() if part.kind == "blob" else part.value
    return documents.json_text({"kind": part.kind, "value": value}).encode()


def summary_of(whole: Whole) -> Summary:
    """Return the summary of everything in a store."""
    found: list[Summary] = []
    for _ in summarized(contents(whole), found):
        pass
    return found[0]


def _refuse_filled(catalog: Catalog) -> None:
    kept = catalog.settings()
    if kept.get(UNFINISHED) is not None:
        raise TransferRefused(reason="an earlier copy into this store was cut off; delete it and begin with a new one")
    has_models = any(catalog.models(ModelQuery(deleted=deleted, limit=1)) for deleted in (False, True))
    if kept or has_models or catalog.head().sequence:
        raise TransferRefused(reason="the target is not empty; choose a new store")


def _models(catalog: Catalog) -> list[ModelRow]:
    return [row for deleted in (False, True) for row in _pages(catalog.models, ModelQuery(deleted=deleted))]


def _of_model(catalog: Catalog, row: ModelRow) -> Iterator[Part]:
    model = catalog.model(row.id)
    if model is None:  # taken out of a store by hand: what lists and bodies say differs
        raise TransferRefused(reason=f"the model {row.id} is listed but can't be read")
    yield Part("model", {"model": documents.model_json(model), "updated_at": ts_text(row.updated_at)})
    for revision, batch in catalog.batches(row.id):
        yield Part("batch", {"batch": documents.batch_json(batch), "revision": revision})
    for version in reversed(catalog.versions(row.id)):
        yield Part("version", documents.version_json(version))


def _of_run(catalog: Catalog, run: str) -> Iterator[Part]:
    kept = catalog.run(run)
    if kept is None:
        raise TransferRefused(reason=f"the run {run} is listed but can't be read")
    yield Part("run", {"run": documents.run_json(kept), "model_file": kept.model_file})
    steps = sorted(catalog.steps(run), key=lambda step: step.path)
    for start in range(0, len(steps), _PAGE):
        yield Part("steps", [documents.step_json(step) for step in steps[start : start + _PAGE]])


def _pages(rows: Callable[[_Q], list[_T]], query: _Q) -> Iterator[_T]:
    """Give all rows of a list of the catalog, read page by page."""
    offset = 0
    while found := rows(replace(query, limit=_PAGE, offset=offset)):
        yield from found
        offset += len(found)


def _model_write(value: Json) -> Write:
    return InsertModel(
        model=documents.model_from(value["model"]), updated_at=datetime.fromisoformat(value["updated_at"])
    )


def _entry_write(value: Json) -> Write:
    entry = entry_of(Row(*value))
    return Record(draft=Draft(**{name: getattr(entry, name) for name in Draft.model_fields}))


_WRITES: dict[PartKind, Callable[[Any], Write]] = {
    "setting": lambda value: PutSetting(key=value["key"], value=value["value"]),
    "model": _model_write,
    "batch": lambda value: InsertBatch(batch=documents.batch_from(value["batch"]), revision=value["revision"]),
    "version": lambda value: InsertVersion(version=documents.version_from(value)),
    "run": lambda value: PutRun(run=documents.run_from(value["run"], value["model_file"])),
    "steps": lambda value: PutSteps(steps=tuple(map(documents.step_from, value))),
    "entity": lambda value: PutEntity(entity=documents.entity_from(value)),
    "entry": _entry_write,
}
