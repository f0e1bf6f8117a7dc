"""`treadle bench`: what the engine costs on this machine, beside the floor of the same work in plain Python.

Each case runs several times in this process; the median counts. The floor is measured in the same process right
after it, so that the ratio holds on a noisy machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from engine.benchmark_models import chain, layered
from engine.decisions import StoredDecisions
from engine.domain.model import FunctionModel
from engine.domain.runs import Durability, Run
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import RetryPolicy, Semver
from engine.errors import TetherFailed, TetherUnknown
from engine.execution.breaker import Breakers
from engine.execution.compiling import compile_plan
from engine.execution.local import LocalRun, Services
from engine.execution.plan import Plan
from engine.execution.processes import Processes
from engine.execution.records import recover
from engine.execution.scribe import Scribe
from engine.execution.workers import Workers
from engine.expressions import Cel
from engine.ports import Invoke, Journal
from engine.settings import Settings
from engine.system import EnvironmentSecrets, SystemClock
from engine.wiring import open_stores

_REPEATS = 5
_LAYER = 100


class Figure(NamedTuple):
    """One measured case. `floor` is in the same unit; `ratio` is value / floor."""

    case: str
    value: float
    unit: str
    floor: float | None
    ratio: float | None


_IN_A_PROCESS = """
from engine import tether

@tether("bench.process", runs="process")
def depth(*values: int) -> int:
    return 1 + max(values, default=0)
"""


class _Functions:
    """The functions of the benchmarks: no-ops that add one to the greatest input, called in each way there is."""

    def __init__(self) -> None:
        async def awaited(inputs: Any, settings: Any, context: Any) -> dict[str, Any]:
            return _depth(inputs, settings, context)

        self._calls: dict[str, tuple[Invoke, str]] = {
            "bench.inline": (_depth, "inline"),
            "bench.thread": (_depth, "thread"),
            "bench.process": (_depth, "process"),
            "bench.async": (awaited, "async"),
            "bench.fib10": (_fib10, "inline"),
        }

    def put(self, reference: str, call: Invoke, runs: str = "inline") -> None:
        """Add a function."""
        self._calls[reference] = call, runs

    def specs(self) -> list[TetherSpec]:
        return [self.spec(reference) for reference in self._calls]

    def spec(self, reference: str) -> TetherSpec:
        if reference not in self._calls:
            raise TetherUnknown(reference=reference, hint="")
        runs: Any = self._calls[reference][1]
        return TetherSpec(reference=reference, name=reference, category="Benchmarks", runs=runs)

    def function(self, reference: str) -> Invoke:
        return self._calls[reference][0]

    def load_all(self, sources: Iterable[str]) -> None:
        del sources

    def sources(self) -> tuple[str, ...]:
        return ()


class _NoModels:
    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        del reference, version
        return None


def _depth(inputs: Any, settings: Any, context: Any) -> dict[str, Any]:
    del settings, context
    return {"result": 1 + max(inputs["values"], default=0)}


def _fibonacci(n: int) -> int:
    return n if n <= 1 else _fibonacci(n - 1) + _fibonacci(n - 2)


def _fib10(inputs: Any, settings: Any, context: Any) -> dict[str, Any]:
    del inputs, settings, context
    return {"result": _fibonacci(10)}


class _Bench:
    """What the cases share: functions, workers, and a journal in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.functions, self.clock = _Functions(), SystemClock()
        self.catalog, self.journal, self.blobs, _ = open_stores(
            f"duckdb:///{folder / 'bench.duckdb'}", replace(Settings.from_environment({}), home=folder)
        )
        self.decisions = StoredDecisions(self.catalog, self.clock, actor="bench")
        source = folder / "bench_process.py"
        source.write_text(_IN_A_PROCESS)
        self.processes = Processes(lambda: (str(source),))
        self.services = Services(
            Cel(),
            self.blobs,
            self.clock,
            Workers(),
            EnvironmentSecrets(),
            self.decisions,
            Breakers(self.clock),
            processes=self.processes,
        )
        self.folder = folder

    def close(self) -> None:
        self.services.workers.close()
        self.processes.close()
        self.journal.close()
        self.catalog.close()

    def plan(self, model: FunctionModel) -> Plan:
        return compile_plan(model, self.functions, _NoModels())

    def seconds(self, plan: Plan, durability: Durability = "off", *, journal: Journal | None = None) -> float:
        """Run a plan to its end and return the seconds it took, the last sync included."""
        began = time.perf_counter()
        self.outputs(plan, durability, journal=journal)
        return time.perf_counter() - began

    def outputs(self, plan: Plan, durability: Durability = "off", *, journal: Journal | None = None) -> dict[str, Any]:
        """Run a plan to its end, the last sync included, and return what came out."""
        run = Run(
            id=self.clock.new_id(),
            model="bench",
            model_name="Benchmark",
            content_hash="",
            durability=durability,
            created_at=self.clock.now(),
        )
        scribe = Scribe(run.id, self.clock, self.blobs, journal, strict=durability == "strict")
        local = LocalRun(run, plan, {}, self.services, scribe)
        outcome = local.go()
        if journal is not None:
            scribe.sync(scribe.ended(b"{}"))
        if outcome.status != "succeeded":
            raise TetherFailed(kind="The benchmark failed", reason=outcome.error or outcome.status)
        return outcome.outputs


def _median(call: Callable[[], float], repeats: int = _REPEATS) -> float:
    return statistics.median(call() for _ in range(repeats))


def _floor(plan: Plan) -> float:
    """Return the seconds of the least an engine must do: ready counters, state, two times, one event a step."""
    now = time.perf_counter_ns
    succ, arguments = plan.successors, [[source for a in args for source, _ in a.sources] for args in plan.arguments]
    pending, values, events = plan.pending.copy(), [0] * len(plan.kinds), list[tuple[int, int]]()
    state, began_ns, ended_ns = bytearray(len(pending)), [0] * len(pending), [0] * len(pending)
    began = time.perf_counter()
    ready = [slot for slot, count in enumerate(pending) if not count]
    while ready:
        slot = ready.pop()
        state[slot] = 1
        began_ns[slot] = now()
        values[slot] = 1 + max([values[source] for source in arguments[slot]], default=0)
        ended_ns[slot] = now()
        state[slot] = 2
        events.append((slot, 2))
        for target in succ[slot]:
            pending[target] -= 1
            if not pending[target]:
                ready.append(target)
    return time.perf_counter() - began


def _sync_floor(folder: Path, count: int) -> float:
    """Return the seconds of `count` appended records of 200 bytes, each with its own fdatasync."""
    handle = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    began = time.perf_counter()
    for _ in range(count):
        os.write(handle, b"x" * 200)
        os.fdatasync(handle)
    took = time.perf_counter() - began
    os.close(handle)
    return took


def _per_step(bench: _Bench, model: FunctionModel, count: int, **options: Any) -> tuple[float, float]:
    plan = bench.plan(model)
    return _median(lambda: bench.seconds(plan, **options)) / count * 1e6, _median(lambda: _floor(plan)) / count * 1e6


def _step_dag10k(bench: _Bench) -> tuple[float, str, float | None]:
    value, floor = _per_step(bench, layered(10_000), 10_000)
    return value, "us", floor


def _compile_100k(bench: _Bench) -> tuple[float, str, float | None]:
    model = layered(100_000)
    began = time.perf_counter()
    bench.plan(model)
    return time.perf_counter() - began, "s", None


def _run_100k(bench: _Bench) -> tuple[float, str, float | None]:
    plan = bench.plan(layered(100_000))
    return _median(lambda: bench.seconds(plan), 3), "s", _floor(plan)


def _async_step(bench: _Bench) -> tuple[float, str, float | None]:
    value, floor = _per_step(bench, layered(2_000, reference="bench.async"), 2_000)
    return value, "us", floor


def _thread_step(bench: _Bench) -> tuple[float, str, float | None]:
    value, floor = _per_step(bench, layered(2_000, reference="bench.thread"), 2_000)
    return value, "us", floor


def _process_step(bench: _Bench) -> tuple[float, str, float | None]:
    value, floor = _per_step(bench, layered(2_000, reference="bench.process"), 2_000)
    return value, "us", floor


def _armed_step(bench: _Bench) -> tuple[float, str, float | None]:
    """What a retry policy that is not needed costs: the difference to a step without one."""
    armed, _ = _per_step(bench, layered(10_000, retry=RetryPolicy(max_attempts=5)), 10_000)
    plain, _ = _per_step(bench, layered(10_000), 10_000)
    return armed, "us", plain


def _durable_pipelined_step(bench: _Bench) -> tuple[float, str, float | None]:
    value, floor = _per_step(bench, layered(10_000), 10_000, durability="pipelined", journal=bench.journal)
    return value, "us", floor


def _durable_strict_step(bench: _Bench) -> tuple[float, str, float | None]:
    plan = bench.plan(chain(300))
    value = _median(lambda: bench.seconds(plan, "strict", journal=bench.journal), 3)
    return value / 300 * 1e6, "us", _sync_floor(bench.folder, 300) / 300 * 1e6


def _light40(bench: _Bench) -> tuple[float, str, float | None]:
    plan = bench.plan(chain(40, reference="bench.fib10"))
    began = time.perf_counter()
    for _ in range(40):
        _fibonacci(10)
    floor = time.perf_counter() - began
    return _median(lambda: bench.seconds(plan)) * 1e3, "ms", floor * 1e3


def _light40_durable(bench: _Bench) -> tuple[float, str, float | None]:
    plan = bench.plan(chain(40, reference="bench.fib10"))
    value = _median(lambda: bench.seconds(plan, "pipelined", journal=bench.journal))
    return value * 1e3, "ms", _sync_floor(bench.folder, 1) * 1e3


def _resume_100k(bench: _Bench) -> tuple[float, str, float | None]:
    """Read and understand a journal of 100,000 completed steps, and compile their plan: all before the next step."""
    model = layered(100_000)
    plan = bench.plan(model)
    bench.seconds(plan, "pipelined", journal=bench.journal)
    run = bench.journal.unfinished()[-1]
    began = time.perf_counter()
    found = recover(bench.journal.read(run))
    bench.plan(model)
    took = time.perf_counter() - began
    if len(found.done) + len(found.plain) != plan.steps:
        raise TetherFailed(kind="The benchmark failed", reason="steps were lost")
    return took, "s", None


def _hello(bench: _Bench) -> tuple[float, str, float | None]:
    """Start Python, import the engine, run one step: wall time of the whole process, beside an empty Python."""
    del bench
    script = "from engine.benchmarks import hello; hello()"
    return (
        _median(lambda: _process_seconds(script)) * 1e3,
        "ms",
        _median(lambda: _process_seconds("pass")) * 1e3,
    )


def hello() -> None:
    """Run one step in memory: what the case `hello` does in a process of its own."""
    from engine.execution.workers import Workers as Threads

    functions, clock = _Functions(), SystemClock()
    plan = compile_plan(chain(1), functions, _NoModels())
    run = Run(id="hello", model="bench", model_name="Hello", content_hash="", created_at=clock.now())
    services: Any = Services(Cel(), _NoModels(), clock, Threads(), EnvironmentSecrets(), None, None)  # type: ignore[arg-type]
    LocalRun(run, plan, {}, services, Scribe("hello", clock, services.blobs, None)).go()


def _process_seconds(script: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True)
    return time.perf_counter() - began


CASES: dict[str, Callable[[_Bench], tuple[float, str, float | None]]] = {
    "step_dag10k": _step_dag10k,
    "compile_100k": _compile_100k,
    "run_100k": _run_100k,
    "async_step": _async_step,
    "thread_step": _thread_step,
    "process_step": _process_step,
    "armed_step": _armed_step,
    "durable_pipelined_step": _durable_pipelined_step,
    "durable_strict_step": _durable_strict_step,
    "light40": _light40,
    "light40_durable": _light40_durable,
    "resume_100k": _resume_100k,
    "hello": _hello,
}


def measure(case: str) -> Figure:
    """Measure one case of `CASES`."""
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder))
        try:
            value, unit, floor = CASES[case](bench)
        finally:
            bench.close()
    return Figure(case, value, unit, floor, value / floor if floor else None)
