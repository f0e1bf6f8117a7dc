"""The catalog in SQL, whatever the database: reads here, a commit's writes in `writing`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Row

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity, Kind
from engine.domain.events import Entry, Head
from engine.domain.model import FunctionModel
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.domain.runs import Run, Step
from engine.domain.values import Semver
from engine.domain.versions import Version
from engine.domain.writes import Answer, EdgeRow, ModelRow, NodeRow, Write
from engine.errors import LedgerTampered, StoreCorrupted
from engine.ledger import chain
from engine.storage import documents
from engine.storage.changes import refuse_foreign
from engine.storage.folding import fold
from engine.storage.recent import Recent
from engine.storage.sql import lists, schema, statements
from engine.storage.sql.writing import perform, perform_once

_T = TypeVar("_T")
_PAGE_ROWS = 5_000
_FORGET_EVERY = 1_000
"""Commits of other programs between two times that old ids are dropped."""


class Database(Protocol):
    """What differs between databases: how connections are had, conflicts repeated and errors told."""

    place: str
    """What messages call the store: a path or an address without secrets."""

    def reading(self, *, snapshot: bool = False) -> AbstractContextManager[Connection]:
        """Give a connection for reads; with `snapshot` all of them see one moment. Raises our errors only."""
        ...

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work`, which only reads; once more if the connection was lost. Raises our errors only."""
        ...

    def writing(self, work: Callable[[Connection], _T]) -> _T:
        """Do `work` in a transaction and commit, again from the start on a conflict. Raises our errors only."""
        ...

    def tell(self) -> None:
        """Let those of this process who wait look again."""
        ...

    def wait(self, is_news: Callable[[], bool], timeout_s: float) -> bool:
        """Ask `is_news` now and after each commit of anybody; True when it says so, False after `timeout_s`."""
        ...

    def query(self, sql: str, limit: int | None) -> Answer:
        """Answer one SELECT in the schema of the views, in a transaction that can change nothing."""
        ...

    def describe(self) -> dict[str, Json]:
        """Return kind, place and size in bytes."""
        ...

    def close(self) -> None:
        """Let go of the database. Calling it twice is harmless."""
        ...


class SqlCatalog:
    """A catalog in a database. Safe to use from any thread."""

    def __init__(self, database: Database, *, organization: str = "local") -> None:
        """Use a database whose tables are there."""
        self.organization = organization
        self.database = database
        self._remote = count()
        self._recent = Recent()

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none; see `engine.ports.Catalog`."""
        refuse_foreign(writes, self.organization)
        now = datetime.now(UTC)
        return self._told(self.database.writing(lambda connection: perform(connection, writes, now)))

    def commit_once(self, commit: str, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none, unless the commit of this id was done already; return the entries it made."""
        refuse_foreign(writes, self.organization)
        now, forget = datetime.now(UTC), next(self._remote) % _FORGET_EVERY == 0
        done = self.database.writing(lambda connection: perform_once(connection, commit, writes, now, forget=forget))
        return self._told(done)

    def _told(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Hand what was committed to those who wait for it."""
        if entries:
            self._recent.add(entries)
            self.database.tell()
        return entries

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id, deleted ones included."""
        return self._read(documents.model_from, self._body(statements.MODEL, model=model))

    def model_named(self, name: str) -> FunctionModel | None:
        """Return the model of this name (without case) that is not deleted."""
        body = self._body(statements.MODEL_NAMED, name_key=fold(name))
        return self._read(documents.model_from, body)

    def models(self, query: ModelQuery = ModelQuery()) -> list[ModelRow]:
        """List models, the last changed first; `deleted` lists those that are deleted instead."""
        return [self._model_row(row) for row in self._rows(lists.list_models(query))]

    def nodes(self, query: NodeQuery = NodeQuery()) -> list[NodeRow]:
        """List nodes by model and node id; see `engine.ports.Catalog`."""
        return [
            NodeRow(row.model, row.node, row.kind, row.name, tuple(self._value(list, row.tags)))
            for row in self._rows(lists.list_nodes(query))
        ]

    def edges(self, query: EdgeQuery = EdgeQuery()) -> list[EdgeRow]:
        """List edges by model and id; see `engine.ports.Catalog`."""
        return [EdgeRow(*row) for row in self._rows(lists.list_edges(query))]

    def batches(self, model: str, *, after_revision: int = 0) -> list[tuple[int, EditBatch]]:
        """Return (revision, batch) after a revision, oldest first."""
        found = self._rows(statements.BATCHES, model=model, after=after_revision)
        return [(row.revision, self._value(documents.batch_from, row.body)) for row in found]

    def version(self, model: str, number: Semver) -> Version | None:
        """Return one version."""
        body = self._body(statements.VERSION, model=model, major=number.major, minor=number.minor, patch=number.patch)
        return self._read(documents.version_from, body)

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the highest number first."""
        return [self._value(documents.version_from, row.body) for row in self._rows(statements.VERSIONS, model=model)]

    def run(self, run: str) -> Run | None:
        """Return a run by id."""
        found = self._rows(statements.RUN, run=run)
        if not found:
            return None
        file = found[0].model_file
        model_file = None if file is None else self._value(lambda value: value, file)
        return self._value(lambda plain: documents.run_from(plain, model_file), found[0].body)

    def runs(self, query: RunQuery = RunQuery()) -> list[Run]:
        """List runs, newest first, without their `model_file`."""
        return [self._value(documents.run_from, row.body) for row in self._rows(lists.list_runs(query))]

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run by start time and path, those that never started last."""
        return [self._value(documents.step_from, row.body) for row in self._rows(statements.STEPS, run=run)]

    def entries(self, query: EntryQuery = EntryQuery()) -> list[Entry]:
        """Return ledger entries; `LedgerTampered` if one can't have been written by us."""
        return [chain.entry_of(chain.Row(*row)) for row in self._rows(lists.list_entries(query))]

    @contextmanager
    def ledger(self) -> Generator[tuple[Head, Iterator[chain.Row]]]:
        """Give the head and every entry as stored, oldest first, as they were at one moment: for verification."""
        with self.database.reading(snapshot=True) as connection:
            head = self._head(connection.execute(statements.HEAD).first())
            with connection.execute(statements.LEDGER) as found:
                yield head, (chain.Row(*row) for page in found.partitions(_PAGE_ROWS) for row in page)

    def head(self) -> Head:
        """Return the ledger's head."""
        return self._head(self.database.read(lambda connection: connection.execute(statements.HEAD).first()))

    def setting(self, key: str) -> Json:
        """Return a setting, or None."""
        return self._read(lambda value: value, self._body(statements.SETTING, key=key))

    def news(self, after: int, timeout_s: float, *, stop: Callable[[], bool] = lambda: False) -> list[Entry]:
        """Wait for entries that follow `after`, or until `stop` says so; see `engine.ports.Catalog`."""

        def is_news() -> bool:
            return stop() or bool(self._recent.follow(after)) or self.head().sequence > after

        if not self.database.wait(is_news, timeout_s) or stop():
            return []
        return self._recent.follow(after) or self.entries(EntryQuery(after=after))

    def settings(self) -> dict[str, Json]:
        """Return all settings by key."""
        return {row.key: self._value(lambda value: value, row.value) for row in self._rows(statements.SETTINGS)}

    def entity(self, kind: Kind, key: str) -> AnyEntity | None:
        """Return an entity, or None."""
        return self._read(documents.entity_from, self._body(statements.ENTITY, kind=kind, key=key))

    def entities(self, query: EntityQuery) -> list[AnyEntity]:
        """List entities of a kind; see `engine.ports.Catalog`."""
        return [self._value(documents.entity_from, row.body) for row in self._rows(lists.list_entities(query))]

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Answer one SELECT over the views; see `engine.ports.Catalog`."""
        return self.database.query(sql, limit)

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor'."""
        counted = {
            "models": schema.models,
            "versions": schema.versions,
            "runs": schema.runs,
            "steps": schema.steps,
            "entries": schema.ledger,
            "entities": schema.entities,
        }
        counts = {name: self._body(lists.count(table)) for name, table in counted.items()}
        return {**self.database.describe(), "schema_version": schema.SCHEMA_VERSION, **counts}

    def close(self) -> None:
        """Finish the commit under way and let go of the store. Calling it twice is harmless."""
        self.database.close()

    def _head(self, row: Row[int, str] | None) -> Head:
        if row is None or row.sequence < 0:
            raise LedgerTampered(reason="its head is missing or was altered")
        return Head(sequence=row.sequence, hash=row.hash)

    def _rows(self, query: Executable, **parameters: object) -> Sequence[Row[*tuple[Any, ...]]]:
        return self.database.read(lambda connection: connection.execute(query, parameters).all())

    def _body(self, query: Executable, **parameters: object) -> Any:
        found = self._rows(query, **parameters)
        return found[0][0] if found else None

    def _read(self, read: Callable[[Json], _T], body: str | bytes | None) -> _T | None:
        return None if body is None else self._value(read, body)

    def _value(self, read: Callable[[Json], _T], body: str | bytes) -> _T:
        """Return the value in a body, text or packed; the store is corrupted if none of ours wrote it."""
        try:
            return read(documents.unpacked(body) if isinstance(body, bytes) else documents.json_value(body))
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            reason = f"it holds what no program of ours wrote: {str(error)[:200]}"
            raise StoreCorrupted(path=self.database.place, reason=reason) from None

    def _model_row(self, row: Row[*tuple[Any, ...]]) -> ModelRow:
        return ModelRow(
            id=row.id,
            name=row.name,
            description=row.description,
            status=row.status,
            revision=row.revision,
            version=row.version,
            tags=tuple(self._value(list, row.tags)),
            nodes=row.nodes,
            updated_at=lists.moment(row.updated_us),
            deleted_at=None if row.deleted_us is None else lists.moment(row.deleted_us),
        )
