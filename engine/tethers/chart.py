"""A chart as a value: what to draw, in JSON, drawn by whoever shows it."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

CHART_SCHEMA: dict[str, Any] = {"type": "object", "format": "chart"}


class Chart(TypedDict):
    """A small chart: `data` holds one row per point, with the fields that `x`, `y` and `series` name."""

    chart: Literal["bar", "line", "scatter", "histogram"]
    title: str
    x: str
    y: str | None
    """The column of the heights; None for a histogram."""
    series: str | None
    """The column that tells the lines, bars or points apart, if there is one."""
    data: list[dict[str, Any]]
