"""Types of a function's parameters, as ports and settings need them: a JSON Schema and a way to convert a value."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, cast, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from engine.domain.schemas import TABLE
from engine.domain.values import Schema
from engine.ports import StepContext
from engine.tethers.chart import CHART_SCHEMA, Chart
from engine.tethers.conversion import table_kind, to_arrow, to_bytes, to_pandas, to_rows, without_tables, words

Convert = Callable[[Any], Any]
"""Returns the value as the function wants it; raises ValueError, worded as a reason."""

ToWrite = "to write"
"""`Annotated[Path, ToWrite]` marks the path of a file that is written."""

_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
    Mapping: {"type": "object"},
    Sequence: {"type": "array"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    object: {},
    Any: {},
}
_PATH: Schema = {"type": "string", "format": "path"}
_BYTES: Schema = {"type": "string", "contentEncoding": "base64"}
_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class Kind(NamedTuple):
    """What an annotation means."""

    schema: Schema
    convert: Convert | None = None
    """None: any value is taken as it is."""
    exact: type | None = None
    """A value of exactly this type needs no conversion."""
    path: Literal["", "read", "write"] = ""
    hints: Mapping[str, Any] = {}
    """How to show it: what `json_schema_extra` said."""


ANYTHING = Kind({})


def is_context(annotation: object) -> bool:
    """Say whether a parameter asks for the step's context."""
    options = _options(annotation)
    return any(option is StepContext or getattr(option, "__name__", "") == "StepContext" for option in options)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function or class as objects.

    Names of pyarrow and pandas need not be imported: `pa.Table` under `if TYPE_CHECKING:` is understood. What can't be
    resolved otherwise counts as not annotated.
    """
    known = _globals_of(function)
    names = {name: value for name, value in _STAND_INS.items() if name not in known}
    try:
        return typing.get_type_hints(function, localns=names, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is code of somebody else, and may raise anything
        return _hints_one_by_one(function, names)


def _globals_of(owner: object) -> dict[str, Any]:
    found = getattr(owner, "__globals__", None)
    return found if found is not None else vars(sys.modules.get(getattr(owner, "__module__", ""), sys))


def _hints_one_by_one(function: Callable[..., Any], names: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found.update(typing.get_type_hints(alone, _globals_of(function), names, include_extras=True))
        except Exception:  # noqa: BLE001 - as above
            found[name] = Any
    return found


def kind_of(annotation: Any) -> Kind:
    """Return what an annotation means; one that has no JSON Schema takes any value."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _annotated(annotation)
    if origin in {Union, types.UnionType}:
        return _union(annotation)
    named = table_kind(annotation)
    if named:
        return Kind(TABLE, to_arrow if named == "arrow" else to_pandas)
    if annotation is Chart:
        return Kind(CHART_SCHEMA, _to_chart)
    if annotation is bytes:
        return Kind(_BYTES, to_bytes, bytes)
    if isinstance(annotation, type) and issubclass(annotation, Path):
        return Kind(_PATH, path="read")
    if annotation in (Any, object):
        return ANYTHING
    if annotation in {str, int, float, bool, list, dict}:
        return Kind(_PLAIN[annotation], _validated(annotation), annotation)
    return _structured(annotation)


def _structured(annotation: Any) -> Kind:
    schema = _schema(annotation)
    if get_origin(annotation) in {list, Sequence} and _is_row(get_args(annotation)[0]):
        plain = get_args(annotation)[0]
        return Kind(schema, to_rows if not get_args(plain) or get_args(plain)[1] is Any else _validated(annotation))
    return Kind(schema, _validated(annotation)) if schema is not None else ANYTHING


def _is_row(annotation: Any) -> bool:
    return annotation is dict or get_origin(annotation) in {dict, Mapping}


def _schema(annotation: Any) -> Any:
    """Return the JSON Schema of a type, or None if it has none. Plain types take no adapter, which is slow to make."""
    if isinstance(annotation, typing.Hashable) and annotation in _PLAIN:
        return dict(_PLAIN[annotation])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(arguments), **_type_of_all(arguments)}
    if origin in {list, Sequence} or (origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis):
        items = kind_of(arguments[0]).schema
        return {"type": "array", "items": items} if items else {"type": "array"}
    if origin in {dict, Mapping} and arguments[0] is str:
        values = kind_of(arguments[1]).schema
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    try:
        return _without_titles(TypeAdapter(cast("Any", annotation)).json_schema())
    except (PydanticUserError, TypeError, ValueError, NameError):
        return None


def _type_of_all(values: Sequence[object]) -> Schema:
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    found = {names.get(type(value)) for value in values}
    only = found.pop() if len(found) == 1 else None
    return {"type": only} if only else {}


def _without_titles(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "title"}


def _union(annotation: Any) -> Kind:
    options = [option for option in get_args(annotation) if option is not type(None)]
    optional = len(options) < len(get_args(annotation))
    if len(options) == 1:
        inner = kind_of(options[0])
        return inner._replace(schema=_nullable(inner.schema), convert=_or_none(inner.convert))
    schema: Schema = {"anyOf": [kind_of(option).schema for option in options] + [{"type": "null"}] * optional}
    if any(not part for part in schema["anyOf"]):
        return ANYTHING
    if any(table_kind(option) for option in options):
        return Kind(schema)
    return Kind(schema, _validated(annotation))


def _nullable(schema: Schema) -> Schema:
    kind = schema.get("type")
    if not schema:
        return schema
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _or_none(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _annotated(annotation: Any) -> Kind:
    inner, *extras = get_args(annotation)
    kind = kind_of(inner)
    if ToWrite in extras:
        return kind._replace(path="write")
    schema, hints, limited = dict(kind.schema), dict(kind.hints), False
    for extra in extras:
        field = extra if isinstance(extra, FieldInfo) else None
        for limit in field.metadata if field is not None else [extra]:
            found = _limits(limit)
            schema.update(found)
            limited = limited or bool(found)
        if field is not None:
            schema.update({key: text for key in ("title", "description") if (text := getattr(field, key))})
            extras_of_field = cast("Any", field).json_schema_extra
            if isinstance(extras_of_field, dict):
                hints.update(cast("dict[str, Any]", extras_of_field))
    if not limited:
        return kind._replace(schema=schema, hints=hints)
    return kind._replace(schema=schema, hints=hints, convert=_validated(annotation), exact=None)


def _limits(limit: object) -> Schema:
    found = {keyword: getattr(limit, name) for name, keyword in _KEYWORDS.items() if hasattr(limit, name)}
    pattern = getattr(limit, "pattern", None)
    if isinstance(pattern, str):
        found["pattern"] = pattern
    for name, keyword in (("min_length", "minLength"), ("max_length", "maxLength")):
        if isinstance(getattr(limit, name, None), int):
            found[keyword] = getattr(limit, name)
    return found


def _validated(annotation: Any) -> Convert:
    """Return a converter by pydantic; its adapter is made when it is first used."""
    made: list[TypeAdapter[Any]] = []

    def convert(value: Any) -> Any:
        if not made:
            made.append(TypeAdapter(annotation))
        try:
            return made[0].validate_python(without_tables(value))
        except ValidationError as error:
            raise ValueError(_reason(error, value)) from None

    return convert


def _reason(error: ValidationError, value: Any) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ").removeprefix("a valid ")
    got = words(first["input"])
    shown = f" {first['input']!r}"[:60] if isinstance(first["input"], str | int | float) else ""
    return f"takes {said}, but got {got}{shown}{f' at {where}' if where and first['input'] is not value else ''}"


def _to_chart(value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(cast("Mapping[str, Any]", value).get("chart"), str):
        return cast("Any", value)
    message = f"takes a chart, but got {words(cast('object', value))}"
    raise ValueError(message)


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is typing.Annotated:
        return _options(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def _stand_in(module: str, name: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(**{name: type(name, (), {"__module__": module})})


_STAND_INS: dict[str, Any] = {
    **dict.fromkeys(("pa", "pyarrow"), _stand_in("pyarrow", "Table")),
    **dict.fromkeys(("pd", "pandas"), _stand_in("pandas", "DataFrame")),
    "StepContext": StepContext,
    "Path": Path,
    "Any": Any,
}
