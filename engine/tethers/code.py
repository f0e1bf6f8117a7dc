"""Python code in a node: what it says of its ports, and running it in a process of its own.

The code is only ever parsed here; what compiles and runs it is `code_worker.py`, in another process.
"""

from __future__ import annotations

import ast
from typing import Annotated, Any, cast

from pydantic import Field

from engine.domain.schemas import TABLE
from engine.domain.values import Port, Schema
from engine.errors import CodeFailed
from engine.ports import StepContext
from engine.tethers.describe import tether

_TYPES: dict[str, Schema] = {
    "list": {"type": "array"},
    "tuple": {"type": "array"},
    "dict": {"type": "object"},
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "Table": TABLE,
    "DataFrame": TABLE,
}
_KINDS = {"list": "rows", "DataFrame": "pandas"}
_SETTINGS = frozenset({"code", "cpu_s", "memory_mib", "timeout_s", "context"})
_EXAMPLE = '''def run(rows: list, threshold: float = 3):
    """Keep the rows whose value is above the threshold."""
    return [row for row in rows if row["value"] > threshold]
'''


@tether(
    reference="python.code",
    name="Python code",
    category="Code",
    icon="code",
    binding="code",
    runs="thread",
    keywords=("script", "function", "transform", "custom"),
    example={"code": _EXAMPLE, "rows": [{"value": 2}, {"value": 5}]},
)
def code(
    *,
    code: Annotated[str, Field(json_schema_extra={"widget": "code", "language": "python"})],
    cpu_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0,
    memory_mib: Annotated[int, Field(ge=64, le=1_048_576)] = 1024,
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0,
    context: StepContext,
    **values: Any,
) -> Any:
    """Run the function `run` (or else the last one) of the code, in a process of its own.

    Its parameters are the ports. A table arrives as a pyarrow.Table; as a list of rows if the parameter is annotated
    `list`, as a pandas.DataFrame if it is annotated so. If it returns an object, each field can be a port of its own.
    What it prints goes to the step's log. It finds no secrets in its environment and shares nothing with other calls.

    Args:
        code: Python with a function whose parameters are the ports.
        cpu_s: seconds of CPU time it may use.
        memory_mib: memory it may use, in MiB.
        timeout_s: seconds after which it is ended.
    """
    from engine.tethers.code_process import Code, Limits, run_apart

    function = _function_or_raise(code)
    kinds = {found.arg: kind for found in _arguments(function) if (kind := _KINDS.get(_name_of(found.annotation), ""))}
    program = Code(code, function.name, kinds)
    value = run_apart(program, values, Limits(cpu_s, memory_mib, timeout_s), context)
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    return {"result": fields, **fields}


def ports_of_code(source: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return (inputs, outputs) of the function in `source`; raise `CodeFailed` if there is none."""
    function = _function_or_raise(source)
    arguments = function.args
    defaults = {found.arg: given for found, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)}
    defaults |= {
        found.arg: given for found, given in zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)
    }
    inputs = tuple(_port(argument, defaults.get(argument.arg)) for argument in _arguments(function))
    return inputs, (Port(name="result", schema=_schema(function.returns)),)


def problem_of_code(source: str) -> str | None:
    """Return what keeps `source` from being run, as one sentence, or None. It is parsed, never executed."""
    found = _function(source)
    return found if isinstance(found, str) else None


def _function_or_raise(source: str) -> ast.FunctionDef:
    found = _function(source)
    if isinstance(found, str):
        raise CodeFailed(reason=found, permanent=True)
    return found


def _function(source: str) -> ast.FunctionDef | str:
    """Return the function that is called, or the problem."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        return f"SyntaxError: {error.msg} (line {error.lineno or 1})"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"it can't be read as Python ({str(error) or 'it nests too deep'})"
    functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not functions:
        return "it has no function; write one, like def run(rows): return rows"
    named = [node for node in functions if node.name == "run"]
    public = [node for node in functions if not node.name.startswith("_")]
    function = (named or public or functions)[-1]
    where = f"(line {function.lineno})"
    if isinstance(function, ast.AsyncFunctionDef):
        return f"{function.name} is async; write def without async {where}"
    if function.args.posonlyargs or function.args.vararg:
        return f"{function.name} takes / or *; its values come by name, so leave that out {where}"
    taken = sorted(_SETTINGS & {argument.arg for argument in _arguments(function)})
    return f"the parameter {taken[0]} has the name of a setting; call it something else {where}" if taken else function


def _arguments(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.args, *function.args.kwonlyargs]


def _port(argument: ast.arg, default: ast.expr | None) -> Port:
    schema = dict(_schema(argument.annotation))
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            value = ...
        if _is_json(value):
            schema["default"] = value
    return Port(name=argument.arg, schema=schema, required=default is None)


def _is_json(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_json(item) for item in cast("list[object]", value))
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return all(isinstance(key, str) and _is_json(item) for key, item in items)
    if isinstance(value, float):
        return value - value == 0  # neither infinite nor NaN
    return value is None or isinstance(value, str | int)


def _schema(annotation: ast.expr | None) -> Schema:
    """Return the JSON Schema of an annotation; one that is not known takes anything."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        left, right = _schema(annotation.left), _schema(annotation.right)
        if set(left) == set(right) == {"type"}:
            types = [*_type_names(left), *_type_names(right)]
            return {"type": list(dict.fromkeys(types))}
        return {}
    return dict(_TYPES.get(_name_of(annotation), {}))


def _type_names(schema: Schema) -> list[str]:
    named = schema["type"]
    return [named] if isinstance(named, str) else list(named)


def _name_of(annotation: ast.expr | None) -> str:
    """Return the last word of an annotation: 'list' for `list[dict]`, 'DataFrame' for `pd.DataFrame | None`."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _name_of(value)
        case ast.Constant(value=None):
            return "None"
        case ast.Constant(value=str() as text):
            return text.partition("[")[0].rpartition(".")[2].strip()
        case ast.BinOp(left=left, right=ast.Constant(value=None)):
            return _name_of(left)
        case _:
            return ""
