"""Reports in Markdown. Data is escaped: whatever it holds, it is shown as text."""
# A value narrowed to a list or a table is one of unknown things to strict checking, and only its kind is asked for:
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import Field

from engine.tethers.conversion import table_kind, to_arrow
from engine.tethers.describe import tether
from engine.tethers.library.placeholders import filled
from engine.tethers.library.plain import plain

_MOST_ROWS = 50
_MOST_CHARACTERS = 500
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$])")
_STARTS = re.compile(r"^(\s*)([-+=]|\d+(?=[.)]\s))")
_LINK = re.compile(r"(?i)\b(https?|ftp|mailto)(:)|\b(www)(\.)|(@)()")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_ENTITY = re.compile(r'[&<>"]')


@tether(
    reference="reports.markdown",
    name="Markdown report",
    category="Reports",
    icon="notebook-text",
    outputs=("report",),
    keywords=("document", "template", "summary", "text"),
    example={"template": "# Report for {{ city }}\n\n{{ rows }}", "city": "Oslo", "rows": [{"n": 1}]},
)
def markdown(*, template: Annotated[str, Field(json_schema_extra={"x-widget": "multiline"})], **values: Any) -> str:
    """Write a report: a Markdown text in which {{ name }} stands for what is wired in.

    Between the braces stands CEL: {{ total.price }}, {{ rows.size() }}. Tables become Markdown tables of their first
    50 rows. Data can't bring in Markdown or HTML of its own.

    Args:
        template: The text, in Markdown.
        values: What is wired in, by the name of its port.
    """
    return filled(template, values, shown)


def shown(value: Any) -> str:
    """Return a value as Markdown that shows it and does nothing else."""
    if table_kind(type(value)):
        table = cast("Any", to_arrow(value))
        return _table(plain(table.slice(0, _MOST_ROWS)), table.num_rows, table.column_names)
    if isinstance(value, Mapping):
        return _object(cast("Mapping[str, Any]", value))
    if isinstance(value, list | tuple):
        return _list(cast("Sequence[Any]", value))
    return cell(value)


def _object(value: Mapping[str, Any]) -> str:
    if "chart" in value and isinstance(value.get("data"), list):
        return f"{cell(value.get('title') or value['chart'])}{_rows(value['data'])}"
    return _rows([{"name": name, "value": item} for name, item in value.items()])


def _list(value: Sequence[Any]) -> str:
    if value and all(isinstance(row, Mapping) for row in value):
        return _rows(value)
    if value and all(table_kind(type(item)) for item in value):
        return "".join(shown(table) for table in value)
    more = f" and {len(value) - _MOST_ROWS} more" if len(value) > _MOST_ROWS else ""
    return ", ".join(cell(item) for item in value[:_MOST_ROWS]) + more


def _rows(rows: Sequence[Any]) -> str:
    head = rows[:_MOST_ROWS]
    return _table(head, len(rows), list(dict.fromkeys(str(name) for row in head for name in row)))


def _table(head: Sequence[Mapping[str, Any]], total: int, names: Sequence[Any]) -> str:
    if not names:
        return "no rows"
    aligned = ["---:" if _is_numeric(head, name) else "---" for name in names]
    lines = [[cell(name) for name in names], aligned, *([cell(row.get(name)) for name in names] for row in head)]
    note = f"\n\n{len(head)} of {total} rows." if total > len(head) else ""
    return "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + note + "\n\n"


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: Any) -> bool:
    values = [row.get(name) for row in rows if row.get(name) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def cell(value: Any) -> str:
    """Return one value on one line, escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    text = value if isinstance(value, str) else str(plain(value))
    return escaped(text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " …")


def _number(value: float) -> str:
    """Four significant digits behind a small number, two decimals behind a large one; thousands stay together."""
    if value == 0 or value != value or abs(value) == float("inf"):  # noqa: PLR0124 - that is what NaN is
        return "0" if value == 0 else ""
    if 1e-4 <= abs(value) < 1e15:
        text = f"{value:.2f}" if abs(value) >= 100 else f"{value:.4g}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.4g}"


def escaped(text: str) -> str:
    """Return text so that Markdown and HTML show it as it is, on one line."""
    flat = " ".join(text.split())
    safe = _ENTITY.sub(lambda found: _ENTITIES[found[0]], flat)
    safe = _SPECIAL.sub(r"\\\1", safe)
    safe = _LINK.sub(_unlinked, safe)
    return _STARTS.sub(_unlisted, safe)


def _unlinked(found: re.Match[str]) -> str:
    """Keep an address from becoming a link by itself: a reader sees the same, a click leads nowhere."""
    word, sign = (found[1], found[2]) if found[1] else (found[3], found[4]) if found[3] else ("", found[5])
    return f"{word}&#{ord(sign)};"


def _unlisted(found: re.Match[str]) -> str:
    return f"{found[1]}&#{ord(found[2][0])};{found[2][1:]}"
