"""One run as its page sees it: loaded, followed while it is under way, and what can be done with it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import param

from engine.domain.entities import Decision
from engine.domain.runs import Run, Step, StoredValue
from engine.errors import ModelNotFound, TreadleError
from studio.runs.provenance import Given, RunModels
from studio.runs.timeline import TimelineBar, TimelineRow, arrange, bars, critical_path, span_s
from studio.theme import duration, number

if TYPE_CHECKING:
    from engine.domain.model import FunctionModel
    from engine.engine import Engine
    from engine.runs import RunHandle

ROWS_A_PAGE = 200
HISTORY_RUNS = 30
_ENDED = ("succeeded", "failed", "cancelled")
_P95 = 0.95
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Failure:
    """Why a run failed: the step (None if it was none), a heading, sentences, and the raw error."""

    step: Step | None
    heading: str
    sentence: str
    error: str
    same: int
    """How many of the model's last 30 runs failed with the same error, this one included."""


@dataclass(frozen=True)
class History:
    """The last runs of a model, oldest first, and what is typical of them."""

    runs: tuple[Run, ...]
    sentence: str


class RunState(param.Parameterized):
    """The run, its steps, the step that is looked at and the part of the timeline that is shown.

    `live` is true while the run is under way in this process, as of the last look.
    """

    selected: str = param.String(doc="Path of the step that is looked at.")  # type: ignore[assignment]
    page: int = param.Integer(default=0, bounds=(0, None))  # type: ignore[assignment]

    def __init__(self, engine: Engine, run: str) -> None:
        """Load the run `run` (its id, or the unique beginning or end of it).

        Raises:
            RunNotFound: there is no such run.
        """
        super().__init__()
        self._engine = engine
        self.live = self.here = False
        self.run: Run = self._read(run)
        self.steps: dict[str, Step] = {}
        self.questions: tuple[Decision, ...] = ()
        """What the run waits for."""
        self.rows: list[TimelineRow] = []
        self.models = RunModels(self.run, engine.runs.model_of(self.run.id))
        self._model: FunctionModel = engine.runs.model_of(self.run.id)
        self.trouble = ""
        self._load_steps()
        failed = None if self.run.status == "succeeded" else self.failed_step
        waits = next((step for step in self.steps.values() if step.status == "waiting"), None)
        first = failed or waits or next((row.step for row in self.rows), None)
        self.selected = first.path if first is not None else ""
        self.page = self.page_of(self.selected)

    # ---- looking ----------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """True when nothing about the run will change any more."""
        return self.run.status in _ENDED

    @property
    def status(self) -> str:
        """The run's status; 'interrupted' when it stopped without an end."""
        return "interrupted" if self.run.status in ("running", "pending") and not self.live else self.run.status

    @property
    def may_change(self) -> bool:
        """True while the run may go on: it does, or waits for somebody."""
        return self.live or self.run.status in ("waiting", "paused")

    @property
    def step(self) -> Step | None:
        """The step that is looked at."""
        return self.steps.get(self.selected)

    @property
    def shown(self) -> list[TimelineRow]:
        """The rows of the page of the timeline."""
        return self.rows[self.page * ROWS_A_PAGE : (self.page + 1) * ROWS_A_PAGE]

    @property
    def began(self) -> datetime:
        """When the run started; what the timeline counts from."""
        return self.run.started_at or self.run.created_at

    @property
    def took_s(self) -> float:
        """Seconds so far, or from start to end; of an interrupted run, until its last record."""
        if self.run.duration_s is not None:
            return self.run.duration_s
        return (
            span_s(self.rows, began=self.began, now=self.now)
            if not self.live
            else (self.now - self.began).total_seconds()
        )

    @property
    def now(self) -> datetime:
        """Until when a bar under way reaches: the present, or the last that is known of a run that stopped."""
        if self.live:
            return datetime.now(UTC)
        if self.run.ended_at is not None:
            return self.run.ended_at
        known = [
            at for step in self.steps.values() for one in step.attempts for at in (one.started_at, one.ended_at) if at
        ]
        return max(known, default=self.began)

    @property
    def failed_step(self) -> Step | None:
        """The step that made the run fail and, of nested ones, the innermost: where to look.

        Others may have failed with a fallback that stood in; the run's error names the one that counts.
        """
        failed = [step for step in self.steps.values() if step.status == "failed"]
        told = self.run.error or ""
        return min(
            failed,
            key=lambda step: (not step.error or step.error not in told, step.ended_at or self.began, -len(step.path)),
            default=None,
        )

    def bars(self) -> list[TimelineBar]:
        """The bars of the page of the timeline."""
        return bars(self.shown, began=self.began, now=self.now)

    def span_s(self) -> float:
        """How many seconds the whole timeline reaches."""
        return span_s(self.rows, began=self.began, now=self.now)

    def critical(self) -> tuple[float, tuple[str, ...]]:
        """Seconds and nodes of the longest chain."""
        return critical_path(self._model, self.steps.values())

    def inputs(self, path: str) -> list[Given]:
        """What a step was given."""
        return self.models.inputs(path, self.steps)

    def page_of(self, path: str) -> int:
        """The page of the timeline that shows a step."""
        place = next((at for at, row in enumerate(self.rows) if row.step.path == path), 0)
        return place // ROWS_A_PAGE

    def value(self, stored: StoredValue) -> Any:
        """A stored value. Raises `StoreCorrupted`."""
        return self._engine.runs.value(stored)

    def model_exists(self) -> bool:
        """True while the model that ran is in the store."""
        try:
            return self._engine.models.get(self.run.model).deleted_at is None
        except ModelNotFound:
            return False

    def stood_in(self, step: Step) -> bool:
        """True when a step failed and the run went well all the same, thanks to its fallback."""
        found = self.models.place(step.path)
        return (
            step.status == "failed"
            and self.run.status == "succeeded"
            and found is not None
            and found[1].fallback is not None
        )

    def ledger_entry(self) -> int | None:
        """The number of the ledger's entry about the run's end, or its start."""
        found = self._engine.ledger.entries(entity=self.run.id, newest_first=True, limit=1)
        return found[0].sequence if found else None

    def failure(self, history: History) -> Failure | None:
        """Why the run failed, what the engine did about it; None if it did not."""
        if self.run.status != "failed":
            return None
        step, error = self.failed_step, self.run.error or "No reason was recorded."
        same = sum(run.status == "failed" and run.error == self.run.error for run in history.runs)
        if step is None:
            return Failure(
                None, "The run failed", "Every step that ran ended well; what failed is the run itself.", error, same
            )
        tries = len(step.attempts)
        times = f" after {tries} attempts" if tries > 1 else ""
        name = step.name if len(step.name) <= _LONGEST_NAME else step.name[:_LONGEST_NAME] + "…"
        return Failure(step, f"{name} failed{times}", self._told(step), step.error or error, same)

    def history(self) -> History:
        """The last runs of the same model."""
        runs = tuple(reversed(self._engine.runs.list(model=self.run.model, limit=HISTORY_RUNS)))
        took = sorted(run.duration_s for run in runs if run.duration_s is not None)
        if not took:
            return History(runs, "No run has ended yet.")
        good = sum(run.status == "succeeded" for run in runs if run.status in _ENDED)
        ended = sum(run.status in _ENDED for run in runs)
        p95 = took[min(len(took) - 1, round(_P95 * (len(took) - 1)))]
        share = f"{round(100 * good / ended)} % succeeded" if ended else ""
        return History(runs, f"median {duration(statistics.median(took))} · p95 {duration(p95)} · {share}")

    # ---- acting -----------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Load what is new; return True when the run has just ended."""
        was_ended = self.ended
        self.run = self._read(self.run.id)
        self._load_steps()
        return self.ended and not was_ended

    def cancel(self) -> None:
        """Ask the run to stop; it does within some seconds. One that waits or is paused ends at once."""
        self._engine.runs.cancel(self.run.id)

    def decide(self, path: str, option: str, reason: str) -> None:
        """Choose an option that the run waits for. Raises `DecisionClosed` when somebody was faster."""
        self._engine.runs.decide(self.run.id, path, option, reason=reason)

    def run_what_failed(self) -> RunHandle:
        """Start a run with the results of this one: what failed, and what never ran, runs. Raises as `Runs.again`."""
        return self._engine.runs.again(self.run.id)

    def resume(self) -> RunHandle:
        """Take the run up again. Raises `NotResumable`."""
        return self._engine.runs.resume(self.run.id)

    def run_again(self) -> RunHandle:
        """Start a run with the same inputs: of the published version if this was one, else of the model as it is now.

        Raises what `Runs.start` raises.
        """
        inputs = {name: self._engine.runs.value(stored) for name, stored in self.run.inputs.items()}
        return self._engine.start(self._model_now(), inputs, durability=self.run.durability)

    def _model_now(self) -> FunctionModel:
        try:
            model = self._engine.models.get(self.run.model)
            if model.deleted_at is not None:
                return self._model
            if not self.run.trial and model.version is not None:
                return self._engine.models.version(model.id, model.version).snapshot
        except TreadleError:
            return self._model
        return model

    def _read(self, identifier: str) -> Run:
        """Read the run and whether it is under way, here or elsewhere; one that ends in between is read again."""
        run = self._engine.runs.get(identifier)
        self.here = run.status not in _ENDED and self._engine.runs.live(run.id) is not None
        self.live = self.here or (run.status not in _ENDED and run.id in self._engine.runs.elsewhere())
        return run if self.live or run.status in _ENDED else self._engine.runs.get(run.id)

    def _load_steps(self) -> None:
        """Read the steps. Those of an interrupted run can't be told when a function it used is no longer there."""
        try:
            steps: Sequence[Step] = self._engine.runs.steps(self.run.id)
            self.trouble = ""
        except TreadleError as error:
            steps, self.trouble = (), str(error)
        asked = self._engine.runs.decisions.of(self.run.id) if self.may_change else ()
        self.questions = tuple(each for each in asked if each.chosen is None)
        self.steps = {step.path: step for step in steps}
        self.rows = arrange(steps)

    def _told(self, step: Step) -> str:
        """What the engine did about a failed step, in sentences."""
        tries = len(step.attempts)
        told = (
            f"It was tried {tries} times, as its retry policy says."
            if tries > 1
            else "It was tried once; it has no retries."
        )
        found = self.models.place(step.path)
        if found is not None and found[1].fallback is not None:
            told += " Its fallback did not help either."
        left = sum(other.status in ("cancelled", "skipped", "pending") for other in self.steps.values())
        if left:
            told += f" {number(left)} {'step was' if left == 1 else 'steps were'} not started."
        done: Mapping[bool, str] = {True: " What was done before is kept.", False: ""}
        return told + done[self.run.steps_done > 0]
