"""The last runs of a model as bars: how long each took, in the colour of its result."""

from __future__ import annotations

from typing import Any

from bokeh.events import Tap
from bokeh.models import ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure

from engine.domain.runs import Run
from studio.runs.run_state import History
from studio.theme import apply_bokeh, duration, exact, palette
from studio.values.states import tone_of, word_of

_HEIGHT_PX = 104
_FADED = 0.35
_DRAWN = 0.86


def draw_history(history: History, current: str, *, dark: bool) -> Any:
    """Return the figure; a press on a bar opens its run. The run `current` is drawn in full, the others fainter."""
    tokens = palette(dark=dark)
    runs = history.runs
    source = ColumnDataSource(
        {
            "at": list(range(len(runs))),
            "took": [run.duration_s or 0.0 for run in runs],
            "color": [tokens[tone_of(run.status)] for run in runs],
            "alpha": [1.0 if run.id == current else _DRAWN if run.status != "running" else _FADED for run in runs],
            "edge": [tokens["ink"] if run.id == current else tokens[tone_of(run.status)] for run in runs],
            "words": [_words(run) for run in runs],
            "when": [exact(run.created_at) for run in runs],
            "id": [run.id for run in runs],
        }
    )
    plot = figure(
        height=_HEIGHT_PX, sizing_mode="stretch_width", toolbar_location=None, tools="", min_border=0,
        x_axis_location=None, y_axis_location=None, x_range=(-0.6, max(29, len(runs) - 1) + 0.6),
    )  # fmt: skip
    bars = plot.vbar(
        x="at", top="took", width=0.74, source=source, fill_color="color", line_color="edge", fill_alpha="alpha",
        line_width=1, border_radius=2,
    )  # fmt: skip
    plot.y_range.start = 0
    plot.grid.visible = False
    plot.add_tools(HoverTool(tooltips=[("", "@words"), ("", "@when")], renderers=[bars]))
    code = """
        const at = Math.round(cb_obj.x), run = source.data.id[at]
        if (run !== undefined) location.assign(`/run?id=${encodeURIComponent(run)}`)
    """
    plot.js_on_event(Tap, CustomJS(args={"source": source}, code=code))
    apply_bokeh(plot, dark)
    plot.outline_line_color = None
    return plot


def _words(run: Run) -> str:
    took = f" in {duration(run.duration_s)}" if run.duration_s is not None else ""
    return f"{word_of(run.status)}{took}"
