"""Values as functions want them: tables between Arrow, pandas and lists of rows; bytes from base64.

What can't be converted raises ValueError, worded as the end of a sentence that starts with the port.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_WORDS: dict[type, str] = {
    str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", tuple: "a list",
    dict: "an object", bytes: "bytes", type(None): "nothing",
}  # fmt: skip
_DEEPEST = 100


def table_kind(kind: object) -> str | None:
    """Return 'arrow' for pyarrow.Table, 'pandas' for pandas.DataFrame, else None; imports neither."""
    name, module = getattr(kind, "__name__", ""), str(getattr(kind, "__module__", "")).partition(".")[0]
    return {("Table", "pyarrow"): "arrow", ("DataFrame", "pandas"): "pandas"}.get((name, module))


def _table_kind_of(value: object) -> str | None:
    return table_kind(type(value))


def words(value: object) -> str:
    """Return what a value is, in the words a person uses."""
    if _table_kind_of(value):
        return "a table"
    return next((word for kind, word in _WORDS.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def to_arrow(value: Any) -> pa.Table:
    """Return a table as Arrow: from Arrow, pandas, a list of objects or an object of lists."""
    import pyarrow as pa

    kind = _table_kind_of(value)
    if kind == "arrow":
        return value
    try:
        if kind == "pandas":
            return pa.Table.from_pandas(value, preserve_index=False)
        if isinstance(value, Mapping) and value and all(isinstance(v, list) for v in cast("Any", value).values()):
            return pa.table(dict(cast("Mapping[str, Any]", value)))
        return _from_rows(_rows(value))
    except (pa.ArrowException, TypeError, OverflowError, UnicodeEncodeError) as error:
        message = f"takes a table, but a column mixes kinds of values ({_first_line(error)})"
        raise ValueError(message) from None


def to_pandas(value: Any) -> pd.DataFrame:
    """Return a table as a pandas DataFrame."""
    return value if _table_kind_of(value) == "pandas" else cast("Any", to_arrow(value)).to_pandas()


def to_rows(value: Any) -> list[dict[str, Any]]:
    """Return a table as a list of objects, one per row."""
    kind = _table_kind_of(value)
    if kind == "arrow":
        return value.to_pylist()
    if kind == "pandas":
        return to_arrow(value).to_pylist()
    if isinstance(value, Mapping) and value and all(isinstance(v, list) for v in cast("Any", value).values()):
        return to_arrow(value).to_pylist()
    return _rows(value)


def to_bytes(value: Any) -> bytes:
    """Return bytes; text is read as base64, as JSON carries them."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast("bytes", value))
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            message = "takes bytes, but got text that is not base64"
            raise ValueError(message) from None
    message = f"takes bytes, but got {words(value)}"
    raise ValueError(message)


def without_tables(value: Any) -> Any:
    """Return `value` with a table turned into its rows, for an annotation that asks for a list."""
    return to_rows(value) if _table_kind_of(value) else value


def _rows(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple):
        message = f"takes a table, but got {words(value)}"
        raise ValueError(message)  # noqa: TRY004 - every reason is a ValueError
    rows = cast("Sequence[Any]", value)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            message = f"takes a table, but item {number} of the list is {words(row)}, not an object"
            raise ValueError(message)  # noqa: TRY004 - as above
    return [row if isinstance(row, dict) else dict(row) for row in rows]


def _from_rows(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    names = {name: None for row in rows for name in row}
    return pa.table({str(name): pa.array([row.get(name) for row in rows]) for name in names})


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
