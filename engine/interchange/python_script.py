"""A model as the calls that its author would have made: which steps, in which stages, with which arguments.

What such calls can't say is not said: `Unsayable` is raised, and the model is written out field by field instead.
"""

from __future__ import annotations

import builtins
import heapq
import keyword
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.authoring.calls import spec_of
from engine.authoring.models import contract_of
from engine.domain.canonical import Json, as_list, as_object, content_hash
from engine.domain.ids import slug
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Action, AgentTask, Boundary, Knowledge, NestedModel, Stage, Tether
from engine.domain.values import Port
from engine.errors import TetherUnknown
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
    is_name,
    laid,
)
from engine.tethers import NodePorts, ports_for

Stated = Mapping[str, Mapping[str, Expression]]
"""By node id: the options to state."""
_TYPES: tuple[tuple[str, dict[str, Json]], ...] = (
    ("str", {"type": "string"}),
    ("int", {"type": "integer"}),
    ("float", {"type": "number"}),
    ("bool", {"type": "boolean"}),
    ("dict", {"type": "object"}),
    ("list", {"type": "array"}),
    ("list[dict]", {"type": "array", "items": {"type": "object"}}),
)


class Unsayable(Exception):
    """The calls of a body can't make this model."""


@dataclass(slots=True)
class Script:
    """A model as calls."""

    model: FunctionModel
    entry: Boundary
    exit: Boundary
    function: str
    inputs: tuple[Port, ...]
    names: dict[str, str] = field(default_factory=dict[str, str])
    """Node id -> variable."""
    turns: list[tuple[str, list[Action]]] = field(default_factory=list["tuple[str, list[Action]]"])
    """(stage, its actions) in the order they are written; a stage may have several turns."""

    def lines(self, stated: Stated) -> Iterator[Line | Block]:
        """Yield the statements of the body, apart from what it returns."""
        written: set[str] = set()
        later: list[Line] = []
        seen: set[str] = set()
        mentioned = self._mentioned()
        for stage, actions in self.turns:
            inner = [line for node in actions for line in self._step(node, stated, written, later)]
            name = self.names[stage]
            value = Name(name) if stage in seen else self._stage(stage, stated)
            yield Block(value, None if stage in seen else name, tuple(inner), stage in mentioned)
            seen.add(stage)
        for key in sorted(self.model.nodes):
            if isinstance(self.model.nodes[key], Stage) and key not in seen:
                yield Line(self._stage(key, stated), self.names[key])
        yield from later
        yield from self._orders()

    def returned(self) -> Expression | None:
        """Return what the body gives back."""
        ports: dict[str, list[Expression]] = {}
        for wire in self.model.wires_into(self.exit.id):
            ports.setdefault(wire.target_port, []).append(self._source(wire))
        if not ports:
            return None
        if len(ports) == 1 and len(ports.get("result", ())) == 1:
            return ports["result"][0]
        return Table(
            tuple((name, found[0] if len(found) == 1 else Listed(tuple(found))) for name, found in ports.items())
        )

    def _mentioned(self) -> set[str]:
        """Return the stages that are named again: entered twice, or ordered."""
        turns = [stage for stage, _ in self.turns]
        ends = [key for edge in self.model.dependencies.values() for key in (edge.source, edge.target)]
        return {stage for stage, count in Counter(turns).items() if count > 1} | set(ends)

    def _stage(self, key: str, stated: Stated) -> Invoke:
        node = self.model.nodes[key]
        return Invoke("engine.stage", (Literal(node.name),), tuple(stated.get(key, {}).items()))

    def _step(self, node: Action, stated: Stated, written: set[str], later: list[Line]) -> Iterator[Line]:
        name = self.names[node.id]
        yield Line(self._call(node), name)
        written.add(name)
        now: list[tuple[str, Expression]] = []
        for option, value in stated.get(node.id, {}).items():
            if isinstance(value, Name) and value.text not in written:
                later.append(Line(Invoke("engine.options", (Name(name),), ((option, value),))))
            else:
                now.append((option, value))
        if now:
            yield Line(Invoke("engine.options", (Name(name),), tuple(now)))

    def _call(self, node: Action) -> Invoke:
        if isinstance(node, Tether):
            return self._tether(node)
        arguments = tuple(self._arguments(node, None))
        if isinstance(node, NestedModel):
            version = (Literal(str(node.version)),) if node.version is not None else ()
            return Invoke("engine.call_model", (Literal(node.reference), *version), arguments)
        if isinstance(node, Knowledge):
            return Invoke("engine.authoring.knowledge", (Literal(node.reference),), arguments)
        return Invoke("engine.authoring.agent", self._agent(node), (*self._task(node), *arguments))

    @staticmethod
    def _agent(node: AgentTask) -> tuple[Expression, ...]:
        return (Literal(node.agent),) if node.agent is not None else ()

    @staticmethod
    def _task(node: AgentTask) -> Iterator[tuple[str, Expression]]:
        if node.capabilities:
            yield "capabilities", Literal(list(node.capabilities))
        if node.instructions:
            yield "instructions", Literal(node.instructions)

    def _tether(self, node: Tether) -> Invoke:
        try:
            spec = spec_of(node.reference)
        except TetherUnknown:
            spec = None
        if spec is not None and spec.binding == node.binding:
            ports = ports_for(spec, node.parameters)
            if self._fits(node, ports):
                is_open = bool(spec.settings.get("additionalProperties"))
                known = {port.name for port in ports.inputs} | set(as_object(spec.settings.get("properties")))
                arguments = tuple(self._arguments(node, None if is_open else known))
                return Invoke("engine.call", (Literal(node.reference),), arguments)
        facts: list[tuple[str, Expression]] = []
        for side, ports in (("inputs", node.inputs), ("outputs", node.outputs)):
            if ports:
                facts.append((side, Literal([port_of(port) for port in ports])))
        if node.binding != "function":
            facts.append(("binding", Literal(node.binding)))
        made = Invoke("engine.authoring.declared", (Literal(node.reference),), tuple(facts))
        return Invoke(made, (), tuple(self._arguments(node, None)))

    def _fits(self, node: Tether, ports: NodePorts) -> bool:
        """Whether the ports that a call would give have the names that are needed; their types can be stated."""
        wired = {wire.target_port for wire in self.model.wires_into(node.id)}
        outputs = [port.name for port in ports.outputs]
        return wired <= {port.name for port in ports.inputs} and outputs == [port.name for port in node.outputs]

    def _arguments(self, node: Action, known: set[str] | None) -> Iterator[tuple[str, Expression]]:
        """Yield wires by port, then parameters; those that have no place here are stated as options."""
        by_port: dict[str, list[Expression]] = {}
        for wire in self.model.wires_into(node.id):
            by_port.setdefault(wire.target_port, []).append(self._source(wire))
        many = {port.name: port.many for port in node.inputs}
        for name, found in by_port.items():
            if name not in many or (len(found) > 1 and not many[name]):
                raise Unsayable
            value = found[0] if len(found) == 1 else Listed(tuple(found))
            if node.for_each == name and len(found) == 1:
                value = Invoke("engine.each", (value,))
            yield name, value
        for name, constant in node.parameters.items():
            if name not in by_port and (known is None or name in known):
                yield name, parameter(constant)

    def _source(self, wire: Wire) -> Expression:
        if wire.source == self.entry.id:
            is_parameter = any(port.name == wire.source_port for port in self.inputs)
            own = self.names[f"{self.entry.id}/{wire.source_port}"] if is_parameter else ""
            return Name(own) if own else Invoke("engine.authoring.given", (Literal(wire.source_port),))
        source = self.model.nodes.get(wire.source)
        if not isinstance(source, Action) or all(port.name != wire.source_port for port in source.outputs):
            raise Unsayable
        name = Name(self.names[source.id])
        return name if len(source.outputs) == 1 else Item(name, wire.source_port)

    def _orders(self) -> Iterator[Line]:
        for key in sorted(self.model.dependencies):
            edge = self.model.dependencies[key]
            ends = [self._end(edge.target), self._end(edge.source)]
            facts: list[tuple[str, Expression]] = []
            if edge.id != f"{edge.source}-{edge.target}"[:200]:
                facts.append(("id", Literal(edge.id)))
            if edge.necessity != "required":
                facts.append(("necessity", Literal(edge.necessity)))
            if edge.condition is not None:
                facts.append(("condition", Literal(edge.condition.cel)))
            yield Line(Invoke("engine.authoring.depends", tuple(ends), tuple(facts)))

    def _end(self, key: str) -> Expression:
        if key in (self.entry.id, self.exit.id):
            return Literal("inputs" if key == self.entry.id else "outputs")
        if not isinstance(self.model.nodes.get(key), Stage):
            raise Unsayable
        return Name(self.names[key])


def script_of(model: FunctionModel) -> Script:
    """Return a model as calls; raise `Unsayable`."""
    boundaries = [node for node in model.nodes.values() if isinstance(node, Boundary)]
    entries = [node for node in boundaries if node.boundary == "input"]
    exits = [node for node in boundaries if node.boundary == "output"]
    if len(boundaries) != 2 or len(entries) != 1 or len(exits) != 1:
        raise Unsayable
    taken = {"engine", *dir(builtins)}
    function = _identifier(model.name, taken)
    made = Script(model, entries[0], exits[0], function, _inputs(entries[0]))
    for port in made.inputs:
        made.names[f"{made.entry.id}/{port.name}"] = port.name
        taken.add(port.name)
    made.turns = _turns(model)
    for key in [key for stage, actions in made.turns for key in (stage, *(node.id for node in actions))]:
        made.names.setdefault(key, "")
    for key in sorted(key for key, node in model.nodes.items() if isinstance(node, Stage)):
        made.names.setdefault(key, "")
    for key, name in made.names.items():
        if not name:
            made.names[key] = _identifier(key, taken)
    return made


def port_of(port: Port) -> Json:
    """Return a port as `declared` takes it: its name, if there is no more to say."""
    plain = port.model_dump(mode="json", exclude_defaults=True)
    return port.name if set(plain) == {"name"} else plain


def parameter(value: Json) -> Expression:
    """Return a parameter as an argument."""
    text = as_object(value).get("$cel")
    if isinstance(text, str) and len(value) == 1 and text:
        return Invoke("engine.cel", (Literal(text),))
    return Literal(value)


def annotated(port: Port) -> str:
    """Return a parameter as it is written in the function's first line."""
    schema = {key: value for key, value in port.port_schema.items() if key != "default"}
    kind = next((name for name, known in _TYPES if known == schema), None)
    if "default" not in port.port_schema:
        return port.name if kind is None else f"{port.name}: {kind}"
    default = laid(Literal(port.port_schema["default"]), 4, len(port.name) + 14, 1)
    return f"{port.name}: {kind} = {default}" if kind else f"{port.name}={default}"


def _inputs(entry: Boundary) -> tuple[Port, ...]:
    """Return the parameters of the function: those that make the contract, or plain ones beside a stated contract."""
    contract = entry.input_contract or {}
    required = as_list(contract.get("required"))
    found: list[Port] = []
    for name, value in as_object(contract.get("properties")).items():
        if is_name(name) and name not in ("engine", "self") and not keyword.issoftkeyword(name):
            found.append(Port(name=name, schema=as_object(value), required=name in required))
    ordered = sorted(found, key=lambda port: "default" in port.port_schema)
    if all(map(_is_typed, ordered)) and content_hash(contract_of(ordered)) == content_hash(contract):
        return tuple(ordered)
    return tuple(Port(name=port.name) for port in found)


def _is_typed(port: Port) -> bool:
    schema = {key: value for key, value in port.port_schema.items() if key != "default"}
    is_known = not schema or any(schema == known for _, known in _TYPES)
    default = port.port_schema.get("default")
    is_plain = default is None or isinstance(default, str | int | float)
    return is_known and is_plain and port.required != ("default" in port.port_schema)


def _identifier(name: str, taken: set[str]) -> str:
    stem = slug(name).replace("-", "_")
    stem = f"n_{stem}" if stem[0].isdigit() else stem
    found, number = stem, 1
    while found in taken or keyword.iskeyword(found) or keyword.issoftkeyword(found):
        number += 1
        found = f"{stem}_{number}"
    taken.add(found)
    return found


def _turns(model: FunctionModel) -> list[tuple[str, list[Action]]]:
    """Return the actions so that each follows what it is wired to, changing stages only when one can't go on."""
    queue = _Queue(model)
    turns: list[tuple[str, list[Action]]] = []
    while queue.stages:
        _, stage = heapq.heappop(queue.stages)
        turn = list(queue.taken(stage))
        if turn:
            turns.append((stage, turn))
    if sum(len(turn) for _, turn in turns) < len(queue.actions):
        raise Unsayable
    return turns


class _Queue:
    """Actions that wait for others, and those that are ready, by stage."""

    def __init__(self, model: FunctionModel) -> None:
        self.actions = {node.id: node for node in model.actions()}
        if not all(isinstance(model.nodes.get(node.parent), Stage) for node in self.actions.values()):
            raise Unsayable
        self._model = model
        self._waiting = {key: sum(w.source in self.actions for w in model.wires_into(key)) for key in self.actions}
        self._ranks = _ranks([node for node in model.nodes.values() if isinstance(node, Stage)])
        self._ready: dict[str, list[tuple[int, str]]] = {}
        self.stages: list[tuple[int, str]] = []
        for key, count in self._waiting.items():
            if count == 0:
                self._offer(self.actions[key])

    def taken(self, stage: str) -> Iterator[Action]:
        """Yield the ready actions of a stage, also those that become ready meanwhile."""
        ready = self._ready[stage]
        while ready:
            node = self.actions[heapq.heappop(ready)[1]]
            yield node
            for wire in self._model.wires_out_of(node.id):
                if wire.target in self._waiting:
                    self._waiting[wire.target] -= 1
                    if self._waiting[wire.target] == 0:
                        self._offer(self.actions[wire.target])

    def _offer(self, node: Action) -> None:
        heapq.heappush(self._ready.setdefault(node.parent, []), (node.order, node.id))
        heapq.heappush(self.stages, (self._ranks[node.parent], node.parent))


def _ranks(stages: Sequence[Stage]) -> dict[str, int]:
    ordered = sorted(stages, key=lambda node: (node.position.x, node.position.y, node.id))
    return {node.id: rank for rank, node in enumerate(ordered)}
