"""JSON as Treadle reads and writes it: strict in, canonical out.

Read: duplicate keys, NaN and Infinity, more than 200 levels, lone surrogates and trailing text are refused.
Written: keys sorted by code point, no blanks, UTF-8, whole floats as integers (1.0 and 1 are one number, as in
RFC 8785), so that equal values have equal bytes whoever wrote them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn, TypeAlias, cast

from engine.errors import NotCanonical, NotJson, TooDeep

Json: TypeAlias = Any
"""None, bool, int, float, str, list of Json, or dict from str to Json. Treated as a value: never changed in place."""

DEPTH_LIMIT = 200
_LONGEST_WHOLE = 10**21
"""From here on whole floats are written with an exponent, as ECMAScript and RFC 8785 do."""


def loads(text: str | bytes, *, source: str = "The text") -> Json:
    """Return the value of one JSON document, or raise `NotJson` or `TooDeep` naming `source`."""
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise NotJson(source=source, reason=f"byte {error.start} is not UTF-8") from None
    _check_depth(decoded, source)
    try:
        value = json.loads(decoded, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} (line {error.lineno}, column {error.colno})"
        raise NotJson(source=source, reason=reason) from None
    except ValueError as error:
        raise NotJson(source=source, reason=str(error)) from None
    try:
        decoded.encode("utf-8")
        canonical_bytes(value)
    except (UnicodeEncodeError, NotCanonical) as error:
        raise NotJson(source=source, reason=str(error)) from None
    return value


def canonical_bytes(value: Json) -> bytes:
    """Return the canonical bytes of `value`; raise `NotCanonical` for what JSON can't hold."""
    try:
        text = json.dumps(
            _whole_floats(value, 0), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical(reason="a text holds half of a surrogate pair") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(reason=str(error)) from None


def as_object(value: Json) -> dict[str, Json]:
    """Return `value` if it is an object, else an empty one."""
    return cast("dict[str, Json]", value) if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """Return `value` if it is a list, else an empty one."""
    return cast("list[Json]", value) if isinstance(value, list) else []


def content_hash(value: Json) -> str:
    """Return the SHA-256 (hex) of the canonical bytes of `value`."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def _whole_floats(value: Json, depth: int) -> Json:
    if depth > DEPTH_LIMIT:
        raise NotCanonical(reason=f"it nests deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, float):
        return int(value) if abs(value) < _LONGEST_WHOLE and value.is_integer() else value
    if isinstance(value, int):
        return _as_float(value) if abs(value) >= _LONGEST_WHOLE else value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in cast("dict[Any, Json]", value)):
            raise NotCanonical(reason="a key is not text")
        return {key: _whole_floats(item, depth + 1) for key, item in cast("dict[str, Json]", value).items()}
    if isinstance(value, list | tuple):
        return [_whole_floats(item, depth + 1) for item in cast("list[Json]", value)]
    return value


def _as_float(value: int) -> int | float:
    """Return the float equal to a very large integer, as it would be written too; the integer if there is none."""
    try:
        near = float(value)
    except OverflowError:
        return value
    return near if near == value else value


def _check_depth(text: str, source: str) -> None:
    """Count brackets outside strings, so that a bomb is refused before the recursive parser sees it."""
    if text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return
    depth, in_string, escaped = 0, False, False
    for ch in text:
        if in_string:
            in_string = escaped or ch != '"'
            escaped = ch == "\\" and not escaped
        elif ch == '"':
            in_string = True
        elif ch in "[{":
            depth += 1
            if depth > DEPTH_LIMIT:
                raise TooDeep(source=source, limit=DEPTH_LIMIT)
        elif ch in "]}":
            depth -= 1


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            message = f"the key {key[:80]!r} stands twice in one object"
            raise ValueError(message)
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not a JSON number"
    raise ValueError(message)
