"""What the browser may say: the shape of every message, checked before anybody acts on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Intent = dict[str, object]
Check = Callable[[object], bool]

MAX_ID_CHARS = 256
MAX_NAME_CHARS = 1_000
MAX_CLIPBOARD_CHARS = 4_000_000
MAX_ITEMS = 20_000
MAX_COORDINATE = 1e7


class InvalidIntentError(ValueError):
    """A message from the browser has an unknown type or a field of the wrong shape."""


def text(limit: int) -> Check:
    """A string of 1 to `limit` characters."""
    return lambda value: isinstance(value, str) and 0 < len(value) <= limit


def number(value: object) -> bool:
    """A finite coordinate or length, in canvas pixels."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= MAX_COORDINATE


def flag(value: object) -> bool:
    """True or False, not a number that looks like one."""
    return isinstance(value, bool)


def revision(value: object) -> bool:
    """A graph's revision as Python named it, or -1 from a view that has none yet."""
    return isinstance(value, int) and not isinstance(value, bool)


def either(check: Check) -> Check:
    """The same, or null."""
    return lambda value: value is None or check(value)


def many(check: Check) -> Check:
    """A list of such values, of bounded length."""
    return lambda value: isinstance(value, list) and len(value) <= MAX_ITEMS and all(check(item) for item in value)


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these fields and no others."""
    allowed = {**required, **(optional or {})}

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and required.keys() <= value.keys()
            and all(name in allowed and allowed[name](item) for name, item in value.items())
        )

    return check


_id = text(MAX_ID_CHARS)
_ids = many(_id)
_point = record({"x": number, "y": number})
_link = record({"node": _id, "port": _id, "side": lambda side: side in ("source", "target"), "own_port": _id})
_moved = record({"id": _id, "position": _point}, {"parent": either(_id)})
_placed = record({"id": _id, "position": _point}, {"width": number, "height": number})

SHAPES: Mapping[str, Check] = {
    "ready": record({"revision": revision}),
    "select": record({"nodes": _ids, "wires": _ids}),
    "add": record({"node_type": _id, "position": _point, "parent": either(_id), "link": either(_link)}),
    "connect": record({"source": _id, "source_port": _id, "target": _id, "target_port": _id}),
    "depend": record({"source": _id, "target": _id}),
    "remove": record({"nodes": _ids, "wires": _ids}),
    "move": record({"items": many(_moved)}),
    "resize": record({"id": _id, "width": number, "height": number, "position": _point}),
    "layout": record({"items": many(_placed)}),
    "collapse": record({"id": _id, "collapsed": flag}),
    "duplicate": record({"ids": _ids, "offset": number}),
    "copy": record({"ids": _ids}),
    "paste": record({"text": text(MAX_CLIPBOARD_CHARS), "position": _point}),
    "rename": record({"id": _id, "name": text(MAX_NAME_CHARS)}),
    "undo": record({}),
    "redo": record({}),
    "save": record({}),
    "run": record({}),
    "run_to": record({"id": _id}),
    "open": record({"id": _id}),
}
"""Intent type -> check of its fields (the "type" field itself apart)."""

READ_ONLY = frozenset({"ready", "select", "copy", "open"})
"""What a reader may still say."""


def parse(message: object) -> Intent:
    """Give the message back as an intent.

    Raises:
        InvalidIntentError: its type is unknown or a field has the wrong shape.
    """
    if not isinstance(message, dict):
        reason = f"a message must be an object, not {type(message).__name__}"
        raise InvalidIntentError(reason)
    kind = message.get("type")
    check = SHAPES.get(kind) if isinstance(kind, str) else None
    if check is None:
        reason = f"unknown message type {str(kind)[:80]!r}"
        raise InvalidIntentError(reason)
    if not check({name: value for name, value in message.items() if name != "type"}):
        reason = f"a field of {kind!r} has the wrong shape"
        raise InvalidIntentError(reason)
    return message
