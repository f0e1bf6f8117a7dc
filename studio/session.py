"""One browser tab: who acts in it, its theme, its way back from worker threads, its messages and its end."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import WeakKeyDictionary

import panel as pn
from bokeh.core.properties import Any as Anything
from bokeh.core.properties import Dict, String
from bokeh.document import Document
from bokeh.model import DataModel
from panel.io.state import set_curdoc

from engine.errors import TreadleError
from studio.logs import logger
from studio.theme import bokeh_theme

if TYPE_CHECKING:
    from bokeh.application.application import SessionContext

Appearance = Literal["light", "dark"]
Tone = Literal["idle", "ok", "run", "warn", "bad"]

_log = logger("studio.session")
_sessions: WeakKeyDictionary[Document, Session] = WeakKeyDictionary()
_numbers = itertools.count(1)


class NoSession(TreadleError):
    """There is no browser session here. Call this while a page is built or from one of its callbacks."""


class Wire(DataModel):
    """What the server tells the frame of the page (shell.js), and the theme the frame tells the server."""

    title = String("")
    crumbs = String("")
    badges = String("")
    toast = Dict(String, Anything, default={})
    theme = String("light")


class Session:
    """The tab's session. `Session.current()` finds it while a page is built and in every callback.

    `wire` belongs to the shell; pages use the methods.
    """

    def __init__(self, document: Document, *, actor: str, theme: Appearance) -> None:
        """Attach to `document`; the shell does this before it calls the page."""
        self.actor = actor
        self.theme: Appearance = theme
        self.closed = False
        self.document = document
        self.wire = Wire(name="treadle", theme=theme)
        self._on_close: list[Callable[[], None]] = []
        self._on_theme: list[Callable[[Appearance], None]] = []
        _sessions[document] = self
        document.theme = bokeh_theme(dark=theme == "dark")
        document.on_session_destroyed(self._end)
        self.wire.on_change("theme", self._theme_changed)

    @staticmethod
    def current() -> Session:
        """The session whose page is being built or whose callback runs.

        Raises:
            NoSession: called outside of both, for instance in a worker thread.
        """
        session = Session.here()
        if session is None:
            raise NoSession
        return session

    @staticmethod
    def here() -> Session | None:
        """The current session, or None outside of one."""
        document = pn.state.curdoc
        return None if document is None else _sessions.get(document)

    def later(self, function: Callable[[], object]) -> None:
        """Run `function` on the session's document soon. Safe from any thread; nothing happens once closed.

        An error in it becomes a toast. Calls keep their order.
        """
        if self.closed:
            return

        def run() -> None:
            if self.closed:
                return
            with set_curdoc(self.document):
                try:
                    function()
                except Exception as error:  # noqa: BLE001  whatever a callback raises, the user is told
                    self.show(error)

        # The document can be torn down between the check and the call: then there is nobody to tell.
        with contextlib.suppress(AttributeError, RuntimeError):
            self.document.add_next_tick_callback(run)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when the tab has gone for good. The last one added is called first."""
        self._on_close.append(callback)

    def on_theme(self, callback: Callable[[Appearance], None]) -> None:
        """Call `callback` with the new appearance each time it changes, on the session's document."""
        self._on_theme.append(callback)

    def toast(self, text: str, tone: Tone = "idle") -> None:
        """Show `text` for some seconds at the bottom of the page. Safe from any thread."""
        message = {"number": next(_numbers), "text": text, "tone": tone}

        def tell() -> None:
            cast("Any", self.wire).toast = message

        self.later(tell)

    def show(self, error: BaseException) -> None:
        """Tell the user about `error` in a toast and keep it in the log."""
        if isinstance(error, TreadleError):
            _log.warning("callback refused", error=type(error).__name__, reason=str(error))
            self.toast(str(error), "bad")
            return
        _log.error("callback failed", exc_info=error)
        self.toast(f"That did not work: {type(error).__name__}: {error}. The log of the server says more.", "bad")

    def _theme_changed(self, _attribute: str, _old: str, new: str) -> None:
        appearance: Appearance = "dark" if new == "dark" else "light"
        if appearance == self.theme:
            return
        self.theme = appearance
        self.document.theme = bokeh_theme(dark=appearance == "dark")
        with set_curdoc(self.document):
            for callback in self._on_theme:
                try:
                    callback(appearance)
                except Exception as error:  # noqa: BLE001
                    self.show(error)

    def _end(self, _context: SessionContext) -> None:
        self.closed = True
        while self._on_close:
            callback = self._on_close.pop()
            try:
                callback()
            except Exception as error:  # noqa: BLE001  one page's clean-up must not stop another's
                _log.error("clean-up failed", exc_info=error)
        self._on_theme.clear()


def report(error: BaseException) -> None:
    """Panel's handler for errors in callbacks: a toast in the tab where it happened, and the log."""
    session = Session.here()
    if session is None:
        _log.error("callback failed outside of a session", exc_info=error)
    else:
        session.show(error)
