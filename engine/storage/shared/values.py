"""Plain values of query answers as JSON: what JSON has no word for is an object with its kind."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias, cast
from uuid import UUID

from engine.domain.canonical import Json

_KIND, _VALUE = "$", "v"
_Write: TypeAlias = Callable[[Any], Json]
_Read: TypeAlias = Callable[[Any], Any]


def value_json(value: Any) -> Json:
    """Return a value of a row as JSON; one of a kind that is not known here as its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [value_json(item) for item in cast("list[Any]", value)]
    for kind, (of, write, _) in _KINDS.items():
        if isinstance(value, of):
            return {_KIND: kind, _VALUE: write(value)}
    return str(value)


def value_from(plain: Json) -> Any:
    """Read back what `value_json` wrote."""
    if isinstance(plain, list):
        return [value_from(item) for item in cast("list[Json]", plain)]
    if isinstance(plain, dict):
        tagged = cast("dict[str, Json]", plain)
        return _KINDS[tagged[_KIND]][2](tagged[_VALUE])
    return plain


def _pairs(value: dict[Any, Any]) -> Json:
    return [[value_json(key), value_json(item)] for key, item in value.items()]


def _from_pairs(plain: Json) -> dict[Any, Any]:
    return {value_from(key): value_from(item) for key, item in plain}


def _span(value: timedelta) -> Json:
    return [value.days, value.seconds, value.microseconds]


_KINDS: dict[str, tuple[type, _Write, _Read]] = {
    "float": (float, repr, float),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (timedelta, _span, lambda plain: timedelta(*plain)),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, lambda value: b64encode(value).decode(), b64decode),
    "dict": (dict, _pairs, _from_pairs),
    "tuple": (tuple, lambda value: [value_json(item) for item in value], lambda plain: tuple(map(value_from, plain))),
}
"""In the order in which they are asked: a datetime is a date too. Floats as text, since JSON has no infinity."""
