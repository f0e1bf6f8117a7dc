"""Values on their way into CEL and out of it. Reasons are raised as ValueError, worded as the end of a sentence."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

from engine.expressions.outline import SIZE, Paths

_DEPTH_LIMIT = 100
_VALUES_LIMIT = 2_000_000
_RESULT_LIMIT = 500_000
"""Values of a result: 2 us each were measured to take them out."""
_TEXT_LIMIT = 64_000_000
_INT64 = 2**63


class Intake:
    """Makes values plain and counts them on the way."""

    def __init__(self) -> None:
        self.values = 0
        self.characters = 0
        self.longest = 0
        self.items = 0
        """Items of the longest list."""

    def used(self, value: Any, paths: Paths) -> Any:
        """Return `value` as CEL takes it, as far as the expression looks into it.

        An object of which only fields are named gives those alone, a table of which only the size is asked gives as
        many nothings: so `inputs.rows.size() > 0` does not copy the rows.
        """
        if isinstance(value, Mapping) and paths and all(path and path[0] != SIZE for path in paths):
            given = cast("Mapping[Any, Any]", value)
            if not all(isinstance(key, str) for key in given):
                return self.plain(given, 0)
            fields = dict.fromkeys(path[0] for path in paths if path[0] in given)
            return {
                field: self._part(given[field], [path[1:] for path in paths if path[0] == field]) for field in fields
            }
        return self._part(value, paths)

    def _part(self, value: Any, paths: Paths) -> Any:
        if is_table(value) and paths and all(path[:1] == (SIZE,) for path in paths):
            return [None] * len(value)
        return self.plain(value, 0)

    def plain(self, value: Any, depth: int) -> Any:
        """Return `value` as CEL takes it."""
        self._count(1, 0)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int):
            return int(value) if -_INT64 <= value < _INT64 else float(value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(base64.b64encode(cast("bytes", value)).decode("ascii"))
        if depth > _DEPTH_LIMIT:
            message = f"the data nests deeper than {_DEPTH_LIMIT} levels"
            raise ValueError(message)
        if isinstance(value, Mapping):
            items = cast("Mapping[Any, Any]", value).items()
            return {self._text(str(key)): self.plain(item, depth + 1) for key, item in items}
        if is_table(value):
            return self._rows(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(cast("Iterable[Any]", value), depth)
        return self._scalar(value, depth)

    def _rows(self, table: Any, depth: int) -> list[Any]:
        cells = int(table.shape[0] * table.shape[1])
        if self.values + cells > _VALUES_LIMIT:
            self._count(cells, 0)
        rows = table.to_pylist() if hasattr(table, "to_pylist") else table.to_dict("records")
        return self._list(rows, depth)

    def _list(self, values: Iterable[Any], depth: int) -> list[Any]:
        found = [self.plain(value, depth + 1) for value in values]
        self.items = max(self.items, len(found))
        return found

    def _text(self, text: str) -> str:
        self._count(0, len(text))
        self.longest = max(self.longest, len(text))
        if "\0" in text:  # the evaluator would take it for the end, and silently drop the rest
            message = "a text holds a NUL character, which an expression can't take"
            raise ValueError(message)
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

    def _scalar(self, value: Any, depth: int) -> Any:
        if isinstance(value, date | datetime | time):
            return self._text(value.isoformat())
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Decimal):
            whole = value.is_finite() and value == value.to_integral_value() and abs(value) < _INT64
            return int(value) if whole else float(value)
        if callable(getattr(value, "model_dump", None)):
            return self.plain(value.model_dump(mode="json"), depth + 1)
        if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
            return self.plain(value.tolist(), depth + 1)
        message = f"a {type(value).__name__} can't be used in an expression"
        raise ValueError(message)

    def _count(self, values: int, characters: int) -> None:
        self.values += values
        self.characters += characters
        if self.values > _VALUES_LIMIT or self.characters > _TEXT_LIMIT:
            message = "the data is too large for an expression; ask it of a SQL step"
            raise ValueError(message)


class Outcome:
    """Turns CEL's values into Python's, up to a bound: parts that are shared inside become copies outside."""

    def __init__(self) -> None:
        self._values = 0
        self._characters = 0

    def python(self, value: Any) -> Any:
        """Return one value of CEL as JSON-like Python."""
        self._count(1, 0)
        kind = value.type().name()
        if kind.upper().startswith("OPTIONAL"):
            message = "its result may be missing; end it with .orValue(…)"
            raise ValueError(message)
        inner = value.value()
        if kind == "ERROR":
            raise ValueError(str(inner))
        if isinstance(inner, list):
            return [self.python(item) for item in cast("list[Any]", inner)]
        if isinstance(inner, dict):
            return {_key(key): self.python(item) for key, item in cast("dict[Any, Any]", inner).items()}
        if isinstance(inner, datetime):
            return inner.isoformat().replace("+00:00", "Z")
        if isinstance(inner, timedelta):
            return inner.total_seconds()
        if isinstance(inner, str | bytes | bytearray):
            self._count(0, len(inner))
            return inner if isinstance(inner, str) else base64.b64encode(inner).decode("ascii")
        return inner if inner is None or isinstance(inner, bool | int | float) else str(inner)

    def _count(self, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > _RESULT_LIMIT or self._characters > _TEXT_LIMIT:
            message = "its result is too large"
            raise ValueError(message)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)


def is_table(value: object) -> bool:
    """Say whether it is a pyarrow.Table or a pandas.DataFrame, without importing either."""
    kind = type(value)
    return (kind.__name__, kind.__module__.partition(".")[0]) in {("Table", "pyarrow"), ("DataFrame", "pandas")}
