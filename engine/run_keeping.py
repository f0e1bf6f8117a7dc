"""How runs are kept: parked while they wait, sealed with their steps and the root of their journal when they end."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from engine.domain.canonical import Json, canonical_bytes
from engine.domain.events import Action, Draft
from engine.domain.queries import RunQuery
from engine.domain.runs import Run, RunStatus
from engine.domain.writes import PutRun, PutSteps, Record
from engine.execution.frames import Outcome
from engine.execution.plan import Plan
from engine.execution.records import fold, merkle_leaves, packed
from engine.execution.scribe import Scribe
from engine.execution.values import load, store
from engine.ledger.chain import merkle_root, patch
from engine.ports import Blobs, Catalog, Clock, Journal

ENDED: frozenset[RunStatus] = frozenset({"succeeded", "failed", "cancelled"})
_LOOKED_THROUGH = 20


class Keeping:
    """The runs of a store as they are written. Safe to use from any thread."""

    def __init__(self, catalog: Catalog, journal: Journal, blobs: Blobs, clock: Clock, *, actor: str) -> None:
        self._catalog, self._journal, self._blobs, self._clock, self._actor = catalog, journal, blobs, clock, actor

    def begin(self, run: Run, *, again: bool) -> None:
        """Write that a run is under way."""
        after: Json = {"status": "running", "model": run.model, "content_hash": run.content_hash, "trial": run.trial}
        action: Action = "run.resumed" if again else "run.started"
        self._catalog.commit(PutRun(run=run), self._record(action, run, None, after))

    def park(self, run: Run, status: RunStatus, *, at: str | None, held: bool, asked: Iterable[str]) -> Run:
        """Write that a run pauses or waits; its journal stays.

        `at`: the step before which it was stopped. `held`: somebody paused it, so that it doesn't go on by itself.
        `asked`: the paths of the decisions that it waits for.
        """
        passed = [*run.options.get("passed", ()), *([at] if at is not None else ())]
        options = {**run.options, "at": at, "passed": passed, "held": held, "asked": sorted(asked)}
        parked = run.model_copy(update={"status": status, "options": options})
        action: Action = "run.waiting" if status == "waiting" else "run.paused"
        record = self._record(action, run, {"status": "running"}, {"status": status, "at": at})
        self._catalog.commit(PutRun(run=parked), record)
        return parked

    def seal(self, run: Run, plan: Plan, outcome: Outcome, scribe: Scribe) -> Run:
        """Put a run that has ended into the catalog, with its steps and the Merkle root over its records, at once."""
        scribe.sync(scribe.ended(canonical_bytes({"status": outcome.status, "error": outcome.error})))
        records = scribe.records()
        steps = fold(run.id, records, plan)
        root = merkle_root(merkle_leaves(records))
        ended = run.model_copy(
            update={
                "status": outcome.status,
                "error": outcome.error,
                "ended_at": self._clock.now(),
                "outputs": {name: store(value, self._blobs, port=name) for name, value in outcome.outputs.items()},
                "steps_total": len(steps),
                "steps_done": sum(step.status in ("succeeded", "cached") for step in steps),
                "merkle_root": root,
                "journal": self._blobs.put(packed(records)),
            }
        )
        after = {"status": outcome.status, "error": outcome.error, "merkle_root": root, "steps": len(steps)}
        self._catalog.commit(
            PutRun(run=ended), PutSteps(steps=steps), self._record("run.ended", run, {"status": "running"}, after)
        )
        self._journal.forget(run.id)
        return ended

    def interrupted(self, live: Container[str]) -> list[Run]:
        """Return the runs that were begun, have not ended, and are neither in `live` nor another program's."""
        elsewhere = self._journal.held()
        names = [name for name in self._journal.unfinished() if name not in elsewhere and name not in live]
        return [run for name in names if (run := self._begun(name)) is not None and not _rests(run)]

    def take_interrupted(self) -> Run | None:
        """Claim the interrupted run that was begun first; None if there is none."""
        while (name := self._journal.claim_next()) is not None:
            run = self._begun(name)
            if run is not None and not _rests(run):
                return run
            if run is None and self._catalog.run(name) is not None:  # its program ended before it forgot the records
                self._journal.forget(name)
        return None

    def _begun(self, name: str) -> Run | None:
        """Return a run of the journal unless it has ended; what the catalog never heard of, from its first record."""
        kept = self._catalog.run(name)
        if kept is not None:
            return None if kept.status in ENDED else kept
        begun = next((record for record in self._journal.read(name) if record.kind == "started"), None)
        return None if begun is None else Run.model_validate_json(begun.body)

    def last_good(self, model: str, path: str) -> dict[str, Any] | None:
        """Return what the step at a path gave in its last good run of a model."""
        for run in self._catalog.runs(RunQuery(model=model, status="succeeded", limit=_LOOKED_THROUGH)):
            for step in self._catalog.steps(run.id):
                if step.path == path and step.status in ("succeeded", "cached"):
                    return {port: load(value, self._blobs) for port, value in step.outputs.items()}
        return None

    def _record(self, action: Action, run: Run, before: Json, after: Json) -> Record:
        draft = Draft(
            ts=self._clock.now(),
            actor=self._actor,
            action=action,
            entity_kind="run",
            entity=run.id,
            run=run.id,
            patch=patch(before, after),
        )
        return Record(draft=draft)


def _rests(run: Run) -> bool:
    """Say whether a run doesn't go on by itself: it waits for an answer, or somebody paused it."""
    return run.status == "waiting" or bool(run.options.get("held"))
