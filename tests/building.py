"""Small models and functions to test the execution with: real plans, real drivers, nothing recorded elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.decisions import StoredDecisions
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import Boundary, NestedModel, Stage, Tether
from engine.domain.runs import Durability, Run, Step
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port, Semver
from engine.errors import TetherUnknown
from engine.execution.breaker import Breakers
from engine.execution.compiling import compile_plan
from engine.execution.frames import Directions, Outcome, RunEvent, Watch
from engine.execution.local import LocalRun, Services
from engine.execution.plan import Plan
from engine.execution.records import Recovered, fold
from engine.execution.scribe import Scribe
from engine.execution.workers import Workers
from engine.expressions import Cel
from engine.ports import Invoke, Journal, StepContext
from engine.storage.memory import MemoryCatalog
from engine.storage.memory_journal import MemoryBlobs
from engine.system import EnvironmentSecrets, SystemClock

Wiring = Iterable[tuple[str, str, str, str]]


class Functions:
    """Functions by reference, called as the engine calls tethers; counts the calls of each."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Invoke, str, bool]] = {}
        self.add("add", lambda inputs, settings: inputs["a"] + settings.get("by", 1), runs="inline")
        self.add("double", lambda inputs, _: inputs["a"] * 2)
        self.add("sum", lambda inputs, _: sum(inputs["a"]), runs="inline")
        self.add("boom", _boom)
        self.add("effect", lambda inputs, _: inputs.get("a", 0), effect=True)
        self.add("strange", lambda _inputs, _settings: object(), runs="inline")
        self._put("flaky", _flaky, "thread", effect=False)
        self._put("sleep", _sleep, "thread", effect=False)
        self._put("awaited", _awaited, "async", effect=False)
        self._put("fails_to_await", _fails_to_await, "async", effect=False)
        self._put("talk", _talk, "thread", effect=False)
        self._put("web", lambda inputs, settings, _: {"result": {**inputs, **settings}}, "thread", effect=True)
        self._put("nothing", lambda _i, _s, _c: {}, "inline", effect=False)

    def add(
        self, reference: str, call: Callable[[Any, Any], Any], *, runs: str = "thread", effect: bool = False
    ) -> None:
        self._put(reference, lambda inputs, settings, _: {"result": call(inputs, settings)}, runs, effect=effect)

    def _put(self, reference: str, invoke: Invoke, runs: str, *, effect: bool) -> None:
        def counted(inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext) -> Any:
            with self._lock:
                self.calls[reference] = self.calls.get(reference, 0) + 1
            return invoke(inputs, settings, context)

        self._known[reference] = (counted, runs, effect)

    def specs(self) -> list[TetherSpec]:
        return [self.spec(reference) for reference in self._known]

    def spec(self, reference: str) -> TetherSpec:
        if reference not in self._known:
            raise TetherUnknown(reference=repr(reference), hint="")
        _, runs, effect = self._known[reference]
        return TetherSpec(reference=reference, name=reference, category="Tests", runs=runs, effect=effect)  # type: ignore[arg-type]

    def function(self, reference: str) -> Invoke:
        return self._known[reference][0]

    def load_all(self, sources: Iterable[str]) -> None:
        del sources

    def sources(self) -> tuple[str, ...]:
        return ()


class Nested:
    """Nested models by reference."""

    def __init__(self, **models: FunctionModel) -> None:
        self.models = models

    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        del version
        return self.models.get(reference)


def _boom(inputs: Any, _: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def _flaky(inputs: Any, settings: Any, context: StepContext) -> Any:
    if context.attempt <= settings.get("times", 2):
        raise ConnectionError("not yet")
    return {"result": inputs.get("a")}


def _sleep(inputs: Any, settings: Any, context: StepContext) -> Any:
    deadline = time.monotonic() + settings.get("seconds", 0.05)
    while time.monotonic() < deadline and not (settings.get("polite") and context.cancelled):
        time.sleep(0.002)
    return {"result": inputs.get("a")}


async def _awaited(inputs: Any, settings: Any, context: StepContext) -> Any:
    del context
    await asyncio.sleep(settings.get("seconds", 0.001))
    return {"result": inputs["a"]}


async def _fails_to_await(inputs: Any, settings: Any, context: StepContext) -> Any:
    del inputs, settings, context
    await asyncio.sleep(0)
    raise OSError("the line is dead")


def _talk(inputs: Any, settings: Any, context: StepContext) -> Any:
    context.progress(0.5, "half")
    for number in range(settings.get("lines", 2)):
        context.log(f"line {number}")
    return {"result": inputs.get("a")}


def stage(key: str = "s", **fields: Any) -> Stage:
    return Stage(id=key, name=fields.pop("name", key.upper()), **fields)


def step(key: str, reference: str, **fields: Any) -> Tether:
    many = fields.pop("many", False)
    required = fields.pop("required", True)
    return Tether(
        id=key,
        name=fields.pop("name", key),
        parent=fields.pop("parent", "s"),
        reference=reference,
        inputs=fields.pop("inputs", (Port(name="a", many=many, required=required),)),
        outputs=fields.pop("outputs", (Port(name="result"),)),
        **fields,
    )


def nested(key: str, reference: str, **fields: Any) -> NestedModel:
    return NestedModel(
        id=key,
        name=fields.pop("name", key),
        parent=fields.pop("parent", "s"),
        reference=reference,
        inputs=fields.pop("inputs", (Port(name="a"),)),
        outputs=fields.pop("outputs", (Port(name="r"),)),
        **fields,
    )


def entrance(*names: str, **fields: Any) -> Boundary:
    contract = {"type": "object", "properties": {name: {} for name in names}, "required": list(names)}
    return Boundary(id="in", name="In", boundary="input", input_contract=contract, **fields)


def leave(*names: str, **fields: Any) -> Boundary:
    contract = {"type": "object", "properties": {name: {} for name in names}}
    return Boundary(id="out", name="Out", boundary="output", output_contract=contract, **fields)


def model(*nodes: Any, wires: Wiring = (), depends: Iterable[Any] = (), name: str = "Test model") -> FunctionModel:
    """Return a model of these nodes; wires are (node, port, node, port), dependencies (container, container)."""
    return FunctionModel(
        id="m",
        name=name,
        nodes={node.id: node for node in nodes},
        wires={
            f"w{number}": Wire(id=f"w{number}", source=a, source_port=b, target=c, target_port=d)
            for number, (a, b, c, d) in enumerate(wires)
        },
        dependencies={
            f"d{number}": edge
            if isinstance(edge, Dependency)
            else Dependency(id=f"d{number}", source=edge[0], target=edge[1])
            for number, edge in enumerate(depends)
        },
    )


class Ran:
    """What a run left: its outcome, steps by path, events."""

    def __init__(self, outcome: Outcome, steps: tuple[Step, ...], events: list[RunEvent], functions: Functions) -> None:
        self.outcome, self.events, self.functions = outcome, events, functions
        self.steps = {step.path: step for step in steps}

    @property
    def states(self) -> dict[str, str]:
        return {path: step.status for path, step in self.steps.items()}


_DIRECTIONS = ("only", "breakpoints", "passed", "most_steps", "capacity")


class Bench:
    """Runs models without an engine around them."""

    def __init__(self, functions: Functions | None = None, models: Nested | None = None) -> None:
        self.functions = functions or Functions()
        self.models = models or Nested()
        self.clock, self.blobs, self.workers = SystemClock(), MemoryBlobs(), Workers()
        self.catalog = MemoryCatalog()
        self.decisions = StoredDecisions(self.catalog, self.clock, actor="you")
        self.services = Services(
            expressions=Cel(),
            blobs=self.blobs,
            clock=self.clock,
            workers=self.workers,
            secrets=EnvironmentSecrets(),
            decisions=self.decisions,
            breakers=Breakers(self.clock),
        )

    def plan(self, found: FunctionModel) -> Plan:
        return compile_plan(found, self.functions, self.models)

    def local(
        self,
        plan: Plan,
        inputs: Mapping[str, Any],
        *,
        journal: Journal | None = None,
        durability: Durability = "pipelined",
        recovered: Recovered | None = None,
        watch: Watch | None = None,
        until: str | None = None,
        **options: Any,
    ) -> LocalRun:
        run = Run(
            id="run-1",
            model="m",
            model_name="Test model",
            content_hash="",
            durability=durability,
            created_at=self.clock.now(),
        )
        scribe = Scribe(run.id, self.clock, self.blobs, journal, strict=durability == "strict")
        wishes = {name: options.pop(name) for name in _DIRECTIONS if name in options}
        directions = Directions(until=(until,) if until else (), **wishes)
        return LocalRun(
            run, plan, inputs, self.services, scribe, recovered=recovered, watch=watch, directions=directions, **options
        )

    def go(self, found: FunctionModel, inputs: Mapping[str, Any] | None = None, **options: Any) -> Ran:
        plan, events = self.plan(found), list[RunEvent]()
        if options.pop("watched", False):
            options["watch"] = events.extend
        local = self.local(plan, inputs or {}, **options)
        outcome = local.go()
        return Ran(outcome, fold("run-1", local.scribe.records(), plan), events, self.functions)
