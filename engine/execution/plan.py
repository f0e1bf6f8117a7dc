"""A model made ready to run: flat lists indexed by slot, compiled once.

Slots are the actions and boundaries of one model, and two marks for each stage: where it begins and where it ends.
An edge from slot a to slot b means that b waits for a. Nested models are compiled once into sub-plans; a run enters a
sub-plan each time the nested step is called, so depth and per-item calls need no special case here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

from engine.domain.model import FunctionModel
from engine.domain.nodes import Action, AgentTask, Boundary, Knowledge, NestedModel, Stage, Tether
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Expression
from engine.errors import ModelInvalid, ProviderMissing
from engine.ports import Invoke, ModelSource, Tethers

ACTION, SOURCE, SINK, BEGIN, END = range(5)
_MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class Argument:
    """Where an input port's value comes from: (slot, port) of each wire."""

    port: str
    sources: tuple[tuple[int, str], ...]
    many: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Work:
    """What running an action means."""

    node: Action
    invoke: Invoke | None
    spec: TetherSpec | None
    effect: bool
    runs: str
    constants: dict[str, Any]
    """Parameters that are plain values."""
    expressions: dict[str, str]
    """Parameters that are CEL."""
    settings: frozenset[str]
    """Names of the parameters that are settings, not ports."""
    on_failure: str
    ports: dict[str, Any]
    """Constants for ports that no wire fills."""
    fixed: dict[str, Any]
    """Constants for settings."""
    plain: bool
    """True for a pure inline call without expressions, condition, timeout or items."""
    nested: Plan | None = None
    fallback: Work | None = None


@dataclass(slots=True)
class Plan:
    """Everything the core needs to know of a model, by slot."""

    model: FunctionModel
    slots: dict[str, int]
    """Node id -> slot; a stage's id -> its END mark."""
    kinds: bytearray
    nodes: list[Any]
    pending: list[int]
    successors: list[tuple[int, ...]]
    rank: list[int]
    """Lower runs earlier among those that are ready: priority first, then order, then topology."""
    by_rank: list[int]
    container: list[int]
    """Index into `limits` for actions, -1 for the rest."""
    limits: list[int]
    arguments: list[tuple[Argument, ...]]
    guards: list[tuple[tuple[int, str, Expression | None], ...]]
    """For BEGIN marks and boundaries: (END slot, necessity, condition) of each dependency."""
    members: list[tuple[int, ...]]
    """For END marks: the actions of the stage. For actions: the BEGIN mark."""
    consumers: list[int]
    """How many wires read a slot's outputs; its values are let go after the last."""
    next_choice: list[int]
    """The next candidate of a first-match choice, or -1."""
    work: list[Work | None]
    steps: int = field(default=0)
    """Actions that may become steps (those on call as a fallback left out)."""

    def ancestors(self, node: str) -> set[int]:
        """Return the slots that must end before `node` can, itself included."""
        before: list[list[int]] = [[] for _ in self.kinds]
        for slot, after in enumerate(self.successors):
            for successor in after:
                before[successor].append(slot)
        found, stack = set[int](), [self.slots[node]]
        while stack:
            slot = stack.pop()
            if slot not in found:
                found.add(slot)
                stack.extend(before[slot])
        return found


def compile_plan(model: FunctionModel, tethers: Tethers, nested: ModelSource, *, levels: int = _MOST_LEVELS) -> Plan:
    """Compile a valid model with at most `levels` of nested ones below it.

    Raise `TetherUnknown`, `ProviderMissing` or `ModelInvalid` for what can't run.
    """
    return _Compiler(model, tethers, nested, levels).plan()


class _Compiler:
    def __init__(self, model: FunctionModel, tethers: Tethers, nested: ModelSource, levels: int) -> None:
        self.model, self.tethers, self.source, self.levels = model, tethers, nested, levels
        self.on_call = {
            name for node in model.actions() for name in (_fallback_of(node), node.compensation) if name is not None
        }
        self.kinds = bytearray()
        self.nodes: list[Any] = []
        self.slots: dict[str, int] = {}
        self.begin: dict[str, int] = {}
        self.works: dict[str, Work] = {}

    def plan(self) -> Plan:
        self._number()
        size = len(self.kinds)
        self.after: list[list[int]] = [[] for _ in range(size)]
        self.guards: list[list[tuple[int, str, Expression | None]]] = [[] for _ in range(size)]
        self.members: list[tuple[int, ...]] = [()] * size
        self.container, self.limits = [-1] * size, list[int]()
        self.next_choice = [-1] * size
        self._stages()
        self._dependencies()
        arguments, consumers = self._wires()
        pending = [0] * size
        for targets in self.after:
            for target in targets:
                pending[target] += 1
        rank, by_rank = self._ranks(pending)
        work = [self._work(node) if kind == ACTION else None for kind, node in zip(self.kinds, self.nodes, strict=True)]
        return Plan(
            model=self.model,
            slots=self.slots,
            kinds=self.kinds,
            nodes=self.nodes,
            pending=pending,
            successors=[tuple(targets) for targets in self.after],
            rank=rank,
            by_rank=by_rank,
            container=self.container,
            limits=self.limits,
            arguments=arguments,
            guards=[tuple(guards) for guards in self.guards],
            members=self.members,
            consumers=consumers,
            next_choice=self.next_choice,
            work=work,
            steps=sum(kind == ACTION for kind in self.kinds),
        )

    def _number(self) -> None:
        for key in sorted(self.model.nodes):
            node = self.model.nodes[key]
            if isinstance(node, Stage):
                self.begin[key] = self._slot(BEGIN, node)
                self.slots[key] = self._slot(END, node)
            elif isinstance(node, Boundary):
                self.slots[key] = self._slot(SOURCE if "input" in node.boundary else SINK, node)
                if node.boundary == "input-output":
                    self.begin[key] = self._slot(SINK, node)
            elif not isinstance(self.model.nodes.get(node.parent), Stage):
                raise ModelInvalid(verb="run", first=f"{node.name!r} is in no stage.", more="")
            elif key not in self.on_call and node.status not in ("inactive", "archived"):
                self.slots[key] = self._slot(ACTION, node)

    def _slot(self, kind: int, node: Any) -> int:
        self.kinds.append(kind)
        self.nodes.append(node)
        return len(self.kinds) - 1

    def _stages(self) -> None:
        for key, begin in self.begin.items():
            stage = self.model.nodes[key]
            if not isinstance(stage, Stage):
                continue
            end = self.slots[key]
            actions = [node for node in self.model.children(key) if node.id in self.slots]
            self.limits.append(1 if stage.mode == "sequential" else stage.parallelism)
            for node in actions:
                slot = self.slots[node.id]
                self.container[slot] = len(self.limits) - 1
                self.members[slot] = (begin,)
                self.after[begin].append(slot)
                self.after[slot].append(end)
            if not actions:
                self.after[begin].append(end)
            self.members[end] = tuple(self.slots[node.id] for node in actions)
            self._sequence(stage, actions)

    def _sequence(self, stage: Stage, actions: list[Action]) -> None:
        """Sequential actions wait for every earlier one; first-match candidates for the decision before them."""
        since_last: list[int] = []
        candidate = -1
        for node in actions:
            slot, mode = self.slots[node.id], node.mode or stage.mode
            if mode == "sequential":
                for earlier in since_last:
                    self.after[earlier].append(slot)
                since_last = []
            since_last.append(slot)
            if mode == "conditional" and stage.match == "first":
                if candidate >= 0:
                    self.next_choice[candidate] = slot
                candidate = slot

    def _dependencies(self) -> None:
        for key in sorted(self.model.dependencies):
            edge = self.model.dependencies[key]
            source = self.slots[edge.source]
            target = self.begin.get(edge.target, self.slots[edge.target])
            self.after[source].append(target)
            self.guards[target].append((source, edge.necessity, edge.condition))

    def _wires(self) -> tuple[list[tuple[Argument, ...]], list[int]]:
        consumers = [0] * len(self.kinds)
        arguments: list[tuple[Argument, ...]] = [()] * len(self.kinds)
        for slot, (kind, node) in enumerate(zip(self.kinds, self.nodes, strict=True)):
            if kind not in (ACTION, SINK):
                continue
            by_port: dict[str, list[tuple[int, str]]] = {}
            for wire in self.model.wires_into(node.id):
                source = self.slots.get(wire.source)
                if source is None:
                    continue
                by_port.setdefault(wire.target_port, []).append((source, wire.source_port))
                consumers[source] += 1
                self.after[source].append(slot)
            arguments[slot] = tuple(
                Argument(port.name, tuple(by_port.get(port.name, ())), port.many, port.required and not port.many)
                for port in node.inputs
                if port.name in by_port or (port.many and port.name not in getattr(node, "parameters", ()))
            )
        for guards in self.guards:
            for source, _, condition in guards:
                for member in self.members[source] if condition is not None else ():
                    consumers[member] += 1  # never counted down: the condition may look at it late
        return arguments, consumers

    def _ranks(self, pending: list[int]) -> tuple[list[int], list[int]]:
        left, topology = pending.copy(), [0] * len(pending)
        for successor in self.next_choice:
            if successor >= 0:
                left[successor] += 1
                pending[successor] += 1
        queue = deque(slot for slot, count in enumerate(left) if count == 0)
        seen = 0
        while queue:
            slot = queue.popleft()
            topology[slot] = seen
            seen += 1
            following = self.after[slot] if self.next_choice[slot] < 0 else [*self.after[slot], self.next_choice[slot]]
            for target in following:
                left[target] -= 1
                if left[target] == 0:
                    queue.append(target)
        if seen != len(pending):
            raise ModelInvalid(verb="run", first="its wires and dependencies form a cycle.", more="")
        nodes = self.nodes
        by_rank = sorted(
            range(len(pending)),
            key=lambda slot: (-getattr(nodes[slot], "priority", 5), getattr(nodes[slot], "order", 0), topology[slot]),
        )
        rank = [0] * len(pending)
        for position, slot in enumerate(by_rank):
            rank[slot] = position
        return rank, by_rank

    def _work(self, node: Action) -> Work:
        found = self.works.get(node.id)
        if found is None:
            found = self.works[node.id] = self._make_work(node)
        return found

    def _make_work(self, node: Action) -> Work:
        if isinstance(node, AgentTask):
            raise ProviderMissing(step=node.name)
        invoke, spec, plan = None, None, None
        if isinstance(node, Tether):
            spec, invoke = self.tethers.spec(node.reference), self.tethers.function(node.reference)
        elif isinstance(node, NestedModel):
            plan = self._nested(node)
        plain = node.parameters
        stage = self.model.nodes[node.parent]
        fallback = _fallback_of(node)
        ports = {port.name for port in node.inputs}
        constants = {name: value for name, value in plain.items() if cel_of(value) is None}
        expressions = {name: cel for name, value in plain.items() if (cel := cel_of(value)) is not None}
        effect, runs = _effect(node, spec), spec.runs if spec is not None else "inline"
        special = effect or expressions or node.condition or node.timeout_s or node.for_each or plan is not None
        return Work(
            node=node,
            invoke=invoke,
            spec=spec,
            effect=effect,
            runs=runs,
            constants=constants,
            expressions=expressions,
            ports={name: value for name, value in constants.items() if name in ports},
            fixed={name: value for name, value in constants.items() if name not in ports},
            plain=runs == "inline" and invoke is not None and not special,
            settings=frozenset(name for name in plain if name not in ports),
            on_failure=stage.on_failure if isinstance(stage, Stage) else "fail",
            nested=plan,
            fallback=self._work(self.model.nodes[fallback]) if fallback in self.model.nodes else None,  # type: ignore[arg-type,index]
        )

    def _nested(self, node: NestedModel) -> Plan:
        levels = min(self.levels, node.max_depth)
        if levels < 1:
            raise ModelInvalid(verb="run", first=f"{node.name!r} nests deeper than {node.max_depth} levels.", more="")
        child = self.source.nested(node.reference, node.version)
        if child is None:
            reason = f"{node.name!r} calls {node.reference!r}, which is not there."
            raise ModelInvalid(verb="run", first=reason, more="")
        return compile_plan(child, self.tethers, self.source, levels=levels - 1)


def cel_of(value: Any) -> str | None:
    """Return the expression in a parameter written `{"$cel": "…"}`, else None."""
    if not isinstance(value, dict):
        return None
    found = cast("dict[str, Any]", value)
    text = found.get("$cel")
    return text if len(found) == 1 and isinstance(text, str) else None


def _effect(node: Action, spec: TetherSpec | None) -> bool:
    if isinstance(node, Knowledge | NestedModel) or spec is None:
        return False
    declared = getattr(node, "effect", None)
    return spec.effect if declared is None else bool(declared)


def _fallback_of(node: Action) -> str | None:
    return node.fallback.action if node.fallback is not None and node.fallback.use == "action" else None
