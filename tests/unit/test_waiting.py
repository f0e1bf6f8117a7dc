"""Steps that wait for a choice, a signal or a time: parked without a thread, answered, resumed, decided by default."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

import engine
from engine.domain.nodes import Stage, Tether
from engine.domain.values import Port, RetryPolicy
from engine.errors import DecisionClosed, NotAChooser, OptionUnknown, StepTimedOut
from engine.ports import StepContext
from tests.building import entrance, leave, model, stage

CALLS: list[str] = []


@engine.tether(reference="waiting.pay")
def pay(amount: float, *, context: StepContext) -> str:
    """Ask twice before it pays."""
    CALLS.append(f"pay {amount:g}")
    first = context.ask("Pay?", ["yes", "no"], choosers=["ann", "bob"])
    second = context.ask("Really?", ["yes", "no"])
    return f"{first} {second}"


@engine.tether(reference="waiting.break", effect=True)
def break_(value: str, *, context: StepContext) -> str:
    """Fail until the third attempt."""
    CALLS.append(f"break {context.attempt}")
    if context.attempt < 3:
        message = "not yet"
        raise ValueError(message)
    return value


@pytest.fixture(autouse=True)
def calls():
    CALLS.clear()
    return CALLS


def step(key, reference, *, inputs=("value",), outputs=("value",), **fields):
    return Tether(
        id=key,
        name=key.title(),
        parent=fields.pop("parent", "s"),
        reference=reference,
        inputs=tuple(Port(name=name, required=False) for name in inputs),
        outputs=tuple(Port(name=name) for name in outputs),
        **fields,
    )


def asking(**parameters):
    return model(
        entrance("value"),
        stage("s"),
        step("ask", "flow.ask", outputs=("chosen", "value"), parameters=parameters),
        leave("chosen"),
        wires=[("in", "value", "ask", "value"), ("ask", "chosen", "out", "chosen")],
    )


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    return tmp_path / "store.duckdb"


@pytest.fixture
def store(path):
    with engine.open(path, tethers=[pay, break_]) as opened:
        yield opened


def ended(handle, status="succeeded"):
    handle.wait(20)
    assert handle.status == status, handle.error
    return handle


def until(found):
    end = time.monotonic() + 20
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_choice_is_waited_for_without_a_thread_and_the_run_goes_on_with_it(store):
    before = threading.active_count()
    run = ended(store.start(asking(question="Ship it?"), {"value": 1}), "waiting")
    assert threading.active_count() <= before + 2
    assert [(each.path, each.question, each.chosen) for each in store.runs.decisions.of(run.id)] == [
        ("ask", "Ship it?", None)
    ]
    assert {step.path: step.status for step in store.runs.steps(run.id)} == {"ask": "waiting"}
    assert store.runs.get(run.id).status == "waiting"
    done = ended(store.runs.decide(run.id, "ask", "reject", reason="too early"))
    assert done.outputs == {"chosen": "reject"}
    kept = store.runs.decisions.of(run.id)[0]
    assert (kept.chosen, kept.chosen_by, kept.reason) == ("reject", "you", "too early")
    actions = [entry.action for entry in store.ledger.entries(entity=kept.key)]
    assert actions == ["decision.opened", "decision.made"]
    assert store.ledger.verify().ok


def test_a_choice_survives_a_restart(path):
    with engine.open(path) as first:
        run = ended(first.start(asking(), {"value": 1}), "waiting")
    with engine.open(path) as second:
        assert second.runs.interrupted() == []
        assert second.runs.take_interrupted() is None
        assert ended(second.runs.decide(run.id, "ask", "approve")).outputs == {"chosen": "approve"}


def test_only_who_may_choose_does_once_and_among_the_options(store):
    found = model(
        entrance("amount"),
        stage("s"),
        step("pay", "waiting.pay", inputs=("amount",), outputs=("result",)),
        leave("result"),
        wires=[("in", "amount", "pay", "amount"), ("pay", "result", "out", "result")],
    )
    run = ended(store.start(found, {"amount": 5}), "waiting")
    with pytest.raises(NotAChooser, match="ann, bob"):
        store.runs.decide(run.id, "pay", "yes")
    with pytest.raises(OptionUnknown, match="yes, no"):
        store.runs.decide(run.id, "pay", "perhaps", by="ann")
    ended(store.runs.decide(run.id, "pay", "yes", by="ann"), "waiting")
    with pytest.raises(DecisionClosed, match="ann"):
        store.runs.decide(run.id, "pay", "no", by="bob")
    done = ended(store.runs.decide(run.id, "pay?1", "no"))
    assert done.outputs == {"result": "yes no"}
    assert set(CALLS) == {"pay 5"}


def test_a_deadline_chooses_the_default_or_fails_the_step(store):
    assert ended(store.start(asking(within_s=0.05, default="approve"), {"value": 1})).outputs == {"chosen": "approve"}
    failed = ended(store.start(asking(within_s=0.05), {"value": 1}), "failed")
    assert str(StepTimedOut(timeout_s="0.05")) in failed.error


def test_a_far_deadline_is_kept_by_the_store_and_wakes_the_run(store, monkeypatch):
    run = ended(store.start(asking(within_s=60, default="approve"), {"value": 1}), "waiting")
    later = datetime.now(UTC) + timedelta(seconds=61)
    monkeypatch.setattr(type(store.runs.decisions._clock), "now", lambda self: later)
    assert store.waker.wake_due() == 1
    until(lambda: store.runs.get(run.id).status == "succeeded")
    assert store.runs.decisions.of(run.id)[0].reason == "nobody chose in time"


def test_a_signal_is_received_by_all_that_wait_and_by_those_that_will(store):
    found = model(
        entrance(),
        stage("s"),
        step("a", "flow.signal", inputs=(), outputs=("content",), parameters={"signal": "paid"}),
        step("b", "flow.signal", inputs=(), outputs=("content",), parameters={"signal": "paid"}),
        leave("a", "b"),
        wires=[("a", "content", "out", "a"), ("b", "content", "out", "b")],
    )
    run = ended(store.start(found), "waiting")
    assert ended(store.runs.signal(run.id, "paid", {"sum": 7})).outputs == {"a": {"sum": 7}, "b": {"sum": 7}}
    early = store.start(asking(), {"value": 1})
    ended(early, "waiting")
    store.runs.signal(early.id, "later", 1)
    assert [each.value for each in store.runs.decisions.of(early.id) if each.signal] == [1]


def test_a_timer_of_a_second_is_waited_for_on_the_spot(store):
    found = model(
        entrance("value"),
        stage("s"),
        step("w", "flow.wait", parameters={"seconds": 0.2}),
        leave("value"),
        wires=[("in", "value", "w", "value"), ("w", "value", "out", "value")],
    )
    began = time.monotonic()
    assert ended(store.start(found, {"value": 3})).outputs == {"value": 3}
    assert time.monotonic() - began > 0.2


def test_what_does_not_wait_goes_on_meanwhile(store):
    found = model(
        entrance("value"),
        stage("s", parallelism=1),
        step("ask", "flow.ask", outputs=("chosen", "value"), priority=10),
        step("other", "flow.wait", parameters={"seconds": 0}),
        leave("chosen", "value"),
        wires=[
            ("in", "value", "ask", "value"),
            ("in", "value", "other", "value"),
            ("ask", "chosen", "out", "chosen"),
            ("other", "value", "out", "value"),
        ],
    )
    run = ended(store.start(found, {"value": 1}), "waiting")
    states = {step.path: step.status for step in store.runs.steps(run.id)}
    assert states["ask"] == "waiting"


@pytest.mark.parametrize(("choice", "status"), [("retry", "succeeded"), ("skip", "succeeded"), ("fail", "failed")])
def test_a_person_says_what_becomes_of_a_step_that_failed(store, choice, status):
    found = model(
        entrance("value"),
        Stage(id="s", name="S", on_failure="wait"),
        step("b", "waiting.break", outputs=("result",), retry=RetryPolicy(max_attempts=2, base_delay_s=0)),
        leave("result"),
        wires=[("in", "value", "b", "value"), ("b", "result", "out", "result")],
    )
    run = ended(store.start(found, {"value": "x"}), "waiting")
    asked = store.runs.decisions.of(run.id)[0]
    assert (asked.awaits, asked.path) == ("failure", "b?failed-2")
    assert "not yet" in asked.question
    done = ended(store.runs.decide(run.id, asked.path, choice), status)
    assert len(CALLS) == (3 if choice == "retry" else 2)
    assert done.outputs == ({"result": "x"} if choice == "retry" else {})


def test_a_waiting_run_is_cancelled(store):
    run = ended(store.start(asking(), {"value": 1}), "waiting")
    assert ended(store.runs.cancel(run.id), "cancelled").id == run.id


def test_a_decision_by_another_program_wakes_the_run_where_it_is(path):
    with engine.open(path) as first, engine.open(path) as second:
        first.waker.start()
        run = ended(first.start(asking(), {"value": 1}), "waiting")
        second.runs.decisions.choose(run.id, "ask", "approve")
        until(lambda: second.runs.get(run.id).status == "succeeded")
