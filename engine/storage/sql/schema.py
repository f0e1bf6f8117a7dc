"""The tables, shared by DuckDB and Postgres.

What a query filters or sorts by is a column; the value itself is JSON in `body`, whole, so that a value read is the
value written. It is text where rows are only added, and packed where they are updated (models, runs): DuckDB unpacks
2,048 rows to update one, which takes 3.3 ms for models of 12 kB as text and 0.5 ms packed; so do checkpoints.
Texts are compared by code point (collation C), as Python does.

No foreign keys, and no index on a column that is updated: in DuckDB both turn an update of a row into a delete and an
insert, which its unique keys then refuse within one transaction. The ledger's columns hold exactly what was hashed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Named,
    Table,
    Text,
    TypedColumns,
)

SCHEMA_VERSION = 2
HEAD_ID = 1
"""The key of the one row of `ledger_head`."""

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_MOMENT = DateTime(timezone=True)

metadata = MetaData()


class _SchemaVersion(TypedColumns):
    version: Named[int] = Column(Integer, primary_key=True, autoincrement=False)


class _Models(TypedColumns):
    id: Named[str] = Column(_TEXT, primary_key=True)
    organization: Named[str] = Column(_TEXT, nullable=False)
    name: Named[str] = Column(_TEXT, nullable=False)
    name_key: Named[str] = Column(_TEXT, nullable=False)
    description: Named[str] = Column(_TEXT, nullable=False)
    status: Named[str] = Column(_TEXT, nullable=False)
    revision: Named[int] = Column(BigInteger, nullable=False)
    version: Named[str | None] = Column(_TEXT)
    owner: Named[str] = Column(_TEXT, nullable=False)
    tags: Named[str] = Column(_TEXT, nullable=False)
    tag_search: Named[str] = Column(_TEXT, nullable=False)
    search: Named[str] = Column(_TEXT, nullable=False)
    nodes: Named[int] = Column(Integer, nullable=False)
    nodes_key: Named[str] = Column(_TEXT, nullable=False)
    edges_key: Named[str] = Column(_TEXT, nullable=False)
    updated_at: Named[datetime] = Column(_MOMENT, nullable=False)
    deleted_at: Named[datetime | None] = Column(_MOMENT)
    body: Named[bytes] = Column(LargeBinary, nullable=False)


class _ModelNodes(TypedColumns):
    model: Named[str] = Column(_TEXT, nullable=False)
    node: Named[str] = Column(_TEXT, nullable=False)
    kind: Named[str] = Column(_TEXT, nullable=False)
    name: Named[str] = Column(_TEXT, nullable=False)
    search: Named[str] = Column(_TEXT, nullable=False)
    tags: Named[str] = Column(_TEXT, nullable=False)
    tag_search: Named[str] = Column(_TEXT, nullable=False)


class _ModelEdges(TypedColumns):
    model: Named[str] = Column(_TEXT, nullable=False)
    edge: Named[str] = Column(_TEXT, nullable=False)
    kind: Named[str] = Column(_TEXT, nullable=False)
    source: Named[str] = Column(_TEXT, nullable=False)
    source_port: Named[str | None] = Column(_TEXT)
    target: Named[str] = Column(_TEXT, nullable=False)
    target_port: Named[str | None] = Column(_TEXT)


class _EditBatches(TypedColumns):
    model: Named[str] = Column(_TEXT, primary_key=True)
    revision: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    id: Named[str] = Column(_TEXT, nullable=False)
    name: Named[str] = Column(_TEXT, nullable=False)
    actor: Named[str] = Column(_TEXT, nullable=False)
    ts: Named[datetime] = Column(_MOMENT, nullable=False)
    body: Named[str] = Column(_TEXT, nullable=False)


class _Versions(TypedColumns):
    model: Named[str] = Column(_TEXT, primary_key=True)
    major: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    minor: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    patch: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    author: Named[str] = Column(_TEXT, nullable=False)
    ts: Named[datetime] = Column(_MOMENT, nullable=False)
    content_hash: Named[str] = Column(_TEXT, nullable=False)
    body: Named[str] = Column(_TEXT, nullable=False)


class _Runs(TypedColumns):
    id: Named[str] = Column(_TEXT, primary_key=True)
    model: Named[str] = Column(_TEXT, nullable=False)
    model_name: Named[str] = Column(_TEXT, nullable=False)
    version: Named[str | None] = Column(_TEXT)
    trial: Named[bool] = Column(Boolean, nullable=False)
    status: Named[str] = Column(_TEXT, nullable=False)
    actor: Named[str] = Column(_TEXT, nullable=False)
    created_at: Named[datetime] = Column(_MOMENT, nullable=False)
    started_at: Named[datetime | None] = Column(_MOMENT)
    ended_at: Named[datetime | None] = Column(_MOMENT)
    steps_total: Named[int] = Column(Integer, nullable=False)
    steps_done: Named[int] = Column(Integer, nullable=False)
    search: Named[str] = Column(_TEXT, nullable=False)
    body: Named[bytes] = Column(LargeBinary, nullable=False)
    model_file: Named[bytes | None] = Column(LargeBinary)


class _Steps(TypedColumns):
    run: Named[str] = Column(_TEXT, primary_key=True)
    path: Named[str] = Column(_TEXT, primary_key=True)
    node: Named[str] = Column(_TEXT, nullable=False)
    name: Named[str] = Column(_TEXT, nullable=False)
    kind: Named[str] = Column(_TEXT, nullable=False)
    status: Named[str] = Column(_TEXT, nullable=False)
    started_at: Named[datetime | None] = Column(_MOMENT)
    ended_at: Named[datetime | None] = Column(_MOMENT)
    attempts: Named[int] = Column(Integer, nullable=False)
    error: Named[str | None] = Column(_TEXT)
    body: Named[str] = Column(_TEXT, nullable=False)


class _Ledger(TypedColumns):
    sequence: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    ts: Named[str] = Column(_TEXT, nullable=False)
    actor: Named[str] = Column(_TEXT, nullable=False)
    action: Named[str] = Column(_TEXT, nullable=False)
    entity_kind: Named[str] = Column(_TEXT, nullable=False)
    entity: Named[str] = Column(_TEXT, nullable=False)
    run: Named[str | None] = Column(_TEXT)
    request: Named[str | None] = Column(_TEXT)
    patch: Named[str] = Column(_TEXT, nullable=False)
    previous_hash: Named[str] = Column(_TEXT, nullable=False)
    hash: Named[str] = Column(_TEXT, nullable=False)


class _LedgerHead(TypedColumns):
    id: Named[int] = Column(Integer, primary_key=True, autoincrement=False)
    sequence: Named[int] = Column(BigInteger, nullable=False)
    hash: Named[str] = Column(_TEXT, nullable=False)
    turn: Named[int] = Column(BigInteger, nullable=False)


class _Settings(TypedColumns):
    key: Named[str] = Column(_TEXT, primary_key=True)
    value: Named[str] = Column(_TEXT, nullable=False)


class _Entities(TypedColumns):
    kind: Named[str] = Column(_TEXT, primary_key=True)
    key: Named[str] = Column(_TEXT, primary_key=True)
    revision: Named[int] = Column(BigInteger, nullable=False)
    title: Named[str] = Column(_TEXT, nullable=False)
    subjects: Named[str] = Column(_TEXT, nullable=False)
    search: Named[str] = Column(_TEXT, nullable=False)
    due_at: Named[datetime | None] = Column(_MOMENT)
    body: Named[str] = Column(_TEXT, nullable=False)


class _RemoteCommits(TypedColumns):
    """What other programs had done through the one that owns the file: asked again, it is not done again."""

    id: Named[str] = Column(_TEXT, primary_key=True)
    ts: Named[datetime] = Column(_MOMENT, nullable=False)
    first: Named[int] = Column(BigInteger, nullable=False)
    last: Named[int] = Column(BigInteger, nullable=False)


schema_version = Table("schema_version", metadata, _SchemaVersion)
models = Table("models", metadata, _Models)
model_nodes = Table("model_nodes", metadata, _ModelNodes)
model_edges = Table("model_edges", metadata, _ModelEdges)
edit_batches = Table("edit_batches", metadata, _EditBatches)
versions = Table("versions", metadata, _Versions)
runs = Table("runs", metadata, _Runs)
steps = Table("steps", metadata, _Steps)
ledger = Table("ledger", metadata, _Ledger)
ledger_head = Table("ledger_head", metadata, _LedgerHead)
settings = Table("settings", metadata, _Settings)
entities = Table("entities", metadata, _Entities)
remote_commits = Table("remote_commits", metadata, _RemoteCommits)

Index("model_nodes_by_model", model_nodes.c.model)
Index("model_edges_by_model", model_edges.c.model)
