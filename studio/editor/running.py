"""Runs of a model as it is on the screen: started, watched, folded into statuses, ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.domain.model import FunctionModel
from engine.domain.runs import Run, Step
from engine.errors import TreadleError
from engine.execution.frames import RunEvent
from engine.execution.plan import Plan
from engine.runs import RunHandle
from studio.editor.overlay import Overlay, Status, of_steps

if TYPE_CHECKING:
    from engine.engine import Engine

OnStatus = Callable[[dict[str, Status], bool], None]
OnPhase = Callable[[], None]


class Trial:
    """The run that the canvas shows. Watchers hear of statuses and of phases (started, ended) from any thread."""

    def __init__(self, engine: Engine, ended: OnPhase) -> None:
        self._engine, self._ended = engine, ended
        self._lock = threading.Lock()
        self._on_status: list[OnStatus] = []
        self._on_phase: list[OnPhase] = []
        self._handle: RunHandle | None = None
        self._early: list[RunEvent] | None = None
        self.overlay: Overlay | None = None
        self.status: dict[str, Status] = {}
        self.run: Run | None = None
        self.steps: tuple[Step, ...] = ()
        self.failure: str | None = None

    @property
    def handle(self) -> RunHandle | None:
        """The handle of the run, if it was started here."""
        return self._handle

    @property
    def running(self) -> bool:
        """True from the start of a run to its end."""
        return self.run is not None and self.run.status in ("running", "pending")

    def watch(self, on_status: OnStatus, on_phase: OnPhase) -> Callable[[], None]:
        """Call `on_status(changed, anew)` with statuses, and `on_phase()` when a run begins or ends.

        `anew`: all other statuses are to be forgotten.
        """
        self._on_status.append(on_status)
        self._on_phase.append(on_phase)

        def stop() -> None:
            if on_status in self._on_status:
                self._on_status.remove(on_status)
                self._on_phase.remove(on_phase)

        return stop

    def start(self, model: FunctionModel, inputs: Mapping[str, Any], *, until: str | None = None) -> Run:
        """Run `model` as it is; nothing has to be saved for it. Raises what `Engine.start` raises.

        A model that was edited is a trial: it runs under its own content hash.
        """
        with self._lock:
            self._early = []
            overlay = Overlay(model)
        handle = self._engine.start(model, inputs, until=until, watch=self._take)
        overlay.totals = nested_totals(handle.plan)
        with self._lock:
            self.overlay, self._handle, self.run = overlay, handle, handle.run
            self.steps, self.failure = (), None
            self.status = overlay.begin(until)
            early, self._early = self._early or [], None
            self.status |= overlay.take(early)
            first = dict(self.status)
        self._tell(first, anew=True)
        self._phase()
        threading.Thread(target=self._wait, args=(handle,), name="treadle-trial", daemon=True).start()
        return handle.run

    def cancel(self) -> None:
        """Stop the run; what is under way is told and given up after some seconds."""
        if self._handle is not None:
            self._handle.cancel()

    def show(self, model: FunctionModel, run: Run) -> None:
        """Show a run that is kept as it ended."""
        with self._lock:
            self.run, self._handle, self.overlay = run, None, None
            self.steps = tuple(self._engine.runs.steps(run.id))
            self.status = of_steps(model, run, self.steps)
        self._tell(dict(self.status), anew=True)
        self._phase()

    def refresh(self) -> None:
        """Read the steps of the run again."""
        if self.run is not None:
            self.steps = tuple(self._engine.runs.steps(self.run.id))

    def _take(self, events: list[RunEvent]) -> None:
        """Fold a batch in; called on the run's own thread, the first time perhaps before `start` has gone on."""
        with self._lock:
            if self._early is not None:
                self._early += events
                return
            overlay = self.overlay
            if overlay is None:
                return
            changed = overlay.take(events)
            self.status |= changed
        self._tell(changed, anew=False)

    def _wait(self, handle: RunHandle) -> None:
        failure = None
        try:
            handle.wait()
        except TreadleError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001  whatever stopped the engine, the person is told
            failure = f"The run was stopped by {type(error).__name__}: {error}"
        with self._lock:
            if self._handle is not handle:
                return
            self.run, self.failure = handle.run, failure or handle.error
            changed = self.overlay.end(handle.run) if self.overlay is not None else {}
            self.status |= changed
        self._tell(changed, anew=False)
        try:
            self.refresh()
        except TreadleError as error:
            self.failure = self.failure or str(error)
        self._phase()
        self._ended()

    def _tell(self, changed: dict[str, Status], *, anew: bool) -> None:
        if changed or anew:
            for callback in list(self._on_status):
                callback(changed, anew)

    def _phase(self) -> None:
        for callback in list(self._on_phase):
            callback()


def nested_totals(plan: Plan) -> dict[str, int]:
    """Return how many steps each nested node of a plan has inside, at any depth."""
    return {plan.nodes[slot].id: _steps_in(inner) for slot, inner in plan.nested.items()}


def _steps_in(plan: Plan) -> int:
    return plan.steps + sum(_steps_in(inner) for inner in plan.nested.values())
