"""Wires and dependencies: which are possible, and why others are not."""

from __future__ import annotations

from engine.domain.edits import Connect, Depend, Edit
from engine.domain.graph import would_cycle
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import ActionFields, Boundary, Node, Stage
from engine.domain.schemas import why_not
from engine.domain.values import Port, Schema
from engine.errors import EditRefused, WireRefused


def connect(model: FunctionModel, wire: Wire) -> tuple[Edit, ...]:
    """Return the edit that adds `wire`, or raise `WireRefused` with the reason."""
    reason = why_not_connect(model, wire.source, wire.source_port, wire.target, wire.target_port)
    if reason is not None:
        raise WireRefused(reason=reason)
    if wire.id in model.wires:
        raise WireRefused(reason=f"there is a wire {wire.id!r} already")
    return (Connect(wire=wire),)


def depend(model: FunctionModel, dependency: Dependency) -> tuple[Edit, ...]:
    """Return the edit that adds `dependency`, or raise `EditRefused` with the reason."""
    reason = why_not_depend(model, dependency.source, dependency.target)
    if reason is None and dependency.id in model.dependencies:
        reason = f"there is a dependency {dependency.id!r} already"
    if reason is not None:
        raise EditRefused(edit="Depend", reason=reason)
    return (Depend(dependency=dependency),)


def why_not_connect(model: FunctionModel, source: str, source_port: str, target: str, target_port: str) -> str | None:
    """Return why these ports can't be connected, as the end of a sentence; None if they can."""
    reason = _why_not_ends(model, source, target)
    if reason is not None:
        return reason
    giver, taker = model.nodes[source], model.nodes[target]
    given, wanted = model.port(source, source_port, "output"), model.port(target, target_port, "input")
    if given is None:
        return f"{giver.name!r} has no output {source_port!r}"
    if wanted is None:
        return f"{taker.name!r} has no input {target_port!r}"
    edge = Wire(id="new", source=source, source_port=source_port, target=target, target_port=target_port)
    return _why_filled(model, edge, wanted) or why_not_flow(giver, given, taker, wanted) or _why_cycle(model, edge)


def why_not_depend(model: FunctionModel, source: str, target: str) -> str | None:
    """Return why `target` can't wait for `source`, as the end of a sentence; None if it can."""
    for end in (source, target):
        node = model.nodes.get(end)
        if node is None:
            return f"there is no node {end!r}"
        if isinstance(node, ActionFields):
            return f"{node.name!r} is an action; only stages and boundaries wait for one another"
    first, then = model.nodes[source], model.nodes[target]
    if source == target:
        return f"{first.name!r} can't wait for itself"
    if any((edge.source, edge.target) == (source, target) for edge in model.dependencies.values()):
        return f"{then.name!r} waits for {first.name!r} already"
    if isinstance(then, Boundary) and then.boundary == "input":
        return f"{then.name!r} is an input: nothing comes before it"
    return _why_cycle(model, Dependency(id="new", source=source, target=target))


def why_not_flow(giver: Node, given: Port, taker: Node, wanted: Port) -> str | None:
    """Return why no value of the output `given` can ever enter the input `wanted`; None if some value may."""
    leaving = given.port_schema
    if isinstance(giver, ActionFields) and giver.for_each is not None:
        leaving = _list_of(leaving)
    entering = wanted.port_schema
    if isinstance(taker, ActionFields) and taker.for_each == wanted.name:
        reason = why_not(leaving, _list_of(entering))
        return f"{taker.name!r} works through a list item by item, but {reason}" if reason else None
    reason = why_not(leaving, entering)
    if reason and wanted.many and "items" in entering:  # each wire may bring one item, or the port's whole list
        return reason if why_not(leaving, entering["items"]) else None
    return reason


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _why_not_ends(model: FunctionModel, source: str, target: str) -> str | None:
    for end in (source, target):
        if end not in model.nodes:
            return f"there is no node {end!r}"
    giver, taker = model.nodes[source], model.nodes[target]
    if source == target and not (isinstance(giver, Boundary) and giver.boundary == "input-output"):
        return f"{giver.name!r} can't feed itself"
    stage = next((node for node in (giver, taker) if isinstance(node, Stage)), None)
    if stage is not None:
        return f"{stage.name!r} is a stage and has no ports; connect the actions in it"
    if isinstance(giver, Boundary) and giver.boundary == "output":
        return f"{giver.name!r} is an output of the model: data only arrives there"
    if isinstance(taker, Boundary) and taker.boundary == "input":
        return f"{taker.name!r} is an input of the model: data only starts there"
    return None


def _why_filled(model: FunctionModel, edge: Wire, wanted: Port) -> str | None:
    for wire in model.wires_into(edge.target):
        if wire.target_port != wanted.name:
            continue
        if (wire.source, wire.source_port) == (edge.source, edge.source_port):
            return "they are connected already"
        if not wanted.many:
            giver = model.nodes.get(wire.source)
            name = wire.source if giver is None else giver.name
            return f"the input {wanted.name!r} is filled by {name!r} already; take that wire out first"
    return None


def _why_cycle(model: FunctionModel, edge: Wire | Dependency) -> str | None:
    found = would_cycle(model, edge)
    if found is None:
        return None
    names = " → ".join(model.nodes[key].name for key in [*found, found[0]])
    return f"that would be a circle: {names}"
