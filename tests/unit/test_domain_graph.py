"""A model as a graph: cycles, order and reach, also of very deep and very wide models."""

from __future__ import annotations

import time
from typing import Any

import pytest

from engine.domain.edits import apply, inverse
from engine.domain.gestures import removal
from engine.domain.graph import cycle, order, reachable, would_cycle
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.rules import validate
from tests.small_models import TABLE, action, contract, entry, exit_, finished, stage, waits, workflow

LARGE = 10_000


def two_stages(*wires: str, dependencies: Any = ("one > two",)) -> FunctionModel:
    """Return two stages with two actions each: a and b in the first, c and d in the second."""
    nodes = [stage("one"), stage("two"), action("a", "one"), action("b", "one"), action("c", "two"), action("d", "two")]
    return workflow(nodes, wires, [waits(path) for path in dependencies])


def new_wire(source: str, target: str) -> Wire:
    return Wire(id="new", source=source, source_port="rows", target=target, target_port="rows")


def chain(length: int) -> FunctionModel:
    nodes = [entry(), exit_(), stage(), *(action(f"n{place}", order=place) for place in range(length))]
    wires = [f"n{place}.rows > n{place + 1}.rows" for place in range(length - 1)]
    return workflow(nodes, ["in.rows > n0.rows", *wires, f"n{length - 1}.rows > out.rows"])


def fan(width: int) -> FunctionModel:
    nodes = [entry(), exit_(fields=contract(rows=TABLE)), stage(), *(action(f"n{at}", order=at) for at in range(width))]
    return workflow(nodes, [f"in.rows > n{place}.rows" for place in range(width)], [waits("work > out")])


def test_a_model_without_circles_has_no_cycle() -> None:
    assert cycle(two_stages("a.rows > b.rows", "b.rows > c.rows")) is None


@pytest.mark.parametrize(
    ("model", "circle"),
    [
        (two_stages("a.rows > b.rows", "b.rows > a.rows"), {"a", "b"}),
        (two_stages("a.rows > a.rows"), {"a"}),
        (two_stages(dependencies=["one > two", "two > one"]), {"one", "two"}),
        (two_stages(dependencies=["one > one"]), {"one"}),
        (two_stages("c.rows > a.rows"), {"c", "a", "one", "two"}),
        (two_stages("c.rows > d.rows", "a.rows > c.rows", "d.rows > a.rows", dependencies=[]), {"a", "c", "d"}),
    ],
    ids=["wires", "itself", "dependencies", "a stage itself", "a dependency and a wire back", "across stages"],
)
def test_a_circle_is_named_node_by_node(model: FunctionModel, circle: set[str]) -> None:
    found = cycle(model)
    assert found is not None
    assert set(found) == circle
    assert len(found) == len(circle)


def test_an_order_puts_each_node_behind_what_it_waits_for() -> None:
    found = order(two_stages("b.rows > a.rows", "a.rows > c.rows"))
    assert found.index("one") < found.index("b") < found.index("a") < found.index("two") < found.index("c")
    assert order(two_stages("a.rows > a.rows")) == ["one", "b"]


def test_what_waits_for_a_node_can_be_reached_from_it() -> None:
    model = two_stages("a.rows > b.rows")
    assert reachable(model, ["b"]) == {"b", "one", "two", "c", "d"}
    assert reachable(model, ["b"], direction="before") == {"b", "a", "one"}
    assert reachable(model, ["gone"]) == set()


def test_data_may_enter_and_leave_by_one_boundary() -> None:
    both = entry("io", boundary="input-output", output_contract={"type": "object", "properties": {"rows": {}}})
    model = workflow([both, stage(), action()], ["io.rows > clean.rows", "clean.rows > io.rows"])
    assert cycle(model) is None
    assert reachable(model, ["io"], direction="before") == {"io"}


def test_a_gesture_is_told_which_circle_it_would_close() -> None:
    model = two_stages("a.rows > b.rows")
    assert would_cycle(model, new_wire("b", "a")) == ["a", "b"]
    assert would_cycle(model, new_wire("c", "b")) == ["b", "one", "two", "c"]
    assert would_cycle(model, Dependency(id="new", source="two", target="one")) == ["one", "two"]
    assert would_cycle(model, new_wire("a", "a")) == ["a"]
    assert would_cycle(model, new_wire("a", "c")) is None
    assert would_cycle(model, new_wire("a", "gone")) is None


@pytest.mark.parametrize("model", [chain(LARGE), fan(LARGE)], ids=["deep", "wide"])
def test_ten_thousand_nodes_are_no_trouble(model: FunctionModel) -> None:
    assert cycle(model) is None
    assert len(order(model)) == len(model.nodes)
    assert len(reachable(model, ["in"])) >= LARGE
    assert validate(model) == ()
    edits = removal(model, ["work"])
    emptied = apply(model, edits)
    assert set(emptied.nodes) == {"in", "out"}
    assert apply(emptied, inverse(model, edits)) == model


def test_a_circle_of_ten_thousand_nodes_is_told_in_short() -> None:
    model = chain(LARGE)
    round_trip = model.changed(wires={**model.wires, "new": new_wire(f"n{LARGE - 1}", "n0")})
    assert len(cycle(round_trip) or ()) == LARGE
    told = next(one for one in validate(round_trip) if one.code == "structure.cycle")
    assert len(told.message) < 400
    assert len(would_cycle(model, new_wire(f"n{LARGE - 1}", "n0")) or ()) == LARGE


def test_each_gesture_on_a_thousand_nodes_is_checked_at_once() -> None:
    model = chain(1_000)
    times_s: list[float] = []
    for _ in range(5):
        began_s = time.thread_time()
        would_cycle(model, new_wire("n999", "n0"))
        times_s.append(time.thread_time() - began_s)
    assert min(times_s) < 0.03  # 2 ms where it was written


def test_the_same_model_has_the_same_order_however_it_was_made() -> None:
    model = finished()
    backwards = model.changed(nodes=dict(reversed(model.nodes.items())), wires=dict(reversed(model.wires.items())))
    assert order(backwards) == order(model) == ["in", "work", "clean", "out"]
