"""What a run does: order, failures, retries, fallbacks, items, nested models, time, cancellation."""

from __future__ import annotations

import threading
import time

import pytest

from engine.domain.model import Dependency
from engine.domain.nodes import AgentTask, Boundary, Knowledge, Rule
from engine.domain.values import Fallback, Port, RetryPolicy
from engine.errors import ModelInvalid, ProviderMissing, TetherUnknown
from engine.storage.memory_journal import MemoryJournal
from tests.building import Bench, Functions, Nested, entrance, leave, model, nested, stage, step

SOON = RetryPolicy(max_attempts=3, backoff="immediate")


@pytest.fixture(params=["off", "pipelined", "strict"])
def options(request):
    journal = None if request.param == "off" else MemoryJournal()
    return {"durability": request.param, "journal": journal}


def one(action, **fields):
    return model(
        entrance("a"), stage(**fields), action, leave("r"), wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")]
    )


def test_values_flow_along_wires(options) -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "add", parameters={"by": 10}),
        step("y", "double", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("y", "result", "out", "r")],
    )
    ran = Bench().go(found, {"a": 1}, **options)
    assert ran.outcome.outputs == {"r": 22}
    assert ran.states == {"x": "succeeded", "y": "succeeded"}


def test_a_port_that_takes_many_gets_a_list_and_an_empty_one_when_nothing_is_wired() -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "sum", many=True),
        step("e", "sum", many=True, order=1),
        leave("r", "e"),
        wires=[
            ("in", "a", "x", "a"),
            ("in", "a", "x", "a"),
            ("x", "result", "out", "r"),
            ("e", "result", "out", "e"),
        ],
    )
    assert Bench().go(found, {"a": 3}).outcome.outputs == {"r": 6, "e": 0}


def test_an_unwired_port_takes_its_parameter_and_expressions_see_inputs_and_the_run(options) -> None:
    action = step("x", "add", inputs=(Port(name="a"), Port(name="b", required=False)))
    action = action.model_copy(update={"parameters": {"by": {"$cel": "a * 2 + size(run.model)"}}})
    assert Bench().go(one(action), {"a": 5}, **options).outcome.outputs == {"r": 5 + 10 + len("Test model")}


def test_a_parameter_whose_expression_fails_fails_the_step_with_the_expression() -> None:
    ran = Bench().go(one(step("x", "add", parameters={"by": {"$cel": "a.missing"}})), {"a": {"b": 1}})
    assert ran.outcome.status == "failed"
    assert "a.missing" in (ran.outcome.error or "")


def test_a_failing_step_fails_the_run_with_a_sentence(options) -> None:
    ran = Bench().go(one(step("x", "boom")), {"a": 1}, **options)
    assert ran.outcome.error == "'x' failed: ZeroDivisionError: division by zero"
    assert ran.states == {"x": "failed"}


def test_a_failure_is_retried_by_policy_and_each_attempt_is_kept(options) -> None:
    ran = Bench().go(one(step("x", "flaky", retry=SOON)), {"a": 1}, **options)
    assert ran.outcome.outputs == {"r": 1}
    assert [attempt.status for attempt in ran.steps["x"].attempts] == ["failed", "failed", "succeeded"]
    assert ran.steps["x"].attempts[0].error == "ConnectionError: not yet"


def test_backoff_waits_between_attempts() -> None:
    policy = RetryPolicy(max_attempts=3, backoff="linear", base_delay_s=0.02, jitter=0)
    began = time.monotonic()
    assert Bench().go(one(step("x", "flaky", retry=policy)), {"a": 1}).outcome.status == "succeeded"
    assert time.monotonic() - began >= 0.06


def test_attempts_run_out(options) -> None:
    ran = Bench().go(one(step("x", "boom", retry=SOON)), {"a": 1}, **options)
    assert ran.outcome.error == "'x' failed after 3 attempts: ZeroDivisionError: division by zero"
    assert len(ran.steps["x"].attempts) == 3


def test_what_does_not_help_is_not_repeated() -> None:
    ran = Bench().go(one(step("x", "strange", retry=SOON)), {"a": 1}, journal=MemoryJournal())
    assert len(ran.steps["x"].attempts) == 1
    assert "can't be kept" in (ran.outcome.error or "")


def test_a_missing_output_is_named() -> None:
    assert "nothing for its port 'result'" in (Bench().go(one(step("x", "nothing")), {"a": 1}).outcome.error or "")


def test_an_action_stands_in_for_a_failed_one(options) -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "boom", fallback=Fallback(use="action", action="z")),
        step("z", "add", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")],
    )
    ran = Bench().go(found, {"a": 4}, **options)
    assert ran.outcome.outputs == {"r": 5}
    assert ran.states == {"x": "failed", "z": "succeeded"}


def test_a_fallback_that_is_not_needed_never_runs() -> None:
    functions = Functions()
    found = model(
        entrance("a"),
        stage(),
        step("x", "double", fallback=Fallback(use="action", action="z")),
        step("z", "add", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")],
    )
    assert Bench(functions).go(found, {"a": 4}).outcome.outputs == {"r": 8}
    assert "add" not in functions.calls


@pytest.mark.parametrize(("constant", "expected"), [(7, 7), ({"result": 8}, 8), ({"other": 1}, {"other": 1})])
def test_a_constant_stands_in(constant, expected, options) -> None:
    action = step("x", "boom", fallback=Fallback(use="constant", constant=constant))
    assert Bench().go(one(action), {"a": 1}, **options).outcome.outputs == {"r": expected}


def test_the_last_good_result_stands_in_if_there_is_one() -> None:
    action = step("x", "boom", fallback=Fallback(use="cached"))
    good = Bench().go(one(action), {"a": 1}, last_good=lambda path: {"result": f"old {path}"})
    assert good.outcome.outputs == {"r": "old x"}
    bad = Bench().go(one(action), {"a": 1})
    assert "no earlier good result" in (bad.outcome.error or "")


def test_a_fallback_that_fails_fails_the_step() -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "boom", fallback=Fallback(use="action", action="z")),
        step("z", "boom", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")],
    )
    ran = Bench().go(found, {"a": 4})
    assert ran.outcome.status == "failed"
    assert ran.states == {"x": "failed", "z": "failed"}


def test_a_stage_that_skips_failures_goes_on_without_what_needed_them(options) -> None:
    found = model(
        entrance("a"),
        stage(on_failure="skip"),
        step("x", "boom"),
        step("y", "double", order=1),
        step("z", "add", order=2),
        leave("r"),
        wires=[
            ("in", "a", "x", "a"),
            ("x", "result", "y", "a"),
            ("in", "a", "z", "a"),
            ("z", "result", "out", "r"),
        ],
    )
    ran = Bench().go(found, {"a": 1}, **options)
    assert ran.outcome.outputs == {"r": 2}
    assert ran.states == {"x": "failed", "y": "skipped", "z": "succeeded"}
    assert ran.steps["y"].reason == "'x', which feeds 'a', failed"


def test_a_sequential_stage_keeps_its_order() -> None:
    functions, seen = Functions(), list[str]()
    for key in "xyz":
        functions.add(key, lambda _i, _s, key=key: seen.append(key))
    actions = [step(key, key, order=9 - place, inputs=()) for place, key in enumerate("xyz")]
    Bench(functions).go(model(stage(mode="sequential"), *actions))
    assert seen == ["z", "y", "x"]


def test_a_parallel_stage_runs_at_once_up_to_its_limit_and_by_priority() -> None:
    functions, lock = Functions(), threading.Lock()
    now, most, order = [0], [0], list[str]()

    def work(_inputs, settings) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            order.append(settings["name"])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    functions.add("work", work)
    actions = [
        step(f"n{number}", "work", inputs=(), priority=number, parameters={"name": number}, order=number)
        for number in range(1, 9)
    ]
    Bench(functions).go(model(stage(parallelism=2), *actions))
    assert most[0] == 2
    assert set(order[:2]) == {8, 7}
    assert set(order[-2:]) == {1, 2}


def gateway(match: str = "first"):
    keys = {"x": "a > 10", "y": "a > 3", "z": "a > 1"}
    actions = [step(key, "add", order=place, condition={"$cel": cel}) for place, (key, cel) in enumerate(keys.items())]
    return model(
        entrance("a"),
        stage("s", mode="conditional", match=match, stage="gateway"),
        *actions,
        leave("r"),
        wires=[("in", "a", key, "a") for key in keys] + [("y", "result", "out", "r")],
    )


def test_a_gateway_takes_the_first_branch_whose_condition_holds(options) -> None:
    ran = Bench().go(gateway(), {"a": 5}, **options)
    assert ran.states == {"x": "skipped", "y": "succeeded", "z": "skipped"}
    assert ran.steps["x"].reason == "its condition a > 10 does not hold"
    assert ran.steps["z"].reason == "another branch was chosen"


def test_a_gateway_takes_every_branch_whose_condition_holds() -> None:
    assert Bench().go(gateway("every"), {"a": 5}).states == {"x": "skipped", "y": "succeeded", "z": "succeeded"}


def test_a_gateway_without_a_fitting_branch_goes_on() -> None:
    assert set(Bench().go(gateway(), {"a": 0}).states.values()) == {"skipped"}


def test_a_condition_that_can_not_be_evaluated_fails_the_step() -> None:
    ran = Bench().go(gateway(), {"a": "text"})
    assert ran.outcome.status == "failed"
    assert "a > 10" in (ran.outcome.error or "")


def test_a_stage_waits_for_the_one_it_depends_on() -> None:
    functions, seen = Functions(), list[str]()
    functions.add("first", lambda _i, _s: (time.sleep(0.02), seen.append("first"))[1])
    functions.add("second", lambda _i, _s: seen.append("second"))
    found = model(
        stage("one"),
        stage("two"),
        step("y", "second", parent="two", inputs=()),
        step("x", "first", parent="one", inputs=()),
        depends=[("one", "two")],
    )
    Bench(functions).go(found)
    assert seen == ["first", "second"]


@pytest.mark.parametrize(("necessity", "state"), [("required", "skipped"), ("optional", "succeeded")])
def test_a_required_dependency_needs_success(necessity, state) -> None:
    found = model(
        stage("one", on_failure="skip"),
        stage("two"),
        step("x", "boom", parent="one", inputs=()),
        step("y", "sum", parent="two", many=True),
        depends=[Dependency(id="d0", source="one", target="two", necessity=necessity)],
    )
    assert Bench().go(found).states == {"x": "failed", "y": state}


@pytest.mark.parametrize(("value", "state"), [(1, "skipped"), (20, "succeeded")])
def test_a_conditional_dependency_looks_at_what_the_stage_gave(value, state) -> None:
    found = model(
        entrance("a"),
        stage("one"),
        stage("two"),
        step("x", "add", parent="one"),
        step("y", "sum", parent="two", many=True),
        wires=[("in", "a", "x", "a")],
        depends=[
            Dependency(
                id="d0", source="one", target="two", necessity="conditional", condition={"$cel": "steps.x.result > 10"}
            )
        ],
    )
    ran = Bench().go(found, {"a": value})
    assert ran.states == {"x": "succeeded", "y": state}


def test_a_conditional_dependency_that_can_not_be_evaluated_fails_the_run() -> None:
    found = model(
        stage("one"),
        stage("two"),
        step("x", "sum", parent="one", many=True),
        step("y", "sum", parent="two", many=True),
        depends=[
            Dependency(id="d0", source="one", target="two", necessity="conditional", condition={"$cel": "steps.q.r"})
        ],
    )
    assert "steps.q.r" in (Bench().go(found).outcome.error or "")


def test_items_are_worked_through_with_their_own_attempts(options) -> None:
    ran = Bench().go(one(step("x", "flaky", for_each="a", retry=SOON), parallelism=2), {"a": [1, 2, 3]}, **options)
    assert ran.outcome.outputs == {"r": [1, 2, 3]}
    assert len(ran.steps["x[1]"].attempts) == 3
    assert ran.steps["x[1]"].name == "x · 2"


def test_no_items_give_empty_lists() -> None:
    assert Bench().go(one(step("x", "double", for_each="a")), {"a": []}).outcome.outputs == {"r": []}


def test_items_need_a_list() -> None:
    assert "got no list" in (Bench().go(one(step("x", "double", for_each="a")), {"a": 5}).outcome.error or "")


def test_a_failed_item_fails_the_step_and_names_itself() -> None:
    functions = Functions()
    functions.add("odd", lambda inputs, _: 1 // (inputs["a"] % 2))
    ran = Bench(functions).go(one(step("x", "odd", for_each="a"), parallelism=1), {"a": [1, 2, 3]})
    assert "item 2" in (ran.outcome.error or "")
    assert "x[2]" not in ran.steps


def test_a_stage_that_skips_failures_leaves_failed_items_empty() -> None:
    functions = Functions()
    functions.add("odd", lambda inputs, _: 1 // (inputs["a"] % 2))
    ran = Bench(functions).go(one(step("x", "odd", for_each="a"), on_failure="skip"), {"a": [1, 2, 3]})
    assert ran.outcome.outputs == {"r": [1, None, 1]}


def test_a_fallback_serves_the_item_that_failed() -> None:
    functions = Functions()
    functions.add("odd", lambda inputs, _: 1 // (inputs["a"] % 2))
    action = step("x", "odd", for_each="a", fallback=Fallback(use="constant", constant=-1))
    assert Bench(functions).go(one(action), {"a": [1, 2, 3]}).outcome.outputs == {"r": [1, -1, 1]}


def test_items_of_a_fallback_action_have_their_own_paths() -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "boom", for_each="a", fallback=Fallback(use="action", action="z")),
        step("z", "add", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")],
    )
    ran = Bench().go(found, {"a": [1, 2]})
    assert ran.outcome.outputs == {"r": [2, 3]}
    assert {"z[0]", "z[1]"} <= set(ran.steps)


CHILD = model(
    entrance("a"),
    stage(),
    step("p", "add"),
    step("q", "flaky", order=1, retry=SOON),
    leave("r"),
    wires=[("in", "a", "p", "a"), ("p", "result", "q", "a"), ("q", "result", "out", "r")],
    name="Child",
)
BAD_CHILD = model(
    entrance("a"), stage(), step("p", "boom"), leave("r"), wires=[("in", "a", "p", "a"), ("p", "result", "out", "r")]
)


def around(action, **fields):
    return model(
        entrance("a"), stage(**fields), action, leave("r"), wires=[("in", "a", "n", "a"), ("n", "r", "out", "r")]
    )


def test_a_nested_model_runs_inside_with_its_own_steps(options) -> None:
    ran = Bench(models=Nested(child=CHILD)).go(around(nested("n", "child")), {"a": 1}, **options)
    assert ran.outcome.outputs == {"r": 2}
    assert ran.states == {"n/p": "succeeded", "n/q": "succeeded", "n": "succeeded"}


def test_a_nested_model_is_called_once_per_item(options) -> None:
    found = around(nested("n", "child", for_each="a"), parallelism=2)
    ran = Bench(models=Nested(child=CHILD)).go(found, {"a": [1, 2, 3]}, **options)
    assert ran.outcome.outputs == {"r": [2, 3, 4]}
    assert ran.steps["n[2]/p"].name == "p"


def test_models_nest_in_nested_models() -> None:
    middle = model(
        entrance("a"),
        stage(),
        nested("n", "child"),
        leave("r"),
        wires=[("in", "a", "n", "a"), ("n", "r", "out", "r")],
    )
    ran = Bench(models=Nested(child=CHILD, middle=middle)).go(around(nested("n", "middle")), {"a": 1})
    assert ran.outcome.outputs == {"r": 2}
    assert "n/n/p" in ran.steps


def test_a_failure_inside_fails_the_nested_step_and_is_retried_as_a_whole() -> None:
    found = around(nested("n", "bad", retry=RetryPolicy(max_attempts=2, backoff="immediate")))
    ran = Bench(models=Nested(bad=BAD_CHILD)).go(found, {"a": 1})
    assert "'n' failed after 2 attempts: In Test model: 'p' failed" in (ran.outcome.error or "")
    assert {"n/p", "n#2/p"} <= set(ran.steps)


def test_a_failure_inside_can_be_kept_inside() -> None:
    ports = (Port(name="r"), Port(name="error", required=False))
    found = around(nested("n", "bad", error_propagation=False, outputs=ports))
    assert Bench(models=Nested(bad=BAD_CHILD)).go(found, {"a": 1}).outcome.outputs == {"r": None}


def test_context_is_mapped_in_and_outputs_are_extracted() -> None:
    action = nested(
        "n", "child", context_mapping={"a": {"$cel": "a * 10"}}, output_extraction={"r": {"$cel": "outputs.r + 1"}}
    )
    assert Bench(models=Nested(child=CHILD)).go(around(action), {"a": 1}).outcome.outputs == {"r": 12}


def test_a_nested_model_refuses_missing_inputs() -> None:
    action = nested("n", "child", inputs=(Port(name="b"),))
    found = model(entrance("a"), stage(), action, leave("r"), wires=[("in", "a", "n", "b"), ("n", "r", "out", "r")])
    assert "contract" in (Bench(models=Nested(child=CHILD)).go(found, {"a": 1}).outcome.error or "")


def test_a_nested_model_that_is_not_there_can_not_be_compiled() -> None:
    with pytest.raises(ModelInvalid, match="not there"):
        Bench().plan(around(nested("n", "child")))


def test_nesting_deeper_than_allowed_can_not_be_compiled() -> None:
    own = model(
        entrance("a"),
        stage(),
        nested("n", "own", max_depth=3),
        leave("r"),
        wires=[("in", "a", "n", "a"), ("n", "r", "out", "r")],
    )
    with pytest.raises(ModelInvalid, match="deeper than 3"):
        Bench(models=Nested(own=own)).plan(own)


def test_a_step_that_takes_too_long_is_given_up() -> None:
    policy = RetryPolicy(max_attempts=2, backoff="immediate")
    began = time.monotonic()
    ran = Bench().go(one(step("x", "sleep", parameters={"seconds": 5}, timeout_s=0.05, retry=policy)), {"a": 1})
    assert "did not end within 0.05 s" in (ran.outcome.error or "")
    assert time.monotonic() - began < 2


def test_a_nested_model_that_takes_too_long_is_given_up() -> None:
    slow = model(
        entrance("a"),
        stage(),
        step("p", "sleep", parameters={"seconds": 0.3}),
        leave("r"),
        wires=[("in", "a", "p", "a"), ("p", "result", "out", "r")],
    )
    ran = Bench(models=Nested(slow=slow)).go(around(nested("n", "slow", timeout_s=0.05)), {"a": 1})
    assert "did not end within" in (ran.outcome.error or "")


def test_coroutines_are_awaited_and_their_errors_are_the_steps() -> None:
    assert Bench().go(one(step("x", "awaited")), {"a": 3}).outcome.outputs == {"r": 3}
    assert "the line is dead" in (Bench().go(one(step("x", "fails_to_await")), {"a": 3}).outcome.error or "")
    slow = step("x", "awaited", parameters={"seconds": 9}, timeout_s=0.05)
    assert "did not end within" in (Bench().go(one(slow), {"a": 3}).outcome.error or "")


@pytest.mark.parametrize("polite", [True, False])
def test_cancelling_stops_soon_and_skips_the_rest(polite, monkeypatch) -> None:
    monkeypatch.setattr("engine.execution.local._CANCEL_GRACE_S", 0.1)
    found = model(
        entrance("a"),
        stage(mode="sequential"),
        step("x", "sleep", parameters={"seconds": 3, "polite": polite}),
        step("y", "add", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("y", "result", "out", "r")],
    )
    bench = Bench()
    local = bench.local(bench.plan(found), {"a": 1})
    threading.Timer(0.05, local.cancel).start()
    began = time.monotonic()
    assert local.go().status == "cancelled"
    assert time.monotonic() - began < 1.5


def test_cancelling_does_not_wait_for_the_next_attempt() -> None:
    policy = RetryPolicy(max_attempts=5, base_delay_s=60, jitter=0)
    bench = Bench()
    local = bench.local(bench.plan(one(step("x", "boom", retry=policy))), {"a": 1})
    threading.Timer(0.05, local.cancel).start()
    began = time.monotonic()
    assert local.go().status == "cancelled"
    assert time.monotonic() - began < 2


def test_suspending_leaves_the_run_paused() -> None:
    bench = Bench()
    action = step("x", "sleep", parameters={"seconds": 3, "polite": True})
    local = bench.local(bench.plan(one(action)), {"a": 1})
    threading.Timer(0.05, local.suspend).start()
    assert local.go().status == "paused"


def test_a_failure_elsewhere_does_not_wait_for_retries() -> None:
    policy = RetryPolicy(max_attempts=5, base_delay_s=60, jitter=0)
    found = model(
        entrance("a"),
        stage(),
        step("x", "boom", retry=policy),
        step("y", "sleep", order=1),
        step("z", "boom", order=2),
        wires=[("in", "a", "x", "a"), ("in", "a", "y", "a"), ("y", "result", "z", "a")],
    )
    began = time.monotonic()
    assert Bench().go(found, {"a": 1}).outcome.status == "failed"
    assert time.monotonic() - began < 5


def test_running_to_a_node_leaves_out_what_it_does_not_need() -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "add"),
        step("y", "double", order=1),
        step("z", "boom", order=2),
        leave("r"),
        wires=[
            ("in", "a", "x", "a"),
            ("x", "result", "y", "a"),
            ("y", "result", "z", "a"),
            ("z", "result", "out", "r"),
        ],
    )
    ran = Bench().go(found, {"a": 1}, until="y")
    assert ran.outcome.status == "succeeded"
    assert ran.states == {"x": "succeeded", "y": "succeeded", "z": "skipped"}


def test_rules_of_boundaries_are_kept() -> None:
    rule = Rule(expression={"$cel": "a > 0"}, message="a must be positive")
    found = model(entrance("a", rules=(rule,)), stage(), step("x", "add"), wires=[("in", "a", "x", "a")])
    assert Bench().go(found, {"a": 1}).outcome.status == "succeeded"
    assert Bench().go(found, {"a": -1}).outcome.error == "'In': a must be positive"
    assert "'In':" in (Bench().go(found, {"a": "text"}).outcome.error or "")


def test_knowledge_gives_its_content() -> None:
    note = Knowledge(id="k", name="K", parent="s", reference="doc", documentation="# Hi", outputs=(Port(name="c"),))
    found = model(stage(), note, leave("r"), wires=[("k", "c", "out", "r")])
    assert Bench().go(found).outcome.outputs == {"r": "# Hi"}


def test_an_agent_without_a_provider_is_refused_before_anything_starts() -> None:
    found = model(stage(), AgentTask(id="g", name="Ask", parent="s", agent="a1"))
    with pytest.raises(ProviderMissing, match="no provider"):
        Bench().plan(found)


def test_what_can_not_run_is_refused_when_compiled() -> None:
    with pytest.raises(TetherUnknown, match="unheard"):
        Bench().plan(model(stage(), step("x", "unheard")))
    loop = [("x", "result", "y", "a"), ("y", "result", "x", "a")]
    with pytest.raises(ModelInvalid, match="cycle"):
        Bench().plan(model(stage(), step("x", "add"), step("y", "add", order=1), wires=loop))
    with pytest.raises(ModelInvalid, match="no stage"):
        Bench().plan(model(entrance("a"), step("x", "add", parent="in")))


def test_inactive_actions_are_left_out() -> None:
    found = model(
        entrance("a"),
        stage(),
        step("x", "boom", status="inactive"),
        step("y", "add", order=1),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("in", "a", "y", "a"), ("y", "result", "out", "r")],
    )
    assert Bench().go(found, {"a": 1}).outcome.outputs == {"r": 2}


def test_outputs_can_be_mapped_by_expressions() -> None:
    action = step("x", "add", output_mapping={"result": {"$cel": "result * 100 + a"}})
    assert Bench().go(one(action), {"a": 1}).outcome.outputs == {"r": 201}


def test_watchers_see_the_course_of_the_run() -> None:
    functions = Functions()
    ran = Bench(functions).go(one(step("x", "talk", for_each="a")), {"a": [1, 2]}, watched=True)
    states = [(event.path, event.state) for event in ran.events]
    assert ("in", "succeeded") in states
    assert ("x[0]", "running") in states
    assert ("x", "progress") in states
    assert states[-1] == ("out", "succeeded")
    assert ran.steps["x[0]"].logs == ("line 0", "line 1")


def test_a_flood_of_log_lines_is_cut_with_a_note() -> None:
    ran = Bench().go(one(step("x", "talk", parameters={"lines": 20_000})), {"a": 1})
    assert ran.steps["x"].logs[-1].startswith("… the rest of the log")
    assert sum(map(len, ran.steps["x"].logs)) < 70_000


def test_a_wide_fan_and_a_long_chain() -> None:
    count = 2_000
    fan = [step(f"n{number}", "add", order=number) for number in range(count)]
    wide = model(
        entrance("a"),
        stage(parallelism=100),
        *fan,
        step("sum", "sum", order=count, many=True),
        leave("r"),
        wires=[("in", "a", action.id, "a") for action in fan]
        + [(action.id, "result", "sum", "a") for action in fan]
        + [("sum", "result", "out", "r")],
    )
    assert Bench().go(wide, {"a": 0}).outcome.outputs == {"r": count}
    links = [(f"n{number}", "result", f"n{number + 1}", "a") for number in range(count - 1)]
    long = model(
        entrance("a"),
        stage(),
        *fan,
        leave("r"),
        wires=[("in", "a", "n0", "a"), *links, (f"n{count - 1}", "result", "out", "r")],
    )
    assert Bench().go(long, {"a": 0}).outcome.outputs == {"r": count}


def test_endpoints_headers_and_secrets_reach_the_call(monkeypatch) -> None:
    monkeypatch.setenv("TREADLE_SECRET_SHOP_KEY", "s3cret")
    fields = {
        "binding": "http",
        "inputs": (Port(name="url"),),
        "endpoint": "https://shop.example/orders",
        "headers": {"X-Team": "a"},
    }
    found = model(
        stage(), step("x", "web", authentication="shop-key", **fields), leave("r"), wires=[("x", "result", "out", "r")]
    )
    assert Bench().go(found).outcome.outputs["r"] == {
        "url": "https://shop.example/orders",
        "headers": {"X-Team": "a", "Authorization": "Bearer s3cret"},
    }
    missing = model(stage(), step("x", "web", authentication="nobody", **fields))
    assert "there is no secret 'nobody'" in (Bench().go(missing).outcome.error or "")


def test_a_boundary_can_take_and_give() -> None:
    both = Boundary(
        id="both",
        name="Both",
        boundary="input-output",
        input_contract={"type": "object", "properties": {"a": {}}, "required": ["a"]},
        output_contract={"type": "object", "properties": {"r": {}}},
    )
    found = model(both, stage(), step("x", "add"), wires=[("both", "a", "x", "a"), ("x", "result", "both", "r")])
    assert Bench().go(found, {"a": 1}).outcome.outputs == {"r": 2}
