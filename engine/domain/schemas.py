"""Can data of one JSON Schema flow into another? And did a contract become narrower for those who use it?

Only what can be decided is refused: a wire is impossible when no value of the source (an empty list aside) can ever
satisfy the target. A contract counts as narrower unless it is seen not to be.
Formats and types follow JSON Schema 2020-12; a table is an array of objects with `"format": "table"`. Schemas may be
wrong in any way: nothing here raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

from engine.domain.canonical import Json, as_list, as_object
from engine.domain.values import Schema

ANY: Schema = {}
TABLE: Schema = {"type": "array", "items": {"type": "object"}, "format": "table"}
Direction: TypeAlias = Literal["in", "out"]

_DEPTH_LIMIT = 20
_BRANCHING_LIMIT = 4
_ALL = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_NUMBERS = frozenset({"integer", "number"})
_OBJECT, _ARRAY = frozenset({"object"}), frozenset({"array"})
_BOUNDS = (
    (_NUMBERS, "minimum", "maximum"),
    (frozenset({"string"}), "minLength", "maxLength"),
    (frozenset({"array"}), "minItems", "maxItems"),
)
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_OPAQUE = (
    "$ref",
    "$dynamicRef",
    "allOf",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "multipleOf",
    "not",
    "pattern",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
)
"""Keywords whose change is not understood: any value of theirs that was not there before may be narrower."""


def types_of(schema: Json, depth: int = 0) -> frozenset[str]:
    """Return the JSON types that a schema admits, as far as `type`, `enum`, `const` and their combinations tell.

    "number" alone stands for numbers that are not whole; a schema of numbers admits "integer" and "number".
    """
    if schema is False:
        return frozenset()
    if not isinstance(schema, dict) or depth > _DEPTH_LIMIT:
        return _ALL
    whole = as_object(schema)
    listed = _listed(whole)
    found = _ALL if listed is None else frozenset(_type_name(value) for value in listed)
    found &= _named_types(whole.get("type"))
    for word in ("anyOf", "oneOf"):
        if isinstance(whole.get(word), list):
            found &= frozenset[str]().union(*(types_of(part, depth + 1) for part in as_list(whole[word])))
    for part in as_list(whole.get("allOf")):
        found &= types_of(part, depth + 1)
    return found


def short_name(schema: Json) -> str:
    """Return the one word a port shows: table, chart, text, number, integer, boolean, object, list or any."""
    if not isinstance(schema, dict):
        return "any"
    shown = as_object(schema).get("format")
    if shown in ("table", "chart"):
        return str(shown)
    admitted = types_of(cast("Json", schema)) - {"null"}
    if admitted == _NUMBERS:
        return "number"
    if len(admitted) != 1:
        return "any"
    only = next(iter(admitted))
    return {"string": "text", "array": "list"}.get(only, only)


def why_not(source: Json, target: Json, depth: int = 0) -> str | None:
    """Return why no value of `source` can satisfy `target`, as the end of a sentence; None if some value may."""
    if depth > _DEPTH_LIMIT or target is True or target == {} or source is True or source == {}:
        return None
    if source == target and source is not False:
        return None
    given, wanted = types_of(source), types_of(target)
    shared = given & wanted
    if not shared:
        return f"{_words(given)} can never be {_words(wanted)}"
    if not isinstance(source, dict) or not isinstance(target, dict):
        return None
    given_schema, wanted_schema = as_object(source), as_object(target)
    if shared == _OBJECT:
        reason = _object_reason(given_schema, wanted_schema, depth)
    elif shared == _ARRAY:
        reason = why_not(given_schema.get("items", {}), wanted_schema.get("items", {}), depth + 1)
        reason = f"the items differ: {reason}" if reason else None
    else:
        reason = _values_reason(given_schema, wanted_schema)
    return reason or _range_reason(given_schema, wanted_schema, shared)


def narrowed(old: Json, new: Json, *, direction: Direction) -> str | None:
    """Return why a contract became narrower for those outside, or None.

    `direction` is "in" for what callers give (fewer values accepted is narrower) and "out" for what they get
    (more kinds of value given is narrower for the reader).
    """
    return _narrowed(old, new, direction, 0)


def _named_types(named: Json) -> frozenset[str]:
    names = [named] if isinstance(named, str) else named
    known = frozenset(name for name in as_list(names) if isinstance(name, str) and name in _ALL)
    if not known:
        return _ALL
    return known | {"integer"} if "number" in known else known


def _object_reason(source: dict[str, Any], target: dict[str, Any], depth: int) -> str | None:
    theirs, ours = _object(source, "properties"), _object(target, "properties")
    closed = source.get("additionalProperties") is False and "patternProperties" not in source
    for name in _names(target, "required"):
        if closed and name not in theirs:
            return f"the field {name!r} is needed and never there"
        reason = why_not(theirs.get(name, {}), ours.get(name, {}), depth + 1)
        if reason:
            return f"in the field {name!r}, {reason}"
    return None


def _values_reason(source: dict[str, Any], target: dict[str, Any]) -> str | None:
    given, wanted = _listed(source), _listed(target)
    if given is None or wanted is None or any(value in wanted for value in given):
        return None
    return f"none of its values ({', '.join(map(repr, given[:3]))}) is allowed there"


def _range_reason(source: dict[str, Any], target: dict[str, Any], shared: frozenset[str]) -> str | None:
    for types, low, high in _BOUNDS:
        if not shared <= types:
            continue
        for first, second in ((source, target), (target, source)):
            least, most = _bound(first, low), _bound(second, high)
            if least is not None and most is not None and least > most:
                return f"the allowed ranges don't meet ({least} and more, {most} and less)"
    return None


def _narrowed(old: Json, new: Json, direction: Direction, depth: int) -> str | None:
    before, after = (old, new) if direction == "in" else (new, old)
    if before == after or after is True or after == {}:
        return None
    if depth > _DEPTH_LIMIT:
        return "changed too deep inside to compare"
    lost = types_of(before) - types_of(after)
    if lost:
        verb = "no longer takes" if direction == "in" else "may now give"
        return f"{verb} {_words(lost)}"
    was, now = as_object(before), as_object(after)
    if _branches(was) is not None or _branches(now) is not None:
        return _branches_reason(was, now, direction, depth)
    for look in _LOOKS:
        reason = look(was, now, direction, depth)
        if reason:
            return reason
    return None


_Object: TypeAlias = dict[str, Any]


def _branches(schema: _Object) -> list[Json] | None:
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            rest = {key: value for key, value in schema.items() if key != word}
            return [{**rest, **as_object(part)} if part is not False else part for part in as_list(schema[word])]
    return None


def _branches_reason(before: _Object, after: _Object, direction: Direction, depth: int) -> str | None:
    """Each thing that was possible must still fit into one of those that are."""
    wider = _branches(after) or [after]
    for branch in _branches(before) or [before]:
        if branch in wider:
            continue
        if depth > _BRANCHING_LIMIT:
            return "changed too deep inside to compare"
        reasons = [_narrowed(*_ordered(branch, other, direction), direction, depth + 1) for other in wider]
        if None not in reasons:
            return reasons[0] or "changed"
    return None


def _ordered(before: Json, after: Json, direction: Direction) -> tuple[Json, Json]:
    return (before, after) if direction == "in" else (after, before)


def _look_at_required(before: _Object, after: _Object, direction: Direction, depth: int) -> str | None:
    del depth
    more = set(_names(after, "required")) - set(_names(before, "required"))
    if direction == "in":
        properties = _object(after, "properties")
        more = {name for name in more if "default" not in as_object(properties.get(name))}
    if not more:
        return None
    name = min(more)
    return f"now needs {name!r}" if direction == "in" else f"no longer always gives {name!r}"


def _look_at_values(before: _Object, after: _Object, direction: Direction, depth: int) -> str | None:
    del depth
    was, now = _listed(before), _listed(after)
    fewer = now is not None and (was is None or any(value not in now for value in was))
    fewer = fewer or any(_is_tighter(before, after, word, 1) for word in _LOWER)
    fewer = fewer or any(_is_tighter(before, after, word, -1) for word in _UPPER)
    if fewer:
        return "allows fewer values" if direction == "in" else "gives other values"
    return None


def _look_at_fields(before: _Object, after: _Object, direction: Direction, depth: int) -> str | None:
    if after.get("additionalProperties") is False and before.get("additionalProperties") is not False:
        return "no longer takes other fields" if direction == "in" else "may now give other fields"
    ours, theirs = _object(before, "properties"), _object(after, "properties")
    gone = min((name for name in theirs if name not in ours), default=None) if direction == "out" else None
    if gone is not None:
        return f"no longer gives {gone!r}"
    if direction == "in" and after.get("additionalProperties") is False:
        gone = min((name for name in ours if name not in theirs), default=None)
        if gone is not None:
            return f"no longer takes {gone!r}"
    for word in ("properties", "$defs"):
        theirs = _object(after, word)
        for name, schema in _object(before, word).items():
            other = theirs.get(name, True if word == "properties" else schema)
            reason = _narrowed(*_ordered(schema, other, direction), direction, depth + 1)
            if reason:
                return f"{name!r} {reason}"
    return None


def _look_at_items(before: _Object, after: _Object, direction: Direction, depth: int) -> str | None:
    ours, theirs = before.get("items", True), after.get("items", True)
    reason = _narrowed(*_ordered(ours, theirs, direction), direction, depth + 1)
    return f"has items that differ: it {reason}" if reason else None


def _look_at_the_rest(before: _Object, after: _Object, direction: Direction, depth: int) -> str | None:
    del direction, depth
    word = next((word for word in _OPAQUE if word in after and before.get(word) != after[word]), None)
    return f"has another {word!r}, which can't be compared" if word else None


_LOOKS: tuple[Callable[[_Object, _Object, Direction, int], str | None], ...] = (
    _look_at_required,
    _look_at_values,
    _look_at_fields,
    _look_at_items,
    _look_at_the_rest,
)


def _is_tighter(before: _Object, after: _Object, word: str, sign: int) -> bool:
    was, now = _bound(before, word), _bound(after, word)
    return now is not None and (was is None or now * sign > was * sign)


def _listed(schema: dict[str, Any]) -> list[Json] | None:
    if "const" in schema:
        return [schema["const"]]
    return as_list(schema["enum"]) if isinstance(schema.get("enum"), list) else None


def _bound(schema: _Object, word: str) -> float | None:
    value = schema.get(word)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _object(schema: _Object, word: str) -> _Object:
    return as_object(schema.get(word))


def _names(schema: _Object, word: str) -> list[str]:
    return [name for name in as_list(schema.get(word)) if isinstance(name, str)]


def _words(types: frozenset[str]) -> str:
    names = {
        "string": "text",
        "array": "a list",
        "object": "an object",
        "boolean": "true or false",
        "null": "nothing",
        "integer": "a whole number",
        "number": "a number" if "integer" in types else "a number that is not whole",
    }
    told = types - {"integer"} if "number" in types else types
    return " or ".join(sorted(names[name] for name in told)) or "nothing at all"


def _type_name(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    pairs = ((int, "integer"), (str, "string"), (list, "array"))
    return next((name for kind, name in pairs if isinstance(value, kind)), "object")
