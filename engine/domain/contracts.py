"""Contracts: what a model takes and gives as a whole, and whether a value meets a schema.

A pyarrow table or a pandas or polars frame counts as an array of objects. It is never turned into one: its columns
are compared with the fields that the items require, and its length with the bounds on items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any, cast

from engine.domain.canonical import Json, as_list, as_object, canonical_bytes, loads
from engine.domain.model import FunctionModel
from engine.domain.nodes import Boundary
from engine.domain.plain_schemas import is_plainly_schema, plainly_meets
from engine.domain.schemas import why_not
from engine.domain.values import Port, Schema
from engine.errors import NotCanonical

MAX_PROBLEMS = 20
_MAX_REASON_CHARS = 200
_DEPTH_LIMIT = 20
_TABLE_MODULES = frozenset({"pyarrow", "pandas", "polars"})
_TABLE_NAMES = frozenset({"Table", "RecordBatch", "DataFrame"})
_TYPE_WORDS = {
    "string": "text",
    "array": "a list",
    "object": "an object",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "nothing",
}
_PLAIN_NAME = re.compile(r"[^\W\d][\w-]*")


def input_contract(model: FunctionModel) -> Schema:
    """Return the schema of the object that a run of `model` takes: all its input boundaries together."""
    return _together(node.input_contract for node in model.input_boundaries())


def output_contract(model: FunctionModel) -> Schema:
    """Return the schema of the object that a run of `model` gives: all its output boundaries together."""
    return _together(node.output_contract for node in model.output_boundaries())


def ports_of_nested(child: FunctionModel) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return (inputs, outputs) of a step that runs `child`: the properties of its contracts, each name once."""
    return (
        _once(port for node in child.input_boundaries() for port in _entering(node)),
        _once(port for node in child.output_boundaries() for port in node.inputs),
    )


def problems(schema: Json, value: Any) -> tuple[tuple[str, str], ...]:
    """Return (where, reason) for each way in which `value` fails `schema`, at most `MAX_PROBLEMS`; none if it meets it.

    `where` is a path like `rows[3].name`, or "" for the whole value. A schema that can't be applied is a problem too.
    """
    if plainly_meets(schema, value):
        return ()
    try:
        errors = islice(_validator()(schema).iter_errors(value), MAX_PROBLEMS)
        found = [(_where(error.absolute_path), _reason(error)) for error in errors]
    except RecursionError:
        return (("", "it nests too deeply to be checked"),)
    except Exception as error:  # noqa: BLE001 - a schema written by anybody can break the checker in many ways
        return (("", _short(f"the schema can't be applied: {error}")),)
    return tuple(dict.fromkeys(found))


def with_defaults(schema: Json, value: Json) -> Json:
    """Return `value` with the `default` of every property that is missing, in nested objects too."""
    return _filled(schema, value, 0)


def why_not_schema(schema: Json) -> str | None:
    """Return why this is no JSON Schema (draft 2020-12), as the end of a sentence; None if it is one."""
    if is_plainly_schema(schema):
        return None
    try:
        return _why_not_schema(canonical_bytes(schema))
    except NotCanonical as error:
        return str(error.facts["reason"])


def is_table(value: object) -> bool:
    """Return whether `value` is a table of pyarrow, pandas or polars, without importing any of them."""
    return any(
        kind.__name__ in _TABLE_NAMES and kind.__module__.partition(".")[0] in _TABLE_MODULES
        for kind in type(value).__mro__
    )


def _entering(node: Boundary) -> Iterator[Port]:
    """Yield the ports that callers fill; one with a default need not be filled."""
    for port in node.outputs:
        yield port.model_copy(update={"required": False}) if "default" in port.port_schema else port


def _once(ports: Iterable[Port]) -> tuple[Port, ...]:
    found: dict[str, Port] = {}
    for port in ports:
        found.setdefault(port.name, port)
    return tuple(found.values())


def _together(contracts: Iterable[Schema | None]) -> Schema:
    given = [contract for contract in contracts if contract]
    if len(given) == 1:
        return {"type": "object", **given[0]}
    properties: dict[str, Json] = {}
    required: list[str] = []
    definitions: dict[str, Json] = {}
    for contract in given:
        for name, schema in as_object(contract.get("properties")).items():
            clash = name in properties and properties[name] != schema
            properties[name] = {"allOf": [properties[name], schema]} if clash else schema
        named = contract.get("required")
        required += [name for name in as_list(named) if name not in required]
        definitions = {**as_object(contract.get("$defs")), **definitions}
    together: Schema = {"type": "object", "properties": properties, "required": required}
    return {**together, "$defs": definitions} if definitions else together


def _filled(schema: Json, value: Json, depth: int) -> Json:
    if depth > _DEPTH_LIMIT or not isinstance(schema, dict) or not isinstance(value, dict):
        return value
    filled = dict(as_object(value))
    for name, part in as_object(as_object(schema).get("properties")).items():
        if name in filled:
            filled[name] = _filled(part, filled[name], depth + 1)
        elif "default" in as_object(part):
            filled[name] = part["default"]
    return filled


@lru_cache(maxsize=4_096)
def _why_not_schema(text: bytes) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(loads(text))
    except SchemaError as error:
        where = _where(error.absolute_path)
        return _short(f"{where}: {error.message}" if where else str(error.message))
    except Exception as error:  # noqa: BLE001 - as in `problems`
        return _short(str(error))
    return None


@cache
def _validator() -> Callable[[Json], Any]:
    """Return what makes a validator of a schema: it knows tables, and never fetches a schema from the network."""
    import referencing
    from jsonschema import validators

    untyped = cast("Any", validators)
    base: Any = untyped.Draft202012Validator
    checks: Mapping[str, Any] = base.VALIDATORS
    skipping = {name: _unless_table(checks[name]) for name in _NOT_FOR_TABLES if name in checks}
    kind: Any = untyped.extend(
        base,
        {**skipping, "items": _items(checks["items"])},
        type_checker=base.TYPE_CHECKER.redefine("array", _is_array),
    )
    nowhere = cast("Any", referencing).Registry()

    def validator(schema: Json) -> Any:
        return kind(schema, registry=nowhere)

    return validator


def _is_array(_: Any, value: Any) -> bool:
    return isinstance(value, list | tuple) or is_table(value)


_NOT_FOR_TABLES = ("prefixItems", "contains", "uniqueItems", "unevaluatedItems", "enum", "const")


def _unless_table(check: Any) -> Any:
    def checked(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if not is_table(value):
            yield from check(validator, wanted, value, schema) or ()

    return checked


def _items(check: Any) -> Any:
    from jsonschema import ValidationError

    def checked(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if not is_table(value):
            yield from check(validator, wanted, value, schema) or ()
            return
        reason = why_not({"type": "object"}, wanted)
        if reason:
            yield ValidationError(f"a table holds rows, and {reason}")
        named = getattr(value, "column_names", None)
        columns = {str(name) for name in (value.columns if named is None else named)}
        for name in as_list(as_object(wanted).get("required")):
            if name not in columns:
                yield ValidationError(f"the column {name!r} is missing")

    return checked


def _where(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


def _reason(error: Any) -> str:
    """Return what is wrong in plain words, where we have some."""
    wanted, value = error.validator_value, error.instance
    if error.validator == "type":
        kinds = as_list(wanted) or [wanted]
        names = " or ".join(_TYPE_WORDS.get(kind, str(kind)) for kind in kinds)
        return _short(f"{_shown(value)} is not {names}")
    if error.validator == "required":
        return f"the field {str(error.message).removesuffix(' is a required property')} is missing"
    if error.validator == "enum":
        return _short(f"{_shown(value)} is none of {', '.join(map(_shown, wanted))}")
    return _short(str(error.message))


def _shown(value: Any) -> str:
    if is_table(value):
        return "a table"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    return repr(value)[:60]


def _short(text: str) -> str:
    return text if len(text) <= _MAX_REASON_CHARS else text[:_MAX_REASON_CHARS] + " …"
