"""Runs: started, watched, paused, answered, resumed after a crash, taken up again from an earlier one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from engine.decisions import StoredDecisions
from engine.domain.canonical import Json
from engine.domain.entities import Decision
from engine.domain.model import FunctionModel
from engine.domain.queries import RunQuery
from engine.domain.runs import Durability, Run, Step, StoredValue
from engine.errors import InputRefused, NotResumable, RunNotFound, StoreError
from engine.execution.compiling import compile_plan
from engine.execution.frames import Directions, Seed, Watch
from engine.execution.local import LocalRun, Services
from engine.execution.plan import Plan
from engine.execution.records import Recovered, fold, recover
from engine.execution.scribe import Scribe
from engine.execution.values import load, store
from engine.execution.waits import Answer
from engine.models import Models, require_valid
from engine.ports import Catalog, Journal, JournalRecord, ModelSource, Tethers
from engine.run_handle import Course, RunHandle
from engine.run_keeping import ENDED, Keeping
from engine.run_models import Sources, as_it_ran, checked_inputs, checked_outputs, embedded
from engine.run_reuse import Extent, altered, codes_of, names_of, pinned, reused


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
        decisions: StoredDecisions,
        actor: str = "you",
        capacity: int = 8,
    ) -> None:
        self._catalog, self._journal, self._services = catalog, journal, services
        self._models, self._tethers, self._actor, self._capacity = models, tethers, actor, capacity
        self._keeping = Keeping(catalog, journal, services.blobs, services.clock, actor=actor)
        self.decisions = decisions
        self._live: dict[str, Course] = {}
        self._lock = threading.Lock()

    # ---- starting ---------------------------------------------------------------------------------------------

    def start(
        self,
        model: FunctionModel,
        inputs: Mapping[str, Any] | None = None,
        *,
        durability: Durability = "pipelined",
        extent: Extent = Extent(),
        watch: Watch | None = None,
        source: ModelSource | None = None,
        workers: int | None = None,
        seeds: Mapping[str, Seed] | None = None,
    ) -> RunHandle:
        """Check a model and its inputs, then start a run on a thread of its own.

        `seeds`: results by the path of their step, besides those of the `extent`. Raises `ModelInvalid`,
        `InputRefused`, `ProviderMissing` or `TetherUnknown` before anything is recorded.
        """
        nested = source or Sources(self._models)
        require_valid(self._models.validate(model, source=nested), "run")
        given = checked_inputs(model, inputs or {})
        plan = compile_plan(model, self._tethers, nested)
        codes = codes_of(plan, self._tethers)
        taken = {**self._seeds(plan, extent, model.id, given, codes), **(seeds or {})}
        now = self._services.clock.now()
        run = Run(
            id=self._services.clock.new_id(),
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
            model_file={"model": model.to_json(), "nested": embedded(model, nested)},
            options={
                **extent.options(),
                "tethers": list(self._tethers.sources()),
                "workers": workers,
                "functions": codes,
            },
        )
        return self._launch(run, plan, given, watch, seeds=taken)

    def again(
        self,
        run: str,
        *,
        from_nodes: Sequence[str] = (),
        model: FunctionModel | None = None,
        watch: Watch | None = None,
        durability: Durability | None = None,
    ) -> RunHandle:
        """Start a new run with the inputs of an earlier one and the results of it that still hold.

        Steps that failed or never ran are run, `from_nodes` and all that waits for them too; with another `model`,
        such as a mended one, also what changed. Raises `RunNotFound`, and what `start` raises.
        """
        earlier = self.get(run)
        if earlier.status not in ENDED:
            raise NotResumable(run=earlier.id, reason=f"it is {earlier.status} and not at its end")
        self._tethers.load_all(earlier.options.get("tethers") or ())
        kept, source = as_it_ran(earlier, self._models)
        return self.start(
            model or kept,
            self._inputs_of(earlier),
            durability=durability or earlier.durability,
            extent=Extent(reuse=earlier.id, again=from_nodes),
            watch=watch,
            source=source if model is None else None,
            workers=earlier.options.get("workers"),
        )

    def resume(
        self,
        run: str,
        *,
        watch: Watch | None = None,
        breakpoints: Sequence[str] | None = None,
        steps: int | None = None,
        stopped: bool = False,
    ) -> RunHandle:
        """Take up a run that was interrupted, paused or has what it waited for: what is done is not repeated.

        `breakpoints` and `steps` say where it pauses next; None: where it was told before, and never by itself.
        `stopped`: only to end it; nothing new starts.
        """
        records = self._journal.read(run)
        begun = next((record for record in records if record.kind == "started"), None)
        if begun is None:
            if (kept := self._catalog.run(run)) is None:
                raise RunNotFound(run=run)
            raise NotResumable(run=run, reason=f"it has ended: {kept.status}")
        if run in self._live or not self._journal.claim(run):
            raise NotResumable(run=run, reason="another program is running it right now")
        kept = Run.model_validate_json(begun.body)
        sealed = self._catalog.run(run)
        if sealed is not None and sealed.status in ENDED:
            self._journal.forget(run)
            raise NotResumable(run=run, reason=f"it has ended: {sealed.status}")
        self._tethers.load_all(kept.options.get("tethers") or ())
        plan = self._plan_of(kept)
        now = sealed or kept
        options = {**now.options, "steps": steps, "held": False}
        if breakpoints is not None:
            options["breakpoints"] = list(breakpoints)
        again = kept.model_copy(update={"resumed": now.resumed + 1, "status": "running", "options": options})
        return self._launch(again, plan, self._inputs_of(kept), watch, recovered=recover(records), stopped=stopped)

    def interrupted(self) -> list[Run]:
        """Return the runs that were begun, have not ended and are not under way, here or in another program."""
        return self._keeping.interrupted(self._live)

    def take_interrupted(self) -> Run | None:
        """Claim the interrupted run that was begun first, to be resumed here; None if there is none.

        Several programs may ask at once: each run is given to one of them.
        """
        return self._keeping.take_interrupted()

    def pause(self, run: str) -> None:
        """Let what is under way in a run come to its end and start nothing new; `resume` goes on with it."""
        self._here(run).local.pause()

    def cancel(self, run: str) -> RunHandle:
        """Stop a run that is under way here, or end one that waits or is paused; raise `NotResumable` for others."""
        course = self._live.get(run)
        handle = RunHandle(self.steps, course) if course is not None else self.resume(run, stopped=True)
        handle.cancel()
        return handle

    def _here(self, run: str) -> Course:
        course = self._live.get(run)
        if course is None:
            kept = self.get(run)
            raise NotResumable(run=kept.id, reason=f"it is {kept.status} and not under way in this program")
        return course

    # ---- waiting ----------------------------------------------------------------------------------------------

    def decide(
        self, run: str, path: str, option: str, *, value: Json = None, by: str | None = None, reason: str = ""
    ) -> RunHandle | None:
        """Choose an option of a decision that a run waits for, and let it go on; its handle, if that is here.

        Raises `DecisionNotFound`, `DecisionClosed`, `OptionUnknown` or `NotAChooser`.
        """
        return self.deliver(self.decisions.choose(run, path, option, value=value, by=by, reason=reason))

    def signal(self, run: str, name: str, value: Json = None) -> RunHandle | None:
        """Send a signal to a run, to the steps that wait for it or that will; its handle, if it goes on here."""
        return self.deliver(self.decisions.send(self.get(run).id, name, value))

    def deliver(self, decision: Decision) -> RunHandle | None:
        """Let the run of a decision that was made go on, unless another program has it or it waits for more."""
        course = self._live.get(decision.run)
        if course is not None:
            course.local.answer(decision.path, Answer(decision.chosen or "", decision.chosen_by, decision.value))
            return RunHandle(self.steps, course)
        kept = self._catalog.run(decision.run)
        waits = kept is not None and kept.status == "waiting" and decision.path in kept.options.get("asked", ())
        if kept is None or not waits or kept.id in self.elsewhere():
            return None
        return self.resume(kept.id)

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
        if kept.status in ENDED:
            return self._catalog.steps(kept.id)
        course = self._live.get(kept.id)
        if course is not None:
            return fold(kept.id, course.scribe.records(), course.plan, ended=False)
        return fold(kept.id, self._journal.read(kept.id), self._plan_of(kept), ended=False)

    def records(self, run: str) -> Sequence[JournalRecord] | None:
        """Return the records of a run that is under way here, None for any other."""
        course = self._live.get(run)
        return None if course is None else course.scribe.records()

    def model_of(self, run: str) -> FunctionModel:
        """Return the model as it ran."""
        return as_it_ran(self.get(run), self._models)[0]

    def value(self, stored: StoredValue) -> Any:
        """Return a stored value; raise `StoreCorrupted` if its bytes are damaged or missing."""
        return load(stored, self._services.blobs)

    def close(self) -> None:
        """Suspend what is under way, to be resumed later, and wait for it."""
        for course in (under_way := list(self._live.values())):
            course.local.suspend()
        for course in under_way:
            course.over.wait(10)

    # ---- inside -----------------------------------------------------------------------------------------------

    def _launch(
        self,
        run: Run,
        plan: Plan,
        inputs: Mapping[str, Any],
        watch: Watch | None,
        *,
        recovered: Recovered | None = None,
        seeds: Mapping[str, Seed] | None = None,
        stopped: bool = False,
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
            last_good=lambda path: self._keeping.last_good(run.model, path),
            directions=_directions(run.options, plan, self._capacity),
            seeds=seeds,
        )
        if stopped:
            local.cancel()
        if recovered is None:
            if journal is not None:
                journal.claim(run.id)
            scribe.sync(scribe.started(run.model_dump_json().encode()))
        self._keeping.begin(run, again=recovered is not None)
        course = Course(run, plan, local, scribe)
        with self._lock:
            self._live[run.id] = course
        threading.Thread(target=self._go, args=(course,), name=f"treadle-run-{run.id[-6:]}", daemon=True).start()
        return RunHandle(self.steps, course)

    def _go(self, course: Course) -> None:
        run = course.run
        try:
            outcome = checked_outputs(course.plan.model, course.local.go(), run)
            if outcome.status in ("paused", "waiting"):
                local = course.local
                ended = self._keeping.park(
                    run, outcome.status, at=local.paused_at, held=local.pausing, asked=local.asked
                )
            else:
                ended = self._keeping.seal(run, course.plan, outcome, course.scribe)
        except BaseException as error:  # noqa: BLE001 - a run's thread has nobody above it; the handle carries it
            self._forget(run)
            course.end(run.model_copy(update={"status": "failed", "error": str(error)}), {}, error)
            return
        self._forget(run)
        course.end(ended, outcome.outputs)
        if ended.status == "waiting":
            self._answered_meanwhile(ended, course.local.asked)

    def _answered_meanwhile(self, run: Run, asked: set[str]) -> None:
        """Let a run go on whose answer came while it was being parked."""
        with suppress(StoreError):  # the store was closed meanwhile: whoever opens it next goes on
            for decision in self.decisions.of(run.id):
                if decision.path in asked and decision.chosen is not None:
                    self.deliver(decision)
                    return

    def _forget(self, run: Run) -> None:
        with self._lock:
            self._live.pop(run.id, None)

    def _seeds(
        self, plan: Plan, extent: Extent, model: str, inputs: Mapping[str, Any], codes: Mapping[str, str]
    ) -> dict[str, Seed]:
        for name in (*names_of(extent.until), *names_of(extent.only), *extent.breakpoints):
            if name.rpartition("/")[2].partition("[")[0] not in plan.slots and "/" not in name:
                raise InputRefused(where="the extent of the run", reason=f"there is no node {name!r}")
        seeds: dict[str, Seed] = {}
        earlier = self._earlier(extent, model)
        if earlier is not None:
            before = self._plan_of(earlier)
            again = [*extent.again, *names_of(extent.only)]
            if extent.unchanged:
                again += altered(plan, earlier, inputs, self._services.blobs, codes)
            seeds = reused(earlier, before, self.steps(earlier.id), plan, self._services.blobs, again=again)
        return {**seeds, **pinned(plan, extent.pins or {})}

    def _earlier(self, extent: Extent, model: str) -> Run | None:
        """Return the run whose results are taken where they hold, if any."""
        if extent.reuse is not None:
            return self.get(extent.reuse)
        last = self.list(model=model, status="succeeded", limit=1) if extent.unchanged else ()
        return self.get(last[0].id) if last else None

    def _inputs_of(self, run: Run) -> dict[str, Any]:
        return {name: load(value, self._services.blobs) for name, value in run.inputs.items()}

    def _plan_of(self, run: Run) -> Plan:
        model, source = as_it_ran(run, self._models)
        return compile_plan(model, self._tethers, source)


def _directions(options: Mapping[str, Any], plan: Plan, capacity: int) -> Directions:
    return Directions(
        until=tuple(name for name in names_of(options.get("until")) if name in plan.slots),
        only=tuple(name for name in names_of(options.get("only")) if name in plan.slots),
        breakpoints=frozenset(options.get("breakpoints") or ()),
        passed=frozenset(options.get("passed") or ()),
        most_steps=options.get("steps"),
        capacity=options.get("workers") or capacity,
    )
