"""One model being edited: its unsaved steps, what is wrong with it, its run. Shared by all tabs that have it open.

Nothing here knows a browser. Tabs watch the parameters and `on_change`; both may call from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import param

from engine.domain.canonical import Json
from engine.domain.edits import Change, Describe, Edit
from engine.domain.model import FunctionModel
from engine.domain.rules import Finding
from engine.domain.runs import Run
from engine.domain.versions import Proposal, Version, propose
from engine.errors import EditError, EditRefused, TreadleError
from studio.components.flow_editor.intents import Intent
from studio.editor import canvas
from studio.editor.checking import Checker
from studio.editor.history import History
from studio.editor.intents import Step, World, step_for
from studio.editor.keeping import Keeper
from studio.editor.palette import catalog, specs_by_reference
from studio.editor.running import Trial

if TYPE_CHECKING:
    from engine.engine import Engine

OnChange = Callable[[canvas.Change, int], None]
_LONGEST_NAME = 200
_NAMES_SHOWN = 6
_MODELS_SHOWN = 200


class EditorState(param.Parameterized):
    """A model with the edits made since it was saved.

    `model` is as it is on the screen, `base_revision` what it is based on, `unsaved` how many steps are not saved.
    `findings` belong to an earlier `model` while `checked` is false. `kept` is false for a model that no store holds.
    """

    model: FunctionModel = param.Parameter()  # type: ignore[assignment]
    base_revision: int = param.Integer(0)  # type: ignore[assignment]
    unsaved: int = param.Integer(0)  # type: ignore[assignment]
    undo_name: str | None = param.String(None, allow_None=True)  # type: ignore[assignment]
    redo_name: str | None = param.String(None, allow_None=True)  # type: ignore[assignment]
    findings: tuple[Finding, ...] = param.Parameter(())  # type: ignore[assignment]
    checked: bool = param.Boolean(default=False)  # type: ignore[assignment]

    def __init__(self, engine: Engine, model: FunctionModel, *, kept: bool = True) -> None:
        """Open `model`, taking up what was left unsaved the last time if the store keeps it."""
        super().__init__()
        self.engine, self.kept = engine, kept
        self._lock = threading.RLock()
        self._changed: list[OnChange] = []
        self._users = 0
        self.drafts = engine.drafts
        self.specs = specs_by_reference(engine.tethers.specs())
        self._history, self.left_behind = self._opened(model)
        models = {row.id: row.name for row in engine.models.list(limit=_MODELS_SHOWN)}
        self.scene = canvas.Scene(self._history.model, canvas.Names(self.specs, models))
        self.trial = Trial(engine, self._run_ended)
        self._show_last_run()
        self._keeper = Keeper(self.drafts, model.id, self._draft)
        self._checker = Checker(engine.models.validate, self._judged)
        self.param.update(model=self._history.model, base_revision=self._history.base.revision, **self._facts())
        self._checker.check(self.model)

    # ---- looking ----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The model's id."""
        return self._history.base.id

    @property
    def read_only(self) -> bool:
        """True for what can't be changed any more."""
        return self.model.status == "archived" or self.model.deleted_at is not None

    @property
    def errors(self) -> int:
        """How many findings stand in the way of publishing and running."""
        return sum(finding.severity == "error" for finding in self.findings)

    def catalog(self) -> list[dict[str, Any]]:
        """Return the palette's entries."""
        rows = self.engine.models.list(limit=_MODELS_SHOWN)
        return catalog(self.specs.values(), rows, model=self.id)

    def on_change(self, callback: OnChange) -> Callable[[], None]:
        """Call `callback(change, revision)` whenever the picture changes; return what ends that."""
        self._changed.append(callback)
        return lambda: self._changed.remove(callback) if callback in self._changed else None

    # ---- changing ---------------------------------------------------------------------------------------------

    def do(self, name: str, edits: Sequence[Edit], *, key: str = "") -> bool:
        """Apply edits as one step of undo named `name`; False if they change nothing.

        Steps of the same `key` that follow closely (typing) become one. Raises `EditRefused` or `ReadOnly`.
        """
        with self._lock:
            self._writable()
            done = self._history.do(name[:_LONGEST_NAME], edits, key=key, at_s=time.monotonic())
            if done:
                self._moved_on()
            return done

    def wish(self, intent: Intent) -> Step | None:
        """Do what an intent of the canvas asks; return the step taken, None if it is about something else."""
        with self._lock:
            step = step_for(self.model, intent, World(self.specs, self._nested))
            if step is not None:
                self.do(step.name, step.edits)
            return step

    def describe(self, field: str, value: Json) -> bool:
        """Set the model's own name, description or tags."""
        return self.do(f"Change the {field}", [Describe(changes=(Change(path=(field,), value=value),))], key=field)

    def undo(self) -> str | None:
        """Take back the last step; return its name. Raises `EditRefused` if others' edits made it impossible."""
        return self._travel(self._history.undo)

    def redo(self) -> str | None:
        """Do again what was undone last; return its name."""
        return self._travel(self._history.redo)

    def save(self) -> FunctionModel:
        """Save all steps as one revision, merged with what others saved meanwhile; raise `EditConflict` if it can't be.

        Nothing is lost by a refusal: the steps stay unsaved.
        """
        with self._lock:
            self._writable()
            edits = self._history.edits()
            if edits and self.kept:
                base = self._history.base.revision
                saved = self.engine.models.save(self.id, edits, base_revision=base, name=self._save_name())
                self._history.saved(saved)
                self._moved_on()
                self._keeper.now()
            return self.model

    def publish(self, *, number: str | None, message: str) -> Version:
        """Save, then make a version; raises as `Models.publish` does."""
        with self._lock:
            self.save()
            version = self.engine.models.publish(self.id, number=number, message=message)
            self._history.saved(self.engine.models.get(self.id))
            self._moved_on()
            return version

    def proposal(self) -> Proposal:
        """Return the number that publishing the model as it is on the screen would take."""
        model = self.model
        last = self.engine.models.version(self.id, model.version).snapshot if model.version is not None else None
        return propose(last, model)

    def run(self, inputs: Mapping[str, Any], *, until: str | None = None) -> Run:
        """Run the model as it is on the screen; nothing is saved by it. Raises as `Engine.start`."""
        model = self.model
        # With unsaved edits it is no longer the version it was: its run is a trial.
        trial = model.changed(status="draft") if self.unsaved and model.status == "published" else model
        return self.trial.start(trial, inputs, until=until)

    def discard(self) -> None:
        """Forget every unsaved step and show what the store holds."""
        with self._lock:
            self._history.discard(self.engine.models.get(self.id))
            self._moved_on()
            self._keeper.now()

    # ---- opening and closing ----------------------------------------------------------------------------------

    def acquire(self) -> EditorState:
        """Count one more tab."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Count one tab less; without any, and without a run, the state is written down and let go."""
        with self._lock:
            self._users = max(0, self._users - 1)
        self._keeper.now()
        self._let_go()

    def _let_go(self) -> None:
        with _registry_lock:
            if self._users == 0 and not self.trial.running and _open_states(self.engine).get(self.id) is self:
                del _open_states(self.engine)[self.id]

    # ---- inside -----------------------------------------------------------------------------------------------

    def _opened(self, model: FunctionModel) -> tuple[History, bool]:
        """Return the history to go on with, and whether unsaved steps of an earlier time could not be taken up."""
        history = History(model)
        kept: Any = self.drafts.get(model.id) if self.kept else None
        if not isinstance(kept, dict):
            return history, False
        if kept.get("base_revision") != model.revision:
            try:  # others saved meanwhile: go on from what the steps were made on; saving merges
                history = History(self.engine.models.at_revision(model.id, int(kept["base_revision"])))
            except (TreadleError, KeyError, TypeError, ValueError):
                return History(model), True
        return (history, False) if history.restore(kept) else (History(model), True)

    def _show_last_run(self) -> None:
        """Show the last run again, if it was one of this very model: a reload loses nothing."""
        last = self.engine.runs.list(model=self.id, limit=1) if self.kept else []
        if last and last[0].ended_at is not None and last[0].content_hash == self._history.model.content_hash:
            self.trial.show(self._history.model, last[0])

    def _writable(self) -> None:
        if self.read_only:
            raise EditRefused(edit="Edit", reason=f"{self.model.name!r} is archived; copy it to go on working")

    def _travel(self, way: Callable[[], Any]) -> str | None:
        with self._lock:
            self._writable()
            try:
                step = way()
            except EditError:
                self._tell()
                raise
            if step is None:
                return None
            self._moved_on()
            return str(step.name)

    def _moved_on(self) -> None:
        """Let everybody know that the model changed."""
        change = self.scene.show(self._history.model, self.findings)
        self.param.update(
            model=self._history.model, base_revision=self._history.base.revision, checked=False, **self._facts()
        )
        self._picture(change)
        self._keeper.soon()
        self._checker.check(self._history.model)

    def _tell(self) -> None:
        self.param.update(**self._facts())

    def _facts(self) -> dict[str, Any]:
        history = self._history
        return {
            "unsaved": len(history.pending),
            "undo_name": history.done[-1].name if history.done else None,
            "redo_name": history.undone[-1].name if history.undone else None,
        }

    def _picture(self, change: canvas.Change) -> None:
        if change:
            for callback in list(self._changed):
                callback(change, self.scene.revision)

    def _judged(self, model: FunctionModel, findings: tuple[Finding, ...]) -> None:
        """Take in what the checker found; called on its thread."""
        with self._lock:
            if model is not self._history.model:
                return
            change = self.scene.show(model, findings)
            self.param.update(findings=findings, checked=True)
            self._picture(change)

    def _run_ended(self) -> None:
        self._let_go()

    def _draft(self) -> Json:
        with self._lock:
            worth = self.kept and (self._history.pending or self._history.undone)
            return self._history.to_json() if worth else None

    def _save_name(self) -> str:
        names = list(dict.fromkeys(step.name for step in self._history.pending))
        if len(names) == 1:
            return names[0]
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return f"{', '.join(names[:_NAMES_SHOWN])}{more}"[:_LONGEST_NAME]

    def _nested(self, reference: str) -> FunctionModel | None:
        return self.engine.models.nested(reference, None)


_registry: WeakKeyDictionary[Any, dict[str, EditorState]] = WeakKeyDictionary()
_registry_lock = threading.RLock()


def open_state(engine: Engine, reference: str) -> EditorState:
    """Return the state of a model in the store, the one that other tabs have if any; `release` it in the end.

    Raises:
        ModelNotFound: there is no such model.
    """
    model = engine.models.get(reference)
    with _registry_lock:
        states = _open_states(engine)
        state = states.get(model.id)
        if state is None:
            state = states[model.id] = EditorState(engine, model)
        return state.acquire()


def _open_states(engine: Engine) -> dict[str, EditorState]:
    return _registry.setdefault(engine, {})
