"""Values as JSON has them: tables become rows, dates texts, decimals numbers, what is no number nothing."""
# A value narrowed to a list or a table is one of unknown things to strict checking, and only its kind is asked for:
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

from engine.errors import TetherFailed
from engine.tethers.conversion import table_kind, to_rows

_DEEPEST = 100


def plain(value: Any, depth: int = 0) -> Any:
    """Return `value` as JSON-like Python; raise `TetherFailed` for what JSON can't hold."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > _DEEPEST:
        raise TetherFailed(kind="Not JSON", reason=f"The value nests deeper than {_DEEPEST} levels. Flatten it.")
    if table_kind(type(value)):
        value = to_rows(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): plain(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in cast("Iterable[Any]", value)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return (int(value) if value == value.to_integral_value() else float(value)) if value.is_finite() else None
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(cast("bytes", value))).decode("ascii")
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return plain(value.tolist())
    kind = type(value).__name__
    raise TetherFailed(kind="Not JSON", reason=f"A value is a {kind}, which JSON can't hold. Turn it into text first.")
