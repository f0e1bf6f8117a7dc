"""A Neo4j database as this program uses it: one driver, managed transactions, errors of ours.

Facts this rests on: a transaction reads what others have committed, even while it runs (read committed), and another
one's commit becomes visible piece by piece; a node that a transaction writes stays locked until its commit is visible
as a whole. So every commit takes the ledger's head first, and reads that have to fit together check that they do.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any, LiteralString, TypeAlias, TypeVar, cast

from neo4j import GraphDatabase, ManagedTransaction, NotificationMinimumSeverity, Session, unit_of_work
from neo4j.exceptions import IncompleteCommit
from neo4j.time import DateTime

from engine.domain.canonical import Json
from engine.errors import StoreUnreachable, TreadleError
from engine.storage.neo4j.address import DRIVER_ERRORS, address_of, told

Found: TypeAlias = dict[str, Any]
"""A row by name."""

_T = TypeVar("_T")
_CONNECTIONS = 32
_CONNECT_S = 5.0
_POOL_S = 30.0
_RETRY_S = 20.0
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 1.0
_FETCH_ROWS = 10_000
_TRANSACTION_S = 300.0
"""After this the server ends a transaction: a program that stops in the middle can't keep the others for longer."""
_NEVER = f"\uffff no text that is kept {secrets.token_hex(16)} \uffff"
_COMPONENTS = "CALL dbms.components() YIELD versions, edition RETURN versions[0] AS version, edition LIMIT 1"


class Cypher:
    """A transaction that runs statements with the organization among their parameters."""

    def __init__(self, transaction: ManagedTransaction, organization: str, *, reads: bool = False) -> None:
        """Use a transaction of the driver. One that only reads may ask for texts that can't be there."""
        self._transaction = transaction
        self._organization = organization
        self._reads = reads

    def rows(self, query: str, **parameters: Any) -> list[Found]:
        """Run a statement and return its rows."""
        return [dict(record) for record in self._run(query, parameters)]

    def first(self, query: str, **parameters: Any) -> Found | None:
        """Run a statement and return its first row, or None."""
        return next(iter(self.rows(query, **parameters)), None)

    def do(self, query: str, **parameters: Any) -> None:
        """Run a statement for what it does."""
        self._run(query, parameters).consume()

    def _run(self, query: str, parameters: Found) -> Any:
        if self._reads:
            parameters = {name: _searchable(value) for name, value in parameters.items()}
        return self._transaction.run(cast("LiteralString", query), parameters, organization=self._organization)


class Database:
    """A database of a Neo4j server, for one organization. Safe to use from any thread."""

    def __init__(self, url: str, *, organization: str) -> None:
        """Check that a Neo4j server answers and lets us in; raise `StoreUnreachable` if not."""
        self.address = address_of(url)
        self.place = self.address.place
        self.organization = organization
        if not organization or "\x00" in organization:
            raise StoreUnreachable(path=self.place, reason="the organization's name is empty or holds a null character")
        self._closed = False
        self._in_use = 0
        self._guard = Lock()
        self._bookmarks = GraphDatabase.bookmark_manager()
        with self._telling(ValueError):
            self._driver = GraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]  (the driver's options)
                self.address.uri,
                auth=(self.address.user, self.address.password),
                connection_timeout=_CONNECT_S,
                connection_acquisition_timeout=_POOL_S,
                max_connection_pool_size=_CONNECTIONS,
                max_transaction_retry_time=_RETRY_S,
                initial_retry_delay=_FIRST_WAIT_S,
                retry_delay_multiplier=1.5,
                notifications_min_severity=NotificationMinimumSeverity.OFF,
                user_agent="treadle",
            )
        try:
            with self._telling(ValueError):
                self._driver.verify_connectivity()  # pyright: ignore[reportUnknownMemberType]  (as above)
        except BaseException:
            self._driver.close()
            raise

    def read(self, work: Callable[[Cypher], _T]) -> _T:
        """Do `work`, which only reads, in a transaction: again if the connection is lost or the server asks for it."""
        with self._session() as session:
            return session.execute_read(self._bound(work, reads=True))

    def write(self, work: Callable[[Cypher], _T]) -> _T:
        """Do `work` in a transaction: again from the start when another one came first or the connection was lost.

        When the COMMIT itself got no answer, `StoreUnreachable` is raised from `IncompleteCommit`.
        """
        with self._session() as session:
            return session.execute_write(self._bound(work))

    def change(self, *statements: str) -> None:
        """Change the schema, each statement in a transaction of its own."""
        with self._session() as session:
            for statement in statements:
                session.run(cast("LiteralString", statement)).consume()

    def settle(self, was_done: Callable[[], bool], until_s: float) -> bool:
        """Ask what became of a COMMIT that got no answer, until the server answers; `StoreUnreachable` if nobody knows.

        `was_done` has to wait for the transaction in doubt: it takes the lock that this one held.
        """
        until = time.monotonic() + until_s
        while not self._closed:
            try:
                return was_done()
            except StoreUnreachable:
                if time.monotonic() > until:
                    break
                time.sleep(_FIRST_WAIT_S + secrets.randbelow(1_000) / 1_000 * _LONGEST_WAIT_S)
        reason = "the connection was lost while a change was committed, and it is not known whether it was; look first"
        raise StoreUnreachable(path=self.place, reason=reason)

    def describe(self) -> dict[str, Json]:
        """Return kind, place, version, edition, the time of a round trip and what the pool holds."""
        facts = self.read(lambda cypher: cypher.first(_COMPONENTS)) or {}
        began = time.perf_counter()
        self.read(lambda cypher: cypher.first("RETURN 1 AS one"))
        latency_ms = (time.perf_counter() - began) * 1_000
        return {
            "kind": "neo4j",
            "place": self.place,
            "organization": self.organization,
            "neo4j_version": facts.get("version"),
            "neo4j_edition": facts.get("edition"),
            "size_bytes": 0,
            "latency_ms": round(latency_ms, 3),
            "pool": self._pool(),
        }

    def close(self) -> None:
        """Let go of the server. Calling it twice is harmless."""
        with self._guard:
            self._closed = True
        self._driver.close()

    def refuse_closed(self) -> None:
        """Raise `StoreUnreachable` once it was closed."""
        if self._closed:
            raise StoreUnreachable(path=self.place, reason="it was closed")

    def _bound(self, work: Callable[[Cypher], _T], *, reads: bool = False) -> Callable[[ManagedTransaction], _T]:
        @unit_of_work(timeout=_TRANSACTION_S)
        def bound(transaction: ManagedTransaction) -> _T:
            return work(Cypher(transaction, self.organization, reads=reads))

        return bound

    @contextmanager
    def _session(self) -> Generator[Session]:
        with self._telling():
            with self._guard:
                self._in_use += 1
            try:
                with self._driver.session(  # pyright: ignore[reportUnknownMemberType]  (as above)
                    database=self.address.database, bookmark_manager=self._bookmarks, fetch_size=_FETCH_ROWS
                ) as session:
                    yield session
            finally:
                with self._guard:
                    self._in_use -= 1

    @contextmanager
    def _telling(self, *besides: type[Exception]) -> Generator[None]:
        """Turn what the driver raises into our errors."""
        self.refuse_closed()
        try:
            yield
        except TreadleError:
            raise
        except (*DRIVER_ERRORS, *besides) as error:
            self.refuse_closed()
            raise told(error, self.address) from error

    def _pool(self) -> dict[str, Json]:
        """Return the connections of the driver's pool, which tells them by a name of its own."""
        pool: Any = getattr(self._driver, "_pool", None)
        known: Any = getattr(pool, "connections", {})
        opened = sum(len(connections) for connections in list(known.values()))
        return {"in_use": self._in_use, "idle": max(0, opened - self._in_use), "at_most": _CONNECTIONS}


def is_in_doubt(error: BaseException) -> bool:
    """Tell whether a write may have been done although it failed."""
    return isinstance(error.__cause__, IncompleteCommit)


def _searchable(value: Any) -> Any:
    """Return what to look for instead of a text that UTF-8 can't hold: nothing equals or holds it."""
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        return _NEVER
    return value


def moment(value: Any) -> datetime:
    """Return a moment of the database in UTC."""
    native = value.to_native() if isinstance(value, DateTime) else value
    return cast("datetime", native).astimezone(UTC)
