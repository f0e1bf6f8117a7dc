"""The smallest models for each fault of the engine that the simulation found, once."""

from __future__ import annotations

import itertools
import time

import pytest

from engine.domain.values import Fallback, Port, RetryPolicy
from tests.building import Bench, Functions, entrance, leave, model, nested, stage, step
from tests.simulation.models import Case, make_case
from tests.simulation.simulate import points, problem
from tests.simulation.stories import Blow, Stage, unended, wrongs

NEVER = {"fails": 99}
TWICE = RetryPolicy(max_attempts=2, backoff="immediate")


def case(*nodes, steps=None, **children) -> Case:
    """Return a case of these nodes; ports n and items are wired to the inputs of that name."""
    return Case(1, _wired("m", nodes), {name: _wired(name, parts) for name, parts in children.items()}, steps=steps)


def _wired(name, nodes):
    wires = [
        ("in", port.name if port.name == "n" else "items", node.id, port.name)
        for node in nodes
        for port in node.inputs
        if port.name in ("n", "b", "items") and port.required
    ]
    last = [node for node in nodes if node.inputs and node.inputs[0].required][-1:]
    wires += [(node.id, node.outputs[0].name, "out", "r") for node in last]
    made = model(entrance("n", "items"), *nodes, leave("r"), wires=wires)
    return made.model_copy(update={"id": name, "name": name})


def act(key, reference="sim.effect", **fields):
    ports = (Port(name="n"), *((Port(name="b"),) if "for_each" in fields else ()))
    return step(key, reference, inputs=ports, **fields)


def on_call(key, reference="sim.undo", **fields):
    return step(key, reference, inputs=(Port(name="n", required=False),), **fields)


def crashed(found: Case, *, twice: bool = False) -> list[str]:
    """Return what is wrong when the case crashes at each of its events, with all that was written kept or lost."""
    theatre = Stage(found)
    whole = theatre.play()
    firsts = [(life, event) for life, count in enumerate(whole.events) for event in range(1, count + 1)]
    said = list[str]()
    for (life, event), share in itertools.product(firsts, (0.0, 1.0)):
        first = Blow(life, event, share)
        more = [(Blow(life + 1, later, 1.0),) for later in range(1, 16)] if twice else []
        for blows in ((first,), *((first, *each) for each in more)):
            try:
                said += wrongs(theatre, whole, theatre.play(blows))
            except AssertionError as error:
                said.append(str(error))
    return said


def test_a_resumed_run_undoes_all_that_was_done():
    found = case(
        stage(on_failure="compensate"),
        act("a", parameters=NEVER, priority=9),
        act("b", compensation="u"),
        on_call("u"),
    )
    assert [text for text in crashed(found) if "undid" in text] == []


@pytest.mark.parametrize("mapped", [False, True])
def test_a_resumed_run_that_failed_ends_the_effects_it_had_begun(mapped):
    parts = (
        [act("a", parameters=NEVER, for_each="b", retry=TWICE)]
        if mapped
        else [act("a", parameters=NEVER), act("b", retry=TWICE, parameters={"fails": 1})]
    )
    assert [text for text in crashed(case(stage(), *parts)) if "neither" in text] == []


def test_an_answer_is_recorded_once_and_never_taken_for_the_next():
    found = case(stage(), act("a", "sim.inline", retry=TWICE, parameters={"asks": 2, "fails": 1}))
    assert crashed(found, twice=True) == []


def test_a_step_is_not_timed_out_while_it_waits():
    settings = {"asks": 1, "within_s": 30, "default": "b"}
    whole = Stage(case(stage(), act("a", "sim.thread", timeout_s=4, retry=TWICE, parameters=settings))).play()
    assert whole.outcome.status == "succeeded"
    assert len(whole.steps["a"].attempts) == 1


def test_a_resumed_run_asks_nobody_about_the_whole_of_a_mapped_step():
    found = case(stage(on_failure="wait"), act("a", "sim.inline", for_each="b", parameters=NEVER))
    assert crashed(found) == []


def test_a_resumed_run_gives_the_whole_of_a_mapped_step_no_fallback():
    found = case(stage(), act("a", "sim.inline", for_each="b", parameters=NEVER, fallback=Fallback(use="cached")))
    assert crashed(found) == []


@pytest.mark.parametrize("first", ["nested", "failed", "skipped"])
def test_stepping_gets_past_every_step(first):
    firsts = {
        "nested": nested("a", "m1", inputs=(Port(name="n"), Port(name="items"))),
        "failed": act("a", parameters=NEVER),
        "skipped": act("a", condition={"$cel": "n > 3"}),
    }
    found = case(
        stage(mode="sequential", on_failure="skip"),
        firsts[first],
        act("z", order=1),
        steps=1,
        m1=(stage(), act("x"), act("y")),
    )
    assert problem(found, ()) == ""


def test_a_step_that_a_person_gave_up_is_told_as_failed():
    whole = Stage(case(stage(on_failure="wait"), act("a", parameters=NEVER))).play()
    assert any("?failed-" in path for path in whole.store.decisions)
    assert whole.steps["a"].status in ("failed", "skipped")


def test_a_fallback_of_two_steps_has_a_key_for_each():
    shared = Fallback(use="action", action="f")
    parts = [act(key, "sim.inline", parameters=NEVER, fallback=shared) for key in ("a", "b")]
    whole = Stage(case(stage(), *parts, on_call("f", "sim.effect"))).play()
    assert sorted(whole.store.effects.values()) == [1, 1]


def test_a_step_that_never_succeeded_is_not_undone():
    lost = act("a", parameters=NEVER, compensation="u", fallback=Fallback(use="constant", constant=1))
    found = case(
        stage(mode="sequential", on_failure="compensate"), lost, act("b", order=1, parameters=NEVER), on_call("u")
    )
    assert Stage(found).play().store.undone == []


def test_a_compensation_gets_its_settings_as_settings():
    found, seen = Functions(), list[tuple[object, object]]()
    found.add("undo", lambda inputs, settings: seen.append((inputs, settings)), effect=True)
    settings = {"mode": "sequential", "on_failure": "compensate"}
    done = step("a", "effect", parameters={"a": 1}, compensation="u")
    undo = step("u", "undo", parameters={"method": "DELETE"})
    Bench(found).go(model(stage(**settings), done, step("b", "boom", inputs=(), order=1), undo))
    assert seen[0][1] == {"method": "DELETE"}


def test_a_compensation_may_ask():
    asks = on_call("u", parameters={"asks": 1})
    parts = [act("a", compensation="u"), act("b", order=1, parameters=NEVER)]
    whole = Stage(case(stage(mode="sequential", on_failure="compensate"), *parts, asks)).play()
    assert len(whole.store.undone) == 1


def test_a_compensation_may_be_a_nested_model():
    parts = [act("a", compensation="u"), act("b", order=1, parameters=NEVER)]
    undo = nested("u", "m1", inputs=(Port(name="n", required=False),))
    child = _wired("m1", (stage(), step("v", "sim.undo", inputs=())))
    child = child.model_copy(update={"nodes": {key: node for key, node in child.nodes.items() if key != "in"}})
    made = case(stage(mode="sequential", on_failure="compensate"), *parts, undo)
    whole = Stage(Case(1, made.model, {"m1": child})).play()
    assert len(whole.store.undone) == 1


def test_a_resumed_run_undoes_in_the_same_order():
    stood_in = act("a", "sim.effect", parameters=NEVER, compensation="u", fallback=Fallback(use="action", action="f"))
    parts = [stood_in, act("b", order=1, compensation="u"), act("c", order=2, parameters=NEVER)]
    made = case(stage(mode="sequential", on_failure="compensate"), *parts, on_call("f", "sim.effect"), on_call("u"))
    found = Case(1, made.model, {}, serial=True)
    assert [text for text in crashed(found) if "it undid" in text] == []


def test_a_run_that_failed_waits_for_nobody():
    bench = Bench(Functions())
    bench.functions._put(
        "ask", lambda _i, _s, context: {"result": context.ask("Go on?", ["yes"])}, "inline", effect=False
    )
    found = model(stage(), step("a", "ask", inputs=()), step("b", "boom", inputs=()))
    assert bench.go(found).outcome.status == "failed"


def test_a_timer_that_is_over_keeps_no_run_awake():
    bench = Bench(Functions())
    bench.functions._put(
        "ask", lambda _i, _s, context: {"result": context.ask("Go on?", ["yes"])}, "inline", effect=False
    )
    found = model(
        stage(mode="sequential"),
        step("a", "double", timeout_s=3, parameters={"a": 1}),
        step("b", "ask", inputs=(), order=1),
    )
    began = time.monotonic()
    assert bench.go(found).outcome.status == "waiting"
    assert time.monotonic() - began < 2


def test_a_resumed_run_that_failed_ends_the_effects_of_nested_models():
    theatre = Stage(make_case(20))
    whole = theatre.play()
    assert [text for blows in points(theatre.case, whole) for text in unended(theatre.play(blows))] == []
