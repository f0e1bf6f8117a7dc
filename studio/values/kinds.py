"""What a stored value is to a person: a table, a chart, a report, text, JSON, bytes, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["nothing", "scalar", "table", "chart", "report", "text", "json", "bytes"]
Mode: TypeAlias = Literal["Table", "Plot", "Report", "Text", "JSON", "Bytes", "Value"]
CHARTS = ("bar", "line", "scatter", "histogram")
_LONGEST_SCALAR = 120
_SAMPLE_CHARACTERS = 20_000
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_TABLE_RULE = re.compile(r"^\|?\s*:?-{3,}:?\s*\|", re.MULTILINE)
_BULLET = re.compile(r"^[-*] \S", re.MULTILINE)
_EMPHASIS = re.compile(r"\*\*[^*\n]+\*\*|^```|\[[^\]\n]+\]\([^)\n]+\)", re.MULTILINE)
_MODES: Mapping[Kind, tuple[Mode, ...]] = {
    "nothing": ("Value",),
    "scalar": ("Value",),
    "table": ("Table", "Plot", "JSON"),
    "chart": ("Plot", "Table", "JSON"),
    "report": ("Report", "Text"),
    "text": ("Text",),
    "json": ("JSON",),
    "bytes": ("Bytes",),
}


def kind_of(value: Any) -> Kind:
    """Return how `value` is best shown first."""
    if value is None:
        return "nothing"
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, bool | int | float):
        return "scalar"
    if is_arrow(value) or is_frame(value) or is_records(value):
        return "table"
    if is_chart(value):
        return "chart"
    return "json"


def modes_of(value: Any) -> tuple[Mode, ...]:
    """Return the ways in which `value` makes sense, the best first."""
    kind = kind_of(value)
    if kind == "table" and not _has_numbers(value):
        return ("Table", "JSON")
    return _MODES[kind]


def is_arrow(value: Any) -> bool:
    """Say whether it is a pyarrow.Table, without importing pyarrow."""
    return _origin(value) == ("pyarrow", "Table")


def is_frame(value: Any) -> bool:
    """Say whether it is a pandas.DataFrame, without importing pandas."""
    return _origin(value) == ("pandas", "DataFrame")


def is_records(value: Any) -> bool:
    """Say whether it is a list of objects with text keys, as tables look in JSON."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, Mapping) and row and all(isinstance(key, str) for key in row) for row in value)
    )


def is_chart(value: Any) -> bool:
    """Say whether it is a chart value: its kind, and rows to draw."""
    return (
        isinstance(value, Mapping)
        and value.get("chart") in CHARTS
        and isinstance(value.get("data"), Sequence)
        and all(isinstance(row, Mapping) for row in value["data"])
    )


def is_report(text: str) -> bool:
    """Say whether a text reads as Markdown: a heading, a table, or several marks of it."""
    start = text[:_SAMPLE_CHARACTERS]
    if _HEADING.search(start) or _TABLE_RULE.search(start):
        return True
    return len(_BULLET.findall(start)) + len(_EMPHASIS.findall(start)) > 1


def _kind_of_text(text: str) -> Kind:
    if is_report(text):
        return "report"
    return "text" if "\n" in text or len(text) > _LONGEST_SCALAR or not text else "scalar"


def _has_numbers(value: Any) -> bool:
    if is_arrow(value):
        kinds = [str(kind) for kind in value.schema.types]
        return value.num_rows > 0 and any(
            kind.startswith(("int", "uint", "float", "double", "decimal")) for kind in kinds
        )
    if is_frame(value):
        return len(value) > 0 and any(kind.kind in "iuf" for kind in value.dtypes)
    return any(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in value[0].values())


def _origin(value: Any) -> tuple[str, str]:
    kind = type(value)
    return kind.__module__.partition(".")[0], kind.__name__
