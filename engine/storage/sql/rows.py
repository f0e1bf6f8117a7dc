"""What a value looks like as a row: the columns that queries use, and the whole of it as text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from engine.domain.canonical import Json, content_hash
from engine.domain.edits import EditBatch
from engine.domain.entities import AnyEntity
from engine.domain.events import Entry
from engine.domain.model import FunctionModel
from engine.domain.runs import Run, Step
from engine.domain.versions import Version
from engine.ledger.chain import row_of
from engine.storage import columns
from engine.storage.changes import edge_rows
from engine.storage.documents import (
    batch_json,
    entity_json,
    json_text,
    model_json,
    packed,
    run_json,
    step_json,
    version_json,
)
from engine.storage.folding import entity_search, fold, model_search, shown, subjects, tag_search
from engine.storage.sql.statements import Values


def model_row(model: FunctionModel, updated_at: datetime) -> Values:
    """Return the row of `models`."""
    return {
        "id": model.id,
        "organization": model.organization,
        "name": model.name,
        "name_key": fold(model.name),
        "description": shown(model.description),
        "status": model.status,
        "revision": model.revision,
        "version": None if model.version is None else str(model.version),
        "owner": model.owner,
        "tags": json_text(list(model.tags)),
        "tag_search": tag_search(model.tags),
        "search": model_search(model),
        "nodes": len(model.nodes),
        "nodes_key": content_hash(
            sorted((node.id, node.kind, node.name, list(node.tags)) for node in model.nodes.values())
        ),
        "edges_key": content_hash(sorted([list(row) for row in edge_rows(model)], key=lambda row: (row[1], row[2]))),
        "updated_at": updated_at,
        "deleted_at": model.deleted_at,
        "body": packed(model_json(model)),
    }


def node_rows(model: FunctionModel) -> dict[str, Values]:
    """Return the rows of `model_nodes` by node."""
    return {
        node.id: {
            "model": model.id,
            "node": node.id,
            "kind": node.kind,
            "name": node.name,
            "search": fold(node.name),
            "tags": json_text(list(node.tags)),
            "tag_search": tag_search(node.tags),
        }
        for node in model.nodes.values()
    }


def model_edge_rows(model: FunctionModel) -> list[Values]:
    """Return the rows of `model_edges`."""
    return [row._asdict() for row in edge_rows(model)]


def entity_row(entity: AnyEntity) -> Values:
    """Return the row of `entities`."""
    return {
        "kind": entity.kind,
        "key": entity.key,
        "revision": entity.revision,
        "title": shown(entity.title),
        "subjects": subjects(entity),
        "search": entity_search(entity),
        "due_at": entity.due_at,
        "body": json_text(entity_json(entity)),
    }


def batch_row(batch: EditBatch, revision: int) -> Values:
    """Return the row of `edit_batches`."""
    return columns.of_batch(batch, revision) | {"body": json_text(batch_json(batch))}


def version_row(version: Version) -> Values:
    """Return the row of `versions`."""
    return columns.of_version(version) | {"body": json_text(version_json(version))}


def run_row(run: Run) -> Values:
    """Return the row of `runs`."""
    file = None if run.model_file is None else packed(run.model_file)
    return columns.of_run(run) | {"body": packed(run_json(run)), "model_file": file}


def step_row(step: Step) -> Values:
    """Return the row of `steps`."""
    return columns.of_step(step) | {"body": json_text(step_json(step))}


def entry_rows(entries: Iterable[Entry]) -> list[Values]:
    """Return the rows of `ledger`: exactly what was hashed."""
    return [row_of(entry)._asdict() for entry in entries]


def setting_row(key: str, value: Json) -> Values:
    """Return the row of `settings`."""
    return {"key": key, "value": json_text(value)}
