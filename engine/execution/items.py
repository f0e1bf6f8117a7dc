"""Steps that work through a list, item by item: each item is a job with its own attempts and path, 'clean[3]'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from engine.errors import StepCancelled, TetherFailed
from engine.execution.frames import Items, Job

if TYPE_CHECKING:
    from engine.execution.attempts import Attempts
    from engine.execution.local import LocalRun

_MAX_ITEMS = 1_000_000


class PerItem:
    """Begins items up to their container's limit and puts their results together."""

    def __init__(self, loop: LocalRun, attempts: Attempts) -> None:
        self._loop, self._attempts = loop, attempts

    def begin(self, job: Job, port: str) -> None:
        """Begin a step that works through the list at `port`."""
        values: Any = job.inputs.get(port, job.work.constants.get(port))
        rows: Any = values.to_pylist() if hasattr(values, "to_pylist") else values
        self._attempts.start(job)
        if not isinstance(rows, list | tuple) or len(cast("list[Any]", rows)) > _MAX_ITEMS:
            reason = f"it works through {port!r} item by item, but got no list there"
            self._attempts.fail(job, TetherFailed(kind="No list", reason=reason), final=True)
            return
        home = job.frame.plan.container[job.slot]
        job.items = Items(list(cast("list[Any]", rows)), job.inputs, job.frame.plan.limits[home] if home >= 0 else 1)
        self._more(job)

    def _more(self, whole: Job) -> None:
        """Begin items up to the limit; settle the whole step after the last."""
        items = whole.items
        assert items is not None
        if items.starting:
            return
        items.starting = True
        while items.has_next and self._may_begin(whole, items):
            self._begin_item(whole, items)
        items.starting = False
        if items.running > 0:
            share = items.ended / max(1, len(items.values))
            text = f"{items.ended} of {len(items.values)}"
            self._loop.emit(whole.path, whole.work.node.id, "progress", {"progress": share, "text": text})
        elif items.error is not None:
            self._attempts.fail(whole, TetherFailed(kind="An item failed", reason=items.error), final=True)
        elif items.ended < len(items.values):
            self._attempts.fail(whole, StepCancelled(), final=True)
        else:
            ports = [output.name for output in whole.work.node.outputs]
            self._attempts.succeed(
                whole, {name: [(given or {}).get(name) for given in items.results] for name in ports}
            )

    def _may_begin(self, whole: Job, items: Items) -> bool:
        """Say whether the next item may begin: after a failure only what the journal says was begun or done."""
        if items.error is None and not self._loop.stops(whole):
            return True
        while items.next < len(items.values):
            path = f"{whole.path}[{items.next}]"
            recovered = self._loop.recovered
            if path in recovered.begun or recovered.is_done(path):
                return not self._loop.cancelling
            items.next += 1
        return False

    def _begin_item(self, whole: Job, items: Items) -> None:
        number = items.next
        items.next += 1
        items.running += 1
        inputs = {**items.inputs, whole.work.node.for_each or "": items.values[number]}
        item = Job(whole.frame, whole.slot, whole.work, f"{whole.path}[{number}]", inputs)
        item.whole, item.item = whole, number
        self._attempts.attempt(item)

    def ended(self, job: Job, outputs: dict[str, Any] | None, error: str | None) -> None:
        """Take in how an item ended; `error` is None when it did well or may be left out."""
        assert job.whole is not None
        items = job.whole.items
        assert items is not None
        items.results[job.item] = outputs
        items.running -= 1
        items.ended += 1
        items.error = items.error or error
        self._more(job.whole)
