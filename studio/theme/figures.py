"""Bokeh and HoloViews figures in the colours of the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.themes import Theme

from studio.theme.palette import palette

if TYPE_CHECKING:
    from bokeh.models import Plot

_FONT = "Inter Variable"


def bokeh_theme(*, dark: bool) -> Theme:
    """The defaults every figure of a session gets; explicit values of a figure win over them."""
    tokens = palette(dark=dark)
    text = {"text_font": _FONT, "text_font_style": "normal"}
    axis = {f"axis_label_{key}": value for key, value in text.items()}
    axis |= {f"major_label_{key}": value for key, value in text.items()}
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": None,
                    "border_fill_color": None,
                    "outline_line_color": None,
                },
                "Axis": {
                    **axis,
                    "axis_label_text_color": tokens["ink-2"],
                    "axis_label_text_font_size": "11px",
                    "major_label_text_color": tokens["ink-3"],
                    "major_label_text_font_size": "11px",
                    "axis_line_color": tokens["line-strong"],
                    "major_tick_line_color": None,
                    "minor_tick_line_color": None,
                },
                "Grid": {"grid_line_color": tokens["line"]},
                "Legend": {
                    "label_text_font": _FONT,
                    "label_text_color": tokens["ink-2"],
                    "label_text_font_size": "11px",
                    "background_fill_color": tokens["surface"],
                    "background_fill_alpha": 0.9,
                    "border_line_color": tokens["line"],
                    "border_radius": 4,
                },
                "Title": {
                    "text_font": _FONT,
                    "text_font_style": "bold",
                    "text_font_size": "13px",
                    "text_color": tokens["ink"],
                },
                "Label": {"text_font": _FONT, "text_font_size": "11px", "text_color": tokens["ink-2"]},
                "LabelSet": {"text_font": {"value": _FONT}, "text_font_size": "11px", "text_color": tokens["ink-2"]},
                "Text": {"text_font": {"value": _FONT}, "text_font_size": "11px", "text_color": tokens["ink-2"]},
                "Toolbar": {"logo": None, "autohide": True},
            }
        }
    )


def apply_bokeh(figure: Plot, dark: bool) -> Plot:  # noqa: FBT001  (the hook's agreed signature)
    """Style `figure` now, for one made outside a session or by a library that sets its own colours.

    Figures on a page get the same defaults from the session's theme and follow the toggle without this.
    Glyph colours stay yours: take them from `palette(dark=...)` and change them in `Session.on_theme`.
    """
    theme = bokeh_theme(dark=dark)
    attributes = theme._json["attrs"]  # noqa: SLF001  Bokeh offers no public way to read a theme
    for model in figure.references():
        for cls in type(model).__mro__:
            for name, value in attributes.get(cls.__name__, {}).items():
                if hasattr(model, name):
                    setattr(model, name, value)
    return figure


def holoviews_hook(*, dark: bool) -> Any:
    """A hook for `opts(hooks=[...])` that styles the figure HoloViews made."""

    def hook(plot: Any, _element: Any) -> None:
        apply_bokeh(plot.state, dark)

    return hook
