"""The editor in a notebook cell: the same canvas and inspector over the same edits, without the studio around them.

from studio.notebook import edit, start
start()                  # in a cell of its own, before the editor's

view = edit("Penguin field report", engine=eng)
view                     # draws the editor
view.model               # the model as it is on the screen, in any later cell
view.run({"source": "data/penguins.csv"}).outputs

Nothing is fetched from elsewhere: the kernel sends Panel's scripts and style sheets. Above the editor stands a still
picture of the model, unseen while the editor is there: it is what a saved notebook shows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import panel as pn
from bokeh.core.serialization import Serializer
from bokeh.models import ImportedStyleSheet
from markupsafe import Markup
from panel.custom import JSComponent
from panel.io.notebook import replace_inline_css
from panel.viewable import Viewer

from engine.domain.model import FunctionModel
from engine.runs import RunHandle
from studio.editor.state import EditorState, open_state
from studio.editor.workbench import Workbench
from studio.picture import data_address, picture
from studio.theme import TreadleDesign

if TYPE_CHECKING:
    from engine.engine import Engine

HEIGHT = 560
_TOKENS = (Path(__file__).parent / "theme" / "tokens.css").read_text(encoding="utf-8")
_KINDS = {"bad": "error", "ok": "success"}
_REDRAWN_AFTER_S = 0.5
# The picture gives way to an editor with a kernel below it; where there is none, only the picture is shown.
_STILL = Markup("""<style>
.jp-OutputArea-child:has(.treadle-picture):has(+ .jp-OutputArea-child > * > :not(.jupyter-widgets-disconnected)),
.jp-OutputArea-child:has(.treadle-picture)
  + .jp-OutputArea-child:not(:has(> * > :not(.jupyter-widgets-disconnected))){{display:none}}
</style><img class="treadle-picture" alt="{}" src="{}">""")


def start() -> None:
    """Load Panel into this notebook from this machine, in the studio's look. Call it in a cell before `edit`."""
    _send_styles_along()
    pn.extension(inline=True, comms="ipywidgets", design=TreadleDesign)


def edit(model: FunctionModel | str, engine: Engine | None = None, *, height: int = HEIGHT) -> EditorView:
    """Return an editor of a model, or of the model of this name in the store, to be shown by a cell.

    Without an engine, a model is edited on its own and a name is looked up in the user's own store.

    Raises:
        ModelNotFound: there is no model of that name.
    """
    if isinstance(model, FunctionModel):
        found = engine or _opened("memory:")
        kept = engine is not None and engine.models.nested(model.id, None) is not None
        state = open_state(found, model.id) if kept else EditorState(found, model, kept=False).acquire()
    else:
        state = open_state(engine or _opened(None), model)
    return EditorView(state, height=height)


class EditorView(Viewer):
    """An editor in a cell. `model` is what is drawn now; what is done in the cell is one of its edits."""

    def __init__(self, state: EditorState, *, height: int = HEIGHT) -> None:
        super().__init__()
        self.state = state
        cell = _Cell(self._say)
        self._bench = Workbench(state, cell, dock=False)
        # A run's thread and a cell's own both change the canvas, and Panel's models take one change at a time.
        self._bench.canvas.take_turns(cell.lock)
        self._view = pn.Row(
            self._bench.view, PageTokens(margin=0, width=0, height=0), design=TreadleDesign, height=height,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
        self._picture = uuid4().hex
        self._redraw: threading.Timer | None = None
        self._unfollow: Callable[[], None] | None = None

    @property
    def model(self) -> FunctionModel:
        """The model as it is on the screen."""
        return self.state.model

    def run(self, inputs: Mapping[str, Any] | None = None, *, until: str | None = None) -> RunHandle:
        """Run the model as it is on the screen, show its states on the canvas, and return the run when it has ended.

        Raises:
            ModelInvalid: it has errors; `InputRefused`: the inputs don't meet its contract. Nothing was started.
        """
        self.state.run(inputs or {}, until=until)
        handle = self.state.trial.handle
        assert handle is not None
        return handle.wait()

    def save(self) -> FunctionModel:
        """Save to the store; raise `EditConflict` if others changed the same. A model of no store stays as it is."""
        return self.state.save()

    def close(self) -> None:
        """Let go of the model."""
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        self._bench.close()

    def _say(self, text: str, tone: str) -> None:
        self._bench.canvas.toast(text, _KINDS.get(tone, "info"))

    def __panel__(self) -> Any:
        """Return what the cell shows."""
        return self._view

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self._still(), raw=True, display_id=self._picture)
        display(self._view)
        if self._unfollow is None:
            self._unfollow = self.state.on_change(lambda *_: self._redraw_soon())

    def _still(self) -> dict[str, str]:
        """Return the model as an output that needs no kernel."""
        address = data_address(picture(self.state.scene.graph()))
        return {"text/html": _STILL.format(repr(self), address), "text/plain": repr(self)}

    def _redraw_soon(self) -> None:
        """Bring the picture up to date: once for many changes that follow each other."""
        if self._redraw is None or not self._redraw.is_alive():
            self._redraw = threading.Timer(_REDRAWN_AFTER_S, self._redraw_now)
            self._redraw.daemon = True
            self._redraw.start()

    def _redraw_now(self) -> None:
        from IPython.display import update_display

        self._redraw = None
        update_display(self._still(), raw=True, display_id=self._picture)

    def __repr__(self) -> str:
        return f"<Editor of {self.model.name!r}: {len(self.model.nodes)} nodes, {len(self.model.wires)} wires>"


class _Cell:
    """A notebook cell, as a workbench uses it."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self.lock = threading.RLock()

    def soon(self, function: Callable[[], object]) -> None:
        """Run at once: a notebook's comms take messages from any thread."""
        with self.lock:
            function()

    def say(self, text: str, tone: Any) -> None:
        """Show it on the canvas."""
        self._say(text, tone)

    def go(self, address: str) -> None:
        """Say where it would be: a cell has no other pages."""
        self._say(f"Open the studio and go to {address}.", "idle")


class PageTokens(JSComponent):
    """Puts the theme's tokens on the notebook's page once, dark when the notebook is."""

    _esm = """
    export function render({ el }) {
      el.hidden = true;
      if (document.getElementById("treadle-tokens")) return;
      const sheet = document.createElement("style");
      sheet.id = "treadle-tokens";
      sheet.textContent = CSS_TEXT;
      document.head.append(sheet);
      const follow = () => {
        const dark = document.body.dataset.jpThemeLight === "false";
        document.documentElement.dataset.theme = dark ? "dark" : "light";
      };
      follow();
      new MutationObserver(follow).observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
    }
    """.replace("CSS_TEXT", "`" + _TOKENS.replace("\\", "\\\\").replace("`", "\\`") + "`")


def _send_styles_along() -> None:
    """Send the text of Panel's own style sheets from now on, not an address on its CDN.

    With `inline=True` Panel does so for what a cell draws first. What comes later it links again, and nothing of its
    settings changes that; so it is done where a style sheet is written down for the browser.
    """
    linked = ImportedStyleSheet.to_serializable
    if linked.__module__ == __name__:
        return

    def sent(self: ImportedStyleSheet, serializer: Serializer) -> Any:
        found = replace_inline_css(self)
        if found is self:
            return linked(self, serializer)
        serializer.add_ref(self, self.ref)
        return {"type": "object", "name": "InlineStyleSheet", "id": self.id, "attributes": {"css": found.css}}

    ImportedStyleSheet.to_serializable = sent  # type: ignore[method-assign]


def _opened(store: str | None) -> Engine:
    from engine.wiring import open_engine

    return open_engine(store)
