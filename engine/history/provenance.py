"""Provenance: what made a value. Steps, inputs, functions, the model, decisions and people, and earlier runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from engine.domain.canonical import as_object
from engine.domain.nodes import AgentTask, Knowledge, NestedModel, Tether
from engine.domain.runs import Run, Step, StoredValue
from engine.execution.plan import ACTION, SINK, SOURCE, Plan
from engine.history.containers import plan_at, whole_of
from engine.history.refusals import ValueUnknown
from engine.history.timeline import Asked, State

_DONE = ("succeeded", "cached")
_EARLIER = re.compile(r"(?:taken from run|forked from run) (\S+)(?: at event (\d+))?$")
PINNED = "pinned"


class ValueId(NamedTuple):
    """A value of a run: what the step or boundary at a path has at a port."""

    path: str
    port: str


class MadeBy(NamedTuple):
    """The step that made a value, once it is known how."""

    path: str
    name: str
    node: str
    kind: str
    function: str | None
    """The reference of the function, or of the nested model; None for content of the knowledge base."""
    code: str | None
    """The hash of the function's code, if the run kept it."""
    agent: str | None
    """The AI agent that a task went to, or the capabilities it asked for."""
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    earlier_run: str | None
    """The run that the result was taken from instead of running the step."""
    pinned: bool
    """Whether somebody fixed the result by hand."""
    decisions: tuple[Asked, ...]
    """What the step asked for and got."""


class Link(NamedTuple):
    """A value came from another one; `by`: the path of the step between them, None if it was only passed on."""

    value: ValueId
    source: ValueId
    by: str | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that one value of a run came from, as far as the run goes back."""

    run: Run
    value: ValueId
    values: dict[ValueId, StoredValue | None]
    """Every value on the way; None for one that is only named, such as a constant."""
    steps: dict[str, MadeBy]
    """Every step on the way, by path."""
    made: dict[ValueId, str]
    """Which step made a value; inputs of the run have none."""
    links: tuple[Link, ...]
    models: dict[str, str]
    """The models that ran, by the path of the call ('' is the outermost): their content hashes."""

    @property
    def inputs(self) -> tuple[ValueId, ...]:
        """The inputs of the run that it came from."""
        return tuple(
            each for each in self.values if each not in self.made and each not in {x.value for x in self.links}
        )

    @property
    def people(self) -> tuple[str, ...]:
        """Who decided something on the way."""
        found = (asked.by for step in self.steps.values() for asked in step.decisions if asked.by is not None)
        return tuple(dict.fromkeys(found))

    def to_prov_json(self) -> dict[str, Any]:
        """Return it as W3C PROV-JSON (the member submission of 2013)."""
        from engine.history.prov_json import prov_json

        return prov_json(self)


def provenance(run: Run, state: State, path: str, port: str) -> Provenance:
    """Return what made the value that a step (or an output boundary) has at a port; raises `ValueUnknown`.

    A step that was not run again but taken from an earlier run is not looked into: that run's records say more.
    """
    return _Search(run, state).found(ValueId(path, port))


class _Search:
    def __init__(self, run: Run, state: State) -> None:
        self.run, self.state = run, state
        self.values: dict[ValueId, StoredValue | None] = {}
        self.steps: dict[str, MadeBy] = {}
        self.made: dict[ValueId, str] = {}
        self.links: dict[Link, None] = {}
        self.models = {"": run.content_hash}
        self.codes = as_object(run.options.get("functions"))
        self.items: dict[str, list[Step]] = {}
        for step in state.steps.values():
            whole = whole_of(step.path)
            if whole != step.path and step.path.endswith("]"):
                self.items.setdefault(whole, []).append(step)

    def found(self, value: ValueId) -> Provenance:
        if not self._is_there(value):
            raise ValueUnknown(run=self.run.id, path=value.path, port=value.port, hint=self._hint(value.path))
        stack = [value]
        while stack:
            each = stack.pop()
            if each in self.values:
                continue
            self.values[each] = self._stored(each)
            for link in self._links_of(each):
                self.links[link] = None
                stack.append(link.source)
        return Provenance(self.run, value, self.values, self.steps, self.made, tuple(self.links), self.models)

    def _is_there(self, value: ValueId) -> bool:
        if self._stored(value) is not None:
            return True
        inside, slot, _ = self._place(value.path)
        if inside is None or slot is None or inside.kinds[slot] not in (SOURCE, SINK):
            return False
        node = inside.nodes[slot]
        return "/" in value.path and any(port.name == value.port for port in (*node.inputs, *node.outputs))

    def _hint(self, path: str) -> str:
        ports = self.state.values.get(path)
        if ports:
            return f"It has: {', '.join(ports)}."
        step = self.state.steps.get(path)
        return f"The step is {step.status}." if step is not None else "There is no such step."

    def _stored(self, value: ValueId) -> StoredValue | None:
        found = self.state.values.get(value.path, {}).get(value.port)
        if found is None and "/" not in value.path:
            inside, slot, _ = self._place(value.path)
            if inside is not None and slot is not None and inside.kinds[slot] == SINK:
                return self.run.outputs.get(value.port)
        return found

    def _place(self, path: str) -> tuple[Plan | None, int | None, str]:
        """Return (plan, slot, prefix) of a step or boundary."""
        call, slash, last = path.rpartition("/")
        inside = plan_at(self.state.plan, call)
        node = last.partition("[")[0].partition("#")[0]
        return inside, inside.slots.get(node) if inside is not None else None, call + slash

    def _links_of(self, value: ValueId) -> Iterable[Link]:
        inside, slot, prefix = self._place(value.path)
        if inside is None:
            return []
        if slot is not None and inside.kinds[slot] == SOURCE:
            return self._passed_in(value, prefix)
        if slot is not None and inside.kinds[slot] == SINK:
            sources = self._sources(inside, slot, prefix, only=value.port)
            return [Link(value, source, None) for source in sources]
        step = self.state.steps.get(value.path)
        if step is None:
            return []
        if step.status not in _DONE:
            return self._stood_in(value, step, inside, slot, prefix)
        self.made[value] = step.path
        made = self._made_by(step, inside)
        self.steps[step.path] = made
        if made.earlier_run is not None or made.pinned:
            return []
        items = self.items.get(step.path)
        if items:
            return [Link(value, ValueId(each.path, value.port), step.path) for each in items if each.status in _DONE]
        through = self._through(value, inside, slot)
        return (
            through
            if through is not None
            else [Link(value, source, step.path) for source in self._inputs(step.path, inside, slot, prefix)]
        )

    def _inputs(self, path: str, inside: Plan, slot: int | None, prefix: str) -> list[ValueId]:
        """Return what a step got by wires; one that stands in for another, or undoes it, got what that one had."""
        if slot is not None:
            return self._sources(inside, slot, prefix)
        node = path.rpartition("/")[2].partition("[")[0]
        compensation, _, undone = node.partition("#")
        for each, kind in enumerate(inside.kinds):
            if kind != ACTION:
                continue
            other = inside.nodes[each]
            stands_for = other.fallback is not None and other.fallback.action == node
            if stands_for or (other.compensation == compensation and other.id == undone):
                own = self.state.steps.get(prefix + undone) if not stands_for else None
                given = [ValueId(own.path, port) for port in own.outputs] if own is not None else []
                return [*self._sources(inside, each, prefix), *given]
        return []

    def _sources(self, inside: Plan, slot: int, prefix: str, *, only: str | None = None) -> list[ValueId]:
        found: list[ValueId] = []
        for argument in inside.arguments[slot]:
            if only is None or argument.port == only:
                values = (ValueId(prefix + inside.nodes[source].id, port) for source, port in argument.sources)
                found += [each for each in values if self._gave(each, inside)]
        return found

    def _gave(self, value: ValueId, inside: Plan) -> bool:
        """Say whether a source had a value at all: it was not skipped, and did not fail without something instead."""
        step = self.state.steps.get(value.path)
        if step is None:
            _, slot, _ = self._place(value.path)
            return slot is not None and inside.kinds[slot] != ACTION
        stands_in = step.status == "failed" and step.node in inside.slots
        return step.status in _DONE or (stands_in and inside.nodes[inside.slots[step.node]].fallback is not None)

    def _stood_in(self, value: ValueId, step: Step, inside: Plan, slot: int | None, prefix: str) -> list[Link]:
        """Return what gave the value of a step that failed."""
        fallback = inside.nodes[slot].fallback if slot is not None else None
        if fallback is None or fallback.use != "action":
            return []
        last = step.path.rpartition("/")[2]
        item = last[last.find("[") :] if "[" in last else ""
        return [Link(value, ValueId(f"{prefix}{fallback.action}{item}", value.port), None)]

    def _passed_in(self, value: ValueId, prefix: str) -> list[Link]:
        """Return where an input of a nested model came from: inputs of the step that called it."""
        call = re.sub(r"#\d+$", "", prefix.rstrip("/"))
        if not call:
            return []
        inside, slot, outer = self._place(call)
        if inside is None:
            return []
        node = inside.nodes[slot] if slot is not None else None
        arguments = inside.arguments[slot] if slot is not None else ()
        mapped = isinstance(node, NestedModel) and value.port in node.context_mapping
        named = any(argument.port == value.port for argument in arguments)
        if slot is not None and named and not mapped:
            return [Link(value, source, None) for source in self._sources(inside, slot, outer, only=value.port)]
        return [Link(value, source, None) for source in self._inputs(call, inside, slot, outer)] if mapped else []

    def _through(self, value: ValueId, inside: Plan, slot: int | None) -> list[Link] | None:
        """Return the links into a nested model that made a value, None if it was none or nothing is known of it."""
        nested = inside.nested.get(slot) if slot is not None else None
        node = inside.nodes[slot] if slot is not None else None
        call = self._last_call(value.path)
        if nested is None or call is None:
            return None
        self.models[call] = nested.model.content_hash
        everything = isinstance(node, NestedModel) and value.port in node.output_extraction
        found: list[Link] = []
        for each, kind in enumerate(nested.kinds):
            if kind == SINK:
                sink = nested.nodes[each]
                ports = [port.name for port in sink.inputs if everything or port.name == value.port]
                found += [Link(value, ValueId(f"{call}/{sink.id}", port), value.path) for port in ports]
        return found

    def _last_call(self, path: str) -> str | None:
        """Return the prefix of the steps of the last attempt of a nested call."""
        for number in range(10, 0, -1):
            call = path if number == 1 else f"{path}#{number}"
            if any(each.startswith(f"{call}/") for each in self.state.steps):
                return call
        return None

    def _made_by(self, step: Step, inside: Plan) -> MadeBy:
        node = inside.model.nodes.get(step.node)
        earlier = _EARLIER.match(step.reason or "")
        agent = node.agent or ", ".join(node.capabilities) if isinstance(node, AgentTask) else None
        return MadeBy(
            path=step.path,
            name=step.name,
            node=step.node,
            kind=step.kind,
            function=node.reference if isinstance(node, Tether | NestedModel | Knowledge) else None,
            code=self.codes.get(getattr(node, "reference", "")),
            agent=agent,
            attempts=len(step.attempts),
            started_at=step.started_at,
            ended_at=step.ended_at,
            earlier_run=earlier[1] if earlier else None,
            pinned=step.reason == PINNED,
            decisions=tuple(
                each for each in self.state.decisions if each.path.partition("?")[0] == step.path and each.chosen
            ),
        )
