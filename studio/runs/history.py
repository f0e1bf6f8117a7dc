"""The last runs of a model as bars: how long each took, in the colour of its result."""

from __future__ import annotations

from typing import Any

from bokeh.events import Tap
from bokeh.models import ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure

from engine.domain.runs import Run
from studio.runs.run_state import HISTORY_RUNS, History
from studio.theme import apply_bokeh, duration, exact, palette
from studio.values.states import tone_of, word_of

_HEIGHT_PX = 104
_FAINT = 0.86
_OPEN = """
const at = Math.round(cb_obj.x), run = source.data.id[at]
if (run !== undefined) location.assign(`/run?id=${encodeURIComponent(run)}`)
"""


class HistoryChart:
    """The figure; a press on a bar opens its run. The run `current` is drawn in full, the others fainter."""

    def __init__(self, history: History, current: str, *, dark: bool) -> None:
        """Draw `history`."""
        self._runs, self._current = history.runs, current
        self._source = ColumnDataSource(
            {
                "at": list(range(len(self._runs))),
                "took": [run.duration_s or 0.0 for run in self._runs],
                "alpha": [1.0 if run.id == current else _FAINT for run in self._runs],
                "words": [_words(run) for run in self._runs],
                "when": [exact(run.created_at) for run in self._runs],
                "id": [run.id for run in self._runs],
                **self._colours(dark=dark),
            }
        )
        self.figure = self._draw()
        self.restyle(dark=dark)

    def restyle(self, *, dark: bool) -> None:
        """Take the colours of an appearance."""
        apply_bokeh(self.figure, dark)
        self.figure.outline_line_color = None
        self._source.data.update(self._colours(dark=dark))

    def _colours(self, *, dark: bool) -> dict[str, list[str]]:
        tokens = palette(dark=dark)
        fill = [tokens[tone_of(run.status)] for run in self._runs]
        edge = [tokens["ink"] if run.id == self._current else own for run, own in zip(self._runs, fill, strict=True)]
        return {"color": fill, "edge": edge}

    def _draw(self) -> Any:
        end = max(HISTORY_RUNS, len(self._runs)) - 0.4
        plot = figure(
            height=_HEIGHT_PX, sizing_mode="stretch_width", toolbar_location=None, tools="", min_border=0,
            x_axis_location=None, y_axis_location=None, x_range=(-0.6, end),
        )  # fmt: skip
        bars = plot.vbar(
            x="at", top="took", width=0.74, source=self._source, fill_color="color", line_color="edge",
            fill_alpha="alpha", line_width=1, border_radius=2,
        )  # fmt: skip
        plot.y_range.start = 0
        plot.grid.visible = False
        plot.add_tools(HoverTool(tooltips=[("", "@words"), ("", "@when")], renderers=[bars]))
        plot.js_on_event(Tap, CustomJS(args={"source": self._source}, code=_OPEN))
        return plot


def _words(run: Run) -> str:
    took = f" in {duration(run.duration_s)}" if run.duration_s is not None else ""
    return f"{word_of(run.status)}{took}"
