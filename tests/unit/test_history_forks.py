"""Forks: a new run goes on from any event of an earlier one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.values import Fallback
from tests.building import entrance, leave, model, stage
from tests.histories import CALLS, WORLD, asking, at_desk, pure, run_rich, step
from tests.unit.test_execution_core import graphs

both = pytest.mark.parametrize("here", ["memory:", "duckdb"], indirect=True)


@pytest.fixture
def here(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    CALLS.clear()
    WORLD.clear()
    url = tmp_path / "store.duckdb" if getattr(request, "param", "") == "duckdb" else "memory:"
    with at_desk(url) as found:
        yield found


def outputs(here, run):
    return {name: here.engine.runs.value(each) for name, each in here.engine.runs.get(run).outputs.items()}


def event(here, run, path, kind="done"):
    return next(each.number for each in here.history.moments(run) if (each.path, each.kind) == (path, kind))


@both
def test_a_fork_takes_over_what_was_done_and_runs_the_rest(here) -> None:
    run = run_rich(here)
    CALLS.clear()
    number = event(here, run, "send")
    done = {path for path, each in here.history.state_at(run, number).steps.items() if each.status == "succeeded"}
    handle = here.history.start_fork(run, number).wait(20)
    assert handle.status == "succeeded", handle.error
    assert handle.id != run
    assert not [call for call in CALLS if call.startswith("send")], "an effect that was done is not repeated"
    assert outputs(here, handle.id) == outputs(here, run)
    reason = f"forked from run {run} at event {number}"
    reasons = {each.path: each.reason for each in here.engine.runs.steps(handle.id)}
    assert reasons["send"] == reason
    assert {path for path in done if "/" not in path and "[" not in path} == {
        path for path, why in reasons.items() if why == reason and "/" not in path and "[" not in path
    }
    assert here.history.replay(handle.id).first_divergence is None


def test_a_fork_at_the_beginning_runs_everything(here) -> None:
    run = run_rich(here)
    fork = here.history.fork(run, 0)
    assert not fork.seeds
    assert fork.inputs == {"numbers": [1, 2, 3], "start": 5}


def test_a_fork_inside_a_nested_model_takes_over_its_steps(here) -> None:
    run = run_rich(here)
    number = event(here, run, "deep/one")
    fork = here.history.fork(run, number)
    assert fork.seeds["deep/one"].outputs == {"result": 6}
    assert "deep" not in fork.seeds
    handle = here.history.start_fork(run, number).wait(20)
    steps = {each.path: each for each in here.engine.runs.steps(handle.id)}
    assert steps["deep/one"].reason == f"forked from run {run} at event {number}"
    assert steps["deep/two"].reason is None
    assert outputs(here, handle.id)["maybe"] == outputs(here, run)["maybe"]


def test_a_run_that_failed_is_forked_and_comes_further(here) -> None:
    found = model(
        entrance("a"),
        stage("s"),
        step("x", "add"),
        step("y", "boom"),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("y", "result", "out", "r")],
    )
    run = here.run(found, {"a": 1}, status="failed")
    WORLD["mended"] = True
    CALLS.clear()
    handle = here.history.start_fork(run, -1).wait(20)
    assert handle.outputs == {"r": 2}
    assert CALLS == ["boom"]


def test_what_stood_in_for_a_failed_step_is_taken_over(here) -> None:
    found = model(
        entrance("a"),
        stage("s"),
        step("x", "boom", fallback=Fallback(use="action", action="z")),
        step("z", "add"),
        step("w", "boom", fallback=Fallback(use="constant", constant=7)),
        step("v", "total", ports=("values",), parameters={"values": [1]}),
        leave("r", "q"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r"), ("in", "a", "w", "a"), ("w", "result", "out", "q")],
    )
    run = here.run(found, {"a": 1})
    WORLD["mended"] = True
    CALLS.clear()
    handle = here.history.start_fork(run, -1).wait(20)
    assert handle.outputs == {"r": 2, "q": 7}
    assert CALLS == []


def test_steps_that_were_undone_are_done_again_with_what_read_them(here) -> None:
    WORLD["send_at"] = 1
    found = model(
        entrance("a"),
        stage("s", on_failure="compensate", mode="sequential"),
        step("free", "add", order=0),
        step("send", "send", order=1, compensation="undo"),
        step("undo", "undo", order=9),
        step("read", "sum", order=2),
        step("x", "boom", order=3),
        leave("r"),
        wires=[
            ("in", "a", "free", "a"),
            ("free", "result", "send", "a"),
            ("free", "result", "x", "a"),
            ("x", "result", "out", "r"),
        ],
    )
    run = here.run(found, {"a": 1}, status="failed")
    assert "undo#send" in here.history.state_at(run, -1).steps
    before = here.history.fork(run, event(here, run, "x", "failed"))
    assert set(before.seeds) == {"free", "send", "read"}
    after = here.history.fork(run, -1)
    assert set(after.seeds) == {"free", "read"}
    WORLD["mended"] = True
    assert here.history.start_fork(run, -1).wait(20).outputs == {"r": 2}
    assert CALLS.count("send 1") == 2


def test_what_was_asked_is_asked_again(here) -> None:
    run = here.run(asking(), {"a": 1}, status="waiting")
    handle = here.history.start_fork(run, -1).wait(20)
    assert handle.status == "waiting"
    assert CALLS.count("add") == 1
    assert here.engine.runs.decide(handle.id, "approve", "no").wait(20).outputs == {"r": "no 2"}
    assert here.engine.runs.get(run).status == "waiting"


@pytest.fixture(scope="module")
def opened():
    with at_desk() as found:
        yield found


@settings(deadline=None, max_examples=20)
@given(graphs(), st.data())
def test_a_fork_of_a_pure_run_at_any_event_ends_the_same(opened, found, data) -> None:
    handle = opened.engine.runs.start(pure(found), {"seed": 1}).wait(20)
    assert handle.status == "succeeded", handle.error
    count = len(opened.history.moments(handle.id))
    forked = opened.history.start_fork(handle.id, data.draw(st.integers(0, count - 1))).wait(20)
    assert (forked.status, forked.outputs) == ("succeeded", handle.outputs)
