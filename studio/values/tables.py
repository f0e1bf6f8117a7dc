"""Tables: any tabular value as one presentable frame, and the widget that pages through it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import panel as pn
from bokeh.models.widgets.tables import NumberFormatter, ScientificFormatter, StringFormatter
from markupsafe import Markup, escape

from studio.theme import html, number
from studio.values.kinds import is_arrow, is_frame

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 100_000
_MOST_COLUMNS = 200
_LONGEST_CELL = 300
_EXACT_INTEGER = 2**53
_SMALLEST_PLAIN = 1e-4
_LARGEST_PLAIN = 1e15
_NAMES = frozenset({"id", "ids", "key", "code", "pid", "ppid", "uid", "gid", "zip", "postcode"})
_WORD = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MISSING = "–"
_ROW_PX = 31
_HEADER_PX = 33
_FOOTER_PX = 38
_NARROWEST_PX = 84
_WIDEST_MINIMUM_PX = 150
_SCROLLBAR_PX = 12
_ROOMY_COLUMNS = 6
# The arrow of a sorted column stands in the padding, so that a right-aligned title ends where its numbers end.
_CSS = """
.tabulator.tabulator .tabulator-header .tabulator-col.tabulator-sortable .tabulator-col-title{padding-right:0}
.tabulator.tabulator .tabulator-header .tabulator-col .tabulator-col-content .tabulator-col-sorter{right:1px}
.tabulator.tabulator .tabulator-row .tabulator-cell>*{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
"""


@dataclass(frozen=True)
class Column:
    """A column as it is shown: its title, what it holds, and how it is aligned."""

    key: str
    title: str
    type: str
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class Table:
    """A table ready to be shown. Columns of `frame` are named by `Column.key`; every cell is a number or a text."""

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    rows: int
    """How many rows the value has; `frame` holds at most `MOST_ROWS` of them."""

    @property
    def numeric(self) -> tuple[Column, ...]:
        """The columns that hold numbers."""
        return tuple(column for column in self.columns if self.frame[column.key].dtype.kind in "iuf")

    @property
    def caption(self) -> str:
        """What a person sees below it: '344 rows · 7 columns'."""
        rows = f"{number(self.rows)} {'row' if self.rows == 1 else 'rows'}"
        width = f"{number(len(self.columns))} {'column' if len(self.columns) == 1 else 'columns'}"
        cut = f" · the first {number(MOST_ROWS)} are shown" if self.rows > MOST_ROWS else ""
        return f"{rows} · {width}{cut}"


def table_of(value: Any) -> Table:
    """Return a pyarrow.Table, a DataFrame or a list of objects as it is shown."""
    import pandas as pd

    rows = value.num_rows if is_arrow(value) else len(value)
    if is_arrow(value):
        raw = value.slice(0, MOST_ROWS).to_pandas()
        types = [_arrow_type(kind) for kind in value.schema.types]
    elif is_frame(value):
        raw = value.head(MOST_ROWS)
        types = [""] * raw.shape[1]
    else:
        raw = _frame_of(value[:MOST_ROWS])
        types = [""] * raw.shape[1]
    frame: dict[str, Any] = {}
    columns: list[Column] = []
    for position in range(min(raw.shape[1], _MOST_COLUMNS)):
        series, key = raw.iloc[:, position], f"c{position}"
        cells = _cells(series)
        frame[key] = cells.reset_index(drop=True)
        kind = types[position] or _type_of(series)
        is_number = cells.dtype.kind in "iuf" or kind in ("whole number", "number")
        columns.append(Column(key, str(raw.columns[position]), kind, "right" if is_number else "left"))
    return Table(pd.DataFrame(frame), tuple(columns), rows)


def table_view(table: Table, *, rows: int = 10) -> pn.viewable.Viewable:
    """Return the widget: `rows` at a time, the rest fetched page by page; a sort is done on the server."""
    if table.rows == 0:
        names = ", ".join(column.title for column in table.columns)
        words = f"No rows. The columns are: {names}." if names else "No rows and no columns."
        return html(Markup('<p class="muted">{}</p>').format(words), sizing_mode="stretch_width")
    paged = len(table.frame) > rows
    shown = min(len(table.frame), rows)
    longest = max(len(column.title) for column in table.columns)
    narrowest = max(_NARROWEST_PX, min(_WIDEST_MINIMUM_PX, 7 * longest + 24))
    scrolls = _SCROLLBAR_PX if len(table.columns) > _ROOMY_COLUMNS else 0
    return pn.widgets.Tabulator(
        table.frame,
        disabled=True,
        show_index=False,
        pagination="remote" if paged else None,
        page_size=rows if paged else None,
        # The widget draws titles and their tooltips as HTML.
        titles={column.key: str(escape(column.title)) for column in table.columns},
        header_tooltips={column.key: str(escape(f"{column.title}: {column.type}")) for column in table.columns},
        formatters={column.key: _formatter(column, table.frame[column.key]) for column in table.columns},
        header_align={column.key: column.align for column in table.columns},
        configuration={"columnDefaults": {"minWidth": narrowest, "tooltip": False}},
        height=_HEADER_PX + shown * _ROW_PX + (_FOOTER_PX if paged else 2) + scrolls,
        sizing_mode="stretch_width",
        stylesheets=[_CSS],
        margin=0,
    )


def _frame_of(rows: list[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows]) for name in names})


def _cells(series: pd.Series) -> pd.Series:
    """Return the column as numbers where a browser can hold them exactly enough, else as texts."""
    import pandas as pd

    if series.dtype.kind == "b":
        return series.map({True: "true", False: "false"})
    if series.dtype.kind in "iu":
        large = len(series) and max(abs(int(series.max())), abs(int(series.min()))) >= _EXACT_INTEGER
        return series.map(_text) if large else series.astype("int64")
    if series.dtype.kind == "f":
        return series.astype("float64")
    if series.dtype == object and _all_numbers(series):
        return pd.to_numeric(series).astype("float64")
    return series.map(_text)


def _all_numbers(series: pd.Series) -> bool:
    given = [cell for cell in series if cell is not None]
    return bool(given) and all(
        isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < _EXACT_INTEGER for cell in given
    )


def _text(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and cell != cell):  # noqa: PLR0124  the test for NaN
        return _MISSING
    if isinstance(cell, str):
        text = cell
    elif isinstance(cell, bool):
        text = "true" if cell else "false"
    elif isinstance(cell, bytes):
        text = f"{number(len(cell))} bytes"
    elif isinstance(cell, Mapping | list | tuple) or hasattr(cell, "tolist"):
        plain = cell.tolist() if hasattr(cell, "tolist") else cell
        text = json.dumps(plain, ensure_ascii=False, default=str)
    elif hasattr(cell, "isoformat"):
        text = _MISSING if str(cell) == "NaT" else str(cell).replace("+00:00", " UTC")
    else:
        text = _MISSING if str(cell) in ("NaT", "<NA>") else str(cell)
    return text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "…"


def _formatter(column: Column, cells: pd.Series) -> Any:
    if _is_name(column.title) and (cells.dtype.kind in "iu" or (cells.dtype.kind == "f" and _whole(cells.dropna()))):
        return NumberFormatter(format="0", text_align="right", nan_format=_MISSING)
    if cells.dtype.kind in "iu":
        return NumberFormatter(format="0,0", text_align="right", nan_format=_MISSING)
    if cells.dtype.kind == "f":
        sizes = cells.abs()
        known = sizes[(sizes > 0) & (sizes < float("inf"))]
        if len(known) and (known.max() < _SMALLEST_PLAIN or known.max() > _LARGEST_PLAIN):
            return ScientificFormatter(precision=3, text_align="right", nan_format=_MISSING)
        return NumberFormatter(format=f"0,0{_decimals(known)}", text_align="right", nan_format=_MISSING)
    return StringFormatter(text_align=column.align, nan_format=_MISSING, null_format=_MISSING)


def _is_name(title: str) -> bool:
    """Return whether numbers under this title tell things apart, as years and ids do: they are read as written."""
    words = set(_WORD.findall(_CAMEL.sub(" ", title).lower()))
    return "year" in title.lower() or bool(words & _NAMES)


def _whole(numbers: pd.Series) -> bool:
    return bool((numbers % 1 == 0).all())


def _decimals(known: pd.Series) -> str:
    """Return as many decimals as the column needs, the same in every row so that the points stand in line."""
    if _whole(known):
        return ""
    wanted = 4 if known.max() < 1 else 2
    one_is_enough = wanted == 2 and ((known * 10).round(6) % 1 == 0).all()
    return "." + "0" * (1 if one_is_enough else wanted)


def _type_of(series: pd.Series) -> str:
    kinds = {"b": "yes or no", "i": "whole number", "u": "whole number", "f": "number", "M": "time"}
    found = kinds.get(series.dtype.kind)
    if found:
        return found
    first = next((cell for cell in series if cell is not None), None)
    if isinstance(first, bool):
        return "yes or no"
    if isinstance(first, int | float):
        return "number"
    return "nested" if isinstance(first, Mapping | list) else "text"


def _arrow_type(kind: Any) -> str:
    text = str(kind)
    if text.startswith(("int", "uint")):
        return "whole number"
    if text.startswith(("float", "double", "halffloat", "decimal")):
        return "number"
    if text.startswith(("timestamp", "date", "time")):
        return "time"
    if text.startswith(("list", "struct", "map", "large_list", "fixed_size_list")):
        return "nested"
    return {"bool": "yes or no", "string": "text", "large_string": "text", "binary": "bytes"}.get(text, text)
