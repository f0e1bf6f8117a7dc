"""Rules of structure: what is there, what is connected, and in which order it can run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.domain.gestures.connecting import why_not_flow
from engine.domain.gestures.placing import is_frameless
from engine.domain.graph import Graph
from engine.domain.model import Dependency, Wire
from engine.domain.nodes import ActionFields, Boundary, Stage
from engine.domain.rules.findings import Finding, finding
from engine.domain.rules.survey import Side, Survey


def structure(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with nodes, wires, dependencies and their order."""
    yield from _boundaries(survey)
    yield from _wires(survey)
    yield from _producers(survey)
    yield from _ports(survey)
    yield from _parents(survey)
    yield from _dependencies(survey)
    yield from _references(survey)
    yield from _cycles(survey)
    yield from _orphans(survey)
    yield from _unreachable(survey)
    yield from _stages(survey)
    yield from _names(survey)


def _boundaries(survey: Survey) -> Iterator[Finding]:
    for side in ("input", "output"):
        if not any(side in node.boundary for _, node in survey.boundaries):
            message = f"The model has no {side} boundary."
            mend = f"Add an {side} boundary: it says what the model {'takes' if side == 'input' else 'gives'}."
            yield finding(f"structure.no-{side}", None, message, mend)


def _wires(survey: Survey) -> Iterator[Finding]:
    for key, wire in survey.model.wires.items():
        missing = next((end for end in (wire.source, wire.target) if end not in survey.nodes), None)
        if missing is not None:
            ends = f"{survey.name(wire.source)} and {survey.name(wire.target)}"
            message = f"A wire joins {ends}, but {missing!r} is not there."
            yield finding("structure.dangling-wire", key, message, "Take the wire out, or connect it anew.")
            continue
        lost = _lost_port(survey, key, wire.source, wire.source_port, "output")
        lost = lost or _lost_port(survey, key, wire.target, wire.target_port, "input")
        if lost is not None:
            yield lost
            continue
        given = survey.ports(wire.source, "output")[wire.source_port]
        wanted = survey.ports(wire.target, "input")[wire.target_port]
        reason = why_not_flow(survey.nodes[wire.source], given, survey.nodes[wire.target], wanted)
        if reason:
            message = f"{survey.name(wire.source)} can't feed {wanted.name!r} of {survey.name(wire.target)}: {reason}."
            mend = "Put a step between them that converts the data, or connect another port."
            yield finding("structure.wire-type", key, message, mend, field=wanted.name)


def _lost_port(survey: Survey, key: str, node: str, port: str, side: Side) -> Finding | None:
    if port in survey.ports(node, side):
        return None
    message = f"A wire {'leads to' if side == 'input' else 'comes from'} the {side} {port!r} of {survey.name(node)}, "
    mend = "Take the wire out, or connect it to a port that is there."
    return finding("structure.missing-port", key, message + "which has no such port.", mend, field=port)


def _producers(survey: Survey) -> Iterator[Finding]:
    for (target, name), wires in survey.wires_into.items():
        port = survey.ports(target, "input").get(name)
        if len(wires) > 1:
            yield from _duplicates(survey, wires)
        sources = {(wire.source, wire.source_port) for _, wire in wires}
        if port is None or port.many or len(sources) <= 1:
            continue
        givers = survey.names([wire.source for _, wire in wires])
        message = f"The input {name!r} of {survey.name(target)} takes one value, but {givers} feed it."
        yield finding("structure.many-producers", target, message, "Keep one of these wires.", field=name)


def _duplicates(survey: Survey, wires: list[tuple[str, Wire]]) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for key, wire in wires:
        if (wire.source, wire.source_port) in seen:
            message = (
                f"{survey.name(wire.source)} and {survey.name(wire.target)} are connected twice by the same ports."
            )
            yield finding("links.duplicate", key, message, "Take one of the two wires out.", field=wire.target_port)
        seen.add((wire.source, wire.source_port))


def _ports(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.actions:
        for side, ports in (("input", node.inputs), ("output", node.outputs)):
            if len(ports) <= 1:
                continue
            seen: set[str] = set()
            for port in ports:
                if port.name in seen:
                    message = f"{survey.name(key)} has two {side}s called {port.name!r}."
                    yield finding("structure.same-port", key, message, "Rename one of them.", field=port.name)
                seen.add(port.name)


def _parents(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.actions:
        parent = survey.nodes.get(node.parent)
        if parent is None:
            message = f"{survey.name(key)} is in {node.parent!r}, which is not there."
            yield finding("structure.dangling-parent", key, message, "Drag it into a stage.", field="parent")
        elif not isinstance(parent, Stage):
            kind = "a boundary" if isinstance(parent, Boundary) else "an action"
            message = f"{survey.name(key)} is in {survey.name(node.parent)}, which is {kind} and holds no actions."
            yield finding("structure.parent-kind", key, message, "Drag it into a stage.", field="parent")


def _dependencies(survey: Survey) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for key in sorted(survey.model.dependencies):
        edge = survey.model.dependencies[key]
        yield from _dependency_ends(survey, key, edge)
        if (edge.source, edge.target) in seen:
            message = f"{survey.name(edge.target)} waits twice for {survey.name(edge.source)}."
            yield finding("links.duplicate", key, message, "Take one of the two dependencies out.")
        seen.add((edge.source, edge.target))


def _dependency_ends(survey: Survey, key: str, edge: Dependency) -> Iterator[Finding]:
    for end in (edge.source, edge.target):
        node = survey.nodes.get(end)
        if node is None:
            ends = f"{survey.name(edge.source)} and {survey.name(edge.target)}"
            message = f"A dependency joins {ends}, but {end!r} is not there."
            yield finding("structure.dangling-dependency", key, message, "Take the dependency out.", field=end)
        elif isinstance(node, ActionFields):
            message = f"A dependency joins {survey.name(end)}, which is an action; dependencies join containers."
            yield finding("structure.dependency-kind", key, message, "Join the stages instead.", field=end)


def _references(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.actions:
        if node.fallback is None and node.compensation is None:
            continue
        fallback = None if node.fallback is None else node.fallback.action
        for field, named in (("fallback", fallback), ("compensation", node.compensation)):
            if named is None or isinstance(survey.nodes.get(named), ActionFields):
                continue
            what = "which is a container" if named in survey.nodes else "which is not there"
            message = f"{survey.name(key)} has {survey.name(named)} as its {field}, {what}."
            mend = f"Choose an action as the {field}, or none."
            yield finding("structure.dangling-reference", key, message, mend, field=field)


def _cycles(survey: Survey) -> Iterator[Finding]:
    graph = Graph(survey.model)
    found = graph.cycle()
    if found is not None:
        circle = _circle(survey, found)
        message = f"These wait for one another in a circle: {circle}."
        yield finding("structure.cycle", found[0], message, "Take out one of the wires or dependencies between them.")
        return
    if any(stage.mode == "sequential" for _, stage in survey.stages) or any(
        node.mode == "sequential" for _, node in survey.actions
    ):
        found = Graph(survey.model, sequences=True).cycle()
        if found is not None:
            message = f"The order in a sequential stage contradicts the wires: {_circle(survey, found)}."
            yield finding("structure.order-cycle", found[0], message, "Change the order, or the wire.", field="order")


def _circle(survey: Survey, found: list[str]) -> str:
    names = [survey.name(key) for key in [*found, found[0]]]
    if len(names) > _CIRCLE_SHOWN:
        names = [*names[: _CIRCLE_SHOWN // 2], f"… {len(names) - _CIRCLE_SHOWN} more …", *names[-_CIRCLE_SHOWN // 2 :]]
    return " → ".join(names)


_CIRCLE_SHOWN = 20


def _orphans(survey: Survey) -> Iterator[Finding]:
    if not survey.boundaries:
        return
    groups = _groups(survey)
    joined = {groups.of(key) for key, _ in survey.boundaries}
    for key, _ in survey.actions:
        if key in survey.on_call or survey.is_off(key) or groups.of(key) in joined:
            continue
        message = f"Nothing connects {survey.name(key)} with an input or output of the model."
        yield finding("structure.orphan", key, message, "Connect it, or take it out.")


def _groups(survey: Survey) -> _Groups:
    """Join what is connected: by wires, by dependencies, and in a stage that takes part in those or keeps an order."""
    groups = _Groups(survey.nodes)
    linking = {key for key, stage in survey.stages if stage.mode != "parallel"}
    for edge in survey.model.dependencies.values():
        groups.join(edge.source, edge.target)
        linking |= {edge.source, edge.target}
    for wire in survey.model.wires.values():
        groups.join(wire.source, wire.target)
    for key, node in survey.actions:
        if node.parent in linking:
            groups.join(node.parent, key)
    return groups


class _Groups:
    """Disjoint sets of nodes (union by path halving)."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._up = {key: key for key in keys}

    def of(self, key: str) -> str:
        up = self._up
        while up[key] != key:
            up[key] = up[up[key]]
            key = up[key]
        return key

    def join(self, one: str, other: str) -> None:
        if one in self._up and other in self._up:
            self._up[self.of(one)] = self.of(other)


def _unreachable(survey: Survey) -> Iterator[Finding]:
    dead = [key for key, _ in survey.actions if survey.is_off(key)]
    off = set(dead)
    starved: dict[str, str] = {}
    while dead:
        source = dead.pop()
        for wire in survey.model.wires_out_of(source):
            port = survey.ports(wire.target, "input").get(wire.target_port)
            if port is None or not port.required or wire.target in off or wire.target in starved:
                continue
            sources = [other.source for _, other in survey.wires_into[wire.target, wire.target_port]]
            if survey.is_filled(wire.target, port) or any(key not in off and key not in starved for key in sources):
                continue
            starved[wire.target] = source
            if isinstance(survey.nodes.get(wire.target), ActionFields):
                dead.append(wire.target)
    for key, source in starved.items():
        if source in starved:  # straight behind one that is off it is 'readiness.source-off'
            message = f"{survey.name(key)} can never run: it waits for {survey.name(source)}, which can't either."
            yield finding("structure.unreachable", key, message, "Switch the first step on again, or take these out.")
    yield from _never_chosen(survey)


def _never_chosen(survey: Survey) -> Iterator[Finding]:
    for key, stage in survey.stages:
        if stage.mode != "conditional" or stage.match != "first":
            continue
        always: str | None = None
        for member, action in survey.members.get(key, ()):
            if always is not None:
                message = f"{survey.name(member)} is never chosen: the condition of {survey.name(always)} always holds."
                yield finding("structure.unreachable", member, message, "Change the order or the condition.")
            elif action.condition is not None and action.condition.cel.strip() == "true":
                always = member


def _stages(survey: Survey) -> Iterator[Finding]:
    for key, stage in survey.stages:
        if key not in survey.members and stage.stage not in ("milestone", "checkpoint"):
            message = f"The stage {survey.name(key)} holds no action."
            yield finding("structure.empty-stage", key, message, "Drag an action into it, or take it out.")


def _names(survey: Survey) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for key in sorted(survey.nodes):
        node = survey.nodes[key]
        if is_frameless(node):
            continue
        other = first.setdefault(node.name.casefold(), key)
        if other != key:
            message = f"Two nodes are called {node.name!r}."
            yield finding("structure.same-name", key, message, "Give one of them another name.", field="name")
