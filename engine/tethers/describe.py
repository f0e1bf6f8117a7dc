"""How a function becomes a node: its parameters are ports and settings, its docstring is the description.

Positional parameters are input ports, keyword-only ones are settings, a parameter annotated `StepContext` receives
the context. A NamedTuple or TypedDict returned gives several output ports, None gives none, anything else gives one.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_origin, is_typeddict, overload

from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port, Schema
from engine.errors import TetherUndescribed, TreadleError
from engine.tethers.annotations import ANYTHING, Kind, hints_of, is_context, kind_of
from engine.tethers.chart import Chart
from engine.tethers.digests import digest_of
from engine.tethers.docstrings import Docs, docs_of

Runs = Literal["auto", "inline", "thread", "async", "process"]
Binding = Literal["function", "code", "http", "sql", "mcp", "spindle"]
_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__treadle_tether__"
REQUIRED = inspect.Parameter.empty
_ACRONYMS = {"csv": "CSV", "json": "JSON", "sql": "SQL", "http": "HTTP", "url": "URL", "id": "ID", "html": "HTML"}


@dataclass(frozen=True, slots=True)
class Marks:
    """What the decorator said; None means: find out."""

    reference: str | None = None
    name: str | None = None
    category: str | None = None
    icon: str = "square-function"
    effect: bool = False
    runs: Runs = "auto"
    outputs: tuple[str, ...] | None = None
    keywords: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict[str, Any])
    binding: Binding = "function"


class Parameter(NamedTuple):
    """One parameter of a function, as calling it needs it."""

    name: str
    role: Literal["port", "setting", "context", "many", "rest"]
    kind: Kind
    default: Any = REQUIRED
    positional_only: bool = False


class Described(NamedTuple):
    """A function with everything needed to show it and to call it."""

    function: Callable[..., Any]
    spec: TetherSpec
    parameters: tuple[Parameter, ...]
    returns: tuple[str, ...]
    """Names of the output ports."""
    returns_fields: bool
    """True: the function returns one object or tuple with a field for each output port."""


@overload
def tether(function: _F, /) -> _F: ...
@overload
def tether(
    reference: str | None = None,
    *,
    name: str | None = None,
    category: str | None = None,
    icon: str = "square-function",
    effect: bool = False,
    runs: Runs = "auto",
    outputs: Sequence[str] | None = None,
    keywords: Sequence[str] = (),
    example: Mapping[str, Any] | None = None,
    binding: Binding = "function",
) -> Callable[[_F], _F]: ...
def tether(reference: Any = None, **marks: Any) -> Any:
    """Mark a function as one that nodes can bind to; the function itself stays as it is.

    Args:
        reference: what models call it; by default 'module.function'.
        name: what people call it.
        category: the group in the palette; by default the module's.
        icon: a Lucide icon.
        effect: True if it leaves the process: once completed it is never repeated.
        runs: how it is run; 'auto' finds out.
        outputs: names of the output ports, if the return annotation doesn't give them.
        keywords: further words to find it by.
        example: settings and inputs to try it with.
        binding: the kind of node.
    """
    if callable(reference):
        return _mark(cast("Any", reference), Marks())
    marks["reference"] = reference
    for listed in ("outputs", "keywords"):
        if marks.get(listed) is not None:
            marks[listed] = tuple(marks[listed])
    if marks.get("example", ()) is None:
        del marks["example"]
    found = Marks(**marks)

    def decorate(function: _F) -> _F:
        return _mark(function, found)

    return decorate


def _mark(function: _F, marks: Marks) -> _F:
    setattr(function, _MARK, marks)
    return function


def marks_of(function: object) -> Marks | None:
    """Return what the decorator said of a function, or None if it is not marked."""
    found = getattr(function, "__dict__", {}).get(_MARK)
    return found if isinstance(found, Marks) else None


def describe(function: Callable[..., Any], *, module: str | None = None, category: str | None = None) -> Described:
    """Return a function as a node; raise `TetherUndescribed` if it can't be one."""
    marks = marks_of(function) or Marks()
    own_name = getattr(function, "__name__", type(function).__name__)
    if marks.reference is None and not own_name.isidentifier():
        raise TetherUndescribed(name=own_name, reason="it has no name; write it with def, or give it a reference")
    home = module or _module_name(function)
    try:
        return _described(function, marks, own_name, home, category or _category_of(function, home))
    except TreadleError:
        raise
    except (TypeError, ValueError) as error:
        raise TetherUndescribed(name=own_name, reason=str(error).split("\n")[0]) from None


def _described(function: Callable[..., Any], marks: Marks, own_name: str, home: str, category: str) -> Described:
    hints, docs = hints_of(function), docs_of(function)
    parameters = tuple(_parameter(found, hints) for found in inspect.signature(function).parameters.values())
    outputs, fields = _outputs(hints.get("return", REQUIRED), marks.outputs)
    runs: Runs = "async" if inspect.iscoroutinefunction(function) else marks.runs
    spec = TetherSpec(
        reference=marks.reference or f"{home}.{own_name}",
        name=marks.name or titled(own_name),
        category=marks.category or category,
        description=docs.description,
        icon=marks.icon,
        binding=marks.binding,
        inputs=tuple(_port(found, docs) for found in parameters if found.role in {"port", "many"}),
        outputs=outputs,
        settings=_settings(parameters, docs),
        effect=marks.effect,
        runs=runs,
        code=digest_of(function),
        keywords=marks.keywords,
        example=dict(marks.example),
    )
    return Described(function, spec, parameters, tuple(port.name for port in outputs), fields)


def titled(name: str) -> str:
    """Return 'Read CSV' for 'read_csv'."""
    first, *others = name.strip("_").split("_")
    return " ".join(_ACRONYMS.get(word, word) for word in (_ACRONYMS.get(first, first.capitalize()), *others))


def _module_name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__module__", None) or "functions").rpartition(".")[2].strip("_") or "functions"


def _category_of(function: Callable[..., Any], home: str) -> str:
    found = getattr(function, "__globals__", {}).get("CATEGORY")
    return found if isinstance(found, str) and found else titled(home)


def _parameter(found: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    annotation = hints.get(found.name, Any)
    if found.kind is found.VAR_KEYWORD:
        return Parameter(found.name, "rest", ANYTHING)
    if is_context(annotation):
        return Parameter(found.name, "context", ANYTHING, found.default, found.kind is found.POSITIONAL_ONLY)
    kind = kind_of(annotation)
    if found.kind is found.VAR_POSITIONAL:
        return Parameter(found.name, "many", kind)
    role = "setting" if found.kind is found.KEYWORD_ONLY else "port"
    return Parameter(found.name, role, kind, found.default, found.kind is found.POSITIONAL_ONLY)


def _port(found: Parameter, docs: Docs) -> Port:
    schema = dict(found.kind.schema)
    if found.default is not REQUIRED and _is_json(found.default):
        schema["default"] = found.default
    if found.kind.hints:
        schema["x-widget"] = found.kind.hints.get("x-widget", dict(found.kind.hints))
    return Port(
        name=found.name,
        schema=schema,
        required=found.role == "port" and found.default is REQUIRED,
        many=found.role == "many",
        description=docs.arguments.get(found.name, ""),
    )


def _settings(parameters: Sequence[Parameter], docs: Docs) -> Schema:
    properties: dict[str, Any] = {}
    for found in parameters:
        if found.role != "setting":
            continue
        schema = {"title": titled(found.name), **found.kind.schema}
        if docs.arguments.get(found.name):
            schema.setdefault("description", docs.arguments[found.name])
        if found.default is not REQUIRED and _is_json(found.default):
            is_tuple = isinstance(found.default, tuple)
            schema["default"] = list(cast("tuple[Any, ...]", found.default)) if is_tuple else found.default
        if found.kind.hints:
            schema["x-widget"] = found.kind.hints.get("x-widget", dict(found.kind.hints))
        properties[found.name] = schema
    required = [found.name for found in parameters if found.role == "setting" and found.default is REQUIRED]
    open_ended = any(found.role == "rest" for found in parameters)
    schema = {"type": "object", "properties": properties, "additionalProperties": open_ended}
    return {**schema, "required": required} if required else schema


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _outputs(annotation: Any, names: tuple[str, ...] | None) -> tuple[tuple[Port, ...], bool]:
    """Return (ports, whether the function returns one object with a field for each)."""
    if names is not None:
        schema = _output_schema(annotation) if len(names) == 1 else {}
        return tuple(Port(name=name, schema=schema) for name in names), len(names) > 1
    if annotation is None or annotation is type(None):
        return (), False
    if annotation is not Chart and (is_typeddict(annotation) or _is_named_tuple(annotation)):
        fields = hints_of(annotation)
        return tuple(Port(name=name, schema=_output_schema(kind)) for name, kind in fields.items()), True
    return (Port(name="result", schema=_output_schema(annotation)),), False


def _is_named_tuple(annotation: Any) -> bool:
    bases: tuple[object, ...] = getattr(annotation, "__mro__", ())
    return tuple in bases and hasattr(annotation, "_fields")


def _output_schema(annotation: Any) -> Schema:
    if annotation is REQUIRED or get_origin(annotation) is type:
        return {}
    return dict(kind_of(annotation).schema or {})
