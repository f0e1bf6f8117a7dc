"""A catalog whose reads of models and versions go through a cache.

What this process commits is forgotten at once, before the commit returns; what others commit is forgotten when the
ledger tells of it. A reader may therefore see a model some milliseconds late, as over any network; a save on top of
it is still refused when the model has moved on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from threading import Event, Lock, Thread

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity, Kind
from engine.domain.events import Entry, Head, Row
from engine.domain.model import FunctionModel
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.domain.runs import Run, Step
from engine.domain.values import Semver
from engine.domain.versions import Version
from engine.domain.writes import (
    Answer,
    EdgeRow,
    InsertModel,
    InsertVersion,
    ModelRow,
    NodeRow,
    UpdateModel,
    Write,
)
from engine.errors import StoreError
from engine.ports import Cache, Catalog
from engine.storage.cache import codecs
from engine.storage.folding import fold

_TTL_S = 60.0
"""The longest that a reader can be behind if news were lost."""
_SETTLE_S = 1.0
"""Commands that are done sooner never begin to listen."""
_LISTEN_S = 0.5
_GATHER_S = 0.005
"""How long news are gathered: those of this program's own commits are known by then."""
_MODELS = "models"


class CachedCatalog:
    """A catalog in front of another one. Safe to use from any thread."""

    def __init__(self, catalog: Catalog, cache: Cache) -> None:
        """Read `catalog` through `cache`."""
        self.organization = catalog.organization
        self._catalog, self._cache = catalog, cache
        self._closing = Event()
        self._guard = Lock()
        self._listener: Thread | None = None
        self._position = 0
        """The ledger is known up to here: what this catalog commits itself need not be read again."""

    # ---- read through the cache -------------------------------------------------------------------------------

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id; see `engine.ports.Catalog`."""
        self._listen()
        return self._cache.through(
            f"model {model}", [_of(model)], lambda: self._catalog.model(model), codecs.MODEL, ttl_s=_TTL_S
        )

    def model_named(self, name: str) -> FunctionModel | None:
        """Return a model by name; see `engine.ports.Catalog`."""
        self._listen()
        return self._cache.through(
            f"named {fold(name)}", [_MODELS], lambda: self._catalog.model_named(name), codecs.MODEL, ttl_s=_TTL_S
        )

    def models(self, query: ModelQuery = ModelQuery()) -> list[ModelRow]:
        """List models; see `engine.ports.Catalog`."""
        self._listen()
        found = self._cache.through(
            str(query), [_MODELS], lambda: self._catalog.models(query), codecs.ROWS, ttl_s=_TTL_S
        )
        return list(found)

    def version(self, model: str, number: Semver) -> Version | None:
        """Return one version; see `engine.ports.Catalog`."""
        self._listen()
        return self._cache.through(
            f"version {model} {number}",
            [_of(model)],
            lambda: self._catalog.version(model, number),
            codecs.VERSION,
            ttl_s=_TTL_S,
        )

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions; see `engine.ports.Catalog`."""
        self._listen()
        found = self._cache.through(
            f"versions {model}", [_of(model)], lambda: self._catalog.versions(model), codecs.VERSIONS, ttl_s=_TTL_S
        )
        return list(found)

    # ---- what changes them ------------------------------------------------------------------------------------

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none, and forget what they change."""
        tags = sorted({tag for write in writes for tag in _changed(write)})
        try:
            entries = self._catalog.commit(*writes)
        finally:  # also after an error: a lost answer doesn't say whether it was done
            self._cache.invalidate(tags)
        with self._guard:
            if entries and entries[0].sequence == self._position + 1:
                self._position = entries[-1].sequence
        return entries

    def _listen(self) -> None:
        """Begin to follow the ledger at the first read: a program that only writes has no need to."""
        if self._listener is None:
            with self._guard:
                if self._listener is None:
                    self._position = self._catalog.head().sequence
                    self._listener = Thread(target=self._follow, name="treadle-cache", daemon=True)
                    self._listener.start()

    def _follow(self) -> None:
        self._closing.wait(_SETTLE_S)
        while not self._closing.is_set():
            try:
                seen = self._position
                found = self._catalog.news(seen, _LISTEN_S)
                if found and not self._closing.wait(_GATHER_S) and seen == self._position:
                    self._take_in(found)
            except StoreError:
                if self._closing.wait(_LISTEN_S):
                    return
                self._cache.invalidate([_MODELS])

    def _take_in(self, entries: list[Entry]) -> None:
        """Forget what others changed."""
        self._cache.invalidate(sorted({tag for entry in entries for tag in _told(entry)}))
        if entries:
            with self._guard:
                self._position = max(self._position, entries[-1].sequence)

    # ---- passed on --------------------------------------------------------------------------------------------

    def run(self, run: str) -> Run | None:
        """Return a run by id: it may be under way in another program, so it is always asked for."""
        return self._catalog.run(run)

    def runs(self, query: RunQuery = RunQuery()) -> list[Run]:
        """List runs; see `engine.ports.Catalog`."""
        return self._catalog.runs(query)

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run; see `engine.ports.Catalog`."""
        return self._catalog.steps(run)

    def nodes(self, query: NodeQuery = NodeQuery()) -> list[NodeRow]:
        """List nodes; see `engine.ports.Catalog`."""
        return self._catalog.nodes(query)

    def edges(self, query: EdgeQuery = EdgeQuery()) -> list[EdgeRow]:
        """List edges; see `engine.ports.Catalog`."""
        return self._catalog.edges(query)

    def batches(self, model: str, *, after_revision: int = 0) -> list[tuple[int, EditBatch]]:
        """Return a model's edits; see `engine.ports.Catalog`."""
        return self._catalog.batches(model, after_revision=after_revision)

    def entries(self, query: EntryQuery = EntryQuery()) -> list[Entry]:
        """Return ledger entries; see `engine.ports.Catalog`."""
        return self._catalog.entries(query)

    def head(self) -> Head:
        """Return the ledger's head."""
        return self._catalog.head()

    def ledger(self) -> AbstractContextManager[tuple[Head, Iterator[Row]]]:
        """Give the whole ledger; see `engine.ports.Catalog`."""
        return self._catalog.ledger()

    def news(self, after: int, timeout_s: float) -> list[Entry]:
        """Wait for news; see `engine.ports.Catalog`."""
        return self._catalog.news(after, timeout_s)

    def setting(self, key: str) -> Json:
        """Return a setting, or None."""
        return self._catalog.setting(key)

    def settings(self) -> dict[str, Json]:
        """Return all settings by key."""
        return self._catalog.settings()

    def entity(self, kind: Kind, key: str) -> AnyEntity | None:
        """Return an entity, or None."""
        return self._catalog.entity(kind, key)

    def entities(self, query: EntityQuery) -> list[AnyEntity]:
        """List entities; see `engine.ports.Catalog`."""
        return self._catalog.entities(query)

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Answer one SELECT; see `engine.ports.Catalog`."""
        return self._catalog.query(sql, limit=limit)

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor', the cache's among them."""
        found = self._cache.figures()
        return {**self._catalog.describe(), "cache": {**found._asdict(), "hit_ratio": round(found.hit_ratio, 3)}}

    def close(self) -> None:
        """Stop following and close both. Calling it twice is harmless."""
        self._closing.set()
        if self._listener is not None:
            self._listener.join()
        self._catalog.close()
        self._cache.close()


def _of(entity: str) -> str:
    return f"of {entity}"


def _changed(write: Write) -> Iterable[str]:
    match write:
        case InsertModel(model=model) | UpdateModel(model=model):
            return (_of(model.id), _MODELS)
        case InsertVersion(version=version):
            return (_of(version.model),)
        case _:
            return ()


def _told(entry: Entry) -> Iterable[str]:
    return (_of(entry.entity), _MODELS) if entry.entity_kind == "model" else ()
