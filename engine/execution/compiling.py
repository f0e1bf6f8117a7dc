"""From a model to its plan, in time linear in nodes and wires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from engine.domain.model import FunctionModel
from engine.domain.nodes import Action, ActionFields, AgentTask, Knowledge, NestedModel, Stage, Tether
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Expression
from engine.errors import ModelInvalid, ProviderMissing
from engine.execution.collecting import uncollected
from engine.execution.plan import ACTION, BEGIN, END, SINK, SOURCE, Argument, PlainCall, Plan, Work, cel_of
from engine.ports import Invoke, ModelSource, Tethers

_MOST_LEVELS = 100
_USUAL_PRIORITY = 5
_first: Callable[[tuple[str, Any]], str] = itemgetter(0)


def compile_plan(model: FunctionModel, tethers: Tethers, nested: ModelSource, *, levels: int = _MOST_LEVELS) -> Plan:
    """Compile a valid model with at most `levels` of nested ones below it.

    Raise `TetherUnknown`, `ProviderMissing` or `ModelInvalid` for what can't run.
    """
    with uncollected():
        return _Compiler(model, tethers, nested, levels).plan()


class _Compiler:
    def __init__(self, model: FunctionModel, tethers: Tethers, nested: ModelSource, levels: int) -> None:
        self.model, self.tethers, self.source, self.levels = model, tethers, nested, levels
        self.kinds = bytearray()
        self.nodes: list[Any] = []
        self.slots: dict[str, int] = {}
        self.begin: dict[str, int] = {}
        self.enters: dict[str, int] = {}
        """Node id -> the slot that takes its values."""
        self.is_ordered = False
        """Whether an action has an order or a priority of its own."""
        self.members_of: dict[str, list[int]] = {
            key: [] for key, node in model.nodes.items() if isinstance(node, Stage)
        }
        self.works: dict[str, Work] = {}
        self.nested: dict[str, Plan] = {}
        self.known: dict[str, tuple[TetherSpec, Invoke]] = {}
        self.calls: dict[tuple[str, tuple[str, ...], bool], PlainCall] = {}

    def plan(self) -> Plan:
        self._number()
        size = len(self.kinds)
        self.after: list[list[int]] = [[] for _ in range(size)]
        self.members: list[tuple[int, ...]] = [()] * size
        self.container, self.limits = [-1] * size, list[int]()
        self.next_choice: dict[int, int] = {}
        self.guards: dict[int, list[tuple[int, str, Expression | None]]] = {}
        self._stages()
        self._dependencies()
        arguments, consumers = self._wires()
        rank, by_rank, pending = self._ranks()
        return Plan(
            model=self.model,
            slots=self.slots,
            kinds=self.kinds,
            nodes=self.nodes,
            pending=pending,
            successors=self.after,
            rank=rank,
            by_rank=by_rank,
            container=self.container,
            limits=self.limits,
            arguments=arguments,
            guards={slot: tuple(guards) for slot, guards in self.guards.items()},
            members=self.members,
            consumers=consumers,
            next_choice=self.next_choice,
            plain=self._plain_calls(),
            nested={self.slots[name]: plan for name, plan in self.nested.items() if name in self.slots},
            shared=_shared(self.model),
            steps=self.kinds.count(ACTION),
            make_work=self._work,
        )

    # ---- slots and edges --------------------------------------------------------------------------------------

    def _number(self) -> None:
        """Give every node its slot, by id; a boundary that takes values and gives some has two."""
        members_of, on_call = self.members_of, _on_call(self.model)
        for key, node in sorted(self.model.nodes.items(), key=_first):
            if isinstance(node, ActionFields):
                self._number_action(node, members_of.get(node.parent), on_call)
            elif isinstance(node, Stage):
                self.begin[key] = self._slot(BEGIN, node)
                self.slots[key] = self._slot(END, node)
            else:
                self.slots[key] = self.enters[key] = self._slot(SOURCE if "input" in node.boundary else SINK, node)
                if node.boundary == "input-output":
                    self.begin[key] = self.enters[key] = self._slot(SINK, node)

    def _number_action(self, node: Action, members: list[int] | None, on_call: set[str]) -> None:
        key = node.id
        if members is None:
            raise ModelInvalid(verb="run", first=f"{node.name!r} is in no stage.", more="")
        if key not in on_call and node.status not in ("inactive", "archived"):
            self.slots[key] = self.enters[key] = slot = len(self.kinds)
            self.kinds.append(ACTION)
            self.nodes.append(node)
            members.append(slot)
            if node.order or node.priority != _USUAL_PRIORITY:
                self.is_ordered = True

    def _slot(self, kind: int, node: Any) -> int:
        self.kinds.append(kind)
        self.nodes.append(node)
        return len(self.kinds) - 1

    def _stages(self) -> None:
        nodes, after, container, members = self.nodes, self.after, self.container, self.members
        for key, actions in self.members_of.items():
            begin, end = self.begin[key], self.slots[key]
            stage = nodes[end]
            if self.is_ordered:
                actions.sort(key=lambda slot: (nodes[slot].order, nodes[slot].id))
            home = len(self.limits)
            self.limits.append(1 if stage.mode == "sequential" else stage.parallelism)
            mark = (begin,)
            for slot in actions:
                container[slot] = home
                members[slot] = mark
                after[slot].append(end)
            after[begin].extend(actions or (end,))
            members[end] = tuple(actions)
            self._sequence(stage, actions)

    def _sequence(self, stage: Stage, actions: list[int]) -> None:
        """Sequential actions wait for every earlier one; first-match candidates for the decision before them."""
        since_last: list[int] = []
        candidate = -1
        default = stage.mode
        for slot in actions:
            mode = self.nodes[slot].mode or default
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
            self.guards.setdefault(target, []).append((source, edge.necessity, edge.condition))

    def _wires(self) -> tuple[list[tuple[Argument, ...]], list[int]]:
        """Return where each slot's values come from, and how many wires read those of each."""
        size = len(self.kinds)
        consumers = [0] * size
        arguments: list[tuple[Argument, ...]] = [()] * size
        for slot, items in enumerate(self._incoming(size)):
            for _, _, source, _ in items:
                consumers[source] += 1
                self.after[source].append(slot)
            node = self.nodes[slot]
            if node.inputs and self.kinds[slot] in (ACTION, SINK):
                arguments[slot] = _arguments(node, items)
        for guards in self.guards.values():
            for source, _, condition in guards:
                for member in self.members[source] if condition is not None else ():
                    consumers[member] += 1  # never counted down: the condition may look at it late
        return arguments, consumers

    def _incoming(self, size: int) -> list[list[tuple[str, str, int, str]]]:
        """Return the wires into each slot, by id: (wire, port, source slot, source port)."""
        sources, targets = self.slots, self.enters
        incoming: list[list[tuple[str, str, int, str]]] = [[] for _ in range(size)]
        for key, wire in self.model.wires.items():
            source, target = sources.get(wire.source), targets.get(wire.target)
            if source is not None and target is not None:
                incoming[target].append((key, wire.target_port, source, wire.source_port))
        for items in incoming:
            if len(items) > 1:
                items.sort()
        return incoming

    def _ranks(self) -> tuple[list[int], list[int], list[int]]:
        """Return each slot's rank, the slot of each rank, and how many slots each waits for."""
        after = self.after
        if self.next_choice:  # a candidate waits for the decision before it, as for a slot
            after = [[*targets, *self._next(slot)] for slot, targets in enumerate(after)]
        pending = [0] * len(after)
        for targets in after:
            for target in targets:
                pending[target] += 1
        left = pending.copy()
        topology = [slot for slot, count in enumerate(left) if count == 0]
        for slot in topology:  # it grows while it is read
            for target in after[slot]:
                waits_for = left[target] - 1
                left[target] = waits_for
                if not waits_for:
                    topology.append(target)
        if len(topology) != len(pending):
            raise ModelInvalid(verb="run", first="its wires and dependencies form a cycle.", more="")
        by_rank = sorted(topology, key=self._turn) if self.is_ordered else topology
        rank = [0] * len(by_rank)
        for position, slot in enumerate(by_rank):
            rank[slot] = position
        return rank, by_rank, pending

    def _next(self, slot: int) -> tuple[int, ...]:
        choice = self.next_choice.get(slot)
        return () if choice is None else (choice,)

    def _turn(self, slot: int) -> tuple[int, int]:
        node = self.nodes[slot]
        return (-node.priority, node.order) if self.kinds[slot] == ACTION else (-_USUAL_PRIORITY, 0)

    # ---- what actions do --------------------------------------------------------------------------------------

    def _plain_calls(self) -> list[PlainCall | None]:
        plain: list[PlainCall | None] = [None] * len(self.kinds)
        for slot, (kind, node) in enumerate(zip(self.kinds, self.nodes, strict=True)):
            if kind == ACTION:
                if isinstance(node, AgentTask):
                    raise ProviderMissing(step=node.name)
                if isinstance(node, NestedModel):
                    self._work(node)
                elif isinstance(node, Tether) and slot not in self.next_choice:
                    plain[slot] = self._plain_call(node)
                if node.fallback is not None or node.compensation is not None:
                    self._needed(node)
        return plain

    def _plain_call(self, node: Tether) -> PlainCall | None:
        """Return the call of a tether that needs nothing but its inputs; None for any other."""
        spec, invoke = self._function(node.reference)
        if (
            node.condition is not None
            or node.timeout_s is not None
            or node.for_each is not None
            or node.compensation is not None
            or node.output_mapping
            or node.binding not in ("function", "sql")
            or spec.runs not in ("inline", "auto")
            or (spec.effect if node.effect is None else node.effect)
        ):
            return None
        outputs = node.outputs
        if len(outputs) == 1:
            names, required = (outputs[0].name,), outputs[0].required
        else:
            names, required = tuple(port.name for port in outputs), all(port.required for port in outputs)
            if not required and any(port.required for port in outputs):
                return None
        learned = spec.runs == "auto"
        if not node.parameters:
            key = (node.reference, names, required)
            found = self.calls.get(key)
            if found is None:
                found = self.calls[key] = PlainCall(invoke, node.reference, names, required, {}, {}, learned)
            return found
        if any(cel_of(value) is not None for value in node.parameters.values()):
            return None
        inputs = {port.name for port in node.inputs}
        ports = {name: value for name, value in node.parameters.items() if name in inputs}
        fixed = {name: value for name, value in node.parameters.items() if name not in inputs}
        return PlainCall(invoke, node.reference, names, required, ports, fixed, learned)

    def _needed(self, node: Action) -> None:
        """Look now for what may be called only later: a fallback, a compensation."""
        for name in (_fallback_of(node), node.compensation):
            self._called(name)

    def _function(self, reference: str) -> tuple[TetherSpec, Invoke]:
        found = self.known.get(reference)
        if found is None:
            found = self.known[reference] = self.tethers.spec(reference), self.tethers.function(reference)
        return found

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
            spec, invoke = self._function(node.reference)
        elif isinstance(node, NestedModel):
            plan = self.nested[node.id] = self._nested(node)
        stage = self.model.nodes[node.parent]
        ports = {port.name for port in node.inputs}
        return Work(
            node=node,
            invoke=invoke,
            spec=spec,
            effect=_effect(node, spec),
            runs=spec.runs if spec is not None else "inline",
            constants={name: value for name, value in node.parameters.items() if cel_of(value) is None},
            expressions={name: cel for name, value in node.parameters.items() if (cel := cel_of(value)) is not None},
            settings=frozenset(name for name in node.parameters if name not in ports),
            on_failure=stage.on_failure if isinstance(stage, Stage) else "fail",
            nested=plan,
            fallback=self._called(_fallback_of(node)),
            compensation=self._called(node.compensation),
        )

    def _called(self, name: str | None) -> Work | None:
        node = self.model.nodes.get(name) if name is not None else None
        return None if node is None else self._work(node)  # type: ignore[arg-type]

    def _nested(self, node: NestedModel) -> Plan:
        levels = min(self.levels, node.max_depth)
        if levels < 1:
            raise ModelInvalid(verb="run", first=f"{node.name!r} nests deeper than {node.max_depth} levels.", more="")
        child = self.source.nested(node.reference, node.version)
        if child is None:
            reason = f"{node.name!r} calls {node.reference!r}, which is not there."
            raise ModelInvalid(verb="run", first=reason, more="")
        return _Compiler(child, self.tethers, self.source, levels - 1).plan()


def _arguments(node: Any, items: Any) -> tuple[Argument, ...]:
    """Return where the ports of a node get their values; `items`: (wire, port, slot, source port), sorted."""
    ports = node.inputs
    if len(ports) == 1:
        port = ports[0]
        sources = tuple([(source, name) for _, to, source, name in items if to == port.name])
        return (
            (Argument(port.name, sources, port.many, port.required and not port.many),)
            if (sources or (port.many and port.name not in getattr(node, "parameters", ())))
            else ()
        )
    by_port: dict[str, list[tuple[int, str]]] = {}
    for _, to, source, name in items:
        by_port.setdefault(to, []).append((source, name))
    return tuple(
        Argument(port.name, tuple(by_port.get(port.name, ())), port.many, port.required and not port.many)
        for port in ports
        if port.name in by_port or (port.many and port.name not in getattr(node, "parameters", ()))
    )


def _on_call(model: FunctionModel) -> set[str]:
    """Return the actions that only run when another one asks for them: fallbacks and compensations."""
    return {
        name
        for node in model.actions()
        if node.fallback is not None or node.compensation is not None
        for name in (_fallback_of(node), node.compensation)
        if name is not None
    }


def _shared(model: FunctionModel) -> frozenset[str]:
    """Return the fallbacks that several actions have."""
    called = Counter(_fallback_of(node) for node in model.actions() if node.fallback is not None)
    return frozenset(name for name, count in called.items() if name is not None and count > 1)


def _effect(node: Action, spec: TetherSpec | None) -> bool:
    if isinstance(node, Knowledge | NestedModel) or spec is None:
        return False
    declared = getattr(node, "effect", None)
    return spec.effect if declared is None else bool(declared)


def _fallback_of(node: Action) -> str | None:
    return node.fallback.action if node.fallback is not None and node.fallback.use == "action" else None
