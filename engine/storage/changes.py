"""When a model changed: a commit tells it by what it brings along."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.ports import InsertBatch, InsertModel, InsertVersion, Record, UpdateModel, Write


def change_times(writes: Sequence[Write], now: datetime) -> dict[str, datetime]:
    """Return when each model among `writes` changed: the latest time its batch, version or entry gives, else `now`."""
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
    models = [write.model.id for write in writes if isinstance(write, InsertModel | UpdateModel)]
    return {model: told.get(model, now) for model in models}
