"""Small browser parts of the editor: a list of rows, tabs with counts, a modal dialog, and keys of the whole page.

Text goes to the page as text nodes only. Icons are SVG from our own file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import param
from panel.custom import Child, JSComponent

_FOLDER = Path(__file__).parent
_CSS = (_FOLDER / "parts.css").read_text(encoding="utf-8")


class _Part(JSComponent):
    """A component whose browser half says what happened as `{"event": …}`."""

    __abstract = True
    _stylesheets: ClassVar[list[str]] = [_CSS]

    def __init__(self, **params: Any) -> None:
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        super().__init__(**params)

    def on_event(self, callback: Callable[[dict[str, Any]], None]) -> None:  # type: ignore[override]
        """Call back with what the browser half says."""
        self._listeners.append(callback)

    def _handle_msg(self, msg: Any) -> None:
        if isinstance(msg, dict):
            for listener in list(self._listeners):
                listener(msg)


class Listing(_Part):
    """Rows to read and to click. A cell is `{"text", "sub"?, "title"?, "tone"?, "icon"?}`; `tone` makes it a pill."""

    columns: list[dict[str, Any]] = param.List(doc='{"label", "align"?: "right", "width"?: CSS}.')  # type: ignore[assignment]
    rows: list[dict[str, Any]] = param.List(doc='{"id", "cells": […], "muted"?: bool}.')  # type: ignore[assignment]
    current: str = param.String("", doc="Id of the row shown as selected.")  # type: ignore[assignment]
    empty: str = param.String("", doc="What is said when there are no rows.")  # type: ignore[assignment]
    name_of_list: str = param.String("", doc="What screen readers call it.")  # type: ignore[assignment]

    _esm = (_FOLDER / "listing.js").read_text(encoding="utf-8")

    def on_pick(self, callback: Callable[[str], None]) -> None:
        """Call back with the id of a row that was clicked or entered."""
        self.on_event(lambda msg: callback(str(msg.get("id", ""))) if msg.get("event") == "pick" else None)


class TabBar(_Part):
    """Tabs without their pages: `{"id", "label", "count"?: int, "tone"?}`; `value` is the open one's id."""

    items: list[dict[str, Any]] = param.List()  # type: ignore[assignment]
    value: str = param.String("")  # type: ignore[assignment]
    label: str = param.String("", doc="What screen readers call it.")  # type: ignore[assignment]

    _esm = (_FOLDER / "tab_bar.js").read_text(encoding="utf-8")


class Dialog(_Part):
    """A modal dialog around any Panel viewable: `open` shows it; Escape and its cross close it."""

    body: Any = Child()
    open: bool = param.Boolean(default=False)  # type: ignore[assignment]
    title: str = param.String("")  # type: ignore[assignment]

    _esm = (_FOLDER / "dialog.js").read_text(encoding="utf-8")


class PageKeys(_Part):
    """Keys that work wherever the focus is: "save" for Ctrl+S and "run" for Ctrl+Enter."""

    _esm = (_FOLDER / "page_keys.js").read_text(encoding="utf-8")

    def on_key(self, callback: Callable[[str], None]) -> None:
        """Call back with "save" or "run"."""
        self.on_event(lambda msg: callback(str(msg.get("key", ""))) if msg.get("event") == "key" else None)
