"""The catalog in memory: for tests and throw-away sessions, and the reference of the contract."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Condition, RLock
from typing import TypeVar

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity, Kind
from engine.domain.events import Draft, Entry, Head
from engine.domain.model import FunctionModel
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, Page, RunQuery
from engine.domain.runs import Run, Step
from engine.domain.values import Semver
from engine.domain.versions import Version
from engine.domain.writes import (
    Answer,
    EdgeRow,
    InsertBatch,
    InsertModel,
    InsertVersion,
    ModelRow,
    NodeRow,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
    Write,
)
from engine.errors import ModelExists, ModelNotFound, QueryRefused, StaleRevision, StoreConflict, StoreUnreachable
from engine.ledger.chain import Row, link, row_of
from engine.storage.changes import change_times, edge_rows, listed, refuse_foreign
from engine.storage.documents import json_text, json_value
from engine.storage.folding import entity_search, entry_search, fold, holds, is_asked_for, is_tagged, run_search

_K = TypeVar("_K")
_V = TypeVar("_V")
_PLACE = "memory:"
_NEVER = datetime.max.replace(tzinfo=UTC)


class MemoryCatalog:
    """A catalog that lives as long as the process. One lock; a failing commit is taken back write by write."""

    def __init__(self, *, organization: str = "local") -> None:
        """Start empty."""
        self.organization = organization
        self._lock = RLock()
        self._news = Condition(self._lock)
        self._closed = False
        self._models: dict[str, FunctionModel] = {}
        self._names: dict[str, str] = {}
        self._updated: dict[str, datetime] = {}
        self._batches: dict[tuple[str, int], EditBatch] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._runs: dict[str, Run] = {}
        self._steps: dict[tuple[str, str], Step] = {}
        self._entries: list[Entry] = []
        self._head = Head()
        self._settings: dict[str, Json] = {}
        self._entities: dict[tuple[Kind, str], AnyEntity] = {}
        self._undo: list[Callable[[], object]] = []

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none; see `engine.ports.Catalog`."""
        refuse_foreign(writes, self.organization)
        with self._open():
            head, count = self._head, len(self._entries)
            self._undo = []
            try:
                times = change_times(writes, datetime.now(UTC))
                for write in writes:
                    self._perform(write, times)
            except BaseException:
                for take_back in reversed(self._undo):
                    take_back()
                del self._entries[count:]
                self._head = head
                raise
            self._news.notify_all()
            return tuple(self._entries[count:])

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id, deleted ones included."""
        with self._open():
            return self._models.get(model)

    def model_named(self, name: str) -> FunctionModel | None:
        """Return the model of this name (without case) that is not deleted."""
        with self._open():
            return self._models.get(self._names.get(fold(name), ""))

    def models(self, query: ModelQuery = ModelQuery()) -> list[ModelRow]:
        """List models, the last changed first; `deleted` lists those that are deleted instead."""
        with self._open():
            found = [
                listed(model, self._updated[model.id])
                for model in self._models.values()
                if (model.deleted_at is not None) == query.deleted
                and holds(model, query.text)
                and is_tagged(model.tags, query.tag)
            ]
        found.sort(key=lambda row: (row.updated_at, row.id), reverse=True)
        return _paged(found, query)

    def nodes(self, query: NodeQuery = NodeQuery()) -> list[NodeRow]:
        """List nodes by model and node id; see `engine.ports.Catalog`."""
        found = [
            NodeRow(of.id, node.id, node.kind, node.name, node.tags)
            for of in self._alive(query.model)
            for node in of.nodes.values()
            if query.kind in (None, node.kind) and is_asked_for(node, query.text, query.tag)
        ]
        return _paged(sorted(found), query)

    def edges(self, query: EdgeQuery = EdgeQuery()) -> list[EdgeRow]:
        """List edges by model, kind and id; see `engine.ports.Catalog`."""
        found = [
            row
            for of in self._alive(query.model)
            for row in edge_rows(of)
            if query.kind in (None, row.kind)
            and any(
                is_asked_for(of.nodes[end], query.text, query.tag)
                for end in (row.source, row.target)
                if end in of.nodes
            )
        ]
        return _paged(sorted(found, key=lambda row: row[:3]), query)

    def batches(self, model: str, *, after_revision: int = 0) -> list[tuple[int, EditBatch]]:
        """Return (revision, batch) after a revision, oldest first."""
        with self._open():
            kept = self._batches.items()
            found = [(key[1], batch) for key, batch in kept if key[0] == model and key[1] > after_revision]
        return sorted(found, key=lambda item: item[0])

    def version(self, model: str, number: Semver) -> Version | None:
        """Return one version."""
        with self._open():
            return self._versions.get((model, str(number)))

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the highest number first."""
        with self._open():
            found = [version for version in self._versions.values() if version.model == model]
        return sorted(
            found, key=lambda version: (version.number.major, version.number.minor, version.number.patch), reverse=True
        )

    def run(self, run: str) -> Run | None:
        """Return a run by id."""
        with self._open():
            return self._runs.get(run)

    def runs(self, query: RunQuery = RunQuery()) -> list[Run]:
        """List runs, newest first, without their `model_file`."""
        wanted = fold(query.text)
        with self._open():
            found = [
                run
                for run in self._runs.values()
                if query.model in (None, run.model) and query.status in (None, run.status) and wanted in run_search(run)
            ]
        found.sort(key=lambda run: (run.created_at, run.id), reverse=True)
        return [run.model_copy(update={"model_file": None}) for run in _paged(found, query)]

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run by start time and path, those that never started last."""
        with self._open():
            found = [step for step in self._steps.values() if step.run == run]
        return sorted(found, key=lambda step: (step.started_at or _NEVER, step.path))

    def entries(self, query: EntryQuery = EntryQuery()) -> list[Entry]:
        """Return ledger entries; see `engine.ports.Catalog`."""
        with self._open():
            found = self._entries[query.after : None if query.before is None else max(0, query.before - 1)]
        wanted = query.text.lower()
        found = [
            entry
            for entry in found
            if query.action in (None, entry.action)
            and query.entity in (None, entry.entity)
            and query.actor in (None, entry.actor)
            and wanted in entry_search(entry)
        ]
        return (found[::-1] if query.newest_first else found)[: query.limit]

    @contextmanager
    def ledger(self) -> Generator[tuple[Head, Iterator[Row]]]:
        """Give the head and every entry as stored, oldest first, as they were at one moment: for verification."""
        with self._open():
            head, entries = self._head, list(self._entries)
        yield head, map(row_of, entries)

    def head(self) -> Head:
        """Return the ledger's head."""
        with self._open():
            return self._head

    def setting(self, key: str) -> Json:
        """Return a setting, or None."""
        with self._open():
            return self._settings.get(key)

    def news(self, after: int, timeout_s: float) -> list[Entry]:
        """Wait for entries that follow `after`."""
        with self._open():
            self._news.wait_for(lambda: self._head.sequence > after, timeout_s)
            return self.entries(EntryQuery(after=after))

    def settings(self) -> dict[str, Json]:
        """Return all settings by key."""
        with self._open():
            return dict(sorted(self._settings.items()))

    def entity(self, kind: Kind, key: str) -> AnyEntity | None:
        """Return an entity, or None."""
        with self._open():
            return self._entities.get((kind, key))

    def entities(self, query: EntityQuery) -> list[AnyEntity]:
        """List entities of a kind; see `engine.ports.Catalog`."""
        wanted, due_before = fold(query.text), query.due_before
        with self._open():
            found = [
                entity
                for (kept_kind, _), entity in self._entities.items()
                if kept_kind == query.kind
                and (query.about is None or query.about in entity.about)
                and wanted in entity_search(entity)
                and (due_before is None or (entity.due_at is not None and entity.due_at < due_before))
            ]
        found.sort(key=lambda one: ((one.due_at or _NEVER) if due_before else _NEVER, one.key))
        return _paged(found, query)

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Refuse: there is no SQL here."""
        del sql, limit
        raise QueryRefused(reason="a store in memory speaks no SQL; use a DuckDB or Postgres store")

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor'."""
        with self._open():
            kept = {
                "models": self._models,
                "versions": self._versions,
                "runs": self._runs,
                "steps": self._steps,
                "entries": self._entries,
                "entities": self._entities,
            }
            counts = {name: len(things) for name, things in kept.items()}
            return {"kind": "memory", "place": _PLACE, "schema_version": 0, "size_bytes": 0, **counts}

    def close(self) -> None:
        """Refuse further use. Calling it twice is harmless."""
        with self._lock:
            self._closed = True

    @contextmanager
    def _open(self) -> Generator[None]:
        with self._lock:
            if self._closed:
                raise StoreUnreachable(path=_PLACE, reason="it was closed")
            yield

    def _perform(self, write: Write, times: dict[str, datetime]) -> None:
        match write:
            case InsertModel(model=model):
                if model.id in self._models:
                    raise StoreConflict
                self._put_model(model, times[model.id])
            case UpdateModel(model=model, expected_revision=expected):
                self._refuse_stale(model.id, expected)
                self._put_model(model, times[model.id])
            case InsertBatch(batch=batch, revision=revision):
                self._add(self._batches, (batch.model, revision), batch)
            case InsertVersion(version=version):
                self._add(self._versions, (version.model, str(version.number)), version)
            case PutRun() | PutSteps() | PutSetting():
                self._put_plain(write)
            case PutEntity() | RemoveEntity():
                self._perform_entity(write)
            case Record(draft=draft):
                self._record(draft)

    def _put_plain(self, write: PutRun | PutSteps | PutSetting) -> None:
        if isinstance(write, PutRun):
            self._put(self._runs, write.run.id, write.run)
        elif isinstance(write, PutSetting):
            self._put(self._settings, write.key, json_value(json_text(write.value)))
        else:
            for step in write.steps:
                self._put(self._steps, (step.run, step.path), step)

    def _perform_entity(self, write: PutEntity | RemoveEntity) -> None:
        where = (write.entity.kind, write.entity.key) if isinstance(write, PutEntity) else (write.kind, write.key)
        kept = self._entities.get(where)
        current = 0 if kept is None else kept.revision
        if write.expected_revision not in (None, current):
            raise StaleRevision(current=current, based_on=write.expected_revision)
        if isinstance(write, PutEntity):
            self._put(self._entities, where, write.entity)
        elif kept is not None:
            self._take(self._entities, where)

    def _record(self, draft: Draft) -> None:
        (entry,) = link(self._head, [draft])
        self._entries.append(entry)
        self._head = Head(sequence=entry.sequence, hash=entry.hash)

    def _put_model(self, model: FunctionModel, updated: datetime) -> None:
        old = self._models.get(model.id)
        if old is not None and old.deleted_at is None:
            self._take(self._names, fold(old.name))
        if model.deleted_at is None:
            key = fold(model.name)
            if key in self._names:
                raise ModelExists(name=model.name)
            self._put(self._names, key, model.id)
        self._put(self._models, model.id, model)
        self._put(self._updated, model.id, updated)

    def _add(self, kept: dict[_K, _V], key: _K, value: _V) -> None:
        if key in kept:
            raise StoreConflict
        self._put(kept, key, value)

    def _refuse_stale(self, model: str, expected: int) -> None:
        stored = self._models.get(model)
        if stored is None:
            raise ModelNotFound(name=model)
        if stored.revision != expected:
            raise StaleRevision(current=stored.revision, based_on=expected)

    def _alive(self, model: str | None) -> list[FunctionModel]:
        with self._open():
            return [one for one in self._models.values() if one.deleted_at is None and model in (None, one.id)]

    def _put(self, kept: dict[_K, _V], key: _K, value: _V) -> None:
        if key in kept:
            old = kept[key]
            self._undo.append(lambda: kept.__setitem__(key, old))
        else:
            self._undo.append(lambda: kept.pop(key))
        kept[key] = value

    def _take(self, kept: dict[_K, _V], key: _K) -> None:
        old = kept.pop(key)
        self._undo.append(lambda: kept.__setitem__(key, old))


def _paged(rows: list[_V], page: Page) -> list[_V]:
    return rows[page.offset : page.offset + page.limit]
