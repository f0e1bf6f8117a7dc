"""One tab's editor: canvas, inspector and dock over a state that other tabs may share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import panel as pn

from engine.domain.gestures import copy_text
from engine.domain.nodes import NestedModel
from engine.errors import EditConflict, EditError, FileError, InputRefused, ModelInvalid, TreadleError
from studio.components.flow_editor import FlowEditor
from studio.components.flow_editor.intents import Intent
from studio.editor import canvas
from studio.editor.dialogs import Questions
from studio.editor.dock import Dock
from studio.editor.inputs_form import needs_inputs
from studio.editor.inspector import Inspector
from studio.editor.overlay import Status
from studio.editor.sentences import sentence
from studio.editor.state import EditorState
from studio.theme import button

_FOLDED_WIDTH = 40
_STEPS_EVERY_S = 0.5
"""How often the list of steps follows a run; the canvas follows at once."""


class Desk(Protocol):
    """What a workbench needs of the place it stands in: a tab of the studio, or a notebook cell."""

    def soon(self, function: Callable[[], object]) -> None:
        """Run a function where widgets may be changed; at once if this is there."""
        ...

    def say(self, text: str, tone: Any) -> None:
        """Tell the person something for some seconds."""
        ...

    def go(self, address: str) -> None:
        """Open another page."""
        ...


class Workbench:
    """Canvas, inspector and dock. `close` lets go of the state."""

    def __init__(
        self, state: EditorState, desk: Desk, *, dock: bool = True, folds: dict[str, bool] | None = None
    ) -> None:
        self.state, self.desk = state, desk
        self._docked = dock
        self.given: dict[str, Any] = {}
        self._listed_s = 0.0
        self._folds: dict[str, bool] = {} if folds is None else folds
        self.questions = Questions()
        self.canvas = _canvas_of(state)
        self.canvas.on_intent(self._hear)
        self.inspector = Inspector(state, self.run_to)
        self.dock = Dock(
            state, select=self.focus, open_run=lambda run: desk.go(f"/run?id={run}"), folded=self._dock_folded
        )
        self._fold = button("Hide the inspector", "panel-right", "ghost", icon_only=True)
        self._fold.on_click(lambda _: self._fold_inspector())
        self.inspector.tools.objects = [self._fold]
        self._strip = button("Show the inspector", "panel-right", "ghost", icon_only=True, margin=(6, 6))
        self._strip.on_click(lambda _: self._fold_inspector())
        self._side = pn.Column(
            self._strip, margin=0, width=_FOLDED_WIDTH, sizing_mode="stretch_height", visible=False, styles=_STRIP
        )
        self.canvas.below = [self.dock.view] if dock else []
        self.view = pn.Row(
            self.canvas,
            self.inspector.view,
            self._side,
            self.questions.dialog,
            margin=0,
            sizing_mode="stretch_both",
            styles=_WHOLE,
        )
        self._stops = self._follow()
        if self._folds.get("inspector"):
            self._fold_inspector()
        if self._folds.get("dock"):
            self.dock.fold(folded=True)
        if state.trial.status:
            self.canvas.set_status(state.trial.status)

    def close(self) -> None:
        """Stop following the state and let go of it."""
        for stop in self._stops:
            stop()
        self._stops = []
        self.state.release()

    def focus(self, node: str) -> None:
        """Select a node and bring it into view."""
        shown = canvas.drawn_id(self.state.model, node)
        self.canvas.select([shown])
        self.canvas.focus([shown])
        self._selected([shown])

    # ---- what the buttons and keys do --------------------------------------------------------------------------

    def save(self) -> bool:
        """Save; say what happened. True if nothing is unsaved now."""
        if not self.state.unsaved:
            self.desk.say("Nothing to save.", "idle")
            return True
        try:
            model = self.state.save()
        except EditConflict as error:
            self.questions.tell_conflict(error, self.state.discard)
            return False
        except TreadleError as error:
            self.desk.say(sentence(error), "bad")
            return False
        self.desk.say(f"Saved as revision {model.revision}.", "ok")
        return True

    def ask_run(self, until: str | None = None) -> None:
        """Run the model as it is on the screen, asking for inputs if some are needed."""
        if self.state.trial.running:
            self.desk.say("A run is going on. Cancel it first.", "warn")
        elif needs_inputs(self.state.model):
            self.questions.ask_inputs(self.state.model, self.given, lambda inputs: self.run(inputs, until, asked=True))
        else:
            self.run(self.given, until)

    def run(self, inputs: dict[str, Any], until: str | None = None, *, asked: bool = False) -> None:
        """Start a run; a refusal says why and selects the node it is about. With `asked`, wrong inputs are raised."""
        try:
            self.state.run(inputs, until=until)
        except InputRefused as error:
            if asked:
                raise
            self.desk.say(str(error), "bad")
        except ModelInvalid as error:
            hint = " The Problems tab lists them." if self._docked and error.facts.get("others") else ""
            self.desk.say(f"{error}{hint}", "bad")
            self.dock.open("problems")
            first = next((finding for finding in self.state.findings if finding.severity == "error"), None)
            node = canvas.subject_node(self.state.model, first.subject) if first is not None else None
            if node is not None:
                self.focus(node)
        except TreadleError as error:
            self.desk.say(str(error), "bad")
        else:
            self.given = inputs

    def run_to(self, node: str) -> None:
        """Run a node and what it needs."""
        self.ask_run(until=node)

    def ask_publish(self) -> None:
        """Ask for the number of a version and make it."""
        try:
            proposal = self.state.proposal()
        except TreadleError as error:
            self.desk.say(sentence(error), "bad")
            return

        def publish(number: str, message: str) -> None:
            version = self.state.publish(number=number or None, message=message)
            self.desk.say(f"Published {version.number}.", "ok")

        self.questions.ask_version(self.state.model.name, proposal, self.state.unsaved, publish)

    # ---- intents of the canvas ---------------------------------------------------------------------------------

    def _hear(self, intent: Intent) -> None:
        asked: Any = intent
        own = self._own_intents().get(asked["type"])
        try:
            if own is not None:
                own(asked)
                return
            step = self.state.wish(intent)
            if step is not None and step.select:
                self.canvas.select(list(step.select))
                self._selected(step.select)
        except (EditError, FileError) as error:
            self.canvas.refuse(sentence(error))
            self._put_back(asked)

    def _own_intents(self) -> dict[str, Callable[[Any], object]]:
        """Return what is done here for intents that are no edits of the model."""
        return {
            "select": lambda asked: self._selected(asked["nodes"]),
            "copy": lambda asked: self.canvas.give_clipboard(copy_text(self.state.model, asked["ids"])),
            "undo": lambda _: self.state.undo(),
            "redo": lambda _: self.state.redo(),
            "save": lambda _: self.save(),
            "run": lambda _: self.ask_run(),
            "run_to": lambda asked: self.run_to(asked["id"]),
            "open": lambda asked: self._open(asked["id"]),
        }

    def _put_back(self, asked: Any) -> None:
        """Show nodes where they are, after the browser had moved them in vain."""
        items = asked.get("items") or [asked]
        ids = [item["id"] for item in items if isinstance(item, dict) and "id" in item]
        views = [dict(self.state.scene.nodes[key]) for key in ids if key in self.state.scene.nodes]
        if views:
            self.canvas.patch(revision=self.state.scene.revision, nodes=views)

    def _open(self, key: str) -> None:
        node = self.state.model.nodes.get(key)
        if isinstance(node, NestedModel):
            child = self.state.engine.models.nested(node.reference, None)
            if child is None:
                self.canvas.refuse(f"There is no model {node.reference!r} to open.")
            else:
                self.desk.go(f"/editor?model={child.id}")

    def _selected(self, keys: Sequence[str]) -> None:
        self.inspector.show(keys)
        self.dock.show_node(keys[0] if len(keys) == 1 else None)

    # ---- following the state -----------------------------------------------------------------------------------

    def _follow(self) -> list[Callable[[], None]]:
        """Show what the state tells from now on; return what ends that."""
        return [
            self.state.on_change(self._changed),
            self.state.trial.watch(self._statuses, self._phase),
            self._watching(("undo_name", "redo_name"), self._names_changed),
            self._watching(("model",), lambda: self.desk.soon(self._model_changed)),
            self._watching(("findings", "checked"), lambda: self.desk.soon(self.dock.findings_changed)),
        ]

    def _watching(self, names: tuple[str, ...], function: Callable[[], None]) -> Callable[[], None]:
        watcher = self.state.param.watch(lambda *_: function(), list(names))
        return lambda: self.state.param.unwatch(watcher)

    def _changed(self, change: canvas.Change, revision: int) -> None:
        self.desk.soon(
            lambda: self.canvas.patch(
                revision=revision, nodes=change.nodes, wires=change.wires, removed_nodes=change.removed_nodes,
                removed_wires=change.removed_wires,
            )
        )  # fmt: skip

    def _names_changed(self) -> None:
        undo, redo = self.state.undo_name, self.state.redo_name
        self.desk.soon(lambda: self.canvas.param.update(undo_name=undo, redo_name=redo))

    def _model_changed(self) -> None:
        if self.canvas.read_only != self.state.read_only:
            self.canvas.read_only = self.state.read_only
        self.inspector.refresh()

    def _statuses(self, changed: dict[str, Status], anew: bool) -> None:  # noqa: FBT001 - called by the trial
        if anew:
            self.desk.soon(lambda: (self.canvas.clear_status(), self.canvas.set_status(changed)))
            return
        self.canvas.set_status(changed)
        now_s = time.monotonic()
        if self.dock.tab == "steps" and now_s - self._listed_s > _STEPS_EVERY_S:
            self._listed_s = now_s
            self.desk.soon(self.dock.refresh)

    def _phase(self) -> None:
        self.desk.soon(self.dock.run_changed)

    def _dock_folded(self, folded: bool) -> None:  # noqa: FBT001 - called by the dock
        self._folds["dock"] = folded

    def _fold_inspector(self) -> None:
        shown = not self.inspector.view.visible
        self.inspector.view.visible, self._side.visible = shown, not shown
        self._folds["inspector"] = not shown


def _canvas_of(state: EditorState) -> FlowEditor:
    return FlowEditor(
        catalog=state.catalog(),
        port_types=canvas.port_types(),
        graph=state.scene.graph(),
        resync=state.scene.graph,
        read_only=state.read_only,
        undo_name=state.undo_name,
        redo_name=state.redo_name,
        sizing_mode="stretch_both",
        margin=0,
    )


_WHOLE = {"min-height": "0", "background": "var(--canvas)"}
_STRIP = {"background": "var(--surface)", "border-left": "1px solid var(--line)"}
