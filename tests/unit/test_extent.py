"""How much of a model a run runs: pauses, breakpoints, single nodes with pinned values, earlier results, undoing."""

import threading

import pytest

import engine
from engine.domain.nodes import Stage, Tether
from engine.domain.values import Port, RetryPolicy
from engine.errors import InputRefused, NotResumable
from engine.ports import StepContext
from engine.run_reuse import Extent
from tests.building import entrance, leave, model, stage

CALLS: list[str] = []
FAULTS: dict[str, int] = {}
GATES: dict[str, threading.Event] = {}


@engine.tether(reference="extent.add", effect=True)
def add(value: int, *, context: StepContext, by: int = 1) -> int:
    """Add a number, and say so; fail as often as the test wants, wait as long as it wants."""
    step = context.idempotency_key.split("/")[1]
    CALLS.append(step)
    if step in GATES:
        GATES[step].wait(20)
    if FAULTS.get(step, 0) > 0:
        FAULTS[step] -= 1
        message = f"{step} broke"
        raise ValueError(message)
    return value + by


@engine.tether(reference="extent.pure", runs="inline")
def pure(value: int, *, by: int = 1) -> int:
    """Add a number without an effect, and say so."""
    CALLS.append("pure")
    return value + by


@pytest.fixture(autouse=True)
def clean():
    CALLS.clear()
    FAULTS.clear()
    GATES.clear()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    with engine.open(tmp_path / "store.duckdb", tethers=[add, pure]) as opened:
        yield opened


def step(key, **fields):
    return Tether(
        id=key,
        name=key,
        parent=fields.pop("parent", "s"),
        reference="extent.add",
        inputs=(Port(name="value"),),
        outputs=(Port(name="result"),),
        **fields,
    )


def row(*names, on_failure="fail", undo=(), **fields):
    """Return a model of steps in a row, each feeding the next; `undo`: those that have a compensation."""
    nodes = [
        step(name, order=place, compensation=f"undo-{name}" if name in undo else None, **fields.get(name, {}))
        for place, name in enumerate(names)
    ]
    undos = [step(f"undo-{name}", order=100 + place) for place, name in enumerate(undo)]
    ends = ["in.value", *(f"{name}.result" for name in names)]
    wires = [(a.split(".")[0], a.split(".")[1], name, "value") for a, name in zip(ends, names, strict=False)]
    return model(
        entrance("value"),
        Stage(id="s", name="S", mode="parallel", on_failure=on_failure),
        *nodes,
        *undos,
        leave("result"),
        wires=[*wires, (names[-1], "result", "out", "result")],
    )


def pure_row(*names, **fields):
    found = row(*names, **fields)
    changed = {
        key: node.model_copy(update={"reference": "extent.pure"}) for key, node in found.nodes.items() if key in names
    }
    return found.changed(nodes={**found.nodes, **changed})


def ended(handle, status="succeeded"):
    handle.wait(20)
    assert handle.status == status, handle.error
    return handle


def states(store, run):
    return {each.path: each.status for each in store.runs.steps(run.id)}


def test_a_breakpoint_pauses_before_its_step_and_is_passed_on_resuming(store):
    run = ended(store.start(row("a", "b", "c"), {"value": 0}, extent=Extent(breakpoints=["b"])), "paused")
    assert CALLS == ["a"]
    assert states(store, run)["b"] == "pending"
    assert store.runs.take_interrupted() is None
    done = ended(store.runs.resume(run.id))
    assert (done.outputs, CALLS) == ({"result": 3}, ["a", "b", "c"])


def test_a_run_goes_step_by_step(store):
    run = ended(store.start(row("a", "b", "c"), {"value": 0}, extent=Extent(steps=1)), "paused")
    for expected in (["a", "b"], ["a", "b", "c"]):
        ended(store.runs.resume(run.id, steps=1), "paused" if len(expected) < 3 else "succeeded")
        assert expected == CALLS


def test_pausing_lets_what_is_under_way_end_and_starts_nothing_new(store):
    GATES["a"] = threading.Event()
    handle = store.start(row("a", "b"), {"value": 0})
    while not CALLS:
        pass
    store.runs.pause(handle.id)
    GATES["a"].set()
    ended(handle, "paused")
    assert (CALLS, states(store, handle)) == (["a"], {"a": "succeeded", "b": "pending"})
    with pytest.raises(NotResumable, match="paused"):
        store.runs.pause(handle.id)
    assert ended(store.runs.resume(handle.id)).outputs == {"result": 2}


def test_a_node_alone_runs_with_pinned_values(store):
    extent = Extent(only="b", pins={"a": {"result": 41}})
    run = ended(store.start(row("a", "b", "c"), {"value": 0}, extent=extent))
    assert CALLS == ["b"]
    steps = {each.path: each for each in store.runs.steps(run.id)}
    assert store.runs.value(steps["b"].outputs["result"]) == 42
    assert (steps["a"].status, steps["a"].reason) == ("cached", "pinned")
    assert steps["c"].status == "skipped"


def test_a_pin_that_fits_nothing_is_refused(store):
    with pytest.raises(InputRefused, match="no node 'x'"):
        store.start(row("a"), {"value": 0}, extent=Extent(pins={"x": {"result": 1}}))
    with pytest.raises(InputRefused, match=r"no output .y.*result"):
        store.start(row("a"), {"value": 0}, extent=Extent(pins={"a": {"y": 1}}))
    with pytest.raises(InputRefused, match="no node 'x'"):
        store.start(row("a"), {"value": 0}, extent=Extent(until="x"))


def test_only_what_failed_runs_again_with_the_earlier_results(store):
    FAULTS["b"] = 1
    failed = ended(store.start(row("a", "b", "c"), {"value": 0}), "failed")
    again = ended(store.runs.again(failed.id))
    assert (again.outputs, CALLS) == ({"result": 3}, ["a", "b", "b", "c"])
    reused = {each.path: (each.status, each.reason) for each in store.runs.steps(again.id)}
    assert reused["a"] == ("cached", f"taken from run {failed.id}")


def test_a_run_is_repeated_from_a_node_on(store):
    first = ended(store.start(row("a", "b", "c"), {"value": 0}))
    CALLS.clear()
    assert ended(store.runs.again(first.id, from_nodes=["b"])).outputs == {"result": 3}
    assert CALLS == ["b", "c"]
    with pytest.raises(InputRefused, match="no node 'x'"):
        store.runs.again(first.id, from_nodes=["x"])


def test_a_mended_model_runs_what_changed_and_what_follows(store):
    first = ended(store.start(row("a", "b", "c"), {"value": 0}))
    CALLS.clear()
    mended = row("a", "b", "c", b={"parameters": {"by": 10}})
    assert ended(store.runs.again(first.id, model=mended)).outputs == {"result": 12}
    assert CALLS == ["b", "c"]


def test_completed_steps_are_undone_in_reverse_when_a_later_one_fails(store):
    FAULTS["c"] = 1
    run = ended(store.start(row("a", "b", "c", on_failure="compensate", undo=("a", "b")), {"value": 0}), "failed")
    assert CALLS == ["a", "b", "c", "undo-b#b", "undo-a#a"]
    assert "'c' failed: ValueError: c broke" in run.error
    assert "2 of 2 completed steps were undone" in run.error
    steps = {each.path: each for each in store.runs.steps(run.id)}
    assert steps["undo-b#b"].status == "succeeded"
    assert store.runs.value(steps["undo-b#b"].outputs["result"]) == 2
    assert store.ledger.verify().ok


def test_an_undoing_that_fails_is_tried_again_told_and_keeps_none_of_the_others(store):
    FAULTS.update({"c": 1, "undo-b#b": 3})
    found = row("a", "b", "c", on_failure="compensate", undo=("a", "b"))
    undo = found.nodes["undo-b"].model_copy(update={"retry": RetryPolicy(max_attempts=2, base_delay_s=0)})
    found = found.changed(nodes={**found.nodes, "undo-b": undo})
    run = ended(store.start(found, {"value": 0}), "failed")
    assert CALLS == ["a", "b", "c", "undo-b#b", "undo-b#b", "undo-a#a"]
    assert "1 of 2 completed steps were undone" in run.error
    assert "'undo-b' could not undo it" in run.error


def test_nothing_is_undone_when_nothing_fails_or_the_run_is_cancelled(store):
    found = row("a", "b", on_failure="compensate", undo=("a",))
    ended(store.start(found, {"value": 0}))
    assert CALLS == ["a", "b"]
    GATES["b"] = threading.Event()
    handle = store.start(found, {"value": 0})
    while len(CALLS) < 4:
        pass
    handle.cancel()
    GATES["b"].set()
    ended(handle, "cancelled")
    assert CALLS == ["a", "b", "a", "b"]


def test_what_is_under_a_stage_that_was_asked_for_runs_alone(store):
    found = model(
        entrance("value"),
        stage("s"),
        stage("t"),
        step("a"),
        step("b", parent="t"),
        leave("result"),
        wires=[("in", "value", "a", "value"), ("in", "value", "b", "value"), ("b", "result", "out", "result")],
        depends=[("s", "t")],
    )
    run = ended(store.start(found, {"value": 1}, extent=Extent(only=["b"])))
    assert CALLS == ["b"]
    assert states(store, run)["a"] == "skipped"


def test_what_has_not_changed_is_taken_from_the_last_good_run(store):
    found, unchanged = pure_row("a", "b", "c"), Extent(unchanged=True)
    ended(store.start(found, {"value": 0}, extent=unchanged))
    assert len(CALLS) == 3
    again = ended(store.start(found, {"value": 0}, extent=unchanged))
    assert (again.outputs, len(CALLS)) == ({"result": 3}, 3)
    assert set(states(store, again).values()) == {"cached"}
    changed = pure_row("a", "b", "c", b={"parameters": {"by": 5}})
    assert ended(store.start(changed, {"value": 0}, extent=unchanged)).outputs == {"result": 7}
    assert len(CALLS) == 5
    assert ended(store.start(changed, {"value": 1}, extent=unchanged)).outputs == {"result": 8}
    assert len(CALLS) == 8


def test_an_effect_is_never_taken_for_unchanged(store):
    found = row("a", "b")
    ended(store.start(found, {"value": 0}))
    ended(store.start(found, {"value": 0}, extent=Extent(unchanged=True)))
    assert CALLS == ["a", "b", "a", "b"]


def test_another_function_of_the_same_name_is_a_change(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    source, found = tmp_path / "extent_mine.py", pure_row("a")
    text = "import engine\n@engine.tether(reference='extent.pure')\ndef f(value: int) -> int:\n    return value + {}\n"
    for more in (1, 1, 5):
        source.write_text(text.format(more))
        with engine.open(tmp_path / "store.duckdb", tethers=[str(source)]) as opened:
            run = ended(opened.start(found, {"value": 0}, extent=Extent(unchanged=True)))
            assert run.outputs == {"result": more}
