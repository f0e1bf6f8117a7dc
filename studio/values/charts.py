"""Charts: a chart value, or a table looked at as one, drawn with Bokeh in the colours of the studio."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from bokeh.models import ColumnDataSource, FactorRange, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

from studio.session import Session
from studio.theme import apply_bokeh, number, palette

if TYPE_CHECKING:
    from bokeh.models import GlyphRenderer

ChartKind = Literal["bar", "line", "scatter", "histogram"]
_SERIES = ("accent", "tether", "kb", "io", "agent", "nested", "warn")
_MOST_BARS = 60
_MOST_POINTS = 5_000
_BINS = 30
_FEW_BARS = 4
_HEIGHT_PX = 300
_LONGEST_LABEL = 24


@dataclass(frozen=True)
class Chart:
    """What to draw: columns of `rows` along x and up y, split by the values of `series`."""

    kind: ChartKind
    rows: Sequence[Mapping[str, Any]]
    x: str
    y: tuple[str, ...] = ()
    series: str | None = None
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    left_out: int = 0
    """Rows that whoever made the chart had dropped already."""


@dataclass(frozen=True)
class Points:
    """One series of a chart: its name and its points. A `None` in `x` or `y` was left out already."""

    name: str
    x: list[Any]
    y: list[float]


def chart_of(value: Mapping[str, Any]) -> Chart:
    """Read a chart value. Raises ValueError with a sentence when it names columns its data lacks."""
    rows = value["data"]
    known: dict[str, None] = {}
    for row in rows:
        known.update(dict.fromkeys(row))
    given = value.get("y")
    y = tuple(given) if isinstance(given, list | tuple) else (given,) if isinstance(given, str) else ()
    x = value.get("x") if isinstance(value.get("x"), str) else next(iter(known), "")
    if value["chart"] != "histogram" and not y:
        y = tuple(name for name in _numeric(rows, known) if name != x)[:1]
    series = value.get("series") if isinstance(value.get("series"), str) else None
    missing = [name for name in (x, *y, series) if name and rows and name not in known]
    if missing:
        message = f"The chart names the column {missing[0]!r}, which its data does not have."
        raise ValueError(message)
    words = {name: str(value.get(name) or "") for name in ("title", "x_label", "y_label")}
    left_out = value.get("left_out")
    return Chart(
        value["chart"], rows, str(x), y, series, left_out=left_out if isinstance(left_out, int) else 0, **words
    )


def suggestion(rows: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Return the chart that suits a table best, or None when it has no numbers."""
    known: dict[str, None] = dict.fromkeys(name for row in rows[:50] for name in row)
    numbers = _numeric(rows, known)
    if not numbers:
        return None
    words = [name for name in known if name not in numbers and _distinct(rows, name) <= _MOST_BARS]
    whole = next((name for name in words if _distinct(rows, name) == len(rows)), None)
    if whole is not None:
        return Chart("bar", rows, whole, (numbers[0],))
    if len(numbers) > 1:
        few = next((name for name in words if _distinct(rows, name) <= len(_SERIES)), None)
        return Chart("scatter", rows, numbers[0], (numbers[1],), few)
    return Chart("histogram", rows, numbers[0])


def series_of(chart: Chart) -> list[Points]:
    """Return the points of each series, in order of appearance; rows without a number for y are left out."""
    columns = chart.y or (chart.x,)
    found: dict[str, Points] = {}
    for row in chart.rows:
        for column in columns:
            y, x = row.get(column), row.get(chart.x)
            if not _is_number(y) or x is None:
                continue
            name = _label(row.get(chart.series)) if chart.series else column
            name = f"{name} · {column}" if chart.series and len(columns) > 1 else name
            points = found.setdefault(name, Points(name, [], []))
            points.x.append(x)
            points.y.append(float(y))  # type: ignore[arg-type]
    return list(found.values())


def note_of(chart: Chart) -> str:
    """Return what the drawing leaves out, or an empty text."""
    if chart.left_out:
        return f"{number(chart.left_out)} rows were left out when the chart was made."
    series = series_of(chart)
    if len(series) > len(_SERIES):
        return f"The first {len(_SERIES)} of {number(len(series))} series are drawn."
    points = sum(len(one.y) for one in series)
    if chart.kind == "bar" and (bars := len({_label(x) for one in series for x in one.x})) > _MOST_BARS:
        return f"The first {_MOST_BARS} of {number(bars)} bars are drawn."
    if chart.kind in ("line", "scatter") and points > _MOST_POINTS:
        return f"{number(_MOST_POINTS)} of {number(points)} points are drawn, evenly chosen."
    return ""


def draw(chart: Chart, *, dark: bool) -> Any:
    """Return the Bokeh figure. Raises ValueError with a sentence when nothing can be drawn."""
    series = series_of(chart)[: len(_SERIES)]
    if not series:
        message = "There is nothing to draw: no row has a number for it."
        raise ValueError(message)
    make: Callable[[Chart, list[Points]], Any] = {
        "bar": _bars,
        "line": _lines,
        "scatter": _scatter,
        "histogram": _histogram,
    }[chart.kind]
    plot = make(chart, series)
    _finish(plot, chart, many=len(series) > 1)
    _colour(plot, dark=dark)
    _follow_theme(plot)
    return plot


def _canvas(chart: Chart, **options: Any) -> Any:
    return figure(
        height=_HEIGHT_PX,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        title=chart.title or None,
        min_border_right=16,
        **options,
    )


def _bars(chart: Chart, series: list[Points]) -> Any:
    factors = list(dict.fromkeys(_label(x) for one in series for x in one.x))[:_MOST_BARS]
    plot = _canvas(chart, x_range=FactorRange(factors=factors, range_padding=0.08))
    width = (0.72 if len(factors) * len(series) > _FEW_BARS else 0.44) / len(series)
    for place, one in enumerate(series):
        sums: dict[str, float] = dict.fromkeys(factors, math.nan)
        for x, y in zip(one.x, one.y, strict=True):
            name = _label(x)
            if name in sums:
                sums[name] = y if math.isnan(sums[name]) else sums[name] + y
        shift = (place - (len(series) - 1) / 2) * width
        source = ColumnDataSource({"at": [(name, shift) for name in sums], "x": list(sums), "y": list(sums.values())})
        _named(plot, one, plot.vbar(x="at", top="y", width=width * 0.92, source=source, border_radius=2), many=series)
    plot.x_range.factors = factors
    plot.xgrid.visible = False
    plot.y_range.start = min(0.0, *(y for one in series for y in one.y)) * 1.05
    if sum(len(name) for name in factors) > 90:
        plot.xaxis.major_label_orientation = math.pi / 5
    return plot


def _lines(chart: Chart, series: list[Points]) -> Any:
    plot = _canvas(chart, **_x_options(series))
    for one in series:
        pairs = list(zip(_x_values(one.x), one.y, strict=True))
        if not isinstance(plot.x_range, FactorRange):
            pairs.sort(key=lambda pair: pair[0])
        source = _points_source(_thinned(pairs, len(series)))
        _named(plot, one, plot.line("x", "y", source=source, line_width=2), many=series)
        if len(pairs) <= 40:
            plot.scatter("x", "y", source=source, size=5, line_width=0).tags = [one.name]
    return plot


def _scatter(chart: Chart, series: list[Points]) -> Any:
    plot = _canvas(chart, **_x_options(series))
    for one in series:
        source = _points_source(_thinned(list(zip(_x_values(one.x), one.y, strict=True)), len(series)))
        _named(plot, one, plot.scatter("x", "y", source=source, size=6, fill_alpha=0.65, line_width=0), many=series)
    return plot


def _histogram(chart: Chart, series: list[Points]) -> Any:
    import numpy as np

    plot = _canvas(chart)
    every = np.array([y for one in series for y in one.y])
    edges = np.histogram_bin_edges(every, bins=min(_BINS, max(1, len(set(every.tolist())))))
    for one in series:
        counts, _ = np.histogram(one.y, bins=edges)
        labels = [f"{number(low)} to {number(high)}" for low, high in pairwise(edges)]
        source = ColumnDataSource({"left": edges[:-1], "right": edges[1:], "y": counts, "x": labels})
        bars = plot.quad(left="left", right="right", top="y", bottom=0, source=source, fill_alpha=0.8, line_width=1)
        _named(plot, one, bars, many=series)
    plot.y_range.start = 0
    plot.xgrid.visible = False
    return plot


def _named(plot: Any, one: Points, renderer: GlyphRenderer, *, many: list[Points]) -> None:
    from bokeh.models import LegendItem

    renderer.tags = [one.name]
    if len(many) > 1:
        items = plot.legend[0].items if plot.legend else None
        if items is None:
            from bokeh.models import Legend

            plot.add_layout(Legend(orientation="horizontal", border_line_color=None, padding=0, margin=4), "above")
            items = plot.legend[0].items
        items.append(LegendItem(label={"value": _short(one.name)}, renderers=[renderer]))


def _finish(plot: Any, chart: Chart, *, many: bool) -> None:
    up = "rows" if chart.kind == "histogram" else chart.y[0] if len(chart.y) == 1 else ""
    plot.xaxis.axis_label, plot.yaxis.axis_label = chart.x_label or chart.x, chart.y_label or up or None
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    if not isinstance(plot.x_range, FactorRange) and type(plot.xaxis[0]).__name__ == "LinearAxis":
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0.[00]" if not _is_year(chart) else "0")
    shown = [renderer for renderer in plot.renderers if "x" in renderer.data_source.data]
    time = type(plot.xaxis[0]).__name__ == "DatetimeAxis"
    tips = [(chart.x, "@x{%F %T}" if time else "@x"), (up or "value", "@y{0,0.[000]}")]
    if many:
        tips.append(("", "@name"))
        for renderer in shown:
            source = renderer.data_source
            source.data["name"] = [str(renderer.tags[0])] * len(source.data["x"])
    plot.add_tools(HoverTool(tooltips=tips, formatters={"@x": "datetime"} if time else {}, renderers=shown))


def _colour(plot: Any, *, dark: bool) -> None:
    apply_bokeh(plot, dark)
    for legend in plot.legend:
        legend.update(border_line_color=None, background_fill_color=None)
    tokens = palette(dark=dark)
    names = list(dict.fromkeys(renderer.tags[0] for renderer in plot.renderers if renderer.tags))
    for renderer in plot.renderers:
        colour = tokens[_SERIES[names.index(renderer.tags[0]) % len(_SERIES)]]
        for glyph in (renderer.glyph, renderer.nonselection_glyph, renderer.muted_glyph):
            for attribute in ("fill_color", "line_color"):
                if glyph is not None and not isinstance(glyph, str) and hasattr(glyph, attribute):
                    is_edge = attribute == "line_color" and hasattr(glyph, "fill_color")
                    setattr(glyph, attribute, tokens["surface"] if is_edge else colour)


def _follow_theme(plot: Any) -> None:
    """Take the new colours when the tab's appearance changes, as long as the figure is alive."""
    session = Session.here()
    if session is None:
        return
    alive = weakref.ref(plot)

    def change(appearance: str) -> None:
        kept = alive()
        if kept is not None:
            _colour(kept, dark=appearance == "dark")

    session.on_theme(change)


def _x_options(series: list[Points]) -> dict[str, Any]:
    every = [x for one in series for x in one.x]
    if all(_is_number(x) for x in every):
        return {}
    if all(_time(x) is not None for x in every):
        return {"x_axis_type": "datetime"}
    return {"x_range": FactorRange(factors=list(dict.fromkeys(_label(x) for x in every))[:_MOST_POINTS])}


def _x_values(values: list[Any]) -> list[Any]:
    if all(_is_number(x) for x in values):
        return values
    times = [_time(x) for x in values]
    return times if all(moment is not None for moment in times) else [_label(x) for x in values]


def _time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if not isinstance(value, str) or len(value) < 10 or value[4:5] != "-":
        return None
    try:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    except ValueError:
        return None


def _points_source(pairs: list[tuple[Any, float]]) -> ColumnDataSource:
    return ColumnDataSource({"x": [x for x, _ in pairs], "y": [y for _, y in pairs]})


def _thinned(pairs: list[tuple[Any, float]], series: int) -> list[tuple[Any, float]]:
    most = max(2, _MOST_POINTS // series)
    step = len(pairs) / most
    return pairs if step <= 1 else [pairs[int(at * step)] for at in range(most)]


def _numeric(rows: Sequence[Mapping[str, Any]], names: Mapping[str, None]) -> list[str]:
    sample = rows[:200]
    return [
        name
        for name in names
        if any(_is_number(row.get(name)) for row in sample)
        and all(row.get(name) is None or _is_number(row.get(name)) for row in sample)
    ]


def _distinct(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    return len({_label(row.get(name)) for row in rows})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_year(chart: Chart) -> bool:
    return "year" in chart.x.lower()


def _label(value: Any) -> str:
    return "–" if value is None else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"
