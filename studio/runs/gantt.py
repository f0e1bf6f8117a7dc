"""The timeline drawn: names at the left, bars at the right, one row a step, patched while the run is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
from bokeh.core.properties import value
from bokeh.events import Tap
from bokeh.models import (
    AdaptiveTicker,
    BasicTicker,
    BoxAnnotation,
    ColumnDataSource,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    Range1d,
)
from bokeh.plotting import figure
from markupsafe import Markup

from studio.components import BOX, Clickable
from studio.runs.run_state import ROWS_A_PAGE, RunState
from studio.runs.timeline import TimelineBar, TimelineRow, change
from studio.session import Session
from studio.theme import apply_bokeh, button, duration, html, icon, number, palette, pill

ROW_PX = 32
NAMES_PX = 248
_AXIS_PX = 26
_MOST_PX = ROW_PX * 13
_ROOM_AT_END = 1.04
_FIELDS = ("row", "start", "end", "middle", "color", "label", "name", "took", "result")
_CSS = """
.row{display:flex;align-items:center;gap:6px;box-sizing:border-box;width:100%;height:32px;padding:0 10px 0 12px;
  border:0;
  border-bottom:1px solid var(--line);background:none;color:var(--ink);font:400 var(--t3)/1 var(--font);
  text-align:left;cursor:pointer}
.row:hover{background:var(--idle-soft)}
.row[data-current]{background:var(--accent-soft)}
.row:focus-visible{outline-offset:-2px}
.row b{font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;flex:0 1 auto;line-height:1.4}
.row span{font-size:var(--t1);color:var(--ink-3);white-space:nowrap;flex:none}
.row i{flex:1}.row .bad{color:var(--bad)}
"""
_LEGEND_CSS = """
.legend{display:flex;gap:12px;font-size:var(--t1);color:var(--ink-2)}
.legend span{display:flex;align-items:center;gap:6px}
.legend i{width:9px;height:9px;border-radius:2px}
"""
_HALF_LINE = 1.5 / ROW_PX
_LONG_S = 100.0
# Whole numbers where they suffice; the unit stands at every number, as everywhere in the studio.
_SECONDS = """
if (tick > range.end * 0.97) return ""
if (tick === 0) return "0"
if (tick < 1) return `${+(tick * 1000).toPrecision(3)} ms`
if (tick < 60) return `${+tick.toPrecision(3)} s`
const hours = Math.floor(tick / 3600), minutes = Math.floor(tick / 60) % 60, rest = Math.round(tick % 60)
return [hours && `${hours} h`, minutes && `${minutes} min`, rest && `${rest} s`].filter(Boolean).join(" ")
"""


class Gantt:
    """The timeline of one run's page. `update` brings it up to date with the state."""

    def __init__(self, state: RunState, session: Session, on_select: Callable[[str], object]) -> None:
        """Draw `state`; pressing a row calls `on_select` with the step's path."""
        self._state, self._session, self._on_select = state, session, on_select
        self._bars: list[TimelineBar] = []
        self._long: bool | None = None
        self._critical: frozenset[str] = frozenset()
        self._source = ColumnDataSource({name: [] for name in _FIELDS})
        self._x = Range1d(0, 1)
        self._y = Range1d(1, 0)
        self._here = BoxAnnotation(fill_alpha=1, line_color=None, level="underlay", visible=False)
        self._figure, self._axis = self._canvas(), self._scale()
        self._names = Clickable(Markup(""), self._pressed, stylesheets=[_CSS], width=NAMES_PX)
        self._bars_pane = pn.pane.Bokeh(self._figure, sizing_mode="stretch_width", margin=0)
        rows = pn.Row(self._names, self._bars_pane, sizing_mode="stretch_width", margin=0)
        self._box = pn.Column(rows, scroll="y-auto", height=ROW_PX, sizing_mode="stretch_width", margin=0)
        self._frame = self._framed()
        self._head = Clickable(
            Markup(""),
            stylesheets=[".inside{display:flex;gap:10px;align-items:center}h2{margin:0;font-size:var(--t4)}"],
            align="center",
        )
        self._place = html(Markup(""), align="center")
        self._pager = pn.Row(
            button("Earlier rows", "chevron-up", "ghost", icon_only=True, on_click=lambda _: self._turn(-1)),
            self._place,
            button("Later rows", "chevron-down", "ghost", icon_only=True, on_click=lambda _: self._turn(1)),
            margin=0,
            align="center",
        )
        self._legend = html(Markup(""), stylesheets=[_LEGEND_CSS], align="center")
        session.on_theme(lambda _appearance: self._restyle())
        state.param.watch(lambda _event: self._mark(), "selected")
        self._restyle()
        self.update()

    def view(self) -> pn.viewable.Viewable:
        """The heading, the scale, and the rows in a box that scrolls by itself when there are many."""
        head = pn.Row(
            self._head,
            pn.Spacer(sizing_mode="stretch_width", height=1),
            self._pager,
            self._legend,
            sizing_mode="stretch_width",
            height=28,
            margin=(0, 0, 10, 0),
        )
        return pn.Column(head, self._frame, sizing_mode="stretch_width", margin=0)

    def _framed(self) -> pn.Column:
        scale = pn.Row(
            pn.Spacer(width=NAMES_PX, height=_AXIS_PX, margin=0),
            pn.pane.Bokeh(self._axis, sizing_mode="stretch_width", margin=0, height=_AXIS_PX),
            sizing_mode="stretch_width",
            margin=0,
            styles={"border-bottom": "1px solid var(--line)"},
        )
        return pn.Column(scale, self._box, sizing_mode="stretch_width", margin=0, styles=BOX)

    def update(self) -> None:
        """Draw what has changed since the last time."""
        state = self._state
        seconds, chain = state.critical() if state.ended else (0.0, ())
        self._critical = frozenset(chain) if len(chain) < len(state.rows) else frozenset()
        rows = state.shown
        self._names.show(_names_html(rows, self._critical, state))
        self._head.show(_heading_html(seconds, chain, state))
        self._draw(state.bars())
        self._stretch(state.span_s())
        height = max(1, len(rows)) * ROW_PX
        self._frame.visible = bool(rows)
        if rows and self._figure.height != height:
            # On the figure itself: the pane can't be changed once it is drawn (Panel 1.9).
            self._figure.height = height
            self._y.start = max(1, len(rows))
            self._figure.ygrid.ticker = FixedTicker(ticks=[place - _HALF_LINE for place in range(1, len(rows) + 1)])
            self._box.height = min(_MOST_PX, height)
        self._page_place()
        self._explain()
        self._mark()

    def _stretch(self, span_s: float) -> None:
        """Make room for the whole run; above a minute or so the scale counts in sixties."""
        self._x.end = span_s * _ROOM_AT_END
        is_long = span_s > _LONG_S
        if is_long is not self._long:
            self._long = is_long
            sixties = AdaptiveTicker(base=60, mantissas=[1, 2, 5, 10, 15, 20, 30], min_interval=1)
            ticker = sixties if is_long else BasicTicker(desired_num_ticks=8)
            self._axis.xaxis.ticker = self._figure.xgrid.ticker = ticker

    def _draw(self, bars: list[TimelineBar]) -> None:
        step = change(self._bars, bars)
        colours = self._colours()
        if step.replace or not self._bars:
            self._source.data = _columns(bars, colours)
        else:
            kept = len(self._bars)
            patched = _columns([bars[place] for place in step.patched], colours)
            if step.patched:
                self._source.patch(
                    {name: list(zip(step.patched, values, strict=True)) for name, values in patched.items()}
                )
            if step.added:
                self._source.stream(_columns(bars[kept:], colours))
        self._bars = bars

    def _canvas(self) -> Any:
        plot = figure(
            height=1, sizing_mode="stretch_width", x_range=self._x, y_range=self._y, toolbar_location=None,
            tools="", min_border=0, outline_line_color=None, x_axis_location=None, y_axis_location=None,
        )  # fmt: skip
        plot.add_layout(self._here)
        drawn = plot.hbar(
            y="middle", left="start", right="end", height=0.5, source=self._source, fill_color="color",
            line_color="color", line_width=1.5, border_radius=3,
        )  # fmt: skip
        self._labels = plot.text(
            x="start", y="middle", text="label", source=self._source, text_baseline="middle", x_offset=5, y_offset=1,
            text_font_size="10px",
        )  # fmt: skip
        self._labels.update(nonselection_glyph=None, selection_glyph=None)
        tips = [("", "@name"), ("took", "@took"), ("result", "@result")]
        plot.add_tools(HoverTool(tooltips=tips, renderers=[drawn], point_policy="follow_mouse"))
        plot.on_event(Tap, self._tapped)
        return plot

    def _scale(self) -> Any:
        plot = figure(
            height=_AXIS_PX, sizing_mode="stretch_width", x_range=self._x, y_range=Range1d(0, 1), toolbar_location=None,
            tools="", min_border=0, outline_line_color=None, y_axis_location=None, x_axis_location="above",
        )  # fmt: skip
        plot.grid.visible = False
        plot.scatter([0], [0.5], visible=False)
        plot.xaxis.update(
            axis_line_color=None,
            major_label_standoff=4,
            formatter=CustomJSTickFormatter(code=_SECONDS, args={"range": self._x}),
        )
        return plot

    def _colours(self) -> dict[str, str]:
        tokens = palette(dark=self._session.theme == "dark")
        return {tone: tokens[tone] for tone in ("ok", "bad", "run", "idle")}

    def _restyle(self) -> None:
        dark = self._session.theme == "dark"
        tokens = palette(dark=dark)
        for plot in (self._figure, self._axis):
            apply_bokeh(plot, dark)
            plot.outline_line_color = None
        self._axis.xaxis.axis_line_color = None
        for glyph in filter(None, (self._labels.glyph, self._labels.muted_glyph)):
            glyph.update(text_color=tokens["on-accent"], text_font_size="10px", text_font=value("Inter Variable"))
        self._here.fill_color = tokens["accent-soft"]
        self._source.data = _columns(self._bars, self._colours())

    def _explain(self) -> None:
        """Say what the colours mean: those that can be there."""
        words = [("ok", "done"), ("bad", "failed"), ("run", "under way"), ("idle", "cached or stopped")]
        shown = [pair for pair in words if pair[0] != "run" or not self._state.ended]
        marks = Markup("").join(
            Markup('<span><i style="background:var(--{})"></i>{}</span>').format(*pair) for pair in shown
        )
        self._legend.object = str(Markup('<div class="legend">{}</div>').format(marks))

    def _mark(self) -> None:
        selected = self._state.selected
        self._names.current = selected
        place = next((at for at, row in enumerate(self._state.shown) if row.step.path == selected), None)
        self._here.visible = place is not None
        if place is not None:
            self._here.update(top=place - 1 / ROW_PX, bottom=place + 1 - 2 / ROW_PX)

    def _page_place(self) -> None:
        rows, page = len(self._state.rows), self._state.page
        self._pager.visible = rows > ROWS_A_PAGE
        first, last = page * ROWS_A_PAGE + 1, min(rows, (page + 1) * ROWS_A_PAGE)
        self._place.object = str(
            Markup('<span class="caption num">{} to {} of {}</span>').format(number(first), number(last), number(rows))
        )

    def _turn(self, by: int) -> None:
        last = max(0, (len(self._state.rows) - 1) // ROWS_A_PAGE)
        self._state.page = min(last, max(0, self._state.page + by))
        self.update()

    def _pressed(self, _word: str, key: str) -> None:
        self._on_select(key)

    def _tapped(self, event: Any) -> None:
        rows = self._state.shown
        if event.y is not None and 0 <= int(event.y) < len(rows):
            self._on_select(rows[int(event.y)].step.path)


def _columns(bars: Sequence[TimelineBar], colours: dict[str, str]) -> dict[str, list[Any]]:
    return {
        "row": [bar.row for bar in bars],
        "start": [bar.start_s for bar in bars],
        "end": [bar.end_s for bar in bars],
        "middle": [bar.row + 0.5 for bar in bars],
        "color": [colours[bar.tone] for bar in bars],
        "label": [bar.label for bar in bars],
        "name": [bar.name for bar in bars],
        "took": [duration(bar.end_s - bar.start_s) for bar in bars],
        "result": [bar.result[:160] for bar in bars],
    }


def _heading_html(seconds: float, chain: Sequence[str], state: RunState) -> Markup:
    parts = [Markup("<h2>Timeline</h2>")]
    if len(chain) > 1:
        names = " → ".join(state.steps[node].name for node in chain[:12] if node in state.steps)
        parts.append(
            pill(
                f"critical path {duration(seconds)}",
                title=f"The longest chain of steps that waited for each other: {names}",
            )
        )
    if not state.ended:
        done = sum(row.step.status in ("succeeded", "cached", "skipped") for row in state.rows)
        parts.append(pill(f"{number(done)} of {number(len(state.rows))} steps", "run" if state.live else "warn"))
    return Markup("").join(parts)


def _names_html(rows: Sequence[TimelineRow], critical: frozenset[str], state: RunState) -> Markup:
    if not rows:
        return Markup('<div class="row"><span>No steps yet</span></div>')
    lines = [_name_html(row, row.step.path in critical, state) for row in rows]
    return Markup('<div role="listbox" aria-label="Steps">{}</div>').format(Markup("").join(lines))


def _name_html(row: TimelineRow, is_critical: bool, state: RunState) -> Markup:  # noqa: FBT001  only called above
    step = row.step
    word = state.models.kind_word(step) if not row.depth else "nested"
    mark = Markup("")
    if step.status in ("skipped", "pending", "cancelled", "waiting"):
        mark = Markup('<span class="mark" title="{}">{}</span>').format(step.reason or "", step.status)
    elif step.status == "failed":
        mark = Markup('<span class="bad" aria-label="failed" title="failed">{}</span>').format(icon("x", 12, 2.25))
    elif is_critical:
        mark = Markup('<span title="On the critical path">{}</span>').format(icon("route", 12))
    return Markup(
        '<button class="row" role="option" aria-selected="false" data-do="select" data-key="{}" title="{}" '
        'style="padding-left:{}px"><b>{}</b><span>{}</span><i></i>{}</button>'
    ).format(step.path, f"{step.name} ({step.status})", 12 + 14 * min(row.depth, 6), step.name, word, mark)
