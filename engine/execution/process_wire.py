"""What the engine and the processes that make calls for it say to each other: messages of JSON and bytes.

A message is a prefix (a mark, the length of its JSON, the length of what follows), a JSON array of items, and the
bytes of values that are no JSON: text that is long, bytes, tables. Never pickle. An item is one call, or what came of
one. Small calls share a message; a value that is no JSON has a message of its own with its call.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

from engine import errors
from engine.domain.entities import Option
from engine.errors import TetherFailed, TreadleError
from engine.execution.invocation import as_step_error
from engine.execution.values import ARROW, JSON, Encoded, decode, encode
from engine.execution.waits import Request, StepWaits

LIMIT_BYTES = 256 << 20
"""The most that the values of one call, or of its result, may take."""
RUNNING, TOLD, SKIP = 0, 1, 2
"""Words of the block that both see: the call being made, the one that was cancelled, and 'make none up to this'."""
BLOCK_BYTES = 24
PIPE_LOST = 121
"""How a process ends that can't write its answers any more."""
_PREFIX = struct.Struct(">4sIQ")
_MARK = b"trdl"
_READ_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_LONG_TEXT = 1 << 16
_FACT_CHARS = 2_000
_INLINE = frozenset({int, float, bool, type(None), list, dict, tuple})
Parts: TypeAlias = list[tuple[str, Encoded]]


def message(items: bytes, parts: Sequence[bytes] = ()) -> list[memoryview]:
    """Return the pieces of a message, to be written one after the other."""
    head = _PREFIX.pack(_MARK, len(items), sum(map(len, parts))) + items
    return [memoryview(head), *(memoryview(part) for part in parts if part)]


class Inbox:
    """Puts messages together from what a pipe gives."""

    def __init__(self, descriptor: int) -> None:
        """Read from `descriptor`."""
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._large: memoryview | None = None
        self._filled = self._head = 0

    def fill(self) -> bool:
        """Read once; False at the end of the pipe. Raises BlockingIOError if there is nothing now."""
        if self._large is None:
            data = os.read(self._descriptor, _READ_BYTES)
            self._buffer += data
            return bool(data)
        got = os.readv(self._descriptor, [self._large[self._filled : self._filled + _PIECE_BYTES]])
        self._filled += got
        return got > 0

    def messages(self) -> Iterator[tuple[list[Any], memoryview]]:
        """Return the messages that are complete: their items, and the bytes that follow. ValueError for rubbish."""
        while (body := self._next()) is not None:
            yield json.loads(bytes(body[: self._head])), body[self._head :]

    def _next(self) -> memoryview | None:
        if self._large is not None:
            if self._filled < len(self._large):
                return None
            body, self._large = self._large, None
            return body
        if len(self._buffer) < _PREFIX.size:
            return None
        mark, self._head, rest = _PREFIX.unpack_from(self._buffer)
        if mark != _MARK or rest > 2 * LIMIT_BYTES:
            raise ValueError("not a message")
        end = _PREFIX.size + self._head + rest
        if len(self._buffer) >= end:
            body = memoryview(self._buffer[_PREFIX.size : end])
            del self._buffer[:end]
            return body
        if end > _READ_BYTES:
            self._large = memoryview(bytearray(end - _PREFIX.size))
            self._filled = len(self._buffer) - _PREFIX.size
            self._large[: self._filled] = self._buffer[_PREFIX.size :]
            self._buffer.clear()
        return None


# ---- values -------------------------------------------------------------------------------------------------------


def is_inline(values: Mapping[str, Any]) -> bool:
    """Say whether values go into the JSON of a message as they are."""
    for value in values.values():
        kind = cast("type[object]", type(value))
        if kind not in _INLINE and not (kind is str and len(value) <= _LONG_TEXT):
            return False
    return True


def split(values: Mapping[str, Any], verb: Literal["returned", "was given"]) -> tuple[Mapping[str, Any], Parts]:
    """Return what goes into the JSON of a message, and what follows it, as bytes.

    Raises `NotSerializable` and, for more than `LIMIT_BYTES`, `TetherFailed`.
    """
    if is_inline(values):
        return values, []
    inline: dict[str, Any] = {}
    parts: Parts = []
    total = 0
    for name, value in values.items():
        kind = cast("type[object]", type(value))
        if kind in _INLINE or (kind is str and len(value) <= _LONG_TEXT):
            inline[name] = value
            continue
        fits(total + _least_bytes(value), verb)
        encoded = encode(value, port=name)
        if encoded.media_type == JSON:
            inline[name] = value
        else:
            total += len(encoded.data)
            fits(total, verb)
            parts.append((name, encoded))
    return inline, parts


def fits(size_bytes: int, verb: Literal["returned", "was given"]) -> None:
    """Raise `TetherFailed` for values that are too large."""
    if size_bytes > LIMIT_BYTES:
        reason = f"it {verb} {size_bytes >> 20:,} MiB, and {LIMIT_BYTES >> 20} MiB is the most for a step in a process"
        mend = "return less, or write a file and return its path" if verb == "returned" else "hand it a path instead"
        raise TetherFailed(kind="Too large", reason=f"{reason}; {mend}", permanent=True)


def described(parts: Parts) -> list[tuple[str, str, int]]:
    """Return what the JSON of a message says of the bytes that follow it."""
    return [(name, encoded.media_type, len(encoded.data)) for name, encoded in parts]


def joined(inline: dict[str, Any], parts: Sequence[Sequence[Any]], rest: memoryview) -> dict[str, Any]:
    """Return the values that `split` took apart."""
    at = 0
    for name, media_type, size in parts:
        piece: Any = rest[at : at + size]
        inline[name] = decode(media_type, piece if media_type == ARROW else bytes(piece))
        at += size
    return inline


def values_as_json(values: Mapping[str, Any]) -> bytes:
    """Return values as one JSON object; `NotSerializable` names the port that can't be sent."""
    try:
        data = encode(values).data
    except errors.NotSerializable:
        for name, value in values.items():
            encode(value, port=name)
        raise
    return data


def _least_bytes(value: Any) -> int:
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    size = getattr(value, "nbytes", 0)
    return size if isinstance(size, int) else 0


# ---- failures -----------------------------------------------------------------------------------------------------


def clean(text: object) -> str:
    """Return a text that can be written as UTF-8."""
    return str(text).encode("utf-8", "replace").decode()


def failure(error: BaseException) -> list[Any]:
    """Return what is told of whatever a call raised."""
    if isinstance(error, StepWaits):
        request = error.request
        options = [(option.id, option.name) for option in request.options]
        facts = (request.awaits, request.question, options, request.choosers)
        return ["waits", *facts, request.within_s, request.default, request.signal]
    told = as_step_error(error)
    own = type(told).__module__ == errors.__name__
    facts = {name: _plain(value) for name, value in told.facts.items()}
    if own:
        return ["error", type(told).__name__, facts]
    permanent = bool(told.facts.get("permanent")) or not isinstance(told, errors.StepError)
    return ["error", "TetherFailed", {"kind": type(told).__name__, "reason": clean(told), "permanent": permanent}]


def failure_of(told: Sequence[Any]) -> TreadleError | StepWaits:
    """Return what `failure` told."""
    if told[0] == "waits":
        _, awaits, question, options, choosers, within_s, default, signal = told
        named = tuple(Option(id=option, name=name) for option, name in options)
        return StepWaits(Request(awaits, question, named, tuple(choosers), within_s, default, signal))
    kind: type[TreadleError] = getattr(errors, told[1])
    return kind(**told[2])


def _plain(value: object) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    return clean(value)[:_FACT_CHARS]
