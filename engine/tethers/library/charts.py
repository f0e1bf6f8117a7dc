"""Charts as values: what to draw, with the few columns that it needs; the studio draws it."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from engine.ports import StepContext
from engine.tethers.chart import Chart
from engine.tethers.describe import tether
from engine.tethers.library.columns import existing
from engine.tethers.library.plain import plain

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY = "Charts"
_MOST_ROWS = 10_000
_ROWS = [{"city": "Oslo", "year": 2025, "sold": 3}, {"city": "Rome", "year": 2026, "sold": 5}]


@tether(
    reference="charts.bar",
    name="Bar chart",
    category=CATEGORY,
    icon="chart-column",
    outputs=("chart",),
    keywords=("plot", "graph", "column", "compare"),
    example={"rows": _ROWS, "x": "city", "y": "sold"},
)
def bar(
    rows: pa.Table, *, x: str, y: str, series: str | None = None, title: str = "", context: StepContext | None = None
) -> Chart:
    """Draw a bar for each row.

    Args:
        rows: The table.
        x: The column along the bottom.
        y: The column whose numbers are the heights.
        series: The column that tells bars beside each other apart, if there is one.
        title: What stands above.
        context: The step.
    """
    return _chart("bar", rows, x=x, y=y, series=series, title=title, context=context)


@tether(
    reference="charts.line",
    name="Line chart",
    category=CATEGORY,
    icon="chart-line",
    outputs=("chart",),
    keywords=("plot", "graph", "time", "trend"),
    example={"rows": _ROWS, "x": "year", "y": "sold"},
)
def line(
    rows: pa.Table, *, x: str, y: str, series: str | None = None, title: str = "", context: StepContext | None = None
) -> Chart:
    """Draw a line through the rows in the order of x.

    Args:
        rows: The table.
        x: The column along the bottom.
        y: The column whose numbers are the heights.
        series: The column that tells lines apart, if there is one.
        title: What stands above.
        context: The step.
    """
    existing(rows, [x, y])
    return _chart("line", rows.sort_by(x), x=x, y=y, series=series, title=title, context=context)


@tether(
    reference="charts.scatter",
    name="Scatter chart",
    category=CATEGORY,
    icon="chart-scatter",
    outputs=("chart",),
    keywords=("plot", "graph", "points", "correlation"),
    example={"rows": _ROWS, "x": "year", "y": "sold"},
)
def scatter(
    rows: pa.Table, *, x: str, y: str, series: str | None = None, title: str = "", context: StepContext | None = None
) -> Chart:
    """Draw a point for each row.

    Args:
        rows: The table.
        x: The column along the bottom.
        y: The column whose numbers are the heights.
        series: The column that colours the points, if there is one.
        title: What stands above.
        context: The step.
    """
    return _chart("scatter", rows, x=x, y=y, series=series, title=title, context=context)


@tether(
    reference="charts.histogram",
    name="Histogram",
    category=CATEGORY,
    icon="chart-no-axes-column",
    outputs=("chart",),
    keywords=("plot", "graph", "distribution", "bins"),
    example={"rows": _ROWS, "x": "sold"},
)
def histogram(
    rows: pa.Table, *, x: str, series: str | None = None, title: str = "", context: StepContext | None = None
) -> Chart:
    """Draw how often the numbers of a column occur.

    Args:
        rows: The table.
        x: The column.
        series: The column that tells groups apart, if there is one.
        title: What stands above.
        context: The step.
    """
    return _chart("histogram", rows, x=x, y=None, series=series, title=title, context=context)


def _chart(
    chart: Literal["bar", "line", "scatter", "histogram"],
    rows: pa.Table,
    *,
    x: str,
    y: str | None,
    series: str | None,
    title: str,
    context: StepContext | None,
) -> Chart:
    """Return the chart's value: the columns it names and at most 10,000 rows, evenly taken from all."""
    columns = existing(rows, [name for name in (x, y, series or None) if name is not None], purpose="for x")
    measured = y if y is not None else x
    _check_numbers(rows, measured)
    kept = rows.select(columns)
    if kept.num_rows > _MOST_ROWS:
        kept = kept.take([place * kept.num_rows // _MOST_ROWS for place in range(_MOST_ROWS)])
        if context is not None:
            context.log(f"The chart shows {_MOST_ROWS:,} of {rows.num_rows:,} rows, evenly taken.")
    shown: dict[str, Any] = {"chart": chart, "title": title, "x": x, "y": y, "series": series or None}
    return cast("Chart", {**shown, "data": plain(kept)})


def _check_numbers(rows: pa.Table, name: str) -> None:
    from pyarrow import types

    kind = rows.schema.field(name).type
    numeric = (types.is_integer, types.is_floating, types.is_decimal, types.is_null, types.is_boolean)
    if not any(holds(kind) for holds in numeric):
        raise ValueError(f"The column {name!r} holds {kind}, not numbers. Choose another one, or convert it first.")
