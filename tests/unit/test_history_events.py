"""What happened in a run: proven, numbered, told; and the whole state after any of it."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.domain.writes import PutRun
from engine.execution.records import packed, unpacked
from engine.history.refusals import MomentUnknown, RecordsTampered
from engine.history.timeline import Timeline, state_json
from tests.building import entrance, leave, model, stage
from tests.histories import CALLS, WORLD, asking, at_desk, pure, run_rich, step
from tests.unit.test_execution_core import graphs

FINAL = ("succeeded", "cached", "failed", "skipped", "cancelled")


both = pytest.mark.parametrize("here", ["memory:", "duckdb"], indirect=True)


@pytest.fixture
def here(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    CALLS.clear()
    WORLD.clear()
    url = tmp_path / "store.duckdb" if getattr(request, "param", "") == "duckdb" else "memory:"
    with at_desk(url) as found:
        yield found


def test_a_run_is_a_numbered_sequence_of_what_happened(here) -> None:
    run = run_rich(here)
    moments = here.history.moments(run)
    assert [moment.number for moment in moments] == list(range(len(moments)))
    assert (moments[0].kind, moments[-1].kind) == ("started", "ended")
    assert moments[0].text == "The run of 'Rich' began."
    assert moments[-1].text == "The run ended: succeeded."
    by_path = {(moment.path, moment.kind, moment.attempt): moment for moment in moments}
    assert by_path["each[2]", "done", 1].outputs == {"result": "4"}
    assert by_path["deep/two", "done", 1].node == "two"
    assert by_path["deep/two", "done", 1].text == "deep/two succeeded and gave result: 16."
    assert by_path["send", "failed", 1].text == "send failed in attempt 1: ConnectionError: not yet"
    assert by_path["never", "skipped", 0].text == "never was skipped: its condition a > 1000 does not hold."
    assert "steps" not in {moment.kind for moment in moments}


@both
def test_the_last_state_is_what_was_sealed(here) -> None:
    run = run_rich(here)
    sealed = {found.path: found for found in here.engine.runs.steps(run)}
    state = here.history.state_at(run, -1)
    assert dict(state.steps) == sealed
    assert state.status == "succeeded"
    assert state.values["in"]["start"].summary == "5"


def test_a_state_in_the_middle_knows_nested_levels_items_and_containers(here) -> None:
    run = run_rich(here)
    moments = here.history.moments(run)
    number = next(moment.number for moment in moments if moment.path == "deep/one")
    state = here.history.state_at(run, number)
    assert state.steps["deep/one"].status == "succeeded"
    assert state.steps["deep"].status == "pending"
    assert "deep/two" not in state.values
    containers = state.containers()
    assert (containers["deep"].kind, containers["deep"].status) == ("nested", "running")
    assert containers["deep/s"].counts == {"succeeded": 1, "pending": 1}
    assert containers["t"].status == "pending"
    assert state.status == "running"
    item = next(moment.number for moment in moments if moment.path == "each[1]")
    assert here.history.state_at(run, item).containers()["each"].kind == "items"
    last = here.history.state_at(run, -1).containers()
    assert {name: found.status for name, found in last.items()} == {
        "each": "succeeded",
        "deep": "succeeded",
        "deep/s": "succeeded",
        "s": "succeeded",
        "t": "succeeded",
    }
    assert last["t"].counts == {"skipped": 1, "succeeded": 1}
    assert state_json(state)["number"] == number


@both
def test_questions_are_open_until_they_are_answered(here) -> None:
    run = here.run(asking(), {"a": 1}, status="waiting")
    state = here.history.state_at(run, -1)
    assert state.status == "waiting"
    assert [(asked.path, asked.question, asked.is_open) for asked in state.decisions] == [("approve", "Pay?", True)]
    before = state.number
    here.engine.runs.decide(run, "approve", "yes", by="ann").wait(20)
    state = here.history.state_at(run, -1)
    assert state.status == "succeeded"
    assert [(asked.chosen, asked.by, asked.is_open) for asked in state.decisions] == [("yes", "ann", False)]
    assert here.history.state_at(run, before).status == "waiting"
    assert "approve got 'yes', from ann." in [moment.text for moment in here.history.moments(run)]


@both
def test_records_that_are_not_those_that_were_sealed_are_refused(here) -> None:
    run = here.engine.runs.get(run_rich(here))
    blobs = here.engine.runs._services.blobs
    records = unpacked(blobs.get(run.journal), run.id)
    forged = [record._replace(body=record.body.replace(b"sent 9", b"sent 8")) for record in records]
    for other, told in ((packed(forged), "Merkle root"), (b"nothing of the kind", "can't be read")):
        changed = run.model_copy(update={"journal": blobs.put(other)})
        here.engine._catalog.commit(PutRun(run=changed))
        with pytest.raises(RecordsTampered, match=told):
            here.history.state_at(run.id, 0)
        with pytest.raises(RecordsTampered):
            here.history.replay(run.id)


def test_a_run_under_way_is_looked_into_here(here) -> None:
    gate = threading.Event()

    @engine.tether(reference="history.gate")
    def wait_at(a: int) -> int:
        """Wait."""
        gate.wait(20)
        return a

    here.engine.tethers.load(wait_at)
    found = model(
        entrance("a"),
        stage(),
        step("x", "add"),
        step("y", "gate"),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("y", "result", "out", "r")],
    )
    handle = here.engine.start(found, {"a": 1})
    try:
        end = time.monotonic() + 10
        while here.history.timeline(handle.id).moments[-1].path != "x":
            assert time.monotonic() < end
        state = here.history.state_at(handle.id, -1)
        assert (state.status, state.steps["x"].status, state.steps["y"].status) == ("running", "succeeded", "pending")
    finally:
        gate.set()
    assert handle.wait(20).status == "succeeded"


def test_events_that_are_not_there_are_named(here) -> None:
    run = run_rich(here)
    with pytest.raises(MomentUnknown, match="numbered from 0"):
        here.history.state_at(run, 1_000)


def test_a_run_of_many_events_is_walked_through_quickly() -> None:
    count = 5_000
    actions = [step(f"n{number:05}", "add", parameters={"a": number}) for number in range(count)]
    ends = {"wires": [(f"n{count - 1:05}", "result", "out", "r")]}
    with at_desk() as here:
        run = here.run(model(entrance(), stage(), *actions, leave("r"), **ends))
        timeline = here.history.timeline(run)
        assert len(timeline) == count + 2
        timeline.at(2_500)
        began = time.perf_counter()
        seen = [timeline.at(number) for number in range(2_490, 2_510)]
        assert time.perf_counter() - began < 1
        assert [sum(found.status == "succeeded" for found in state.steps.values()) for state in seen] == [
            state.number for state in seen
        ]


@pytest.fixture(scope="module")
def opened():
    with at_desk() as found:
        yield found


@settings(deadline=None, max_examples=20)
@given(graphs(), st.data())
def test_folding_in_any_order_comes_to_the_same(opened, found, data) -> None:
    handle = opened.engine.runs.start(pure(found), {"seed": 1}).wait(20)
    assert handle.status == "succeeded", handle.error
    recording = opened.history.recording(handle.id)
    plan = handle.plan
    walked = Timeline(recording, plan)
    for number in data.draw(st.lists(st.integers(0, len(walked) - 1), min_size=1, max_size=8)):
        fresh = Timeline(recording, plan).at(number)
        state = walked.at(number)
        assert dict(state.steps) == dict(fresh.steps)
        assert (state.status, state.decisions, state.containers()) == (
            fresh.status,
            fresh.decisions,
            fresh.containers(),
        )
    assert dict(walked.at(-1).steps) == {each.path: each for each in opened.engine.runs.steps(handle.id)}
