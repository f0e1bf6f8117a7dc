"""Catalog, journal and blobs in memory: for tests and throw-away sessions, and the reference of the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import RLock
from typing import TypeVar

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.events import Draft, Entry, Head
from engine.domain.model import FunctionModel
from engine.domain.runs import Run, Step
from engine.domain.values import Semver
from engine.domain.versions import Version
from engine.errors import (
    JournalBroken,
    ModelExists,
    ModelNotFound,
    StaleRevision,
    StoreConflict,
    StoreCorrupted,
    StoreUnreachable,
)
from engine.ledger.chain import Row, link, row_of
from engine.ports import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    JournalRecord,
    ModelRow,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    UpdateModel,
    Write,
)
from engine.storage.changes import change_times
from engine.storage.documents import json_text, json_value
from engine.storage.folding import entry_search, fold, model_search, run_search, shown, tag_search

_K = TypeVar("_K")
_V = TypeVar("_V")
_PLACE = "memory:"


class MemoryCatalog:
    """A catalog that lives as long as the process. One lock; a failing commit is taken back write by write."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = RLock()
        self._closed = False
        self._models: dict[str, FunctionModel] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._updated: dict[str, datetime] = {}
        self._batches: dict[tuple[str, int], EditBatch] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._runs: dict[str, Run] = {}
        self._steps: dict[tuple[str, str], Step] = {}
        self._entries: list[Entry] = []
        self._head = Head()
        self._settings: dict[str, Json] = {}
        self._undo: list[Callable[[], object]] = []

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none; see `engine.ports.Catalog`."""
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
            return tuple(self._entries[count:])

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id, deleted ones included."""
        with self._open():
            return self._models.get(model)

    def model_named(self, name: str, *, organization: str = "local") -> FunctionModel | None:
        """Return the model of this name (without case) that is not deleted."""
        with self._open():
            return self._models.get(self._names.get((organization, fold(name)), ""))

    def models(
        self, *, text: str = "", tag: str | None = None, deleted: bool = False, limit: int = 100, offset: int = 0
    ) -> list[ModelRow]:
        """List models, the last changed first; `deleted` lists those that are deleted instead."""
        with self._open():
            found = [
                self._row(model)
                for model in self._models.values()
                if (model.deleted_at is not None) == deleted and _holds(model, text) and _is_tagged(model, tag)
            ]
        found.sort(key=lambda row: (row.updated_at, row.id), reverse=True)
        return found[offset : offset + limit]

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

    def runs(
        self,
        *,
        model: str | None = None,
        status: str | None = None,
        text: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> list[Run]:
        """List runs, newest first, without their `model_file`."""
        wanted = fold(text)
        with self._open():
            found = [
                run
                for run in self._runs.values()
                if model in (None, run.model) and status in (None, run.status) and wanted in run_search(run)
            ]
        found.sort(key=lambda run: (run.created_at, run.id), reverse=True)
        return [run.model_copy(update={"model_file": None}) for run in found[offset : offset + limit]]

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run by start time and path, those that never started last."""
        with self._open():
            found = [step for step in self._steps.values() if step.run == run]
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(found, key=lambda step: (step.started_at or never, step.path))

    def entries(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        action: str | None = None,
        entity: str | None = None,
        actor: str | None = None,
        text: str = "",
        newest_first: bool = False,
        limit: int = 1_000,
    ) -> list[Entry]:
        """Return ledger entries; see `engine.ports.Catalog`."""
        with self._open():
            found = self._entries[after : None if before is None else max(0, before - 1)]
        wanted = text.lower()
        found = [
            entry
            for entry in found
            if action in (None, entry.action)
            and entity in (None, entry.entity)
            and actor in (None, entry.actor)
            and wanted in entry_search(entry)
        ]
        return (found[::-1] if newest_first else found)[:limit]

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

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor'."""
        with self._open():
            return {
                "kind": "memory",
                "place": _PLACE,
                "schema_version": 0,
                "models": len(self._models),
                "versions": len(self._versions),
                "runs": len(self._runs),
                "steps": len(self._steps),
                "entries": len(self._entries),
                "size_bytes": 0,
            }

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
                self._refuse_taken(self._models, model.id)
                self._put_model(model, times[model.id])
            case UpdateModel(model=model, expected_revision=expected):
                self._refuse_stale(model.id, expected)
                self._put_model(model, times[model.id])
            case InsertBatch(batch=batch, revision=revision):
                self._add(self._batches, (batch.model, revision), batch)
            case InsertVersion(version=version):
                self._add(self._versions, (version.model, str(version.number)), version)
            case PutRun(run=run):
                self._put(self._runs, run.id, run)
            case PutSteps(steps=steps):
                for step in steps:
                    self._put(self._steps, (step.run, step.path), step)
            case PutSetting(key=key, value=value):
                self._put(self._settings, key, json_value(json_text(value)))
            case Record(draft=draft):
                self._record(draft)

    def _record(self, draft: Draft) -> None:
        (entry,) = link(self._head, [draft])
        self._entries.append(entry)
        self._head = Head(sequence=entry.sequence, hash=entry.hash)

    def _put_model(self, model: FunctionModel, updated: datetime) -> None:
        old = self._models.get(model.id)
        if old is not None and old.deleted_at is None:
            self._take(self._names, (old.organization, fold(old.name)))
        if model.deleted_at is None:
            key = (model.organization, fold(model.name))
            if key in self._names:
                raise ModelExists(name=model.name)
            self._put(self._names, key, model.id)
        self._put(self._models, model.id, model)
        self._put(self._updated, model.id, updated)

    def _refuse_taken(self, kept: dict[_K, _V], key: _K) -> None:
        if key in kept:
            raise StoreConflict

    def _add(self, kept: dict[_K, _V], key: _K, value: _V) -> None:
        self._refuse_taken(kept, key)
        self._put(kept, key, value)

    def _refuse_stale(self, model: str, expected: int) -> None:
        stored = self._models.get(model)
        if stored is None:
            raise ModelNotFound(name=model)
        if stored.revision != expected:
            raise StaleRevision(current=stored.revision, based_on=expected)

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

    def _row(self, model: FunctionModel) -> ModelRow:
        return ModelRow(
            id=model.id,
            name=model.name,
            description=shown(model.description),
            status=model.status,
            revision=model.revision,
            version=None if model.version is None else str(model.version),
            tags=model.tags,
            nodes=len(model.nodes),
            updated_at=self._updated[model.id],
            deleted_at=model.deleted_at,
        )


class MemoryJournal:
    """A journal for runs that need not survive the process."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = RLock()
        self._closed = False
        self._tickets = 0
        self._records: dict[str, list[JournalRecord]] = {}

    def append(self, record: JournalRecord) -> int:
        """Keep a record and return its ticket."""
        with self._open():
            self._records.setdefault(record.run, []).append(record)
            self._tickets += 1
            return self._tickets

    def sync(self, ticket: int) -> None:
        """Return at once: nothing here survives anyway."""
        with self._open():
            del ticket

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records of a run in order."""
        with self._open():
            return list(self._records.get(run, ()))

    def unfinished(self) -> list[str]:
        """Return the runs that have records, oldest first."""
        with self._open():
            return list(self._records)

    def claim(self, run: str) -> bool:
        """Return True: there is no other process."""
        with self._open():
            del run
            return True

    def forget(self, run: str) -> None:
        """Drop the records of a run."""
        with self._open():
            self._records.pop(run, None)

    def close(self) -> None:
        """Refuse further use. Calling it twice is harmless."""
        with self._lock:
            self._closed = True

    @contextmanager
    def _open(self) -> Generator[None]:
        with self._lock:
            if self._closed:
                raise JournalBroken(path=_PLACE, reason="it was closed")
            yield


class MemoryBlobs:
    """Large values in a dict."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256 in hex."""
        name = hashlib.sha256(data).hexdigest()
        self._kept[name] = bytes(data)
        return name

    def get(self, sha256: str) -> bytes:
        """Return the bytes of this name; `StoreCorrupted` if there are none."""
        data = self._kept.get(sha256)
        if data is None:
            raise StoreCorrupted(path=_PLACE, reason=f"the value {sha256} is missing")
        return data


def _holds(model: FunctionModel, text: str) -> bool:
    wanted = fold(text)
    names: Sequence[str] = [fold(node.name) for node in model.nodes.values()] if wanted else ()
    return wanted in model_search(model) or any(wanted in name for name in names)


def _is_tagged(model: FunctionModel, tag: str | None) -> bool:
    return tag is None or f"\n{fold(tag)}\n" in tag_search(model)
