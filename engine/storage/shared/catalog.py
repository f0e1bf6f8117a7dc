"""A catalog in a DuckDB file that several programs use: through the own database, or through the owner's.

Which of the two it is may change at any call: when the owner ends, its clients try to own the file, DuckDB's lock
decides which one does, and the others find it. What was under way is asked again; a commit bears an id by which the
next owner knows whether it was done.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from uuid import uuid4

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity, Kind
from engine.domain.events import Entry, Head, Row
from engine.domain.model import FunctionModel
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.domain.runs import Run, Step
from engine.domain.values import Semver
from engine.domain.versions import Version
from engine.domain.writes import Answer, EdgeRow, ModelRow, NodeRow, Write
from engine.errors import StoreLocked, StoreUnreachable
from engine.storage.changes import refuse_foreign
from engine.storage.shared import sidecar
from engine.storage.shared.owner import Owned, own, release
from engine.storage.shared.sidecar import OwnerGone
from engine.storage.sql.catalog import Database

_PATIENCE_S = 10.0
"""How long the next owner is waited for: it may have to replay the log of the last one."""
_SHORT_PATIENCE_S = 2.0
"""The same where no sidecar is: an owner that begins or ends, or a program that serves nobody."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.005, 0.25
_ATTEMPTS = 20
_POLL_S = 20.0
"""The longest that one request waits for news."""


def open_shared(path: str | Path, *, organization: str = "local", migrate: bool = False) -> SharedCatalog:
    """Return the catalog in the file at `path`, whoever owns it; made with its directory if there is none.

    Raises what `open_duckdb` raises: `StoreLocked` only while a program has the file that serves nobody.
    """
    return SharedCatalog(Path(path), organization=organization, migrate=migrate)


class Local:
    """The way to a file that this process owns."""

    def __init__(self, owned: Owned, organization: str) -> None:
        """Use what `own` gave; `close` gives it back."""
        self.pid = self.owner = owned.pid
        self.catalog = owned.catalog(organization)
        self._owned, self._closed = owned, False

    def ask(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """Return what a verb gives."""
        if verb == "news":
            return self.catalog.news(arguments["after"], arguments["timeout_s"], stop=lambda: self._closed)
        if verb == "commit_once":
            return self.commit(arguments["writes"], arguments["commit"])
        return getattr(self.catalog, verb)(**arguments)

    def commit(self, writes: Sequence[Write], once: str | None = None) -> tuple[Entry, ...]:
        """Do all writes or none; see `Owned.commit`."""
        return self._owned.commit(self.catalog.organization, writes, once)

    def ledger(self, stack: ExitStack) -> tuple[Head, Iterator[Row]]:
        """Return the head and all rows at one moment."""
        return stack.enter_context(self.catalog.ledger())

    def close(self) -> None:
        """Let go of the file if nobody else in this process uses it."""
        self._closed = True
        if self.pid == os.getpid():
            self._owned.ring()
        release(self._owned)


class _Way(Protocol):
    """`Local`, or `client.Remote`."""

    @property
    def pid(self) -> int:
        """The process that found it."""
        ...

    @property
    def owner(self) -> int:
        """The process that owns the file."""
        ...

    def ask(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """Return what a verb gives; raise what it raises, or `OwnerGone`."""
        ...

    def ledger(self, stack: ExitStack) -> tuple[Head, Iterator[Row]]:
        """Return the head and all rows at one moment; or `OwnerGone`."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class SharedCatalog:
    """A catalog in a file that other programs may use too. Safe to use from any thread."""

    def __init__(self, path: Path, *, organization: str = "local", migrate: bool = False) -> None:
        """Own the file, or find who does; see `open_shared`."""
        self.organization = organization
        self._path, self._migrate = path, migrate
        self._finding = Lock()
        self._closed = False
        self._file: str | None = None
        self._way = self._find()
        self._file = sidecar.identity(path)

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none, once, whatever happens to the owner meanwhile; see `engine.ports.Catalog`."""
        refuse_foreign(writes, self.organization)
        way = self._usable()
        if isinstance(way, Local):
            return way.commit(writes)
        return tuple(self._ask("commit_once", commit=str(uuid4()), writes=writes))

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id, deleted ones included."""
        return self._ask("model", model=model)

    def model_named(self, name: str) -> FunctionModel | None:
        """Return the model of this name (without case) that is not deleted."""
        return self._ask("model_named", name=name)

    def models(self, query: ModelQuery = ModelQuery()) -> list[ModelRow]:
        """List models, the last changed first; `deleted` lists those that are deleted instead."""
        return self._ask("models", query=query)

    def nodes(self, query: NodeQuery = NodeQuery()) -> list[NodeRow]:
        """List nodes by model and node id; see `engine.ports.Catalog`."""
        return self._ask("nodes", query=query)

    def edges(self, query: EdgeQuery = EdgeQuery()) -> list[EdgeRow]:
        """List edges by model and id; see `engine.ports.Catalog`."""
        return self._ask("edges", query=query)

    def batches(self, model: str, *, after_revision: int = 0) -> list[tuple[int, EditBatch]]:
        """Return (revision, batch) after a revision, oldest first."""
        return self._ask("batches", model=model, after_revision=after_revision)

    def version(self, model: str, number: Semver) -> Version | None:
        """Return one version."""
        return self._ask("version", model=model, number=number)

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions, the highest number first."""
        return self._ask("versions", model=model)

    def run(self, run: str) -> Run | None:
        """Return a run by id."""
        return self._ask("run", run=run)

    def runs(self, query: RunQuery = RunQuery()) -> list[Run]:
        """List runs, newest first, without their `model_file`."""
        return self._ask("runs", query=query)

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run by start time and path, those that never started last."""
        return self._ask("steps", run=run)

    def entries(self, query: EntryQuery = EntryQuery()) -> list[Entry]:
        """Return ledger entries; `LedgerTampered` if one can't have been written by us."""
        return self._ask("entries", query=query)

    def head(self) -> Head:
        """Return the ledger's head."""
        return self._ask("head")

    @contextmanager
    def ledger(self) -> Generator[tuple[Head, Iterator[Row]]]:
        """Give the head and every entry as stored, oldest first, as they were at one moment: for verification."""
        with ExitStack() as stack:
            yield self._repeated(lambda way: way.ledger(stack))

    def news(self, after: int, timeout_s: float) -> list[Entry]:
        """Wait for entries that follow `after`; see `engine.ports.Catalog`."""
        until = time.monotonic() + timeout_s
        while True:
            left = max(0.0, until - time.monotonic())
            found: list[Entry] = self._ask("news", after=after, timeout_s=min(left, _POLL_S))
            self._usable()
            if found or left <= _POLL_S:
                return found

    def setting(self, key: str) -> Json:
        """Return a setting, or None."""
        return self._ask("setting", key=key)

    def settings(self) -> dict[str, Json]:
        """Return all settings by key."""
        return self._ask("settings")

    def entity(self, kind: Kind, key: str) -> AnyEntity | None:
        """Return an entity, or None."""
        return self._ask("entity", kind=kind, key=key)

    def entities(self, query: EntityQuery) -> list[AnyEntity]:
        """List entities of a kind; see `engine.ports.Catalog`."""
        return self._ask("entities", query=query)

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Answer one SELECT over the views; see `engine.ports.Catalog`."""
        return self._ask("query", sql=sql, limit=limit)

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor', with the id of the process that owns the file."""
        return {**self._ask("describe"), "owner_pid": self._way.owner}

    def close(self) -> None:
        """Finish the commit under way and let go of the store. Calling it twice is harmless."""
        was_closed, self._closed = self._closed, True
        if not was_closed:
            with self._finding:
                self._way.close()

    @property
    def database(self) -> Database:
        """The database itself, for those who look after it; `StoreLocked` while another process owns it."""
        way = self._usable()
        if not isinstance(way, Local):
            raise StoreLocked(path=self._path, owner=f" (process {way.owner})")
        return way.catalog.database

    # ---- the way to the file ----------------------------------------------------------------------------------

    def _ask(self, verb: str, **arguments: Any) -> Any:
        return self._repeated(lambda way: way.ask(verb, arguments))

    def _repeated(self, ask: Callable[[_Way], Any]) -> Any:
        """Ask until an owner has answered."""
        for _ in range(_ATTEMPTS):
            way = self._usable()
            try:
                return ask(way)
            except OwnerGone:
                self._find_again(way)
        raise StoreUnreachable(path=self._path, reason="every program that had it open ended before it answered")

    def _usable(self) -> _Way:
        """Return the way, a new one in a fork of the process that found it: sockets and files are its parent's."""
        if self._closed:
            raise StoreUnreachable(path=self._path, reason="it was closed")
        if self._way.pid != os.getpid():
            self._find_again(self._way)
        return self._way

    def _find_again(self, lost: _Way) -> None:
        with self._finding:
            if self._closed or self._way is not lost:
                return
            if sidecar.identity(self._path) != self._file:
                raise StoreUnreachable(path=self._path, reason="the file was moved or replaced; open it again")
            self._way = self._find()
            if lost.pid == os.getpid():
                lost.close()

    def _find(self) -> _Way:
        """Own the file, or return the way to its owner; `StoreLocked` if there is none that serves us."""
        begun, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                return Local(own(self._path, migrate=self._migrate), self.organization)
            except StoreLocked as error:
                locked = error
            from engine.storage.shared.client import reach

            found = reach(self._path, self.organization)
            if found is not None:
                return found
            is_served = self._file is not None or sidecar.place_of(self._path).exists()
            patience_s = _PATIENCE_S if is_served else _SHORT_PATIENCE_S
            if self._closed or time.monotonic() - begun > patience_s:
                raise locked
            time.sleep(random.uniform(0, wait_s))  # noqa: S311  (spreads those who wait, guards nothing)
            wait_s = min(_LONGEST_WAIT_S, wait_s * 2)
