"""Can data of one JSON Schema flow into another? And does a value meet a schema?

Only what can be decided is refused: a wire is impossible when no value of the source (an empty list aside) can ever
satisfy the target.
Formats and types follow JSON Schema 2020-12; a table is an array of objects with `"format": "table"`.
"""

from __future__ import annotations

from typing import Any

from engine.domain.canonical import Json
from engine.domain.values import Schema

ANY: Schema = {}
TABLE: Schema = {"type": "array", "items": {"type": "object"}, "format": "table"}
_DEPTH_LIMIT = 20
_ALL = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


def types_of(schema: Json) -> frozenset[str]:
    """Return the JSON types that a schema admits, as far as `type`, `enum` and `const` tell."""
    if schema is False:
        return frozenset()
    if not isinstance(schema, dict):
        return _ALL
    if "const" in schema:
        return frozenset({_type_name(schema["const"])})
    if isinstance(schema.get("enum"), list):
        return frozenset(_type_name(value) for value in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            return frozenset().union(*(types_of(part) for part in schema[word]))
    found = schema.get("type")
    if isinstance(found, str):
        return frozenset({found})
    return frozenset(found) if isinstance(found, list) else _ALL


def short_name(schema: Json) -> str:
    """Return the one word a port shows: table, text, number, integer, boolean, object, list, file or any."""
    if not isinstance(schema, dict):
        return "any"
    if schema.get("format") == "table":
        return "table"
    if schema.get("format") == "chart":
        return "chart"
    admitted = types_of(schema) - {"null"}
    if len(admitted) != 1:
        return "number" if admitted == {"integer", "number"} else "any"
    return {"string": "text", "array": "list"}.get(next(iter(admitted)), next(iter(admitted)))


def why_not(source: Json, target: Json, depth: int = 0) -> str | None:
    """Return why no value of `source` can satisfy `target`, as the end of a sentence; None if some value may."""
    if depth > _DEPTH_LIMIT or target is True or target == {} or source is True or source == {}:
        return None
    given, wanted = types_of(source), types_of(target)
    if not _overlap(given, wanted):
        return f"{_words(given)} can never be {_words(wanted)}"
    if not isinstance(source, dict) or not isinstance(target, dict):
        return None
    if given == {"object"} and wanted == {"object"}:
        return _object_reason(source, target, depth)
    if given == {"array"} and wanted == {"array"}:
        reason = why_not(source.get("items", {}), target.get("items", {}), depth + 1)
        return f"the items differ: {reason}" if reason else None
    return _values_reason(source, target) or _range_reason(source, target)


def _overlap(given: frozenset[str], wanted: frozenset[str]) -> bool:
    widened = given | ({"number"} if "integer" in given else set()) | ({"integer"} if "number" in given else set())
    return bool(widened & wanted)


def _object_reason(source: dict[str, Any], target: dict[str, Any], depth: int) -> str | None:
    theirs, ours = source.get("properties", {}), target.get("properties", {})
    closed = source.get("additionalProperties") is False
    for name in target.get("required", ()):
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


def _listed(schema: dict[str, Any]) -> list[Json] | None:
    if "const" in schema:
        return [schema["const"]]
    found = schema.get("enum")
    return found if isinstance(found, list) else None


def _range_reason(source: dict[str, Any], target: dict[str, Any]) -> str | None:
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        for first, second in ((source, target), (target, source)):
            least, most = first.get(low), second.get(high)
            if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
                return f"the allowed ranges don't meet ({least} and more, {most} and less)"
    return None


def _words(types: frozenset[str]) -> str:
    names = {"string": "text", "array": "a list", "object": "an object", "boolean": "true or false", "null": "nothing"}
    return " or ".join(sorted(names.get(name, f"a{'n' if name[0] in 'aeiou' else ''} {name}") for name in types)) or (
        "nothing at all"
    )


def _type_name(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    pairs = ((int, "integer"), (float, "number"), (str, "string"), (list, "array"))
    return next((name for kind, name in pairs if isinstance(value, kind)), "object")


def narrowed(old: Json, new: Json, *, direction: str) -> str | None:
    """Return why a contract became narrower for those outside, or None.

    `direction` is "in" for what callers give (fewer values accepted is narrower) and "out" for what they get
    (more kinds of value given is narrower for the reader).
    """
    before, after = (old, new) if direction == "in" else (new, old)
    lost = types_of(before) - types_of(after) - ({"integer"} if "number" in types_of(after) else set())
    if lost:
        verb = "no longer takes" if direction == "in" else "may now give"
        return f"{verb} {_words(frozenset(lost))}"
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None
    more = set(after.get("required", ())) - set(before.get("required", ()))
    if more:
        name = sorted(more)[0]
        return f"now needs {name!r}" if direction == "in" else f"no longer always gives {name!r}"
    allowed_before, allowed_after = _listed(before), _listed(after)
    if allowed_after is not None and (allowed_before is None or any(v not in allowed_after for v in allowed_before)):
        return "allows fewer values" if direction == "in" else "gives other values"
    for name, schema in before.get("properties", {}).items():
        if name in after.get("properties", {}):
            reason = narrowed(
                *((schema, after["properties"][name]) if direction == "in" else (after["properties"][name], schema)),
                direction=direction,
            )
            if reason:
                return f"{name!r} {reason}"
    return None
