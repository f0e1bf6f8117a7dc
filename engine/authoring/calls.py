"""What a body calls: functions by reference, other models, knowledge, agents; and how arguments become wires."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from engine.authoring.body import Body, current, schema_of
from engine.authoring.drafts import Draft, named
from engine.authoring.handles import Each, Handle
from engine.authoring.refusals import BodyRefused
from engine.domain.canonical import as_object, canonical_bytes
from engine.domain.contracts import ports_of_nested
from engine.domain.model import FunctionModel
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Expression, Port
from engine.errors import NotCanonical, TetherUnknown
from engine.tethers import Registry, ports_for
from engine.tethers.describe import describe, titled


@cache
def _registry() -> Registry:
    return Registry()


def cel(text: str) -> Any:
    """Return a CEL expression to give to a step in place of a value; it sees the step's inputs, `inputs` and `run`."""
    return Expression.model_validate({"$cel": text})


def call(reference: str, /, *positional: Any, **arguments: Any) -> Any:
    """Add a step that runs a function by its reference, such as 'files.read_csv', and return its handle.

    Arguments are what steps give (wires), constants, `engine.cel` or `engine.each`. Functions of the library and of
    installed packages have references; import others and call them, or see `declared`. Raise `TetherUnknown`.
    """
    body = current("engine.call")
    return _tether(body, spec_of(reference), positional, arguments)


def spec_of(reference: str) -> TetherSpec:
    """Return what is known of a function of the library or an installed package; raise `TetherUnknown`."""
    try:
        return _registry().spec(reference)
    except TetherUnknown as error:
        hint = str(error.facts["hint"]).replace(
            " Load its module or file with --tethers.",
            " Import it and call it as a function, or state its ports with engine.authoring.declared.",
        )
        raise TetherUnknown(reference=repr(reference), hint=hint) from None


def call_function(function: Callable[..., Any], positional: Sequence[Any], arguments: Mapping[str, Any]) -> Any:
    """Add a step that runs a function marked with @engine.tether; raise `BodyRefused` if it lacks an argument."""
    described = describe(function)
    body = current(f"{described.spec.name!r}")
    handle = _tether(body, described.spec, positional, arguments)
    draft = body.actions[-1]
    given = {*(link.port for link in draft.links), *draft.parameters}
    required = [port.name for port in described.spec.inputs if port.required and not port.many]
    missing = [name for name in (*required, *described.spec.settings.get("required", ())) if name not in given]
    if missing:
        raise BodyRefused(what=f"{draft.name!r} needs {named(missing)}", mend="Give it by name")
    body.functions.append(function)
    return handle


def declared(
    reference: str, *, inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), binding: str = "function"
) -> Callable[..., Any]:
    """Return a function that is elsewhere, as a body may call it. Ports are names, or objects as in a model file."""
    ports = [
        [Port(name=port) if isinstance(port, str) else Port.model_validate(port) for port in side]
        for side in (inputs, outputs)
    ]

    def step(*positional: Any, **arguments: Any) -> Any:
        body = current(f"{reference!r}")
        stem = reference.rpartition(".")[2]
        fields = {"reference": reference, "binding": binding}
        draft = Draft("tetherNode", stem, titled(stem) or reference, fields, list(ports[0]), list(ports[1]))
        return _added(body, draft, positional, arguments, known=None)

    return step


def call_model(model: FunctionModel | str, version: str | None = None, /, **arguments: Any) -> Any:
    """Add a step that runs another model and return its handle.

    The model is a `FunctionModel`, or a name, id or file beside this one's; then its outputs are taken by name.
    """
    body = current("engine.call_model")
    reference = model.name if isinstance(model, FunctionModel) else model
    fields: dict[str, Any] = {"reference": reference}
    if version is not None:
        fields["version"] = version
    stem = reference.removesuffix(".json")
    draft = Draft("functionModelContainer", stem, stem or reference, fields, open_outputs=True)
    if isinstance(model, FunctionModel):
        inputs, outputs = ports_of_nested(model)
        draft.inputs, draft.outputs, draft.open_outputs = list(inputs), list(outputs), False
        body.nested.append(model)
    known = {port.name for port in draft.inputs} if isinstance(model, FunctionModel) else None
    return _added(body, draft, (), arguments, known=known)


def knowledge(reference: str, /, **arguments: Any) -> Any:
    """Add a step that yields content of the knowledge base, as its output 'content'."""
    fields = {"reference": reference}
    draft = Draft("kbNode", reference, titled(reference) or reference, fields, outputs=[Port(name="content")])
    return _added(current("engine.authoring.knowledge"), draft, (), arguments, known=None)


def agent(
    name: str | None = None, /, *, capabilities: Sequence[str] = (), instructions: str = "", **arguments: Any
) -> Any:
    """Add a task for the agent of this name, or for one with these capabilities. It gives 'result'."""
    fields = {"agent": name, "capabilities": tuple(capabilities), "instructions": instructions}
    draft = Draft("agentNode", name or "agent task", name or "Agent task", fields, outputs=[Port(name="result")])
    return _added(current("engine.authoring.agent"), draft, (), arguments, known=None)


def _tether(body: Body, spec: TetherSpec, positional: Sequence[Any], arguments: Mapping[str, Any]) -> Handle:
    fields = {"reference": spec.reference, "binding": spec.binding}
    draft = Draft("tetherNode", spec.reference.rpartition(".")[2], spec.name, fields)
    ports = ports_for(spec, arguments)
    draft.inputs, draft.outputs = list(ports.inputs), list(ports.outputs)
    known = {port.name for port in ports.inputs} | set(as_object(spec.settings.get("properties")))
    is_open = bool(spec.settings.get("additionalProperties"))
    return _added(body, draft, positional, arguments, known=None if is_open else known)


def _added(
    body: Body, draft: Draft, positional: Sequence[Any], arguments: Mapping[str, Any], *, known: set[str] | None
) -> Handle:
    """Add a draft with its arguments. `known`: the names it takes; None: any."""
    for name, value in {**_by_name(draft, positional, arguments), **arguments}.items():
        if known is not None and name not in known:
            mend = f"It takes {named(sorted(known))}"
            raise BodyRefused(what=f"{draft.name!r} takes no {name!r}", mend=mend)
        _bind(body, draft, name, value, known)
    return body.add(draft)


def _by_name(draft: Draft, positional: Sequence[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, value in enumerate(positional):
        if place >= len(draft.inputs):
            what = f"{draft.name!r} takes {len(draft.inputs)} inputs by place, but got {len(positional)}"
            raise BodyRefused(what=what, mend="Give the others by name")
        port = draft.inputs[place]
        if port.name in arguments:
            raise BodyRefused(what=f"{draft.name!r} got {port.name!r} twice", mend="Give it once")
        if port.many:
            found[port.name] = list(positional[place:])
            break
        found[port.name] = value
    return found


def _bind(body: Body, draft: Draft, name: str, value: Any, known: set[str] | None) -> None:
    """Make one argument a wire, several wires, or a parameter."""
    if isinstance(value, Each):
        if "for_each" in draft.fields:
            what = f"{draft.name!r} would work through two lists at once"
            raise BodyRefused(what=what, mend="Bring them together in a step before, and give engine.each of that")
        draft.fields["for_each"] = name
        value = value.handle
    listed = cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
    if isinstance(value, Handle):
        _require_port(draft, name, value, known)
        body.connect(draft, name, value)
    elif any(isinstance(item, Handle) for item in listed):
        _several(body, draft, name, listed, known)
    else:
        draft.parameters[name] = _constant(draft, name, value)


def _require_port(draft: Draft, name: str, value: Handle, known: set[str] | None) -> None:
    if any(port.name == name for port in draft.inputs):
        return
    if known is not None:
        what = f"{name!r} of {draft.name!r} is a setting, which takes a constant or an expression and no wire"
        raise BodyRefused(what=what, mend="Write engine.cel('…') over the step's inputs or run.inputs")
    draft.inputs.append(Port(name=name, schema={} if draft.fields.get("for_each") == name else schema_of(value)))


def _several(body: Body, draft: Draft, name: str, values: Sequence[Any], known: set[str] | None) -> None:
    port = next((port for port in draft.inputs if port.name == name), None)
    if port is None and known is None:
        port = Port(name=name, many=True)
        draft.inputs.append(port)
    if port is None or not port.many or not all(isinstance(item, Handle) for item in values):
        what = f"{name!r} of {draft.name!r} takes one value, not a list that holds what steps give"
        raise BodyRefused(what=what, mend="Bring the values together with values.to_list or a tether of your own")
    for value in values:
        body.connect(draft, name, value)


def _constant(draft: Draft, name: str, value: Any) -> Any:
    if isinstance(value, Expression):
        return {"$cel": value.cel}
    try:
        canonical_bytes(value)
    except NotCanonical:
        what = f"{name!r} of {draft.name!r} takes what a step gives, or a constant of JSON, but not {value!r}"
        raise BodyRefused(what=what, mend="Give a constant, or make the value in a tether") from None
    return value
