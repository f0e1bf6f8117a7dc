"""One commit: its writes, performed in order inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, Table

from engine.domain.events import Draft, Entry, Head
from engine.domain.model import FunctionModel
from engine.errors import LedgerTampered, ModelExists, ModelNotFound, StaleRevision, StoreConflict
from engine.ledger.chain import link
from engine.ports import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    UpdateModel,
    Write,
)
from engine.storage.changes import change_times
from engine.storage.sql import rows, schema, statements
from engine.storage.sql.statements import Values

_KEY_OF_STEP = ("run", "path")
_AT_ONCE = 1_000
"""How many nodes one statement deletes: each is a parameter of its own."""


def perform(connection: Connection, writes: Sequence[Write], now: datetime) -> tuple[Entry, ...]:
    """Do all writes in order and chain the entries; whatever raises leaves the transaction to be rolled back."""
    head = (
        _take_turn(connection)
        if any(isinstance(write, Record | InsertModel | UpdateModel) for write in writes)
        else None
    )
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
            case PutRun(run=run):
                _replace(connection, schema.runs, [rows.run_row(run)])
            case PutSteps(steps=steps):
                found = [rows.step_row(step) for step in steps]
                _replace(connection, schema.steps, statements.last_of_each(found, _KEY_OF_STEP))
            case PutSetting(key=key, value=value):
                _replace(connection, schema.settings, [rows.setting_row(key, value)])
            case Record(draft=draft):
                drafts.append(draft)
    return _record(connection, head, drafts) if head is not None and drafts else ()


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


def _refuse_namesake(connection: Connection, model: FunctionModel) -> None:
    """Look for another model of this name. No unique index can: DuckDB has none that leave the deleted ones out."""
    if model.deleted_at is None:
        where = {"organization": model.organization, "name_key": rows.fold(model.name), "model": model.id}
        if connection.execute(statements.NAMESAKE, where).first() is not None:
            raise ModelExists(name=model.name)


def _update_nodes(connection: Connection, model: FunctionModel) -> None:
    """Write only the rows that differ."""
    wanted = rows.node_rows(model)
    stored = {row.node: (row.kind, row.name) for row in connection.execute(statements.NODES, {"model": model.id})}
    gone = [node for node in stored if node not in wanted]
    renamed = [row for node, row in wanted.items() if stored.get(node, _as_stored(row)) != _as_stored(row)]
    for start in range(0, len(gone), _AT_ONCE):
        connection.execute(statements.DELETE_NODES, {"of": model.id, "gone": gone[start : start + _AT_ONCE]})
    if renamed:
        new = {f"new_{name}": [row[name] for row in renamed] for name in statements.NODE_CHANGES}
        connection.execute(statements.UPDATE_NODES, {**new, "of": model.id})
    _put(connection, statements.INSERT_NODES, [row for node, row in wanted.items() if node not in stored])


def _as_stored(row: Values) -> tuple[str, str]:
    return row["kind"], row["name"]


def _put(connection: Connection, statement: Executable, found: Sequence[Values]) -> None:
    if found:
        parameters: Mapping[str, object] = statements.columns(found)
        connection.execute(statement, parameters)


def _replace(connection: Connection, table: Table[Any], found: Sequence[Values]) -> None:
    _put(connection, statements.put_rows(table, connection.dialect.name), found)
