"""Templates: texts with {{ expression }} in them, where an expression is CEL over the values given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from engine.errors import TetherFailed
from engine.expressions import Cel

_cel = Cel()


class Piece(NamedTuple):
    """A part of a template: text as it stands, or an expression."""

    text: str
    is_expression: bool


def filled(template: str, values: Mapping[str, Any], show: Callable[[Any], str]) -> str:
    """Return the template with each {{ expression }} replaced by `show` of its value.

    Every value is there by its name, and all of them as `inputs`. Raises `ExpressionInvalid` and `ExpressionFailed`.
    """
    scope = {**values, "inputs": dict(values)}
    return "".join(show(_value(piece.text, scope)) if piece.is_expression else piece.text for piece in pieces(template))


def _value(expression: str, scope: Mapping[str, Any]) -> Any:
    """A name alone gives the value as it is, so that a large table needs no copy."""
    return scope[expression] if expression in scope else _cel.evaluate(expression, scope)


def pieces(template: str) -> Iterator[Piece]:
    """Take a template apart; raise `TetherFailed` naming the line of a placeholder that is empty or not closed."""
    place = 0
    while (start := template.find("{{", place)) >= 0:
        if start > place:
            yield Piece(template[place:start], is_expression=False)
        end = _end(template, start + 2)
        expression = template[start + 2 : end].strip() if end is not None else ""
        if end is None or not expression:
            fault = "is not closed with }}" if end is None else "is empty"
            line = template.count("\n", 0, start) + 1
            reason = f"The placeholder in line {line} {fault}. Write it like {{{{ name }}}}."
            raise TetherFailed(kind="Template", reason=reason)
        yield Piece(expression, is_expression=True)
        place = end + 2
    if place < len(template):
        yield Piece(template[place:], is_expression=False)


def _end(template: str, start: int) -> int | None:
    """Return where the }} is that closes a placeholder: outside of quotes and of an expression's own braces."""
    depth, quote, place = 0, "", start
    while place < len(template):
        char = template[place]
        if quote:
            place += char == "\\"
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            if depth == 0:
                return place if template.startswith("}}", place) else None
            depth -= 1
        place += 1
    return None
