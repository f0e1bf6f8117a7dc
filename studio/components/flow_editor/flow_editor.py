"""The editor's Python half: it forwards intents to its owner, and the answers to the browser."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import param
import structlog
from bokeh.document import Document
from panel.custom import Children, ReactComponent

from studio.components.flow_editor.intents import READ_ONLY, Intent, InvalidIntentError, parse

DIST = Path(__file__).parent / "dist"
PUSH_INTERVAL_S = 1 / 15
OUTBOX_LENGTH = 64

logger = structlog.get_logger(__name__)


class FlowEditor(ReactComponent):
    """A canvas of typed nodes which reports what the person wants and shows what the owner decides.

    The widget holds no graph: every gesture becomes an intent (`intents.SHAPES` lists them), the
    owner applies it and answers with `patch`, `refuse` or `toast`. Messages of the wrong shape are
    logged and dropped before the owner sees them.
    """

    catalog = param.List(default=[], item_type=dict, doc="Palette entries, in the order shown.")
    port_types = param.Dict(default={}, doc='Port type -> {"color": CSS colour, "into": [types it fits]}.')
    graph = param.Dict(default={}, doc="What a new view paints first; later changes are patches.")
    dark = param.Boolean(default=False, doc="Dark tokens, whatever the page's theme says.")
    read_only = param.Boolean(default=False, doc="Look, select and copy, but change nothing.")
    undo_name = param.String(default=None, allow_None=True, doc="What undo would undo, or None.")
    redo_name = param.String(default=None, allow_None=True, doc="What redo would redo, or None.")
    selection = param.Dict(default={"nodes": [], "wires": []}, doc="Ids of the selected nodes and wires.")
    below = Children(default=[], doc="What stands below the canvas, beside the palette.")
    outbox = param.List(default=[], doc="Sequenced messages for notebooks, where custom messages get lost.")

    # The bundle is the module in every mode: the source imports npm packages a browser cannot load.
    _esm = DIST / "flow_editor.bundle.js"
    _bundle = DIST / "flow_editor.bundle.js"
    _stylesheets: ClassVar = [DIST / "flow_editor.css"]  # pyright: ignore[reportAssignmentType, reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        resync: Callable[[], dict[str, Any]] | None = None,
        **params: Any,
    ) -> None:
        """Start a view.

        Args:
            resync: gives the whole graph, for a view whose revision is not the current one.
            **params: the parameters above and Panel's layout parameters.
        """
        self._listeners: list[Callable[[Intent], None]] = []
        self._resync = resync
        # The second may be taken while the first is held, never the other way round.
        self._post_lock = threading.RLock()
        self._push_lock = threading.Lock()
        self._unsent: deque[dict[str, Any]] = deque()
        self._known_status: dict[str, dict[str, Any]] = {}
        self._unsent_status: dict[str, dict[str, Any] | None] = {}
        self._pushed_at_s = 0.0
        self._push_timer: threading.Timer | None = None
        self._sequence = 0
        super().__init__(**params)
        self._revision = int(self.graph.get("revision", 0))

    def on_intent(self, callback: Callable[[Intent], None]) -> None:
        """Call back with every valid intent of the browser, in the order they come."""
        self._listeners.append(callback)

    def patch(
        self,
        *,
        revision: int,
        nodes: Sequence[Mapping[str, Any]] = (),
        wires: Sequence[Mapping[str, Any]] = (),
        removed_nodes: Sequence[str] = (),
        removed_wires: Sequence[str] = (),
    ) -> None:
        """Add or replace these nodes and wires, remove those; the graph is now at `revision`."""
        self._revision = revision
        self._post(
            {
                "type": "patch",
                "revision": revision,
                "nodes": [dict(node) for node in nodes],
                "wires": [dict(wire) for wire in wires],
                "removed_nodes": list(removed_nodes),
                "removed_wires": list(removed_wires),
            }
        )

    def take_turns(self, lock: threading.RLock) -> None:
        """Send messages only while `lock` is held: where other threads change the same document under it."""
        self._post_lock = lock

    def snapshot(self, graph: dict[str, Any]) -> None:
        """Replace everything shown by this graph."""
        self._revision = int(graph.get("revision", 0))
        self._post({"type": "snapshot", "graph": graph})

    def set_status(self, status: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Show what became of these nodes. Safe from any thread; at most 15 pushes a second.

        An entry with a `state` replaces what was known of the node, one without amends it, None
        forgets it. The last known status is painted again when a view reloads.
        """
        with self._push_lock:
            for node, entry in status.items():
                self._remember(node, entry)
            if self._push_timer is not None:
                return
            due_s = self._pushed_at_s + PUSH_INTERVAL_S - time.monotonic()
            if due_s > 0:
                self._push_timer = threading.Timer(due_s, self._push_status)
                self._push_timer.daemon = True
                self._push_timer.start()
                return
        self._push_status()

    def clear_status(self) -> None:
        """Forget every node's status, here and in the browser."""
        with self._post_lock:
            with self._push_lock:
                self._known_status.clear()
                self._unsent_status.clear()
            self._post({"type": "status_clear"})

    def refuse(self, text: str, *, x: float | None = None, y: float | None = None) -> None:
        """Say why a gesture had no effect: beside the pointer, or at x, y in the view's pixels."""
        message: dict[str, Any] = {"type": "refused", "text": text}
        if x is not None and y is not None:
            message |= {"x": x, "y": y}
        self._post(message)

    def toast(self, text: str, kind: str = "info") -> None:
        """Say something for a few seconds; `kind` is info, success or error."""
        self._post({"type": "toast", "text": text, "kind": kind})

    def select(self, selector: Any = None) -> Any:
        """Select the nodes with these ids and no others.

        Panel walks its components by a method of this name: given a type, a function or nothing,
        that is what happens.
        """
        if selector is None or callable(selector):
            return super().select(selector)  # pyright: ignore[reportArgumentType] - Panel's own call
        self._post({"type": "select", "ids": list(selector)})
        return []

    def focus(self, ids: Sequence[str]) -> None:
        """Bring these nodes into the middle of the canvas at a readable size."""
        self._post({"type": "focus", "ids": list(ids)})

    def give_clipboard(self, text: str) -> None:
        """Put the copied part of the graph on the person's clipboard, the answer to `copy`."""
        self._post({"type": "clipboard", "text": text})

    def _remember(self, node: str, entry: Mapping[str, Any] | None) -> None:
        if entry is None:
            self._known_status.pop(node, None)
            self._unsent_status[node] = None
            return
        known = {} if "state" in entry else self._known_status.get(node, {})
        self._known_status[node] = self._unsent_status[node] = {**known, **entry}

    def _push_status(self) -> None:
        with self._post_lock:
            with self._push_lock:
                batch, self._unsent_status = self._unsent_status, {}
                self._push_timer = None
                self._pushed_at_s = time.monotonic()
            if batch:
                self._post({"type": "status", "s": batch})

    def _post(self, message: dict[str, Any]) -> None:
        """Say this to the browser after all that was posted before, by whichever thread."""
        with self._post_lock:
            # jupyter_bokeh does not forward custom messages to the browser; parameter changes it does.
            if pn.config.comms == "ipywidgets" and not pn.state.served:
                self._sequence += 1
                entry = {"seq": self._sequence, "message": message}
                self.outbox = [*self.outbox, entry][-OUTBOX_LENGTH:]
                return
            self._unsent.append(message)
            document = self._busy_document()
            if document is None:
                self._send_all()
            else:
                document.add_next_tick_callback(self._send_all)

    def _send_all(self) -> None:
        with self._post_lock:
            while self._unsent:
                self._send_msg(self._unsent.popleft())

    def _busy_document(self) -> Document | None:
        """Return the served document of this view if this thread isn't the one at work on it."""
        documents = (model.document for model, _ in self._models.values())
        served = (document for document in documents if document is not None and document.session_context)
        return next((document for document in served if document is not pn.state.curdoc), None)

    def _handle_msg(self, data: object) -> None:
        try:
            intent = parse(data)
        except InvalidIntentError as error:
            logger.warning("flow_editor.message_ignored", reason=str(error))
            return
        if intent["type"] == "ready":
            self._greet(intent["revision"])
            return
        if self.read_only and intent["type"] not in READ_ONLY:
            logger.warning("flow_editor.message_ignored", reason=f"{intent['type']} while read-only")
            return
        if intent["type"] == "select":
            self.selection = {"nodes": intent["nodes"], "wires": intent["wires"]}
        for listener in self._listeners:
            listener(intent)

    def _greet(self, revision: object) -> None:
        if revision == self._revision or self._resync is None:
            self._post({"type": "hello"})
        else:
            self.snapshot(self._resync())
        with self._post_lock:
            with self._push_lock:
                known = {node: dict(entry) for node, entry in self._known_status.items()}
            if known:
                self._post({"type": "status", "s": known})
