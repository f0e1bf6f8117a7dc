"""What can be set on a node: one description for each field of its forms, and how texts become values and back.

Every field is a path into the node's JSON form, so that a change of it is one `Configure` edit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from engine.domain.canonical import Json, loads
from engine.domain.edits import Change, Configure
from engine.domain.model import FunctionModel, element_json
from engine.domain.nodes import Node
from engine.errors import TreadleError

Kind: TypeAlias = Literal[
    "text", "area", "code", "number", "integer", "switch", "select", "json", "tags", "lines", "expression"
]
Path: TypeAlias = tuple[str, ...]
CEL = "$cel"


class NotAValue(ValueError):
    """What was typed can't be the value of a field; the message says why as a sentence."""


@dataclass(frozen=True)
class Field:
    """One field: where it is, what it is called, and what may be in it.

    An emptied field goes back to its default unless `needed`. `options` are (label, value) pairs of a select.
    `switchable` fields can hold an expression instead, over the variables `names`.
    """

    path: Path
    label: str
    kind: Kind
    default: Json = None
    hint: str = ""
    placeholder: str = ""
    options: tuple[tuple[str, str], ...] = ()
    """Labels with values as JSON text: values need not be hashable."""
    low: float | None = None
    high: float | None = None
    exclusive_low: bool = False
    needed: bool = False
    switchable: bool = False
    names: tuple[str, ...] = ()
    half: bool = False
    """Shares its line with the next field that does."""

    @property
    def key(self) -> str:
        """The field's name within its node."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Section:
    """Fields under a heading."""

    title: str
    fields: tuple[Field, ...]
    note: str = ""


def value_of(subject: Node | FunctionModel, field: Field) -> Json:
    """Return what a field of a node or of the model itself holds, its default if nothing was set."""
    if isinstance(subject, FunctionModel):
        plain = {"name": subject.name, "description": subject.description, "tags": list(subject.tags)}
        return plain.get(field.key, field.default)
    place: Any = element_json(subject)
    for key in field.path:
        if not isinstance(place, dict) or key not in place:
            return field.default
        place = place[key]
    return place


def is_expression(value: Json) -> bool:
    """Return whether a value is written as an expression."""
    return isinstance(value, dict) and set(value) == {CEL}


def edit_of(node: str, field: Field, value: Json) -> Configure:
    """Return the edit that sets a field; its default, and nothing at all, take the value out."""
    gone = value is None or (type(value) is type(field.default) and value == field.default)
    change = Change(path=field.path, remove=True) if gone else Change(path=field.path, value=value)
    return Configure(id=node, changes=(change,))


def text_of(field: Field, value: Json) -> str:
    """Return a value as the text its field shows."""
    if is_expression(value):
        return str(value[CEL])  # type: ignore[index,call-overload]
    if value is None:
        return ""
    if field.kind == "tags":
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if field.kind == "lines" and isinstance(value, list):
        return "\n".join(map(str, value))
    if field.kind == "json":
        return json.dumps(value, ensure_ascii=False, indent=2)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def parsed(field: Field, text: str, *, expression: bool = False) -> Json:
    """Return the value that a text stands for, None for an empty one; raise `NotAValue`."""
    if expression or field.kind == "expression":
        return {CEL: text.strip()} if text.strip() else _missing(field)
    if field.kind in ("text", "area", "code"):
        return text or _missing(field)
    if not text.strip():
        return _missing(field)
    if field.kind in ("number", "integer"):
        return _number(field, text.strip())
    if field.kind == "tags":
        return [part.strip() for part in text.split(",") if part.strip()]
    if field.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    return _json(text)


def _missing(field: Field) -> None:
    if field.needed:
        raise NotAValue(f"{field.label} is needed.")


def _number(field: Field, text: str) -> Json:
    plain = text.replace(",", "").replace("\u2009", "")
    try:
        value = int(plain) if field.kind == "integer" else float(plain)
    except ValueError:
        kind = "a whole number" if field.kind == "integer" else "a number"
        raise NotAValue(f"“{text[:40]}” is not {kind}.") from None
    if not math.isfinite(value):
        raise NotAValue(f"“{text[:40]}” is not a number that can be kept.")
    too_low = field.low is not None and (value <= field.low if field.exclusive_low else value < field.low)
    if too_low or (field.high is not None and value > field.high):
        raise NotAValue(f"It must be {_range(field)}.")
    return int(value) if field.kind == "number" and value.is_integer() and "." not in plain else value


def _range(field: Field) -> str:
    low = None if field.low is None else f"{field.low:g}"
    high = None if field.high is None else f"{field.high:g}"
    if low is not None and high is not None:
        return f"more than {low}, at most {high}" if field.exclusive_low else f"from {low} to {high}"
    if low is not None:
        return f"more than {low}" if field.exclusive_low else f"{low} or more"
    return f"at most {high}"


def _json(text: str) -> Json:
    try:
        return loads(text)
    except (TreadleError, ValueError) as error:
        facts: Mapping[str, object] = getattr(error, "facts", {})
        raise NotAValue(f"This is not JSON yet: {facts.get('reason', error)}.") from None
