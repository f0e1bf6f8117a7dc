"""Replay: today's engine and functions run the record; nothing leaves, and the first difference is named."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.domain.values import Fallback, RetryPolicy
from engine.history.comparing import compare
from engine.history.refusals import NotReplayable
from tests.building import entrance, leave, model, stage
from tests.histories import CALLS, TWICE, WORLD, Beside, asking, at_desk, inner, pure, rich, run_rich, step
from tests.unit.test_execution_core import graphs


@engine.tether(reference="history.sneaky")
def sneaky(a: int) -> int:
    """Reach out although it says that it has no effect, if the world lets it."""
    if not WORLD.get("reaches"):
        return a
    if WORLD["reaches"] == "program":
        subprocess.run([sys.executable, "-c", ""], check=True)
    else:
        with socket.create_connection(("127.0.0.1", 9), timeout=1):
            pass
    return a


@engine.tether(reference="history.apart", runs="process")
def apart(a: int) -> int:
    """Run in a process of its own."""
    CALLS.append("apart")
    return a + WORLD.get("apart", 0)


both = pytest.mark.parametrize("here", ["memory:", "duckdb"], indirect=True)


@pytest.fixture
def here(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    CALLS.clear()
    WORLD.clear()
    url = tmp_path / "store.duckdb" if getattr(request, "param", "") == "duckdb" else "memory:"
    with at_desk(url, tethers=[sneaky, apart]) as found:
        yield found


@pytest.fixture
def no_network():
    """Let whatever touches a socket fail."""

    def refuse(*given, **named):
        raise AssertionError("a replay reached for the network")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto", "bind"):
            patch.setattr(socket.socket, name, refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


def chain(*steps, **fields):
    """Return a model of one stage whose steps follow each other."""
    names = ["in", *(each.id for each in steps)]
    ports = ["a", *("result" for _ in steps)]
    wires = [(a, port, b, "a") for a, port, b in zip(names, ports, names[1:], strict=False)]
    return model(
        entrance("a"), stage("s", **fields), *steps, leave("r"), wires=[*wires, (names[-1], "result", "out", "r")]
    )


@both
def test_a_run_of_every_kind_of_step_comes_again_without_effects(here, no_network) -> None:
    run = run_rich(here)
    assert CALLS.count("send 1") == CALLS.count("send 2") == 1
    CALLS.clear()
    found = here.history.replay(run)
    assert found.first_divergence is None
    assert found.ok
    assert found.compared == 13
    assert found.left_out == 0
    assert not [call for call in CALLS if call.startswith("send")]
    assert sorted(CALLS) == ["add"] * 6 + ["later", "total"]
    assert found.called == 8


def test_the_first_value_that_differs_is_named(here) -> None:
    run = run_rich(here)
    WORLD["drift"] = 100
    found = here.history.replay(run)
    assert not found.ok
    first = found.first_divergence
    moments = here.history.moments(run)
    assert first.path in ("each[0]", "deep/one")
    assert first.number == min(m.number for m in moments if m.kind == "done" and m.node in ("each", "one"))
    assert first.recorded == f"result = {moments[first.number].outputs['result']}"
    assert int(first.now.removeprefix("result = ")) == int(first.recorded.removeprefix("result = ")) + 100
    assert first.text.endswith(f"now: {first.now}.")


def test_a_decision_that_differs_is_named(here) -> None:
    run = run_rich(here)
    recording = here.history.recording(run)
    moments = recording.moments()
    place = next(number for number, moment in enumerate(moments) if moment.path == "maybe")
    forged = [*moments]
    forged[place] = moments[place]._replace(kind="skipped", attempt=0, body=["nobody wanted it"])
    found = compare(forged, moments, whole=True, exempt=frozenset())
    assert (found.first.path, found.first.recorded) == ("maybe", "skipped: nobody wanted it")
    assert found.first.now.startswith("succeeded with result")


def test_a_step_that_failed_then_and_succeeds_now_is_named(here) -> None:
    run = here.run(chain(step("x", "boom")), {"a": 3}, status="failed")
    assert here.history.replay(run).ok
    WORLD["mended"] = True
    first = here.history.replay(run).first_divergence
    assert (first.path, first.now) == ("x", "succeeded with result = 3")
    assert first.recorded == "failed: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("on_failure", ["fail", "skip", "compensate"])
def test_failures_and_what_they_lead_to_come_again(here, no_network, on_failure) -> None:
    WORLD["send_at"] = 1
    found = model(
        entrance("a"),
        stage("s", on_failure=on_failure),
        step("send", "send", compensation="undo"),
        step("undo", "undo"),
        step("x", "boom", retry=TWICE),
        step("y", "add"),
        step("other", "add"),
        leave("r"),
        wires=[
            ("in", "a", "send", "a"),
            ("in", "a", "other", "a"),
            ("other", "result", "x", "a"),
            ("x", "result", "y", "a"),
            ("other", "result", "out", "r"),
        ],
    )
    run = here.run(found, {"a": 3}, status="succeeded" if on_failure == "skip" else "failed")
    CALLS.clear()
    replay = here.history.replay(run)
    assert replay.first_divergence is None
    assert CALLS.count("boom") == 3
    assert "undo" not in CALLS
    assert not [call for call in CALLS if call.startswith("send")]


def test_a_fallback_stands_in_again(here) -> None:
    steps = [
        step("x", "boom", fallback=Fallback(use="action", action="z")),
        step("z", "add"),
        step("w", "boom", fallback=Fallback(use="constant", constant=7)),
    ]
    found = model(
        entrance("a"),
        stage("s"),
        *steps,
        leave("r", "q"),
        wires=[
            ("in", "a", "x", "a"),
            ("x", "result", "out", "r"),
            ("in", "a", "w", "a"),
            ("w", "result", "out", "q"),
        ],
    )
    run = here.run(found, {"a": 3})
    assert here.engine.runs.value(here.engine.runs.get(run).outputs["r"]) == 4
    assert here.history.replay(run).first_divergence is None


@both
def test_a_decision_is_answered_as_it_was(here, no_network) -> None:
    run = here.run(asking(), {"a": 1}, status="waiting")
    waiting = here.history.replay(run)
    assert waiting.first_divergence is None
    assert waiting.compared == 1
    here.engine.runs.decide(run, "approve", "yes", by="ann").wait(20)
    opened = len(here.engine.runs.decisions.of(run))
    found = here.history.replay(run)
    assert found.first_divergence is None
    assert found.compared == 2
    assert len(here.engine.runs.decisions.of(run)) == opened


def test_what_becomes_of_a_failure_is_decided_as_it_was(here) -> None:
    run = here.run(chain(step("x", "boom"), on_failure="wait"), {"a": 1}, status="waiting")
    here.engine.runs.decide(run, "x?failed-1", "retry").wait(20)
    here.engine.runs.decide(run, "x?failed-2", "fail").wait(20)
    assert here.engine.runs.get(run).status == "failed"
    found = here.history.replay(run)
    assert found.first_divergence is None
    assert found.compared == 2


def test_processes_and_seeds_answer_from_the_record(here) -> None:
    found = chain(step("x", "apart"), step("y", "add"))
    run = here.run(found, {"a": 1})
    WORLD["apart"] = 50
    CALLS.clear()
    assert here.history.replay(run).first_divergence is None
    assert CALLS == ["add"]
    again = here.engine.runs.again(run, from_nodes=["y"]).wait(20)
    assert again.status == "succeeded"
    assert here.history.replay(again.id).first_divergence is None


@pytest.mark.parametrize("how", ["network", "program"])
def test_a_pure_function_that_reaches_out_is_stopped_and_named(here, how) -> None:
    run = here.run(chain(step("x", "sneaky")), {"a": 1})
    WORLD["reaches"] = how
    first = here.history.replay(run).first_divergence
    assert (first.path, first.recorded) == ("x", "succeeded with result = 1")
    assert "A replay lets nothing out" in first.now
    if how == "program":
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_a_retry_does_not_wait_again(here) -> None:
    slow = RetryPolicy(max_attempts=2, backoff="linear", base_delay_s=0.2, jitter=0.5)
    run = here.run(chain(step("x", "send", retry=slow)), {"a": 1})
    assert here.history.replay(run).ok


def test_a_cancelled_run_comes_as_far_as_it_came(here) -> None:
    run = here.run(asking(), {"a": 1}, status="waiting")
    here.engine.runs.cancel(run).wait(20)
    assert here.engine.runs.get(run).status == "cancelled"
    found = here.history.replay(run)
    assert found.first_divergence is None
    assert found.compared == 1


def test_a_run_without_kept_values_is_refused(here) -> None:
    run = here.run(chain(step("x", "add")), {"a": 1}, durability="off")
    with pytest.raises(NotReplayable, match="durability off"):
        here.history.replay(run)


@both
def test_a_replay_writes_nothing(here) -> None:
    run = run_rich(here)
    before = (here.engine._catalog.head(), here.engine.runs._services.blobs.names())
    here.history.replay(run)
    assert (here.engine._catalog.head(), here.engine.runs._services.blobs.names()) == before


def test_nested_models_are_those_of_then(here) -> None:
    handle = here.engine.runs.start(rich(), {"numbers": [], "start": 1}, source=Beside()).wait(20)
    assert here.engine.runs.value(handle.run.outputs["maybe"]) == 13
    assert inner().id == "inner"
    assert here.history.replay(handle.id).ok


@pytest.fixture(scope="module")
def opened():
    with at_desk(tethers=[chancy]) as found:
        yield found


@settings(deadline=None, max_examples=25)
@given(graphs())
def test_any_pure_run_comes_again(opened, found) -> None:
    handle = opened.engine.runs.start(pure(found), {"seed": 1}).wait(20)
    assert handle.status == "succeeded", handle.error
    replay = opened.history.replay(handle.id)
    assert replay.first_divergence is None
    assert replay.compared == replay.called == len(list(found.actions()))


@engine.tether(reference="history.chancy", effect=True)
def chancy(a: list[int] | None = None, *, ms: int = 0, fails: bool = False) -> int:
    """Take its time, then perhaps fail."""
    time.sleep(ms / 1_000)
    if fails:
        raise ValueError(f"failed after {ms}")
    return ms


@settings(deadline=None, max_examples=25)
@given(graphs(), st.data())
def test_any_run_that_fails_anywhere_comes_again(opened, found, data) -> None:
    runs = pure(found)
    on_failure = data.draw(st.sampled_from(["fail", "skip", "compensate"]))
    changed = {
        node.id: node.model_copy(
            update={
                "reference": "history.chancy",
                "parameters": {"ms": data.draw(st.integers(0, 4)), "fails": data.draw(st.integers(0, 4)) == 0},
                "retry": RetryPolicy(max_attempts=data.draw(st.integers(1, 2)), backoff="immediate"),
            }
        )
        for node in runs.actions()
        if data.draw(st.booleans())
    }
    stages = {
        node.id: node.model_copy(update={"on_failure": on_failure})
        for node in runs.containers()
        if node.kind == "stageNode"
    }
    handle = opened.engine.runs.start(runs.changed(nodes={**runs.nodes, **stages, **changed}), {"seed": 1}).wait(20)
    assert opened.history.replay(handle.id).first_divergence is None
