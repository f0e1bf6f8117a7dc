"""Every schedule the core allows respects the graph, under generated graphs and any order of endings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.model import FunctionModel
from engine.execution.core import Core
from engine.execution.plan import ACTION, SINK, SOURCE
from tests.building import Bench, model, stage, step


@st.composite
def graphs(draw) -> FunctionModel:
    count = draw(st.integers(1, 14))
    stages = draw(st.integers(1, 3))
    containers = [
        stage(f"s{number}", mode=draw(st.sampled_from(["parallel", "sequential"])), parallelism=draw(st.integers(1, 4)))
        for number in range(stages)
    ]
    homes = sorted(draw(st.lists(st.integers(0, stages - 1), min_size=count, max_size=count)))
    actions = [
        step(
            f"n{number}",
            "sum",
            parent=f"s{home}",
            order=number,
            many=True,
            priority=draw(st.integers(1, 10)),
        )
        for number, home in enumerate(homes)
    ]
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    wires = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    depends = [(f"s{number}", f"s{number + 1}") for number in range(stages - 1) if draw(st.booleans())]
    return model(*containers, *actions, wires=[(f"n{a}", "result", f"n{b}", "a") for a, b in wires], depends=depends)


@settings(deadline=None, max_examples=150)
@given(graphs(), st.randoms(use_true_random=False))
def test_every_schedule_respects_the_graph(found, dice) -> None:
    plan = Bench().plan(found)
    core, running, ended, order = Core(plan), list[int](), set[int](), list[int]()
    before = {slot: set[int]() for slot in range(len(plan.kinds))}
    for slot, after in enumerate(plan.successors):
        for target in after:
            before[target].add(slot)
    while not core.finished:
        slot = core.take()
        if slot >= 0:
            waits_for = {earlier for earlier in before[slot] if plan.kinds[earlier] in (ACTION, SOURCE, SINK)}
            assert waits_for <= ended
            home = plan.container[slot]
            here = [other for other in running if plan.container[other] == home]
            assert len(here) < plan.limits[home]
            running.append(slot)
            continue
        assert running, "nothing runs and nothing may start: a deadlock"
        slot = running.pop(dice.randrange(len(running)))
        ended.add(slot)
        order.append(slot)
        core.succeeded(slot)
    assert sorted(order) == [slot for slot, kind in enumerate(plan.kinds) if kind == ACTION]


@settings(deadline=None, max_examples=100)
@given(graphs(), st.randoms(use_true_random=False))
def test_failures_never_deadlock_and_starve_only_what_needs_them(found, dice) -> None:
    plan = Bench().plan(found)
    core, running = Core(plan), list[int]()
    seen = set[int]()
    while not core.finished:
        slot = core.take()
        if slot >= 0:
            assert slot not in seen
            seen.add(slot)
            running.append(slot)
            continue
        assert running
        slot = running.pop()
        dice.choice([core.succeeded, core.failed, lambda s: core.skipped(s, "for the test")])(slot)
    skipped = {slot for slot, _ in core.skips}
    assert len(seen | skipped) == len(plan.kinds) - sum(kind > SINK for kind in plan.kinds) or skipped


@settings(deadline=None, max_examples=50)
@given(graphs())
def test_the_result_of_a_pure_model_does_not_depend_on_parallelism(found) -> None:
    narrow = Bench().go(found, durability="off", capacity=1)
    wide = Bench().go(found, durability="off", capacity=8)
    assert narrow.outcome.status == wide.outcome.status == "succeeded"
    assert narrow.states == wide.states
