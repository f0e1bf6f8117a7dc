"""Laws of the core and the driver: order, limits, the same result on any number of workers, no starving, no leak."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.execution.core import READY, Core
from engine.execution.plan import ACTION
from engine.storage.memory_journal import MemoryJournal
from tests.building import Bench, entrance, leave, model, stage, step
from tests.simulation.models import ALL, make_case
from tests.simulation.stories import Stage
from tests.unit.test_execution_core import graphs

PURE = replace(ALL, pure=True)


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_no_step_begins_before_what_feeds_it_is_done(seed):
    for number in range(seed, seed + 20):
        theatre = Stage(make_case(number))
        plan, records = theatre.plan, theatre.play().store.records
        done = {record.path: place for place, record in reversed(list(enumerate(records))) if record.kind == "done"}
        begun = {record.path: place for place, record in reversed(list(enumerate(records))) if record.kind == "intent"}
        for name, slot in plan.slots.items():
            for argument in plan.arguments[slot]:
                for source, _ in argument.sources:
                    before = done.get(plan.nodes[source].id, -1)
                    assert name not in begun or before < begun[name], f"seed {number}: {name} was early"


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_no_stage_has_more_effects_under_way_than_it_allows(seed):
    for number in range(seed, seed + 20):
        theatre = Stage(replace(make_case(number), breakpoints=(), steps=None))
        plan, under_way = theatre.plan, set[str]()
        for record in theatre.play().store.records:
            if record.path not in plan.slots:
                continue
            if record.kind == "intent":
                under_way.add(record.path)
            elif record.kind in ("done", "failed", "waiting"):
                under_way.discard(record.path)
            for home, limit in enumerate(plan.limits):
                here = [name for name in under_way if plan.container[plan.slots[name]] == home]
                assert len(here) <= limit, f"seed {number}: {here}"


@pytest.mark.parametrize("workers", range(1, 9))
def test_a_pure_model_gives_the_same_on_any_number_of_workers(workers):
    for seed in range(40):
        case = make_case(seed, PURE)
        alone = Stage(replace(case, capacity=1)).play()
        many = Stage(replace(case, capacity=workers, seed=seed + 1_000 * workers)).play()
        assert many.outcome == alone.outcome
        assert alone.outcome.status == "failed" or many.states == alone.states


@settings(deadline=None, max_examples=150)
@given(graphs(), st.randoms(use_true_random=False))
def test_no_ready_step_is_passed_over_by_a_lower_one_of_its_stage(found, dice):
    """The bound: who is ready waits at most for each slot of a lower rank in its own stage, once.

    The core takes the lowest rank that has a place; ranks don't change and every slot runs once, so there is no
    starving although nothing ages. Other stages never make it wait.
    """
    plan = Bench().plan(found)
    core, running, passed = Core(plan), list[int](), dict[int, int]()
    while not core.finished:
        ready = {slot for slot, state in enumerate(core.state) if state == READY and plan.kinds[slot] == ACTION}
        slot = core.take()
        if slot < 0:
            core.succeeded(running.pop(dice.randrange(len(running))))
            continue
        running.append(slot)
        for other in ready - {slot}:
            if plan.container[other] == plan.container[slot]:
                passed[other] = passed.get(other, 0) + 1
                assert plan.rank[slot] < plan.rank[other]
    for slot, count in passed.items():
        mates = [other for other, home in enumerate(plan.container) if home == plan.container[slot]]
        assert count <= sum(plan.rank[other] < plan.rank[slot] for other in mates)


def test_ten_thousand_runs_leave_no_memory_and_no_threads():
    before = set(threading.enumerate())
    bench = Bench()
    found = model(
        entrance("a"),
        stage(),
        step("x", "add"),
        step("y", "effect"),
        step("z", "boom"),
        stage("t", on_failure="skip"),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("in", "a", "z", "a"), ("y", "result", "out", "r")],
    )
    found = found.model_copy(
        update={"nodes": {**found.nodes, "z": found.nodes["z"].model_copy(update={"parent": "t"})}}
    )
    plan = bench.plan(found)

    def run(times: int) -> tuple[int, int]:
        for number in range(times):
            outcome = bench.local(plan, {"a": number}, journal=MemoryJournal()).go()
            assert outcome.outputs == {"r": number + 1}
        gc.collect()
        return len(gc.get_objects()), psutil.Process().memory_info().rss

    gc.freeze()  # what other tests left is not looked through each time
    run(300)
    objects, size_bytes = run(700)
    more_objects, more_bytes = run(9_000)
    assert more_objects - objects < 2_000  # a leak would be one a run at least
    assert more_bytes - size_bytes < 10 * 2**20
    gc.unfreeze()
    bench.workers.close()
    made = [thread for thread in threading.enumerate() if thread not in before]
    for thread in made:
        thread.join(5)
    assert not any(thread.is_alive() for thread in made)
