"""Runs: started, watched, cancelled, resumed after a crash, sealed into the store when they end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.domain import contracts
from engine.domain.canonical import Json, canonical_bytes, loads
from engine.domain.events import Action, Draft
from engine.domain.model import FunctionModel
from engine.domain.nodes import NestedModel
from engine.domain.queries import RunQuery
from engine.domain.runs import Durability, Run, RunStatus, Step, StoredValue
from engine.domain.values import Semver
from engine.domain.writes import PutRun, PutSteps, Record
from engine.errors import InputRefused, NotResumable, OutputRefused, RunNotFound
from engine.execution.compiling import compile_plan
from engine.execution.frames import Outcome, Watch
from engine.execution.local import LocalRun, Services
from engine.execution.plan import Plan
from engine.execution.records import Recovered, fold, merkle_leaves, recover
from engine.execution.scribe import Scribe
from engine.execution.values import load, store
from engine.ledger.chain import merkle_root, patch
from engine.models import Models, require_valid
from engine.ports import Catalog, Journal, ModelSource, Tethers
from engine.run_handle import Course, RunHandle

_ENDED: frozenset[RunStatus] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Sources:
    """Finds nested models: those that came with the run, those in the store, files beside the model's own file."""

    models: Models
    folder: Path | None = None
    embedded: Mapping[str, FunctionModel] | None = None

    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        """Return the model that a nested step names, or None."""
        key = f"{reference}@{version or ''}"
        if self.embedded is not None and key in self.embedded:
            return self.embedded[key]
        if self.folder is not None and reference.endswith(".json"):
            path = self.folder / reference
            if path.is_file():
                return FunctionModel.load(path)
        return self.models.nested(reference, version)


class Runs:
    """The runs of one store."""

    def __init__(
        self,
        catalog: Catalog,
        journal: Journal,
        services: Services,
        models: Models,
        tethers: Tethers,
        *,
        actor: str = "you",
        capacity: int = 8,
    ) -> None:
        self._catalog, self._journal, self._services = catalog, journal, services
        self._models, self._tethers, self._actor, self._capacity = models, tethers, actor, capacity
        self._live: dict[str, Course] = {}
        self._lock = threading.Lock()

    # ---- starting ---------------------------------------------------------------------------------------------

    def start(
        self,
        model: FunctionModel,
        inputs: Mapping[str, Any] | None = None,
        *,
        durability: Durability = "pipelined",
        until: str | None = None,
        watch: Watch | None = None,
        folder: Path | None = None,
        workers: int | None = None,
    ) -> RunHandle:
        """Check a model and its inputs, then start a run on a thread of its own.

        Raises `ModelInvalid`, `InputRefused`, `ProviderMissing` or `TetherUnknown` before anything is recorded.
        """
        source = Sources(self._models, folder)
        require_valid(self._models.validate(model, source=source), "run")
        given = _checked_inputs(model, inputs or {})
        plan = compile_plan(model, self._tethers, source)
        if until is not None and until not in plan.slots:
            raise InputRefused(where="until", reason=f"there is no node {until!r} to run to")
        clock = self._services.clock
        now = clock.now()
        run = Run(
            id=clock.new_id(),
            model=model.id,
            model_name=model.name,
            version=model.version if model.status == "published" else None,
            revision=model.revision,
            content_hash=model.content_hash,
            trial=model.status != "published",
            status="running",
            actor=self._actor,
            durability=durability,
            created_at=now,
            started_at=now,
            inputs={name: store(value, self._services.blobs, port=name) for name, value in given.items()},
            steps_total=plan.steps,
            model_file={"model": model.to_json(), "nested": _embedded(model, source)},
            options={"until": until, "tethers": list(self._tethers.sources()), "workers": workers},
        )
        return self._launch(run, plan, given, watch, None)

    def resume(self, run: str, *, watch: Watch | None = None) -> RunHandle:
        """Take up a run that was interrupted: what is done is not repeated."""
        records = self._journal.read(run)
        begun = next((record for record in records if record.kind == "started"), None)
        if begun is None:
            kept = self._catalog.run(run)
            if kept is None:
                raise RunNotFound(run=run)
            raise NotResumable(run=run, reason=f"it has ended: {kept.status}")
        if run in self._live or not self._journal.claim(run):
            raise NotResumable(run=run, reason="another program is running it right now")
        kept = Run.model_validate_json(begun.body)
        sealed = self._catalog.run(run)
        if sealed is not None and sealed.status in _ENDED:
            self._journal.forget(run)
            raise NotResumable(run=run, reason=f"it has ended: {sealed.status}")
        self._tethers.load_all(kept.options.get("tethers") or ())
        model, source = self._as_it_ran(kept)
        plan = compile_plan(model, self._tethers, source)
        inputs = {name: load(value, self._services.blobs) for name, value in kept.inputs.items()}
        again = kept.model_copy(update={"resumed": (sealed or kept).resumed + 1, "status": "running"})
        return self._launch(again, plan, inputs, watch, recover(records))

    def interrupted(self) -> list[Run]:
        """Return the runs that were begun, have not ended and are not under way, here or in another program."""
        elsewhere = self.elsewhere()
        names = [name for name in self._journal.unfinished() if name not in elsewhere and name not in self._live]
        return [run for name in names if (run := self._begun(name)) is not None]

    def take_interrupted(self) -> Run | None:
        """Claim the interrupted run that was begun first, to be resumed here; None if there is none.

        Several programs may ask at once: each run is given to one of them.
        """
        while (name := self._journal.claim_next()) is not None:
            if (run := self._begun(name)) is not None:
                return run
            if self._catalog.run(name) is not None:  # it was sealed, and its program ended before it forgot the records
                self._journal.forget(name)
        return None

    def _begun(self, name: str) -> Run | None:
        """Return a run of the journal unless it has ended; what the catalog never heard of, from its first record."""
        kept = self._catalog.run(name)
        if kept is not None:
            return None if kept.status in _ENDED else kept
        begun = next((record for record in self._journal.read(name) if record.kind == "started"), None)
        return None if begun is None else Run.model_validate_json(begun.body)

    # ---- looking ----------------------------------------------------------------------------------------------

    def get(self, run: str) -> Run:
        """Return a run by its id or the unique beginning or end of it; raise `RunNotFound`."""
        found = self._catalog.run(run)
        if found is None and len(run) >= 4:
            near = [
                row
                for row in self._catalog.runs(RunQuery(text=run, limit=3))
                if row.id.startswith(run) or row.id.endswith(run)
            ]
            found = self._catalog.run(near[0].id) if len(near) == 1 else None
        if found is None:
            raise RunNotFound(run=run)
        return found

    def list(
        self, *, model: str | None = None, status: str | None = None, text: str = "", limit: int = 100, offset: int = 0
    ) -> list[Run]:
        """List runs, newest first; see `Catalog.runs`."""
        return self._catalog.runs(RunQuery(model=model, status=status, text=text, limit=limit, offset=offset))

    def live(self, run: str) -> RunHandle | None:
        """Return the handle of a run that is under way in this process."""
        course = self._live.get(run)
        return RunHandle(self.steps, course) if course is not None else None

    def elsewhere(self) -> set[str]:
        """Return the ids of the runs that other programs have under way."""
        return self._journal.held()

    def steps(self, run: str) -> Sequence[Step]:
        """Return the steps of a run: sealed ones from the store, others folded from the journal."""
        kept = self.get(run)
        if kept.status in _ENDED:
            return self._catalog.steps(kept.id)
        course = self._live.get(kept.id)
        if course is not None:
            return fold(kept.id, course.scribe.records(), course.plan, ended=False)
        return fold(kept.id, self._journal.read(kept.id), self._plan_of(kept), ended=False)

    def model_of(self, run: str) -> FunctionModel:
        """Return the model as it ran."""
        return self._as_it_ran(self.get(run))[0]

    def value(self, stored: StoredValue) -> Any:
        """Return a stored value; raise `StoreCorrupted` if its bytes are damaged or missing."""
        return load(stored, self._services.blobs)

    def close(self) -> None:
        """Suspend what is under way, to be resumed later, and wait for it."""
        under_way = list(self._live.values())
        for course in under_way:
            course.local.suspend()
        for course in under_way:
            course.over.wait(10)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _launch(
        self, run: Run, plan: Plan, inputs: Mapping[str, Any], watch: Watch | None, recovered: Recovered | None
    ) -> RunHandle:
        journal = self._journal if run.durability != "off" else None
        strict = run.durability == "strict"
        scribe = Scribe(run.id, self._services.clock, self._services.blobs, journal, strict=strict)
        local = LocalRun(
            run,
            plan,
            inputs,
            self._services,
            scribe,
            recovered=recovered,
            watch=watch,
            last_good=lambda path: self._last_good(run.model, path),
            until=run.options.get("until"),
            capacity=run.options.get("workers") or self._capacity,
        )
        if recovered is None:
            if journal is not None:
                journal.claim(run.id)
            scribe.sync(scribe.started(run.model_dump_json().encode()))
        action: Action = "run.started" if recovered is None else "run.resumed"
        after: Json = {"status": "running", "model": run.model, "content_hash": run.content_hash, "trial": run.trial}
        self._catalog.commit(PutRun(run=run), self._record(action, run, None, after))
        course = Course(run, plan, local, scribe)
        with self._lock:
            self._live[run.id] = course
        threading.Thread(target=self._go, args=(course,), name=f"treadle-run-{run.id[-6:]}", daemon=True).start()
        return RunHandle(self.steps, course)

    def _go(self, course: Course) -> None:
        run = course.run
        try:
            outcome = _checked_outputs(course.plan.model, course.local.go(), run)
            paused = outcome.status == "paused"
            ended = self._pause(run) if paused else self._seal(run, course.plan, outcome, course.scribe)
        except BaseException as error:  # noqa: BLE001 - a run's thread has nobody above it; the handle carries it
            self._forget(run)
            course.end(run.model_copy(update={"status": "failed", "error": str(error)}), {}, error)
            return
        self._forget(run)
        course.end(ended, outcome.outputs)

    def _forget(self, run: Run) -> None:
        with self._lock:
            self._live.pop(run.id, None)

    def _seal(self, run: Run, plan: Plan, outcome: Outcome, scribe: Scribe) -> Run:
        """Put a run that has ended into the catalog, with its steps and the Merkle root over its records, at once."""
        scribe.sync(scribe.ended(canonical_bytes({"status": outcome.status, "error": outcome.error})))
        records = scribe.records()
        steps = fold(run.id, records, plan)
        root = merkle_root(merkle_leaves(records))
        blobs = self._services.blobs
        ended = run.model_copy(
            update={
                "status": outcome.status,
                "error": outcome.error,
                "ended_at": self._services.clock.now(),
                "outputs": {name: store(value, blobs, port=name) for name, value in outcome.outputs.items()},
                "steps_total": len(steps),
                "steps_done": sum(step.status in ("succeeded", "cached") for step in steps),
                "merkle_root": root,
            }
        )
        after = {"status": outcome.status, "error": outcome.error, "merkle_root": root, "steps": len(steps)}
        self._catalog.commit(
            PutRun(run=ended), PutSteps(steps=steps), self._record("run.ended", run, {"status": "running"}, after)
        )
        self._journal.forget(run.id)
        return ended

    def _pause(self, run: Run) -> Run:
        paused = run.model_copy(update={"status": "paused"})
        self._catalog.commit(PutRun(run=paused))
        return paused

    def _record(self, action: Action, run: Run, before: Json, after: Json) -> Record:
        draft = Draft(
            ts=self._services.clock.now(),
            actor=self._actor,
            action=action,
            entity_kind="run",
            entity=run.id,
            run=run.id,
            patch=patch(before, after),
        )
        return Record(draft=draft)

    def _as_it_ran(self, run: Run) -> tuple[FunctionModel, ModelSource]:
        kept = run.model_file
        model = FunctionModel.from_json(kept["model"], source=f"run {run.id}")
        embedded = {key: FunctionModel.from_json(value, source=key) for key, value in kept["nested"].items()}
        return model.changed(revision=run.revision), Sources(self._models, None, embedded)

    def _plan_of(self, run: Run) -> Plan:
        model, source = self._as_it_ran(run)
        return compile_plan(model, self._tethers, source)

    def _last_good(self, model: str, path: str) -> dict[str, Any] | None:
        for run in self._catalog.runs(RunQuery(model=model, status="succeeded", limit=20)):
            for step in self._catalog.steps(run.id):
                if step.path == path and step.status in ("succeeded", "cached"):
                    return {port: self.value(value) for port, value in step.outputs.items()}
        return None


def _checked_inputs(model: FunctionModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    schema = contracts.input_contract(model)
    given = contracts.with_defaults(schema, dict(inputs))
    known = schema.get("properties", {})
    strange = next((name for name in given if name not in known), None)
    if strange is not None:
        names = ", ".join(map(repr, known)) or "none"
        raise InputRefused(where=repr(strange), reason=f"the model has no such input; it has: {names}")
    found = contracts.problems(schema, given)
    if found:
        raise InputRefused(where=found[0][0] or "the inputs", reason=found[0][1])
    return given


def _checked_outputs(model: FunctionModel, outcome: Outcome, run: Run) -> Outcome:
    """Turn a good outcome into a failed one when the outputs break their contract; a partial run is not checked."""
    if outcome.status != "succeeded" or run.options.get("until") is not None:
        return outcome
    found = contracts.problems(contracts.output_contract(model), outcome.outputs)
    if not found:
        return outcome
    error = OutputRefused(where=found[0][0] or "the outputs", reason=found[0][1])
    return Outcome("failed", outcome.outputs, str(error))


def _embedded(model: FunctionModel, source: ModelSource) -> dict[str, Json]:
    """Return every nested model that can be reached, by 'reference@version', as model files."""
    found: dict[str, Json] = {}
    stack = [model]
    while stack:
        for node in stack.pop().actions():
            if isinstance(node, NestedModel):
                key = f"{node.reference}@{node.version or ''}"
                child = source.nested(node.reference, node.version) if key not in found else None
                if child is not None:
                    found[key] = loads(child.to_file())
                    stack.append(child)
    return found
