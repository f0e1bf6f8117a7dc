"""A chart as a value: what to draw, in JSON, drawn by whoever shows it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

CHART_SCHEMA: dict[str, Any] = {"type": "object", "format": "chart"}


class Chart(TypedDict):
    """A small chart: `data` holds one row per point, with the fields that `x`, `y` and `series` name."""

    chart: Literal["bar", "line", "scatter", "histogram"]
    title: str
    x: str
    y: list[str]
    series: str | None
    """The field that tells the lines, bars or points apart, if there is one."""
    x_label: str
    y_label: str
    data: list[dict[str, Any]]
    left_out: int
    """Rows that were not kept, so that the chart stays small."""
