"""The catalog in Neo4j: transactional, and a graph for whoever speaks Cypher."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

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
from engine.errors import QueryRefused, StoreCorrupted, StoreUnreachable
from engine.ledger import chain
from engine.storage import documents
from engine.storage.bell import Bell
from engine.storage.changes import refuse_foreign
from engine.storage.folding import fold
from engine.storage.neo4j import lists
from engine.storage.neo4j.database import Database, Found, is_in_doubt, moment
from engine.storage.neo4j.reading import read_entries, read_ledger, read_mark, read_model
from engine.storage.neo4j.schema import SCHEMA_VERSION, prepare, uid_of
from engine.storage.neo4j.writing import Commit
from engine.storage.recent import Recent

_T = TypeVar("_T")
_POLL_S = 0.25
"""How often to look whether another program has committed."""
_IN_DOUBT_S = 20.0
_BATCHES = """
    MATCH (b:Batch {organization: $organization, model: $model}) WHERE b.revision > $after
    RETURN b.revision AS revision, b.body AS body ORDER BY revision
"""
_VERSION = "MATCH (v:Version {organization: $organization, model: $model, number: $number}) RETURN v.body AS body"
_VERSIONS = """
    MATCH (v:Version {organization: $organization, model: $model}) WHERE v.number IS NOT NULL
    RETURN v.body AS body ORDER BY v.major DESC, v.minor DESC, v.patch DESC
"""
_RUN = "MATCH (r:Run {organization: $organization, id: $run}) RETURN r.body AS body, r.model_file AS model_file"
_STEPS = """
    MATCH (s:Step {organization: $organization, run: $run}) RETURN s.body AS body ORDER BY s.started_at, s.path
"""
_SETTING = "MATCH (s:Setting {organization: $organization, uid: $uid}) RETURN s.value AS body"
_SETTINGS = """
    MATCH (s:Setting {organization: $organization}) WHERE s.uid IS NOT NULL RETURN s.key AS key, s.value AS value
"""
_ENTITY = "MATCH (e:Entity {organization: $organization, kind: $kind, uid: $uid}) RETURN e.body AS body"
_COUNTED = {
    "models": ("Model", "n.id"),
    "versions": ("Version", "n.model"),
    "runs": ("Run", "n.id"),
    "steps": ("Step", "n.uid"),
    "entries": ("Entry", "n.sequence"),
    "entities": ("Entity", "n.kind"),
}
"""By label and by the rest of the key."""


def open_neo4j(url: str, *, organization: str = "local") -> Neo4jCatalog:
    """Return the catalog of an organization in the database at `url`, with its schema made if it has none.

    Raises `StoreUnreachable`, `StoreCorrupted` or `StoreNewer`, and leaves the database as it was.
    """
    database = Database(url, organization=organization)
    try:
        prepare(database)
    except BaseException:
        database.close()
        raise
    return Neo4jCatalog(database)


class Neo4jCatalog:
    """A catalog in a Neo4j database. Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        """Use a database that is prepared."""
        self.organization = database.organization
        self.database = database
        self._turn = Lock()
        """At committing: the server would let one at a time do it anyway, and have the others wait longer."""
        self._bell = Bell()
        self._recent = Recent()

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none; see `engine.ports.Catalog`."""
        refuse_foreign(writes, self.organization)
        commit = Commit(writes, datetime.now(UTC), secrets.token_hex(8))
        with self._turn:
            entries = self._done_once(commit)
        if entries:
            self._recent.add(entries)
            self._bell.ring()
        return entries

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id, deleted ones included."""
        return read_model(self.database, model=model)

    def model_named(self, name: str) -> FunctionModel | None:
        """Return the model of this name (without case) that is not deleted."""
        return read_model(self.database, name=fold(name))

    def models(self, query: ModelQuery = ModelQuery()) -> list[ModelRow]:
        """List models, the last changed first; `deleted` lists those that are deleted instead."""
        asked = lists.list_models(query)
        return [_model_row(row) for row in self._rows(asked.query, **asked.parameters)]

    def nodes(self, query: NodeQuery = NodeQuery()) -> list[NodeRow]:
        """List nodes by model and node id; see `engine.ports.Catalog`."""
        asked = lists.list_nodes(query)
        rows = self._rows(asked.query, **asked.parameters)
        return [NodeRow(row["model"], row["node"], row["kind"], row["name"], tuple(row["tags"])) for row in rows]

    def edges(self, query: EdgeQuery = EdgeQuery()) -> list[EdgeRow]:
        """List edges by model and id; see `engine.ports.Catalog`."""
        asked = lists.list_edges(query)
        return [EdgeRow(**row) for row in self._rows(asked.query, **asked.parameters)]

    def batches(self, model: str, *, after_revision: int = 0) -> list[tuple[int, EditBatch]]:
        """Return (revision, batch) after a revision, oldest first."""
        found = self._rows(_BATCHES, model=model, after=after_revision)
        return [(row["revision"], self._value(documents.batch_from, row["body"])) for row in found]

    def version(self, model: str, number: Semver) -> Version | None:
        """Return one version."""
        return self._one(documents.version_from, _VERSION, model=model, number=str(number))

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the highest number first."""
        return self._all(documents.version_from, _VERSIONS, model=model)

    def run(self, run: str) -> Run | None:
        """Return a run by id."""
        found = self._rows(_RUN, run=run)
        if not found:
            return None
        file = found[0]["model_file"]
        model_file = None if file is None else self._value(lambda value: value, file)
        return self._value(lambda plain: documents.run_from(plain, model_file), found[0]["body"])

    def runs(self, query: RunQuery = RunQuery()) -> list[Run]:
        """List runs, newest first, without their `model_file`."""
        asked = lists.list_runs(query)
        return self._all(documents.run_from, asked.query, **asked.parameters)

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run by start time and path, those that never started last."""
        return self._all(documents.step_from, _STEPS, run=run)

    def entries(self, query: EntryQuery = EntryQuery()) -> list[Entry]:
        """Return ledger entries; `LedgerTampered` if one can't have been written by us."""
        return [chain.entry_of(row) for row in read_entries(self.database, query)]

    def ledger(self) -> AbstractContextManager[tuple[Head, Any]]:
        """Give the head and every entry as stored, oldest first, as they were at one moment: for verification."""
        return read_ledger(self.database)

    def head(self) -> Head:
        """Return the ledger's head."""
        return self.database.read(read_mark).head

    def news(self, after: int, timeout_s: float) -> list[Entry]:
        """Wait for entries that follow `after`: told by commits of this process, looking for others'."""

        def is_news() -> bool:
            return bool(self._recent.follow(after)) or self.head().sequence > after

        if not self._bell.wait(is_news, timeout_s, look_every_s=_POLL_S):
            return []
        return self._recent.follow(after) or self.entries(EntryQuery(after=after))

    def setting(self, key: str) -> Json:
        """Return a setting, or None."""
        return self._one(lambda value: value, _SETTING, uid=uid_of(key))

    def settings(self) -> dict[str, Json]:
        """Return all settings by key."""
        return {row["key"]: self._value(lambda value: value, row["value"]) for row in self._rows(_SETTINGS)}

    def entity(self, kind: Kind, key: str) -> AnyEntity | None:
        """Return an entity, or None."""
        return self._one(documents.entity_from, _ENTITY, kind=kind, uid=uid_of(key))

    def entities(self, query: EntityQuery) -> list[AnyEntity]:
        """List entities of a kind; see `engine.ports.Catalog`."""
        asked = lists.list_entities(query)
        return self._all(documents.entity_from, asked.query, **asked.parameters)

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Refuse: there is no SQL here."""
        del sql, limit
        raise QueryRefused(reason="a Neo4j store speaks Cypher and no SQL; docs/neo4j.md shows how to ask it")

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor'."""
        counts: dict[str, Json] = {}
        for name, (label, key) in _COUNTED.items():
            wanted = f"(n:{label} {{organization: $organization}}) WHERE {key} IS NOT NULL"
            rows = self._rows(f"MATCH {wanted} RETURN count(n) AS count")
            counts[name] = rows[0]["count"]
        return {**self.database.describe(), "schema_version": SCHEMA_VERSION, **counts}

    def close(self) -> None:
        """Finish the commit under way and let go of the store. Calling it twice is harmless."""
        with self._turn:
            self.database.close()

    def _done_once(self, commit: Commit) -> tuple[Entry, ...]:
        """Commit; when the answer got lost, ask whether it was done, and do it again only if it wasn't."""
        made: list[tuple[Entry, ...]] = []

        def perform(cypher: Any) -> tuple[Entry, ...]:
            made[:] = [commit.perform(cypher)]
            return made[0]

        for _ in range(2):
            try:
                return self.database.write(perform)
            except StoreUnreachable as error:
                if not is_in_doubt(error):
                    raise
            if self.database.settle(lambda: self.database.write(commit.was_done), _IN_DOUBT_S):
                return made[0]
        reason = "the connection was lost twice while a change was committed; nothing was changed"
        raise StoreUnreachable(path=self.database.place, reason=reason)

    def _rows(self, query: str, **parameters: Any) -> list[Found]:
        return self.database.read(lambda cypher: cypher.rows(query, **parameters))

    def _all(self, read: Callable[[Json], _T], query: str, **parameters: Any) -> list[_T]:
        return [self._value(read, row["body"]) for row in self._rows(query, **parameters)]

    def _one(self, read: Callable[[Json], _T], query: str, **parameters: Any) -> _T | None:
        return next(iter(self._all(read, query, **parameters)), None)

    def _value(self, read: Callable[[Json], _T], body: str) -> _T:
        """Return the value in a body; the store is corrupted if none of ours wrote it."""
        try:
            return read(documents.json_value(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it holds what no program of ours wrote: {str(error)[:200]}"
            raise StoreCorrupted(path=self.database.place, reason=reason) from None


def _model_row(row: Found) -> ModelRow:
    return ModelRow._make(_FIELDS.get(name, _same)(row[name]) for name in ModelRow._fields)


def _same(value: Any) -> Any:
    return value


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "tags": tuple,
    "updated_at": moment,
    "deleted_at": lambda value: None if value is None else moment(value),
}
