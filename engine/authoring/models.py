"""`@engine.model`: a function whose body is traced once, as a function model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast, overload

from engine.authoring.body import Body, current, finished, give, is_tracing
from engine.authoring.calls import call_model
from engine.authoring.drafts import Draft
from engine.authoring.handles import Handle
from engine.authoring.refusals import BodyRefused
from engine.authoring.standins import rebound
from engine.domain.ids import slug
from engine.domain.model import FunctionModel
from engine.domain.values import Port
from engine.tethers.annotations import hints_of
from engine.tethers.describe import Described, describe, titled


class AuthoredModel:
    """A model written as a function. In the body of another one, calling it adds a step.

    Attributes:
        model: the function model.
        function: the function as it was written.
        tethers: the functions that its steps call, and those of nested models; `engine.open` takes them.
        nested: the models that its body calls.
    """

    def __init__(self, function: Callable[..., Any], traced: Traced) -> None:
        self.function = function
        self.model = traced.model
        self.tethers = traced.tethers
        self.nested = traced.nested
        functools.update_wrapper(cast("Any", self), function)

    def __call__(self, *positional: Any, **arguments: Any) -> Any:
        """Add a step that runs this model; raise `BodyRefused` outside of a body."""
        if not is_tracing():
            what = f"{self.model.name!r} is a model, not a function to be called"
            raise BodyRefused(what=what, mend="Run it: with engine.open() as eng: eng.run(…)")
        names = list(inspect.signature(self.function).parameters)
        if len(positional) > len(names):
            what = f"{self.model.name!r} takes {len(names)} inputs, but got {len(positional)}"
            raise BodyRefused(what=what, mend="Leave out the others")
        by_name = dict(zip(names, positional, strict=False))
        handle = call_model(self.model, str(self.model.version) if self.model.version else None, **by_name, **arguments)
        current("A model").functions.extend(self.tethers)
        return handle

    def __repr__(self) -> str:
        return f"<model {self.model.name!r}>"


@dataclass(frozen=True, slots=True)
class Traced:
    """What came of a body."""

    model: FunctionModel
    ids: Mapping[Draft, str]
    tethers: tuple[Callable[..., Any], ...]
    nested: tuple[FunctionModel, ...]


@overload
def model(function: Callable[..., Any], /) -> AuthoredModel: ...
@overload
def model(
    *,
    name: str | None = None,
    id: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    version: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], AuthoredModel]: ...
def model(function: Callable[..., Any] | None = None, /, **facts: Any) -> Any:
    """Make a function a model: its parameters are the inputs, what it returns are the outputs, its calls the steps.

    Args:
        function: the body; it is called once, with handles in place of values.
        name: what people call it; by default from the function's name.
        id: by default from the function's name.
        description: by default from the docstring.
        tags: words to find it by.
        version: as in a model file; leave it to publishing.
        inputs: fields of the input boundary, such as name, rules, position, input_contract.
        outputs: fields of the output boundary.

    Raise `BodyRefused` or `TetherUnknown` for what a model can't be made of.
    """
    unknown = facts.keys() - {"name", "id", "description", "tags", "version", "inputs", "outputs"}
    if unknown:
        raise BodyRefused(what=f"@engine.model has no option {min(unknown)!r}", mend="Give it to a step or a stage")

    def decorate(written: Callable[..., Any]) -> AuthoredModel:
        return _authored(written, facts)

    return decorate if function is None else decorate(function)


def _authored(written: Callable[..., Any], facts: Mapping[str, Any]) -> AuthoredModel:
    if (
        not isinstance(written, FunctionType)
        or inspect.iscoroutinefunction(written)
        or inspect.isgeneratorfunction(written)
    ):
        raise BodyRefused(
            what="The body of a model is a plain function", mend="Write it with def, without async and yield"
        )
    described = describe(written)
    ports = _parameters(described)
    body = rebound(written)
    by_place = [found.name for found in described.parameters if found.role == "port"]

    def run(handles: Mapping[str, Handle]) -> Any:
        placed = [handles[name] for name in by_place]
        return body(*placed, **{name: handle for name, handle in handles.items() if name not in by_place})

    annotated = hints_of(written).get("return", inspect.Parameter.empty)
    is_said = annotated is not inspect.Parameter.empty and (annotated not in (dict, Any))
    announced = described.spec.outputs if is_said else None
    given = {"name": titled(written.__name__), "description": described.spec.description, **facts}
    return AuthoredModel(written, traced(written.__name__, ports, announced, given, run))


def traced(
    function: str,
    inputs: Sequence[Port],
    announced: tuple[Port, ...] | None,
    facts: Mapping[str, Any],
    run: Callable[[Mapping[str, Handle]], Any],
) -> Traced:
    """Return what came of running a body once with handles for `inputs`."""
    entry = Draft("ioNode", "inputs", "Inputs", {"boundary": "input", "input_contract": contract_of(inputs)})
    leave = Draft("ioNode", "outputs", "Outputs", {"boundary": "output"})
    for draft, fields in ((entry, facts.get("inputs")), (leave, facts.get("outputs"))):
        _configure_boundary(draft, fields or {})
    entry.outputs = list(inputs)
    entry.open_outputs = True
    body = Body(entry, leave)
    with body.being_traced():
        give(body, run({port.name: Handle(entry, port.name) for port in inputs}), announced)
    own = {key: value for key, value in facts.items() if key not in ("inputs", "outputs") and value is not None}
    made, ids = finished(body, {"id": slug(function.replace("_", " ")), **own})
    return Traced(made, ids, tuple(dict.fromkeys(body.functions)), tuple(body.nested))


def contract_of(inputs: Sequence[Port]) -> dict[str, Any]:
    """Return the contract that parameters make: required without a default, and nothing besides them."""
    properties = {
        port.name: {**port.port_schema, **({"description": port.description} if port.description else {})}
        for port in inputs
    }
    required = [port.name for port in inputs if port.required]
    contract: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**contract, "required": required} if required else contract


def _configure_boundary(draft: Draft, fields: Mapping[str, Any]) -> None:
    left = dict(fields)
    draft.id = left.pop("id", None)
    wires: Mapping[str, Any] = left.pop("wires", {})
    draft.wire_ids = {port: [ids] if isinstance(ids, str) else list(ids) for port, ids in wires.items()}
    position = left.get("position")
    if isinstance(position, tuple):
        x, y = cast("tuple[float, float]", position)
        left["position"] = {"x": x, "y": y}
    draft.configure(left)


def _parameters(described: Described) -> list[Port]:
    """Return an input for each parameter, in the order they are written."""
    ports = {port.name: port for port in described.spec.inputs}
    settings = described.spec.settings
    found: list[Port] = []
    for parameter in described.parameters:
        if parameter.role not in ("port", "setting"):
            what = f"A model can't take the parameter {parameter.name!r}"
            raise BodyRefused(what=what, mend="Name each input; *, ** and StepContext are for tethers")
        if parameter.role == "port":
            found.append(ports[parameter.name])
        else:
            schema = dict(settings["properties"][parameter.name])
            required = parameter.name in settings.get("required", ())
            found.append(Port(name=parameter.name, schema=schema, required=required))
    return found
