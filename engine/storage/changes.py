"""What every catalog makes of a commit: when its models changed, whose they are, and their edges as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.domain.model import FunctionModel
from engine.domain.writes import EdgeRow, InsertBatch, InsertModel, InsertVersion, ModelRow, Record, UpdateModel, Write
from engine.errors import OrganizationForeign
from engine.storage.folding import shown


def change_times(writes: Sequence[Write], now: datetime) -> dict[str, datetime]:
    """Return when each model among `writes` changed: the latest time its batch, version or entry gives, else `now`.

    What an `InsertModel` says of itself comes first.
    """
    told: dict[str, datetime] = {}
    for write in writes:
        match write:
            case InsertBatch(batch=batch):
                subject, ts = batch.model, batch.ts
            case InsertVersion(version=version):
                subject, ts = version.model, version.ts
            case Record(draft=draft):
                subject, ts = draft.entity, draft.ts
            case _:
                continue
        told[subject] = max(ts, told.get(subject, ts))
    models = [write for write in writes if isinstance(write, InsertModel | UpdateModel)]
    times = {write.model.id: told.get(write.model.id, now) for write in models}
    given = {write.model.id: write.updated_at for write in models if isinstance(write, InsertModel)}
    return times | {model: ts for model, ts in given.items() if ts is not None}


def refuse_foreign(writes: Sequence[Write], organization: str) -> None:
    """Raise `OrganizationForeign` for a model that is not the organization's."""
    for write in writes:
        if isinstance(write, InsertModel | UpdateModel) and write.model.organization != organization:
            raise OrganizationForeign(name=write.model.name, theirs=write.model.organization, ours=organization)


def edge_rows(model: FunctionModel) -> list[EdgeRow]:
    """Return a model's wires and dependencies as rows."""
    wires = [
        EdgeRow(model.id, wire.id, "wire", wire.source, wire.source_port, wire.target, wire.target_port)
        for wire in model.wires.values()
    ]
    return wires + [
        EdgeRow(model.id, edge.id, "dependency", edge.source, None, edge.target, None)
        for edge in model.dependencies.values()
    ]


def listed(model: FunctionModel, updated_at: datetime) -> ModelRow:
    """Return a model as lists show it."""
    return ModelRow(
        id=model.id,
        name=model.name,
        description=shown(model.description),
        status=model.status,
        revision=model.revision,
        version=None if model.version is None else str(model.version),
        tags=model.tags,
        nodes=len(model.nodes),
        updated_at=updated_at,
        deleted_at=model.deleted_at,
    )
