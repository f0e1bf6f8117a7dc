"""The everyday part of JSON Schema, decided quickly: yes, or "ask the full checker".

Settings and ports are checked as people type, a thousand nodes at a time; nearly all their schemas use a dozen
keywords. Everything here answers True only when the full checker would find nothing wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from engine.domain.canonical import Json

_DEPTH_LIMIT = 10
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})


def is_plainly_schema(schema: Json, depth: int = 0) -> bool:
    """Return whether `schema` is a valid JSON Schema of everyday keywords; False means: ask the full checker."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or depth > _DEPTH_LIMIT:
        return False
    for word, value in cast("dict[str, Json]", schema).items():
        check = _SCHEMA_CHECKS.get(word)
        if check is None or not check(value, depth + 1):
            return False
    return True


def plainly_meets(schema: Json, value: Any, depth: int = 0) -> bool:
    """Return whether `value` meets the valid `schema` of everyday keywords; False means: ask the full checker."""
    if schema is True:
        return True
    if not isinstance(schema, dict) or depth > _DEPTH_LIMIT:
        return False
    whole = cast("dict[str, Json]", schema)
    for word, wanted in whole.items():
        if word in _ANNOTATIONS:
            continue
        check = _VALUE_CHECKS.get(word)
        if check is None or not check(wanted, value, whole, depth + 1):
            return False
    return True


def _is_text(value: Json, depth: int) -> bool:
    del depth
    return isinstance(value, str)


def _is_anything(value: Json, depth: int) -> bool:
    del value, depth
    return True


def _is_type(value: Json, depth: int) -> bool:
    del depth
    return isinstance(value, str) and value in _TYPES


def _is_number(value: Json, depth: int) -> bool:
    del depth
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Json, depth: int) -> bool:
    del depth
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Json, depth: int) -> bool:
    del depth
    return isinstance(value, list)


def _is_flag(value: Json, depth: int) -> bool:
    del depth
    return isinstance(value, bool)


def _is_set_of_names(value: Json, depth: int) -> bool:
    del depth
    if not isinstance(value, list):
        return False
    names = cast("list[Json]", value)
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _are_schemas(value: Json, depth: int) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and is_plainly_schema(part, depth)
        for name, part in cast("dict[Any, Json]", value).items()
    )


_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "format", "readOnly", "writeOnly", "deprecated"}
)
_SCHEMA_CHECKS: Mapping[str, Callable[[Json, int], bool]] = {
    "type": _is_type,
    "title": _is_text,
    "description": _is_text,
    "format": _is_text,
    "default": _is_anything,
    "const": _is_anything,
    "examples": _is_list,
    "enum": _is_list,
    "readOnly": _is_flag,
    "writeOnly": _is_flag,
    "deprecated": _is_flag,
    "minimum": _is_number,
    "maximum": _is_number,
    "minLength": _is_count,
    "maxLength": _is_count,
    "minItems": _is_count,
    "maxItems": _is_count,
    "required": _is_set_of_names,
    "properties": _are_schemas,
    "items": is_plainly_schema,
    "additionalProperties": is_plainly_schema,
}


def _meets_type(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    del schema, depth
    kind = cast("type[object]", type(value))
    if wanted == "integer":
        return kind is int
    if wanted == "number":
        return kind is int or kind is float
    return kind is _PYTHON_TYPES.get(wanted) if isinstance(wanted, str) else False


def _meets_enum(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    del schema, depth
    return isinstance(value, str) and isinstance(wanted, list) and value in wanted


def _meets_minimum(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    del schema, depth
    return _is_number(value, 0) and _is_number(wanted, 0) and value >= wanted


def _meets_maximum(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    del schema, depth
    return _is_number(value, 0) and _is_number(wanted, 0) and value <= wanted


def _meets_required(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    del schema, depth
    return (
        type(value) is dict and isinstance(wanted, list) and all(name in value for name in cast("list[Json]", wanted))
    )


def _meets_properties(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    del schema
    if type(value) is not dict or not isinstance(wanted, dict):
        return False
    given = cast("dict[str, Any]", value)
    return all(
        plainly_meets(part, given[name], depth)
        for name, part in cast("dict[str, Json]", wanted).items()
        if name in given
    )


def _meets_additional(wanted: Json, value: Any, schema: Mapping[str, Json], depth: int) -> bool:
    if type(value) is not dict:
        return False
    known: Json = schema.get("properties", {})
    given = cast("dict[str, Any]", value)
    return isinstance(known, dict) and all(name in known or plainly_meets(wanted, given[name], depth) for name in given)


_PYTHON_TYPES: Mapping[str, type] = {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}
_VALUE_CHECKS: Mapping[str, Callable[[Json, Any, Mapping[str, Json], int], bool]] = {
    "type": _meets_type,
    "enum": _meets_enum,
    "minimum": _meets_minimum,
    "maximum": _meets_maximum,
    "required": _meets_required,
    "properties": _meets_properties,
    "additionalProperties": _meets_additional,
}
