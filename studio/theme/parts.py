"""Small building blocks that look the same on every page. Text given to them is always escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import panel as pn
from markupsafe import Markup

from studio.theme.icons import icon

Kind = Literal["primary", "plain", "danger", "ghost"]
_COLORS: dict[str, Literal["primary", "default", "danger", "light"]] = {
    "primary": "primary",
    "plain": "default",
    "danger": "danger",
    "ghost": "light",
}
_TONE_ICONS = {"ok": "check", "bad": "x", "warn": "triangle-alert", "run": "loader-circle"}
_BUTTON_ICON_PX = 14


def pill(text: str, tone: str = "idle", *, icon_name: str | None = None, title: str = "") -> Markup:
    """A rounded chip saying `text` in the colour of `tone` (idle, ok, run, warn, bad)."""
    if tone not in {"idle", *_TONE_ICONS}:
        tone = "idle"
    mark = icon(icon_name, 12, 2.25) if icon_name else Markup("")
    hint = Markup(' title="{}"').format(title) if title else Markup("")
    return Markup('<span class="pill {}"{}>{}{}</span>').format(tone, hint, mark, text)


def state_pill(text: str, tone: str) -> Markup:
    """A pill with the icon that belongs to its tone, so that colour is never alone."""
    return pill(text, tone, icon_name=_TONE_ICONS.get(tone))


def button(label: str, icon_name: str | None = None, kind: Kind = "plain", **params: Any) -> pn.widgets.Button:
    """A button. `ghost` has no border until hovered.

    With `icon_only=True` the label is read by screen readers and shown as a tooltip, but not drawn.
    `params` go to `panel.widgets.Button`.
    """
    classes = [*params.pop("css_classes", ()), f"tr-{kind}"]
    icon_only = bool(params.pop("icon_only", False))
    if icon_only:
        classes.append("tr-icon-only")
    if icon_name is not None:
        params["icon"] = str(icon(icon_name, _BUTTON_ICON_PX))
        params.setdefault("icon_size", f"{_BUTTON_ICON_PX}px")
    params.setdefault("margin", 0)
    params.setdefault("align", "center")
    return pn.widgets.Button(label=label, color=_COLORS[kind], css_classes=classes, **params)


def html(markup: Markup, **params: Any) -> pn.pane.HTML:
    """A pane showing `markup`, which must be escaped already: only a `Markup` is taken.

    Raises:
        TypeError: `markup` is a plain string, which may hold data that was not escaped.
    """
    if not isinstance(markup, Markup):
        message = "Give html() a Markup; escape data with Markup(...).format(...) first."
        raise TypeError(message)
    params.setdefault("margin", 0)
    return pn.pane.HTML(str(markup), **params)


def empty_state(title: str, text: str, actions: Sequence[Any] = (), icon_name: str = "sparkles") -> pn.Column:
    """What an empty place shows: what would be here, how to make it, and `actions` (Panel viewables) to start."""
    words = Markup('<div class="empty"><span class="empty-mark">{}</span><h2>{}</h2><p>{}</p></div>').format(
        icon(icon_name, 20), title, text
    )
    parts: list[Any] = [html(words, sizing_mode="stretch_width")]
    if actions:
        parts.append(pn.Row(*actions, css_classes=["tr-actions"], align="center", margin=(12, 0, 0, 0)))
    return pn.Column(*parts, css_classes=["tr-empty"], sizing_mode="stretch_width", margin=0)


def error_markup(title: str, sentence: str, details: str = "") -> Markup:
    """The HTML of an error: a heading, one sentence, and details behind a disclosure."""
    more = Markup("<details><summary>Details</summary><pre>{}</pre></details>").format(details) if details else ""
    return Markup(
        '<section class="error" role="alert"><h2><span class="error-mark">{}</span>{}</h2><p>{}</p>{}</section>'
    ).format(icon("triangle-alert", 14), title, sentence, more)


def error_card(title: str, sentence: str, details: str = "", actions: Sequence[Any] = ()) -> pn.Column:
    """A card saying what failed, why, and what can be done now; `details` start folded."""
    parts: list[Any] = [html(error_markup(title, sentence, details), sizing_mode="stretch_width")]
    if actions:
        parts.append(pn.Row(*actions, css_classes=["tr-actions"], margin=(10, 0, 0, 0)))
    return pn.Column(*parts, css_classes=["tr-card", "tr-error"], sizing_mode="stretch_width", margin=0)
