"""Runs to look back at: every kind of step, and a history over the engine that ran them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import engine
from engine.domain.model import Wire
from engine.domain.nodes import NestedModel, Tether
from engine.domain.values import Expression, Port, RetryPolicy
from engine.engine import Engine
from engine.history.book import History
from engine.ports import StepContext
from engine.runs import Runs
from tests.building import entrance, leave, model, stage

CALLS: list[str] = []
WORLD: dict[str, Any] = {}
"""What functions read from outside of their inputs."""


@engine.tether(reference="history.add", runs="inline")
def add(a: int, *, by: int = 1) -> int:
    """Add, and something of the world if there is any."""
    CALLS.append("add")
    return a + by + WORLD.get("drift", 0)


@engine.tether(reference="history.total")
def total(values: list[int]) -> int:
    """Add all."""
    CALLS.append("total")
    return sum(values)


@engine.tether(reference="history.send", effect=True)
def send(a: int, *, context: StepContext) -> str:
    """Leave an effect, at the second attempt."""
    CALLS.append(f"send {context.attempt}")
    if context.attempt < WORLD.get("send_at", 2):
        raise ConnectionError("not yet")
    return f"sent {a} as {context.idempotency_key}"


@engine.tether(reference="history.undo", effect=True)
def undo(a: int = 0) -> int:
    """Undo."""
    CALLS.append("undo")
    return a


@engine.tether(reference="history.boom")
def boom(a: int) -> int:
    """Fail."""
    CALLS.append("boom")
    if WORLD.get("mended"):
        return a
    raise ZeroDivisionError("division by zero")


@engine.tether(reference="history.later", runs="async")
async def later(a: int) -> int:
    """Give it later."""
    CALLS.append("later")
    return a


@engine.tether(reference="history.approve")
def approve(a: int, *, context: StepContext) -> str:
    """Ask."""
    CALLS.append("approve")
    return f"{context.ask('Pay?', ['yes', 'no'])} {a}"


@engine.tether(reference="history.sum", runs="inline")
def sum_up(a: list[Any] | None = None) -> int:
    """Add whatever there is."""
    return sum(a or ())


TETHERS = [add, total, send, undo, boom, later, approve, sum_up]


@dataclass
class Desk:
    """An open engine with a history over it."""

    engine: Engine
    history: History

    def run(self, found: Any, inputs: Any = None, *, status: str = "succeeded", **options: Any) -> str:
        handle = self.engine.start(found, inputs or {}, **options).wait(20)
        assert handle.status == status, handle.error
        return handle.id


class Seeding:
    """Hands seeds to runs until `Runs.start` takes them itself."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def get(self, run: str) -> Any:
        return self._runs.get(run)

    def start(self, found: Any, inputs: Any = None, *, seeds: Any = None, **options: Any) -> Any:
        if "seeds" in inspect.signature(self._runs.start).parameters:
            return self._runs.start(found, inputs, seeds=seeds, **options)
        launch = self._runs._launch

        def launch_with(*given: Any, **more: Any) -> Any:
            return launch(*given, **{**more, "seeds": {**(more.get("seeds") or {}), **(seeds or {})}})

        self._runs._launch = launch_with  # type: ignore[method-assign]
        try:
            return self._runs.start(found, inputs, **options)
        finally:
            del self._runs._launch


@contextmanager
def at_desk(url: Any = "memory:", *, tethers: Any = ()) -> Iterator[Desk]:
    """Open an engine with a history."""
    with engine.open(url, tethers=[*TETHERS, *tethers]) as opened:
        yield desk(opened)


def desk(opened: Engine) -> Desk:
    runs = opened.runs

    def live(run: str) -> Any:
        course = runs._live.get(run)
        return None if course is None else course.scribe.records()

    history = History(
        opened._catalog, runs._journal, runs._services, opened.models, opened.tethers, runs=Seeding(runs), live=live
    )
    return Desk(opened, history)


def step(key: str, reference: str, *, ports: tuple[str, ...] = ("a",), **fields: Any) -> Tether:
    return Tether(
        id=key,
        name=key.title(),
        parent=fields.pop("parent", "s"),
        reference=f"history.{reference}",
        inputs=tuple(Port(name=name, required=False) for name in ports),
        outputs=(Port(name="result"),),
        **fields,
    )


TWICE = RetryPolicy(max_attempts=3, backoff="immediate")


def inner():
    """Return a nested model: adds twice."""
    return model(
        entrance("a"),
        stage("s"),
        step("one", "add"),
        step("two", "add", parameters={"by": 10}),
        leave("r"),
        wires=[("in", "a", "one", "a"), ("one", "result", "two", "a"), ("two", "result", "out", "r")],
        name="Inner",
    ).changed(id="inner")


def rich():
    """Return a model with items, a nested model, a condition that does not hold, an effect that is retried."""
    return model(
        entrance("numbers", "start"),
        stage("s"),
        stage("t", mode="conditional", match="every"),
        step("each", "add", for_each="a"),
        step("sum", "total", ports=("values",)),
        NestedModel(
            id="deep",
            name="Deep",
            parent="s",
            reference="inner",
            inputs=(Port(name="a"),),
            outputs=(Port(name="r"),),
        ),
        step("send", "send", retry=TWICE),
        step("wait", "later"),
        step("never", "add", parent="t", condition=Expression(cel="a > 1000")),
        step("maybe", "add", parent="t", order=1, condition=Expression(cel="a > 0")),
        leave("sent", "maybe"),
        wires=[
            ("in", "numbers", "each", "a"),
            ("each", "result", "sum", "values"),
            ("in", "start", "deep", "a"),
            ("sum", "result", "send", "a"),
            ("deep", "r", "wait", "a"),
            ("wait", "result", "never", "a"),
            ("wait", "result", "maybe", "a"),
            ("send", "result", "out", "sent"),
            ("maybe", "result", "out", "maybe"),
        ],
        depends=[("s", "t")],
        name="Rich",
    )


class Beside:
    """Finds the nested model."""

    def nested(self, reference: str, version: Any) -> Any:
        del version
        return inner() if reference == "inner" else None


RICH_INPUTS = {"numbers": [1, 2, 3], "start": 5}


def run_rich(found: Desk) -> str:
    handle = found.engine.runs.start(rich(), RICH_INPUTS, source=Beside()).wait(20)
    assert handle.status == "succeeded", handle.error
    return handle.id


def asking():
    """Return a model that asks before it goes on."""
    return model(
        entrance("a"),
        stage("s"),
        step("plus", "add"),
        step("approve", "approve"),
        leave("r"),
        wires=[("in", "a", "plus", "a"), ("plus", "result", "approve", "a"), ("approve", "result", "out", "r")],
        name="Asking",
    )


def pure(found: Any) -> Any:
    """Return a generated graph (see `tests.unit.test_execution_core.graphs`) as a model that an engine runs."""
    actions = {node.id: node.model_copy(update={"reference": "history.sum"}) for node in found.actions()}
    wires = dict(found.wires)
    for name in actions:
        wires[f"i{name}"] = Wire(id=f"i{name}", source="in", source_port="seed", target=name, target_port="a")
        wires[f"o{name}"] = Wire(id=f"o{name}", source=name, source_port="result", target="out", target_port=name)
    ends = {"in": entrance("seed"), "out": leave(*actions)}
    return found.changed(nodes={**found.nodes, **actions, **ends}, wires=wires)
