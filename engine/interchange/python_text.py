"""Python source as values: what a written model says, which can be laid out as text and also be carried out.

Only what the authoring functions need is here. Texts are escaped wherever a character would not be seen as it is.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

WIDTH = 120
_STEP = 4
_SHORTEST_PIECE = 24


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One output of a step: `step.kept`, or `step["odd name"]`."""

    of: Name
    key: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A JSON value, or a tuple of numbers."""

    value: Any


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of expressions."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A dict of expressions."""

    items: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Invoke:
    """A call of a function, which may itself be what a call returned."""

    function: str | Invoke
    positional: tuple[Expression, ...] = ()
    arguments: tuple[tuple[str, Expression], ...] = ()


Expression: TypeAlias = Name | Item | Literal | Listed | Table | Invoke


@dataclass(frozen=True, slots=True)
class Line:
    """An expression in a line of its own, its value kept under a name or not."""

    value: Expression
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A `with` and what stands in it; `name` is what follows its `as`, if it is used later."""

    value: Expression
    name: str | None
    lines: tuple[Line, ...]
    is_named: bool = True


def is_name(text: str) -> bool:
    """Whether a text can be an argument's or attribute's name in the source."""
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def quoted(text: str) -> str:
    """Return a string literal in double quotes that shows only what can be seen."""
    return '"' + "".join(_character(ch) for ch in text) + '"'


def written(line: Line | Block, indent: int = 0) -> str:
    """Return a statement as source, ending without a line break."""
    start = " " * indent
    if isinstance(line, Line):
        before = f"{line.name} = " if line.name else ""
        return start + before + laid(line.value, indent, len(before), 0)
    after = f" as {line.name}:" if line.name and line.is_named else ":"
    inner = [written(one, indent + _STEP) for one in line.lines] or [start + " " * _STEP + "pass"]
    return "\n".join([f"{start}with {laid(line.value, indent, len('with '), len(after))}{after}", *inner])


def laid(value: Expression, indent: int, before: int, after: int) -> str:
    """Return an expression as source: in one line if it fits between `before` and `after` characters, else in several.

    `indent` is that of the statement, in characters.
    """
    flat = _flat(value)
    if indent + before + len(flat) + after <= WIDTH:
        return flat
    if isinstance(value, Literal):
        return _literal(value.value, indent)
    if isinstance(value, Listed):
        return _broken("[", [("", item) for item in value.items], "]", indent)
    if isinstance(value, Table):
        return _broken("{", [(f"{quoted(key)}: ", item) for key, item in value.items], "}", indent)
    if isinstance(value, Invoke):
        head = value.function if isinstance(value.function, str) else laid(value.function, indent, before, 1)
        return _broken(f"{head}(", _arguments(value), ")", indent)
    return flat


def _broken(opening: str, items: Iterable[tuple[str, Expression]], closing: str, indent: int) -> str:
    start = " " * (indent + _STEP)
    lines = [f"{start}{head}{laid(item, indent + _STEP, len(head), 1)}," for head, item in items]
    return "\n".join([opening, *lines, " " * indent + closing]) if lines else opening + closing


def _arguments(call: Invoke) -> list[tuple[str, Expression]]:
    """Return what stands in the brackets, with what stands before each; odd names come in one dict at the end."""
    named = [(f"{name}=", value) for name, value in call.arguments if is_name(name)]
    odd = tuple((name, value) for name, value in call.arguments if not is_name(name))
    return [*(("", value) for value in call.positional), *named, *([("**", Table(odd))] if odd else [])]


def _flat(value: Expression) -> str:
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Item):
        is_plain = is_name(value.key) and not value.key.startswith("_")
        return f"{value.of.text}.{value.key}" if is_plain else f"{value.of.text}[{quoted(value.key)}]"
    if isinstance(value, Literal):
        return _flat_literal(value.value)
    if isinstance(value, Listed):
        return f"[{', '.join(_flat(item) for item in value.items)}]"
    if isinstance(value, Table):
        return f"{{{', '.join(f'{quoted(key)}: {_flat(item)}' for key, item in value.items)}}}"
    head = value.function if isinstance(value.function, str) else _flat(value.function)
    return f"{head}({', '.join(before + _flat(item) for before, item in _arguments(value))})"


def _flat_literal(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return f"{{{', '.join(f'{quoted(key)}: {_flat_literal(item)}' for key, item in items)}}}"
    if isinstance(value, list | tuple):
        listed = ", ".join(_flat_literal(item) for item in cast("Sequence[Any]", value))
        return f"[{listed}]" if isinstance(value, list) else f"({listed})"
    return repr(value)


def _literal(value: Any, indent: int) -> str:
    if isinstance(value, str):
        return _long_text(value, indent)
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return _broken("{", [(f"{quoted(key)}: ", Literal(item)) for key, item in pairs], "}", indent)
    if isinstance(value, list):
        return _broken("[", [("", Literal(item)) for item in cast("list[Any]", value)], "]", indent)
    return _flat_literal(value)


def _long_text(text: str, indent: int) -> str:
    """Return a text as several literals, one a line, which Python puts together."""
    start = " " * (indent + _STEP)
    room = max(_SHORTEST_PIECE, WIDTH - len(start) - 2)
    pieces = [quoted(piece) for line in text.splitlines(keepends=True) for piece in _pieces(line, room)]
    return "\n".join(["(", *(start + piece for piece in pieces), " " * indent + ")"])


def _pieces(line: str, room: int) -> list[str]:
    """Cut a line where words end, or else anywhere, so that each piece takes at most `room` characters as source."""
    found: list[str] = []
    piece, length, last_space = "", 0, 0
    for ch in line:
        wide = len(_character(ch))
        if length + wide > room:
            cut = last_space or len(piece)
            found.append(piece[:cut])
            piece = piece[cut:]
            length, last_space = sum(len(_character(one)) for one in piece), 0
        piece += ch
        length += wide
        if ch == " ":
            last_space = len(piece)
    return [*found, piece]


def _character(ch: str) -> str:
    if ch in '"\\':
        return f"\\{ch}"
    if ch.isprintable():
        return ch
    if ord(ch) <= 0xFFFF:
        return json.dumps(ch)[1:-1]
    return f"\\U{ord(ch):08x}"
