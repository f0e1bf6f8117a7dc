"""What stores show of a value beside its whole: the fields that queries and people look at, by name."""

from __future__ import annotations

from typing import Any, TypeAlias

from engine.domain.edits import EditBatch
from engine.domain.runs import Run, Step
from engine.domain.versions import Version
from engine.storage.folding import run_search, shown

Columns: TypeAlias = dict[str, Any]


def of_batch(batch: EditBatch, revision: int) -> Columns:
    """Return the columns of a saved batch of edits."""
    return {
        "model": batch.model,
        "revision": revision,
        "id": batch.id,
        "name": shown(batch.name),
        "actor": batch.actor,
        "ts": batch.ts,
    }


def of_version(version: Version) -> Columns:
    """Return the columns of a version."""
    return {
        "model": version.model,
        "major": version.number.major,
        "minor": version.number.minor,
        "patch": version.number.patch,
        "author": version.author,
        "ts": version.ts,
        "content_hash": version.content_hash,
    }


def of_run(run: Run) -> Columns:
    """Return the columns of a run."""
    return {
        "id": run.id,
        "model": run.model,
        "model_name": shown(run.model_name),
        "version": None if run.version is None else str(run.version),
        "trial": run.trial,
        "status": run.status,
        "actor": shown(run.actor),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "steps_total": run.steps_total,
        "steps_done": run.steps_done,
        "search": run_search(run),
    }


def of_step(step: Step) -> Columns:
    """Return the columns of a step; `attempts` is how many there were."""
    return {
        "run": step.run,
        "path": step.path,
        "node": step.node,
        "name": shown(step.name),
        "kind": step.kind,
        "status": step.status,
        "started_at": step.started_at,
        "ended_at": step.ended_at,
        "attempts": len(step.attempts),
        "error": None if step.error is None else shown(step.error),
    }
