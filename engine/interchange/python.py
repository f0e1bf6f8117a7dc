"""A model as Python source, and back: the same content hash, whatever the model.

A model that a body can make is written as one (`engine.model`), which is checked by carrying out the same calls before
they are handed out. Any other is written out field by field. Reading a file back runs it: that is for files of one's
own, named by their path, never for texts from a store or the network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, cast

from pydantic import ValidationError

from engine import authoring
from engine.authoring import AuthoredModel, Handle
from engine.authoring.handles import draft_of
from engine.authoring.models import Traced, traced
from engine.domain.canonical import Json, as_list, as_object, canonical_bytes
from engine.domain.ids import slug
from engine.domain.model import FunctionModel, element_json
from engine.domain.nodes import Action, ActionFields, AgentTask, Knowledge, NodeFields, Tether
from engine.errors import FileMissing, NotAModel, TreadleError
from engine.interchange.python_script import Script, Unsayable, annotated, port_of, script_of
from engine.interchange.python_text import (
    Block,
    Expression,
    Invoke,
    Item,
    Line,
    Listed,
    Literal,
    Name,
    Table,
    laid,
    written,
)

_HEAD = '"""A model, written by Treadle. Change it, and run it again."""\n\nimport engine\n\n'
_ROUNDS = 8
_DEEPEST = 60
"""Python's own parser takes no more than 200 brackets inside one another."""
_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "engine.call": authoring.call,
        "engine.call_model": authoring.call_model,
        "engine.cel": authoring.cel,
        "engine.each": authoring.each,
        "engine.options": authoring.options,
        "engine.stage": authoring.stage,
        "engine.authoring.agent": authoring.agent,
        "engine.authoring.constant": authoring.constant,
        "engine.authoring.declared": authoring.declared,
        "engine.authoring.depends": authoring.depends,
        "engine.authoring.given": authoring.given,
        "engine.authoring.knowledge": authoring.knowledge,
    }
)
_FIXED = frozenset({"kind", "parent", "reference", "boundary"})
"""Fields that the calls themselves say."""
_Stated = dict[str, dict[str, Expression]]


def source_of(model: FunctionModel) -> str:
    """Return Python source that makes a model of the same content hash, id and version, with 'import engine' alone."""
    plain = model.to_json()
    wanted = canonical_bytes(plain)
    if _depth(plain) > _DEEPEST:
        text = Literal(wanted.decode("utf-8"))
        return f"{_HEAD}{written(Line(Invoke('engine.FunctionModel.loads', (text,)), 'model'))}\n"
    try:
        script = script_of(model)
        stated = _stated(script, wanted)
    except (Unsayable, TreadleError, ValidationError, RecursionError):
        return f"{_HEAD}{written(Line(Invoke('engine.FunctionModel.from_json', (Literal(plain),)), 'model'))}\n"
    return _HEAD + _body(script, stated)


def load_python(path: str | Path, name: str | None = None) -> AuthoredModel | FunctionModel:
    """Run a Python file of one's own and return its model: the one called `name`, 'model', or the only one.

    Raise `FileMissing`, or `NotAModel` with the reason.
    """
    place = Path(path).resolve()
    if not place.is_file():
        raise FileMissing(path=path)
    module = _run(place)
    found = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, FunctionModel)
        or (isinstance(value, AuthoredModel) and value.function.__module__ == module.__name__)
    }
    wanted = name or ("model" if "model" in found else next(iter(found), "") if len(found) == 1 else "")
    if wanted not in found:
        known = ", ".join(found) or "none"
        reason = f"it has no model {name!r}; there are: {known}" if name else f"say which of its models: {known}"
        raise NotAModel(source=place.name, where="top level", reason=reason if found else "it makes no model")
    return found[wanted]


def model_from_source(path: str | Path, name: str | None = None) -> FunctionModel:
    """Return the function model of a Python file; see `load_python`."""
    found = load_python(path, name)
    return found.model if isinstance(found, AuthoredModel) else found


# ---- writing ------------------------------------------------------------------------------------------------------


def _body(script: Script, stated: _Stated) -> str:
    made = Invoke("engine.model", (), tuple(_facts(script, stated).items()))
    first = f"def {script.function}({', '.join(map(annotated, script.inputs))}):"
    if len(first) > 120:
        first = "\n".join([f"def {script.function}(", *(f"    {annotated(port)}," for port in script.inputs), "):"])
    lines = [written(line, 4) for line in script.lines(stated)]
    result = script.returned()
    if result is not None:
        lines.append(f"    return {laid(result, 4, len('return '), 0)}")
    decorator = laid(made, 0, 1, 0)
    return "\n".join(["", f"@{decorator}", first, *(lines or ["    return None"])]) + "\n"


def _facts(script: Script, stated: _Stated) -> dict[str, Expression]:
    model = script.model
    facts: dict[str, Expression] = {"name": Literal(model.name)}
    if model.id != slug(script.function.replace("_", " ")):
        facts["id"] = Literal(model.id)
    if model.description:
        facts["description"] = Literal(model.description)
    if model.tags:
        facts["tags"] = Literal(list(model.tags))
    if model.version is not None:
        facts["version"] = Literal(str(model.version))
    for side, node in (("inputs", script.entry), ("outputs", script.exit)):
        if stated.get(node.id):
            facts[side] = Table(tuple(stated[node.id].items()))
    return facts


# ---- finding out what must be stated ------------------------------------------------------------------------------


def _stated(script: Script, wanted: bytes) -> _Stated:
    """Return the options that make the calls give exactly this model; raise `Unsayable` if none do."""
    stated: _Stated = {node.id: dict(_outputs(node)) for node in script.model.actions()}
    for _ in range(_ROUNDS):
        made, nodes = _carried_out(script, stated)
        if canonical_bytes(made.model.to_json()) == wanted:
            return stated
        if not _add_differences(script, made, nodes, stated):
            break
    raise Unsayable


def _add_differences(script: Script, made: Traced, nodes: Mapping[str, str], stated: _Stated) -> bool:
    """Add an option for every field that the calls give otherwise; return whether there was any."""
    is_any = False
    for key in sorted(script.model.nodes):
        own = stated.setdefault(key, {})
        found = made.model.nodes[nodes[key]]
        for name, value in _differences(script, script.model.nodes[key], found):
            is_any = is_any or name not in own
            own[name] = value
        wires = _wire_ids(script.model, key)
        if wires and "wires" not in own:
            own["wires"], is_any = Literal(wires), True
    return is_any


def _differences(script: Script, wanted: NodeFields, found: NodeFields) -> list[tuple[str, Expression]]:
    before, after = found.model_dump(mode="json"), wanted.model_dump(mode="json")
    short = element_json(wanted)
    return [
        (name, _option(script, wanted, name, short.get(name, value)))
        for name, value in after.items()
        if name not in _FIXED and canonical_bytes(before[name]) != canonical_bytes(value)
    ]


def _outputs(node: Action) -> Iterator[tuple[str, Expression]]:
    """Yield the outputs of a step whose call doesn't know them; others are wired to them."""
    usual = "content" if isinstance(node, Knowledge) else "result" if isinstance(node, AgentTask) else None
    if not isinstance(node, Tether) and [port_of(port) for port in node.outputs] != [usual]:
        yield "outputs", Literal([port_of(port) for port in node.outputs])


def _option(script: Script, node: NodeFields, name: str, value: Json) -> Expression:
    if name == "position":
        position = node.position
        return Literal((_short(position.x), _short(position.y)))
    if name == "retry" and set(as_object(value)) == {"max_attempts"}:
        return Literal(value["max_attempts"])
    if name in ("inputs", "outputs") and isinstance(node, ActionFields):
        return Literal([port_of(port) for port in getattr(node, name)])
    if value is None:
        return Literal(None)
    if name in ("condition", "completion") and isinstance(as_object(value).get("$cel"), str):
        return Literal(value["$cel"])
    if name in ("fallback", "compensation"):
        action = value if isinstance(value, str) else as_object(value).get("action")
        if action is not None:
            if action not in script.names:
                raise Unsayable
            return Name(script.names[action])
        use = as_object(value)
        return Literal("cached") if use["use"] == "cached" else _constant(use)
    return Literal(value)


def _constant(fallback: dict[str, Json]) -> Expression:
    return Invoke("engine.authoring.constant", (Literal(fallback.get("constant")),))


def _wire_ids(model: FunctionModel, key: str) -> dict[str, list[str]]:
    by_port: dict[str, list[str]] = {}
    odd: set[str] = set()
    for wire in model.wires_into(key):
        by_port.setdefault(wire.target_port, []).append(wire.id)
        if wire.id != f"{wire.source}.{wire.source_port}-{wire.target}.{wire.target_port}"[:200]:
            odd.add(wire.target_port)
    return {port: ids for port, ids in by_port.items() if port in odd}


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number


# ---- carrying out -------------------------------------------------------------------------------------------------


def _carried_out(script: Script, stated: _Stated) -> tuple[Traced, dict[str, str]]:
    """Make the calls; return what came of them and, for each node wanted, the id of the one that was made."""
    known: dict[str, Any] = {}

    def run(handles: Mapping[str, Handle]) -> Any:
        known.update(handles)
        for line in script.lines(stated):
            value = _value(line.value, known)
            if line.name is not None:
                known[line.name] = value
            if isinstance(line, Block):
                with value:
                    for inner in line.lines:
                        found = _value(inner.value, known)
                        if inner.name is not None:
                            known[inner.name] = found
        result = script.returned()
        return None if result is None else _value(result, known)

    facts = {name: _value(value, known) for name, value in _facts(script, stated).items()}
    made = traced(script.function, script.inputs, None, facts, run)
    drafts = {"inputs": script.entry.id, "outputs": script.exit.id}
    by_draft = list(made.ids.items())
    nodes = {drafts["inputs"]: by_draft[0][1], drafts["outputs"]: by_draft[-1][1]}
    for key, name in script.names.items():
        if key in script.model.nodes:
            held = known[name]
            draft = held.draft if isinstance(held, authoring.Stage) else draft_of(held, "It")
            nodes[key] = made.ids[draft]
    return made, nodes


def _value(expression: Expression, known: Mapping[str, Any]) -> Any:
    if isinstance(expression, Name):
        return known[expression.text]
    if isinstance(expression, Item):
        return known[expression.of.text][expression.key]
    if isinstance(expression, Literal):
        return expression.value
    if isinstance(expression, Listed):
        return [_value(item, known) for item in expression.items]
    if isinstance(expression, Table):
        return {name: _value(item, known) for name, item in expression.items}
    head = expression.function
    function = _FUNCTIONS[head] if isinstance(head, str) else _value(head, known)
    positional = [_value(item, known) for item in expression.positional]
    return function(*positional, **{name: _value(item, known) for name, item in expression.arguments})


def _depth(value: Json) -> int:
    """Return how many levels a value nests, without recursion."""
    deepest, waiting = 0, [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = list(as_object(found).values()) or as_list(found)
        waiting += [(item, depth + 1) for item in inner]
    return deepest


# ---- reading ------------------------------------------------------------------------------------------------------


class _Fresh(SourceFileLoader):
    """Compiles a file from its text every time, and leaves no bytecode beside it."""

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002 - the loader's own signature
        """Return the code of the text as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _run(path: Path) -> ModuleType:
    """Run a file as a module named after its place, as files of functions are (`engine.tethers.sources`)."""
    name = f"treadle_file_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    if spec is None or spec.loader is None:
        raise NotAModel(source=path.name, where="top level", reason="it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, TreadleError) or not isinstance(error, Exception | SystemExit):
            raise
        raise NotAModel(source=path.name, where=_where(error, path), reason=_why(error)) from error
    return module


def _where(error: BaseException, path: Path) -> str:
    line = error.lineno if isinstance(error, SyntaxError) else None
    frame = error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename == str(path) else line
        frame = frame.tb_next
    return f"line {line}" if line else "top level"


def _why(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it tried to end the program"
    said = str(cast("Any", error).msg if isinstance(error, SyntaxError) else error).strip().split("\n")[0]
    return f"{type(error).__name__}: {said.removesuffix('.')}" if said else type(error).__name__
