"""Every boundary of the engine to something that can be exchanged, as Protocols.

Adapters are named by technology in `engine.storage`; only `engine.wiring` names them.
Writes are values and one `commit` of several is atomic, so a store in another process, a faulty one or a new
technology needs to know nothing about how decisions are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity, Decision, Kind
from engine.domain.events import Entry, Head, Row
from engine.domain.model import FunctionModel
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.domain.runs import Run, Step
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Semver
from engine.domain.versions import Version
from engine.domain.writes import Answer, EdgeRow, ModelRow, NodeRow, Write

_V = TypeVar("_V")


class Catalog(Protocol):
    """Models, versions, runs, entities and the ledger of one organization: transactional and queryable.

    Safe to call from any thread. Reads see what was committed. Lists are newest first unless said otherwise.
    A model of another organization is refused with `OrganizationForeign`.
    """

    organization: str

    def commit(self, *writes: Write) -> tuple[Entry, ...]:
        """Do all writes or none, in order; return the ledger entries made. Raises what the writes say."""
        ...

    def model(self, model: str) -> FunctionModel | None:
        """Return a model by id, deleted ones included."""
        ...

    def model_named(self, name: str) -> FunctionModel | None:
        """Return the model of this name (without case) that is not deleted."""
        ...

    def models(self, query: ModelQuery = ModelQuery()) -> list[ModelRow]:
        """List models whose name, description or a node's name holds `text` (without case)."""
        ...

    def nodes(self, query: NodeQuery = NodeQuery()) -> list[NodeRow]:
        """List nodes of models that are not deleted, by model and node id; `text` (without case) is in the name."""
        ...

    def edges(self, query: EdgeQuery = EdgeQuery()) -> list[EdgeRow]:
        """List edges of models that are not deleted, by model and edge id; `text` and `tag` as of a node at an end."""
        ...

    def batches(self, model: str, *, after_revision: int = 0) -> list[tuple[int, EditBatch]]:
        """Return (revision, batch) of a model's saved edits after a revision, oldest first."""
        ...

    def version(self, model: str, number: Semver) -> Version | None:
        """Return one version."""
        ...

    def versions(self, model: str) -> list[Version]:
        """Return a model's versions."""
        ...

    def run(self, run: str) -> Run | None:
        """Return a run by id."""
        ...

    def runs(self, query: RunQuery = RunQuery()) -> list[Run]:
        """List runs; `text` is looked for in model name, id and error. `model_file` is left out (None)."""
        ...

    def steps(self, run: str) -> list[Step]:
        """Return the steps of a run by start time, those that never started last."""
        ...

    def entries(self, query: EntryQuery = EntryQuery()) -> list[Entry]:
        """Return ledger entries with after < sequence < before, as stored, oldest first unless asked otherwise."""
        ...

    def head(self) -> Head:
        """Return the ledger's head as the store remembers it beside the entries."""
        ...

    def ledger(self) -> AbstractContextManager[tuple[Head, Iterator[Row]]]:
        """Give the head and every entry as stored, oldest first, as they were at one moment: for verification."""
        ...

    def news(self, after: int, timeout_s: float) -> list[Entry]:
        """Return the entries that follow `after` as soon as there is one, without a gap; none after `timeout_s`.

        There may be more than are returned: ask again from the last one.
        """
        ...

    def setting(self, key: str) -> Json:
        """Return a setting, or None."""
        ...

    def settings(self) -> dict[str, Json]:
        """Return all settings by key."""
        ...

    def entity(self, kind: Kind, key: str) -> AnyEntity | None:
        """Return an entity, or None."""
        ...

    def entities(self, query: EntityQuery) -> list[AnyEntity]:
        """List entities of a kind by key; with `due_before` those due earlier than that, the first due first."""
        ...

    def query(self, sql: str, *, limit: int | None = None) -> Answer:
        """Answer one SELECT over the views of docs/sql.md, at most `limit` rows of it; changes nothing.

        `QueryRefused` for what is no SELECT, for SQL that is wrong, and for stores that speak no SQL.
        """
        ...

    def describe(self) -> dict[str, Json]:
        """Return facts for 'doctor': kind, place, schema version, counts, size in bytes."""
        ...

    def close(self) -> None:
        """Finish what is under way and let go of the store. Calling it twice is harmless."""
        ...


RecordKind: TypeAlias = Literal[
    "started", "intent", "done", "steps", "failed", "skipped", "waiting", "answered", "ended"
]


class JournalRecord(NamedTuple):
    """One fact of a run under way. Keyed by (run, path, attempt), never by the order of calls."""

    run: str
    kind: RecordKind
    path: str
    attempt: int
    ts_us: int
    """Unix time in microseconds."""
    body: bytes


class Journal(Protocol):
    """The append-only log of runs under way. Safe to call from any thread."""

    def append(self, record: JournalRecord) -> int:
        """Queue a record and return its ticket at once. Raises `JournalBroken` once a write has failed."""
        ...

    def sync(self, ticket: int) -> None:
        """Return when every record up to `ticket` is on disk; raise `JournalBroken` if that can't be."""
        ...

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records of a run in the order they were appended; `JournalBroken` if any is damaged."""
        ...

    def unfinished(self) -> list[str]:
        """Return the runs that have records: begun and not yet sealed, oldest first."""
        ...

    def claim(self, run: str) -> bool:
        """Take a run for this process; False while another live process has it."""
        ...

    def claim_next(self) -> str | None:
        """Take the oldest unfinished run that no live process has, this one included; None if there is none.

        Several may ask at once: each run is given once.
        """
        ...

    def held(self) -> set[str]:
        """Return the runs that another live process has."""
        ...

    def forget(self, run: str) -> None:
        """Drop the records and the claim of a sealed run."""
        ...

    def close(self) -> None:
        """Write what is queued and close. Calling it twice is harmless."""
        ...


class Blobs(Protocol):
    """Large values by the SHA-256 of their bytes."""

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its SHA-256 in hex."""
        ...

    def get(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name; `StoreCorrupted` if they are damaged or missing."""
        ...

    def names(self) -> list[str]:
        """Return the names of all values there are, in order."""
        ...


class CacheCodec(Protocol[_V]):
    """How a value is kept: its bytes, and how much of a cache it takes (a model weighs as many nodes as it has)."""

    def encode(self, value: _V, /) -> bytes:
        """Return the bytes of a value."""
        ...

    def decode(self, data: bytes, /) -> _V:
        """Read back what `encode` wrote."""
        ...

    def weight(self, value: _V, /) -> int:
        """Return how much of a cache a value takes."""
        ...


class CacheFigures(NamedTuple):
    """How a cache did in this process."""

    kind: str
    entries: int
    hits: int
    misses: int

    @property
    def hit_ratio(self) -> float:
        """Return the share of reads that were answered from the cache, 0 before the first."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0


class Cache(Protocol):
    """Values kept for a while. Losing one costs time, never truth. Safe to call from any thread."""

    def through(
        self, key: str, tags: Sequence[str], load: Callable[[], _V], codec: CacheCodec[_V], *, ttl_s: float
    ) -> _V:
        """Return what is kept under `key`; else what `load` returns, kept for `ttl_s` unless a tag is invalidated."""
        ...

    def invalidate(self, tags: Sequence[str]) -> None:
        """Forget what has one of these tags, what is being loaded at this moment included."""
        ...

    def figures(self) -> CacheFigures:
        """Return how it did."""
        ...

    def close(self) -> None:
        """Let go of it. Calling it twice is harmless."""
        ...


class Clock(Protocol):
    """Time, randomness and waiting, so that tests and replay can own them."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def new_id(self) -> str:
        """Return a new UUIDv7."""
        ...

    def noise(self) -> float:
        """Return a number in [-1, 1] for jitter."""
        ...


class Secrets(Protocol):
    """Values that models name and never hold."""

    def secret(self, name: str) -> str | None:
        """Return a secret's value, or None."""
        ...


class StepContext(Protocol):
    """What a running tether may ask for: a parameter annotated with this type receives it."""

    @property
    def idempotency_key(self) -> str:
        """The same whenever this attempt is begun again: hand it to whatever the effect is asked of."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""
        ...

    def progress(self, share: float, text: str = "") -> None:
        """Report how much is done, from 0 to 1, and what is being done."""
        ...

    def log(self, text: str) -> None:
        """Write a line into the step's log."""
        ...

    @property
    def cancelled(self) -> bool:
        """True once the run is being cancelled: stop soon."""
        ...

    def ask(
        self,
        question: str,
        options: Sequence[str],
        *,
        choosers: Sequence[str] = (),
        within_s: float | None = None,
        default: str | None = None,
    ) -> str:
        """Return the option that somebody chooses, or `default` after `within_s`; without one the step fails then.

        The function is left here, holding no thread, and called again from its start when there is an answer.
        """
        ...

    def signal(self, name: str, *, within_s: float | None = None) -> Json:
        """Return what comes with a signal that is sent to the run; None if none comes `within_s`. Waits as `ask`."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait without a thread, as `ask` does."""


class Decisions(Protocol):
    """Where runs ask for choices and find the answers."""

    def open(self, decision: Decision) -> Decision:
        """Keep a decision, unless there is one of its key; return the one that is kept."""
        ...

    def settle(self, decision: Decision) -> Decision:
        """Choose the default of a decision whose deadline has passed, if nothing is chosen; return it as it is kept."""
        ...


Invoke: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any], StepContext], Any]
"""How a tether is called: values of the input ports, settings, context -> {port: value} (or an awaitable of it)."""


class Tethers(Protocol):
    """The functions that nodes can bind to."""

    def specs(self) -> list[TetherSpec]:
        """Return all, by category and name."""
        ...

    def spec(self, reference: str) -> TetherSpec:
        """Return one; `TetherUnknown` names close ones."""
        ...

    def function(self, reference: str) -> Invoke:
        """Return what is called; `TetherUnknown` as above."""
        ...

    def load_all(self, sources: Iterable[str]) -> None:
        """Take in what an earlier process had loaded besides, if it is not here yet; `TetherSourceBroken`."""
        ...

    def sources(self) -> tuple[str, ...]:
        """Return the modules and files that were loaded besides the built-in ones, so that a resume loads them too."""
        ...


class Expressions(Protocol):
    """Compiles and evaluates CEL."""

    def check(self, text: str, names: Sequence[str]) -> None:
        """Raise `ExpressionInvalid` if `text` does not compile with these variables."""
        ...

    def evaluate(self, text: str, scope: Mapping[str, Any]) -> Any:
        """Return the value of `text`; raise `ExpressionInvalid` or `ExpressionFailed`."""
        ...


class ModelSource(Protocol):
    """Where nested models are found."""

    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        """Return the model that a nested step names, or None."""
        ...
