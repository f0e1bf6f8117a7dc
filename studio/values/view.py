"""Any value on a page: what it is, in the way that suits it, with the other ways one press away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import panel as pn
import param
from markupsafe import Markup

from engine.errors import TreadleError
from studio.session import Session
from studio.theme import error_card, html, number, size
from studio.values.charts import Chart, ChartKind, chart_of, draw, note_of, suggestion
from studio.values.kinds import Mode, kind_of, modes_of
from studio.values.tables import table_of, table_view
from studio.values.texts import (
    bytes_view,
    download,
    nothing_view,
    plain_of,
    report_view,
    scalar_view,
    text_view,
    tree_view,
)

if TYPE_CHECKING:
    from engine.domain.runs import StoredValue
    from engine.engine import Engine

LARGEST_SHOWN_BYTES = 64 * 2**20
_MOST_DRAWN = 20_000


class ValueState(param.Parameterized):
    """A value and the way it is being looked at."""

    mode: str = param.String()  # type: ignore[assignment]
    chart: ChartKind = param.Selector(default="bar", objects=["bar", "line", "scatter", "histogram"])  # type: ignore[assignment]
    x: str = param.String()  # type: ignore[assignment]
    y: str = param.String()  # type: ignore[assignment]

    def __init__(self, value: Any, *, summary: str = "") -> None:
        """Look at `value` in the way that suits it best."""
        super().__init__()
        self.value, self.summary = value, summary
        self.modes: tuple[Mode, ...] = modes_of(value)
        self.kind = kind_of(value)
        self.mode = self.modes[0]
        self._suggested: Chart | None = None

    @property
    def caption(self) -> str:
        """One line about the value: its size in the units of its kind."""
        if self.kind == "bytes":
            return size(len(self.value))
        if self.kind in ("text", "report"):
            lines = self.value.count("\n") + 1
            return f"{number(len(self.value))} characters · {number(lines)} {'line' if lines == 1 else 'lines'}"
        if self.kind == "table":
            return table_of(self.value).caption
        if self.kind == "chart":
            return f"{self.value['chart']} chart of {number(len(self.value['data']))} rows"
        return self.summary

    def rows(self) -> Any:
        """The rows that a table or a chart value holds."""
        return self.value["data"] if self.kind == "chart" else plain_of(self.value, rows=_MOST_DRAWN)

    def drawing(self) -> Chart:
        """What the Plot shows: the chart value, or what was chosen of the table. Raises ValueError."""
        if self.kind == "chart":
            return chart_of(self.value)
        chart = self.suggested()
        if chart is None:
            message = "There is nothing to draw: the table has no numbers."
            raise ValueError(message)
        if not self.x:
            return chart
        y = () if self.chart == "histogram" else (self.y,) if self.y else chart.y
        return Chart(self.chart, chart.rows, self.x, y, chart.series if self.chart == chart.kind else None)

    def suggested(self) -> Chart | None:
        """The chart that suits the table; its fields become the first choice."""
        if self._suggested is None:
            self._suggested = suggestion(self.rows())
            if self._suggested is not None:
                found = self._suggested
                self.param.update(chart=found.kind, x=found.x, y=found.y[0] if found.y else "")
        return self._suggested

    def columns(self) -> tuple[list[str], list[str]]:
        """The names to choose x and y from: all columns, and those with numbers."""
        table = table_of(self.value)
        return [column.title for column in table.columns], [column.title for column in table.numeric]


def value_view(
    value: Any, *, summary: str = "", dark: bool = False, rows: int = 10, name: str = "value"
) -> pn.viewable.Viewable:
    """Return `value` as a person wants to see it.

    `summary` is the line a node shows; `rows` how many rows of a table are seen at a time; `name` names its
    download. On a page of the studio the appearance follows the session, else `dark` says it.
    """
    session = Session.here()
    state = ValueState(value, summary=summary)
    body = pn.Column(sizing_mode="stretch_width", margin=0)

    def show(*_events: Any) -> None:
        is_dark = dark if session is None else session.theme == "dark"
        body.objects = [_body(state, dark=is_dark, rows=rows)]

    state.param.watch(show, "mode")
    show()
    return pn.Column(_head(state, name), body, sizing_mode="stretch_width", margin=0, css_classes=["tr-value"])


def stored_view(
    engine: Engine, stored: StoredValue, *, dark: bool = False, rows: int = 10, name: str = "value"
) -> pn.viewable.Viewable:
    """Return a stored value's view; a damaged one becomes a card that says so, a huge one its download."""
    try:
        value = engine.runs.value(stored)
    except TreadleError as error:
        return error_card("This value can't be shown", str(error))
    if stored.size_bytes > LARGEST_SHOWN_BYTES:
        words = Markup('<span class="muted">{} ({}) is too large for a page.</span>')
        note = html(words.format(stored.summary or "The value", size(stored.size_bytes)), align="center")
        return pn.Row(note, download(value, name=name), sizing_mode="stretch_width")
    return value_view(value, summary=stored.summary, dark=dark, rows=rows, name=name)


def _head(state: ValueState, name: str) -> pn.viewable.Viewable:
    parts: list[Any] = [html(Markup('<span class="caption">{}</span>').format(state.caption), align="center")]
    parts.append(pn.Spacer(sizing_mode="stretch_width", height=1))
    if len(state.modes) > 1:
        switch = pn.widgets.RadioButtonGroup(
            options=list(state.modes), value=state.mode, margin=0, align="center", width_policy="min"
        )
        switch.link(state, value="mode")
        parts.append(switch)
    if state.kind not in ("nothing", "scalar"):
        parts.append(download(state.value, name=name))
    return pn.Row(*parts, sizing_mode="stretch_width", margin=(0, 0, 8, 0), css_classes=["tr-actions"])


def _body(state: ValueState, *, dark: bool, rows: int) -> pn.viewable.Viewable:
    value = state.value
    if state.mode == "Table":
        return table_view(table_of(state.rows() if state.kind == "chart" else value), rows=rows)
    if state.mode == "Plot":
        return _plot(state, dark=dark)
    if state.mode == "Report":
        return report_view(value)
    if state.mode == "Text":
        return text_view(value)
    if state.mode == "Bytes":
        return bytes_view(bytes(value), state.summary)
    if state.mode == "JSON":
        return tree_view(value)
    return nothing_view() if value is None else scalar_view(value)


def _plot(state: ValueState, *, dark: bool) -> pn.viewable.Viewable:
    area = pn.Column(sizing_mode="stretch_width", margin=0)
    if state.kind == "chart":
        area.objects = _drawn(state, dark=dark)
        return area
    state.suggested()
    every, numbers = state.columns()
    chart = pn.widgets.Select(
        label="Chart", options=["bar", "line", "scatter", "histogram"], value=state.chart, width=110
    )
    x = pn.widgets.Select(label="Across", options=every, value=state.x or None, width=150)
    y = pn.widgets.Select(label="Up", options=numbers, value=state.y or None, width=150)
    session = Session.here()

    def redraw(*_events: Any) -> None:
        now_dark = dark if session is None else session.theme == "dark"
        state.param.update(chart=chart.value, x=x.value or "", y=y.value or "")
        y.visible = chart.value != "histogram"
        area.objects = _drawn(state, dark=now_dark)

    for widget in (chart, x, y):
        widget.margin = 0
        widget.param.watch(redraw, "value")
    redraw()
    choices = pn.Row(chart, x, y, css_classes=["tr-actions"], margin=(0, 0, 8, 0))
    return pn.Column(choices, area, sizing_mode="stretch_width", margin=0)


def _drawn(state: ValueState, *, dark: bool) -> list[Any]:
    try:
        chart = state.drawing()
        plot = draw(chart, dark=dark)
    except ValueError as error:
        return [html(Markup('<p class="muted">{}</p>').format(str(error)))]
    note = note_of(chart)
    pane = pn.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0)
    return [pane, html(Markup('<p class="caption">{}</p>').format(note))] if note else [pane]
