"""One commit: its writes, performed in order inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Executable, Table

from engine.domain.events import Draft, Entry, Head
from engine.domain.model import FunctionModel
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
    Write,
)
from engine.errors import LedgerTampered, ModelExists, ModelNotFound, StaleRevision, StoreConflict
from engine.ledger.chain import Row, entry_of, link
from engine.storage.changes import change_times
from engine.storage.sql import rows, schema, statements
from engine.storage.sql.statements import Values

_KEY_OF_STEP = ("run", "path")
_AT_ONCE = 1_000
"""How many nodes one statement deletes: each is a parameter of its own."""
_IN_TURN = Record | InsertModel | UpdateModel | PutEntity | RemoveEntity
"""Writes that first look at what is there: only one commit at a time does that."""

_REMEMBERED = timedelta(days=1)
"""How long a commit of another program is known by its id: it asks again within seconds, or never."""


def perform(connection: Connection, writes: Sequence[Write], now: datetime) -> tuple[Entry, ...]:
    """Do all writes in order and chain the entries; whatever raises leaves the transaction to be rolled back."""
    head = _take_turn(connection) if any(isinstance(write, _IN_TURN) for write in writes) else None
    times = change_times(writes, now)
    drafts: list[Draft] = []
    for write in writes:
        match write:
            case InsertModel(model=model):
                _insert_model(connection, model, times[model.id])
            case UpdateModel(model=model, expected_revision=expected):
                _update_model(connection, model, expected, times[model.id])
            case InsertBatch(batch=batch, revision=revision):
                _put(connection, statements.INSERT_BATCH, [rows.batch_row(batch, revision)])
            case InsertVersion(version=version):
                _put(connection, statements.INSERT_VERSION, [rows.version_row(version)])
            case PutRun() | PutSteps() | PutSetting():
                _put_plain(connection, write)
            case PutEntity() | RemoveEntity():
                _keep(connection, write)
            case Record(draft=draft):
                drafts.append(draft)
    return _record(connection, head, drafts) if head is not None and drafts else ()


def perform_once(
    connection: Connection, commit: str, writes: Sequence[Write], now: datetime, *, forget: bool
) -> tuple[Entry, ...]:
    """Do all writes as the commit of this id, or return the entries it made when it was done before.

    `forget` also drops the ids that nobody can ask about any more.
    """
    done = connection.execute(statements.REMOTE_COMMIT, {"commit": commit}).first()
    if done is not None:
        found = connection.execute(statements.ENTRIES, {"first": done.first, "last": done.last})
        return tuple(entry_of(Row(*row)) for row in found)
    if forget:
        connection.execute(statements.FORGET_REMOTE_COMMITS, {"before": now - _REMEMBERED})
    entries = perform(connection, writes, now)
    first, last = (entries[0].sequence, entries[-1].sequence) if entries else (0, 0)
    row = {"id": commit, "ts": now, "first": first, "last": last}
    _put(connection, statements.INSERT_REMOTE_COMMIT, [row])
    return entries


def _take_turn(connection: Connection) -> Head:
    row = connection.execute(statements.TAKE_TURN).first()
    if row is None or row.sequence < 0:
        raise LedgerTampered(reason="its head is missing or was altered")
    return Head(sequence=row.sequence, hash=row.hash)


def _record(connection: Connection, head: Head, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
    entries = link(head, drafts)
    _put(connection, statements.INSERT_ENTRIES, rows.entry_rows(entries))
    move = {"old_sequence": head.sequence, "new_sequence": entries[-1].sequence, "new_hash": entries[-1].hash}
    if connection.execute(statements.MOVE_HEAD, move).first() is None:
        raise StoreConflict
    return entries


def _insert_model(connection: Connection, model: FunctionModel, updated_at: datetime) -> None:
    if connection.execute(statements.REVISION, {"model": model.id}).first() is not None:
        raise StoreConflict
    _refuse_namesake(connection, model)
    _put(connection, statements.INSERT_MODEL, [rows.model_row(model, updated_at)])
    _put(connection, statements.INSERT_NODES, list(rows.node_rows(model).values()))
    _put(connection, statements.INSERT_EDGES, rows.model_edge_rows(model))


def _update_model(connection: Connection, model: FunctionModel, expected: int, updated_at: datetime) -> None:
    """Replace a model. Nobody else writes meanwhile: the turn was taken."""
    before = connection.execute(statements.BEFORE, {"model": model.id}).mappings().first()
    if before is None:
        raise ModelNotFound(name=model.id)
    if before["revision"] != expected:
        raise StaleRevision(current=before["revision"], based_on=expected)
    row = rows.model_row(model, updated_at)
    inside_only = model.deleted_at is None and not before["is_deleted"]
    if inside_only and all(before[name] == row[name] for name in statements.SEEN_OUTSIDE):
        changes = {"revision": model.revision, "updated_at": updated_at, "body": row["body"]}
        connection.execute(statements.UPDATE_BODY, {**changes, "key": model.id})
        return
    _refuse_namesake(connection, model)
    changes = {name: value for name, value in row.items() if name != "id"}
    connection.execute(statements.UPDATE_MODEL, {**changes, "key": model.id})
    if before["nodes_key"] != row["nodes_key"]:
        _update_nodes(connection, model)
    if before["edges_key"] != row["edges_key"]:
        _update_edges(connection, model)


def _refuse_namesake(connection: Connection, model: FunctionModel) -> None:
    """Look for another model of this name. No unique index can: DuckDB has none that leave the deleted ones out."""
    if model.deleted_at is None:
        where = {"name_key": rows.fold(model.name), "model": model.id}
        if connection.execute(statements.NAMESAKE, where).first() is not None:
            raise ModelExists(name=model.name)


def _update_nodes(connection: Connection, model: FunctionModel) -> None:
    """Write only the rows that differ."""
    wanted = rows.node_rows(model)
    stored = {
        row.node: (row.kind, row.name, row.tags) for row in connection.execute(statements.NODES, {"model": model.id})
    }
    gone = [node for node in stored if node not in wanted]
    renamed = [row for node, row in wanted.items() if stored.get(node, _as_stored(row)) != _as_stored(row)]
    for start in range(0, len(gone), _AT_ONCE):
        connection.execute(statements.DELETE_NODES, {"of": model.id, "gone": gone[start : start + _AT_ONCE]})
    if renamed:
        new = {f"new_{name}": [row[name] for row in renamed] for name in statements.NODE_CHANGES}
        connection.execute(statements.UPDATE_NODES, {**new, "of": model.id})
    _put(connection, statements.INSERT_NODES, [row for node, row in wanted.items() if node not in stored])


def _update_edges(connection: Connection, model: FunctionModel) -> None:
    """Write only the rows that differ; one that changed is taken out and put in again."""
    wanted = {tuple(row.values()): row for row in rows.model_edge_rows(model)}
    stored = {tuple(row) for row in connection.execute(statements.EDGES, {"model": model.id})}
    gone = sorted({row[1] for row in stored - wanted.keys()})
    for start in range(0, len(gone), _AT_ONCE):
        connection.execute(statements.DELETE_EDGES, {"of": model.id, "gone": gone[start : start + _AT_ONCE]})
    gone_ids = set(gone)
    new = [row for key, row in wanted.items() if key not in stored or row["edge"] in gone_ids]
    _put(connection, statements.INSERT_EDGES, new)


def _put_plain(connection: Connection, write: PutRun | PutSteps | PutSetting) -> None:
    match write:
        case PutRun(run=run):
            _replace(connection, schema.runs, [rows.run_row(run)])
        case PutSteps(steps=steps):
            found = [rows.step_row(step) for step in steps]
            _replace(connection, schema.steps, statements.last_of_each(found, _KEY_OF_STEP))
        case PutSetting(key=key, value=value):
            _replace(connection, schema.settings, [rows.setting_row(key, value)])


def _keep(connection: Connection, write: PutEntity | RemoveEntity) -> None:
    """Put or remove an entity. Nobody else does meanwhile: the turn was taken."""
    kind, key = (write.entity.kind, write.entity.key) if isinstance(write, PutEntity) else (write.kind, write.key)
    if write.expected_revision is not None:
        current = connection.execute(statements.ENTITY_REVISION, {"kind": kind, "key": key}).scalar() or 0
        if current != write.expected_revision:
            raise StaleRevision(current=current, based_on=write.expected_revision)
    if isinstance(write, PutEntity):
        _replace(connection, schema.entities, [rows.entity_row(write.entity)])
    else:
        connection.execute(statements.REMOVE_ENTITY, {"of_kind": kind, "of_key": key})


def _as_stored(row: Values) -> tuple[str, str, str]:
    return row["kind"], row["name"], row["tags"]


def _put(connection: Connection, statement: Executable, found: Sequence[Values]) -> None:
    if found:
        parameters: Mapping[str, object] = statements.columns(found)
        connection.execute(statement, parameters)


def _replace(connection: Connection, table: Table[Any], found: Sequence[Values]) -> None:
    _put(connection, statements.put_rows(table, connection.dialect.name), found)
