"""What can be written to a catalog, as values: one commit does several of them, or none. And the rows of its lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from engine.domain.canonical import Json
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity, Kind
from engine.domain.events import Draft
from engine.domain.model import FunctionModel
from engine.domain.runs import Run, Step
from engine.domain.values import Frozen, Timestamp
from engine.domain.versions import Version


class InsertModel(Frozen):
    """Add a model. `ModelExists` if its name (without case) is taken in its organization by one not deleted."""

    model: FunctionModel
    updated_at: Timestamp | None = None
    """When it was changed last, for one that comes from another store; else the commit tells."""


class UpdateModel(Frozen):
    """Replace a model. `StaleRevision` unless the stored revision is `expected_revision`; `ModelExists` as above."""

    model: FunctionModel
    expected_revision: int


class InsertBatch(Frozen):
    """Keep the edits that led to `revision` of their model."""

    batch: EditBatch
    revision: int


class InsertVersion(Frozen):
    """Keep an immutable version. `StoreConflict` if its number is there already."""

    version: Version


class PutRun(Frozen):
    """Insert or replace a run by its id."""

    run: Run


class PutSteps(Frozen):
    """Insert or replace steps by run and path: repeating it changes nothing."""

    steps: tuple[Step, ...]


class PutSetting(Frozen):
    """Insert or replace a value by its key."""

    key: str
    value: Json


class PutEntity(Frozen):
    """Insert or replace an entity by its kind and key.

    `StaleRevision` unless the stored one has `expected_revision`: 0 says that there is none yet, None that it doesn't
    matter.
    """

    entity: AnyEntity
    expected_revision: int | None = None


class RemoveEntity(Frozen):
    """Take an entity out, if it is there; `StaleRevision` as above."""

    kind: Kind
    key: str
    expected_revision: int | None = None


class Record(Frozen):
    """Append an entry to the ledger; the store chains it to the head inside the same transaction."""

    draft: Draft


Write: TypeAlias = (
    InsertModel
    | UpdateModel
    | InsertBatch
    | InsertVersion
    | PutRun
    | PutSteps
    | PutSetting
    | PutEntity
    | RemoveEntity
    | Record
)


class ModelRow(NamedTuple):
    """A model as lists show it."""

    id: str
    name: str
    description: str
    status: str
    revision: int
    version: str | None
    tags: tuple[str, ...]
    nodes: int
    updated_at: datetime
    deleted_at: datetime | None


class NodeRow(NamedTuple):
    """A node as searches through all models show it."""

    model: str
    node: str
    kind: str
    name: str
    tags: tuple[str, ...]


class EdgeRow(NamedTuple):
    """A wire or a dependency of a model; a dependency has no ports."""

    model: str
    edge: str
    kind: Literal["wire", "dependency"]
    source: str
    source_port: str | None
    target: str
    target_port: str | None


class Answer(NamedTuple):
    """What a query gave: the names of its columns, and rows of plain values, times in UTC among them."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
