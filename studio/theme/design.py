"""The Panel design: one stylesheet shared by every component of a session.

Panel's widgets are plain ones with our stylesheet, not panel-material-ui: its bundle alone is larger than all
the scripts a page loads otherwise, and its look would have to be undone to reach ours.

A component lives in a shadow root, so page CSS doesn't reach it, and a linked stylesheet would arrive after
it was drawn. Hence one inline stylesheet model, sent once per session and shared by reference.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bokeh.models import InlineStyleSheet
from panel.theme.base import DarkTheme, DefaultTheme, Design, Inherit
from panel.viewable import Viewable
from panel.widgets import Tabulator

from studio.theme.figures import bokeh_theme

if TYPE_CHECKING:
    from bokeh.document import Document

_FOLDER = Path(__file__).parent
_SHARED = "treadle"


@functools.cache
def component_css() -> str:
    """The stylesheet inside every component: the parts, then the widgets."""
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("parts.css", "panel.css"))


@functools.cache
def page_css() -> str:
    """The stylesheet of the page itself: fonts, tokens, parts and the frame."""
    names = ("fonts.css", "tokens.css", "parts.css", "frame.css")
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


def stylesheets() -> list[str]:
    """The stylesheets for a component made outside a page of the studio (a notebook, `stylesheets=...`)."""
    return [(_FOLDER / "tokens.css").read_text(encoding="utf-8"), component_css()]


class _Light(DefaultTheme):
    """Panel's name for our light tokens; figures follow the session's theme instead."""


class _Dark(DarkTheme):
    """Panel's name for our dark tokens."""


class TreadleDesign(Design):
    """Panel's design that puts the shared stylesheet into every component."""

    modifiers: ClassVar[dict[type[Viewable], dict[str, Any]]] = {
        Viewable: {"stylesheets": [Inherit, _SHARED]},
        # Rows as wide as their table, unless a page asks for another layout.
        Tabulator: {"layout": "fit_columns"},
    }
    _themes: ClassVar[dict[str, Any]] = {"default": _Light, "dark": _Dark}

    @classmethod
    def _patch_modifiers(cls, doc: Document | None, modifiers: dict[str, Any], cache: dict[str, Any]) -> None:
        # Panel would wrap the text once per component: a hundred widgets would carry a hundred copies.
        sheets = modifiers.get("stylesheets")
        if sheets is None:
            return
        shared = cache.get(_SHARED) if cache is not None else None
        if shared is None:
            shared = InlineStyleSheet(css=component_css())
            if cache is not None:
                cache[_SHARED] = shared
        modifiers["stylesheets"] = [sheet for sheet in sheets if sheet != _SHARED]
        super()._patch_modifiers(doc, modifiers, cache)
        modifiers["stylesheets"].append(shared)


_Light.param["bokeh_theme"].default = bokeh_theme(dark=False)
_Dark.param["bokeh_theme"].default = bokeh_theme(dark=True)
