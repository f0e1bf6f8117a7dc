"""Runs of a store: checked, started, sealed, listed, resumed."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

import engine
from engine.domain.nodes import Stage
from engine.domain.values import Fallback
from engine.errors import (
    InputRefused,
    JournalBroken,
    ModelInvalid,
    NotResumable,
    RunNotFound,
    TetherSourceBroken,
)
from tests.building import entrance, leave, model, nested, stage, step

GO = threading.Event()
SEEN: list[str] = []


@engine.tether(reference="tests.add", runs="inline")
def add(a: int) -> int:
    """Add one."""
    return a + 1


@engine.tether(reference="tests.effect", effect=True)
def effect(a: int, context: engine.StepContext) -> int:
    """Note that it was here."""
    SEEN.append(context.idempotency_key)
    return a


@engine.tether(reference="tests.hold")
def hold(a: int, context: engine.StepContext) -> int:
    """Wait until it may go on."""
    while not GO.wait(0.01):
        if context.cancelled:
            raise RuntimeError("told to stop")
    return a


@engine.tether(reference="tests.boom")
def boom(a: int) -> int:
    """Fail."""
    return a // 0


@engine.tether(reference="tests.big")
def big(a: int) -> pa.Table:
    """Give a large table."""
    return pa.table({"n": list(range(a))})


@pytest.fixture
def eng():
    GO.clear()
    SEEN.clear()
    with engine.open("memory:", tethers=[add, effect, hold, boom, big]) as opened:
        yield opened


def simple(reference: str = "tests.add", **fields):
    return model(
        entrance("a"),
        stage(),
        step("x", reference, **fields),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")],
    )


def test_a_run_is_sealed_with_its_steps_and_its_root(eng) -> None:
    run = eng.run(simple(), {"a": 1})
    assert (run.status, run.outputs, run.error) == ("succeeded", {"r": 2}, None)
    kept = eng.runs.get(run.id)
    assert (kept.status, kept.trial, kept.steps_done, kept.duration_s is not None) == ("succeeded", True, 1, True)
    assert eng.runs.value(kept.outputs["r"]) == 2
    assert list(run.steps()["status"]) == ["succeeded"]
    ended = eng.ledger.entries(newest_first=True)[0]
    assert ended.action == "run.ended"
    assert kept.merkle_root in ended.patch
    assert repr(run).endswith("succeeded>")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [({}, "a"), ({"a": 1, "b": 2}, "no such input; it has: 'a'")],
)
def test_inputs_are_checked_before_anything_starts(eng, inputs, words) -> None:
    with pytest.raises(InputRefused, match=words):
        eng.run(simple(), inputs)
    assert eng.runs.list() == []
    assert eng.ledger.head().sequence == 0


def test_an_invalid_model_is_refused(eng) -> None:
    with pytest.raises(ModelInvalid):
        eng.run(model(stage(), step("x", "tests.nobody")))
    with pytest.raises(InputRefused, match="no node 'zz'"):
        eng.run(simple(), {"a": 1}, until="zz")


def test_outputs_are_checked_against_their_contract(eng) -> None:
    found = simple()
    out = found.nodes["out"].model_copy(
        update={"output_contract": {"type": "object", "properties": {"r": {"type": "string"}}, "required": ["r"]}}
    )
    run = eng.run(found.changed(nodes={**found.nodes, "out": out}), {"a": 1})
    assert run.status == "failed"
    assert "does not meet the contract" in (run.error or "")


def test_a_failed_run_keeps_its_error(eng) -> None:
    run = eng.run(simple("tests.boom"), {"a": 1})
    assert run.status == "failed"
    assert eng.runs.list(status="failed")[0].error == run.error


def test_large_values_are_blobs_and_come_back(eng) -> None:
    run = eng.run(simple("tests.big"), {"a": 50_000})
    step_row = next(entry for entry in eng.runs.steps(run.id) if entry.path == "x")
    assert step_row.outputs["result"].data is None
    assert eng.runs.value(step_row.outputs["result"]).num_rows == 50_000


def test_a_run_under_way_can_be_looked_at_and_cancelled(eng) -> None:
    run = eng.start(simple("tests.hold"), {"a": 1})
    assert run.status == "running"
    live = eng.runs.live(run.id)
    assert live is not None
    assert live.id == run.id
    assert [entry.status for entry in eng.runs.steps(run.id)] == ["pending"]
    run.cancel()
    assert run.wait(10).status == "cancelled"
    assert eng.runs.live(run.id) is None
    with pytest.raises(NotResumable, match="ended"):
        eng.runs.resume(run.id)


def test_runs_are_found_by_their_end(eng) -> None:
    run = eng.run(simple(), {"a": 1})
    assert eng.runs.get(run.id[-8:]).id == run.id
    with pytest.raises(RunNotFound):
        eng.runs.get("nobody")
    with pytest.raises(RunNotFound):
        eng.runs.resume("nobody")


def test_a_failing_journal_stops_the_run_and_tells(eng, monkeypatch) -> None:
    def broken(*_args):
        raise JournalBroken(path="j", reason="no space left")

    monkeypatch.setattr(type(eng.runs._journal), "append", broken)
    with pytest.raises(JournalBroken, match="no space"):
        eng.run(simple(), {"a": 1})


def test_without_durability_only_timings_and_outputs_are_kept(eng) -> None:
    run = eng.run(simple(), {"a": 1}, durability="off")
    assert run.outputs == {"r": 2}
    assert eng.runs.steps(run.id)[0].outputs == {}


def test_closing_suspends_and_a_later_program_resumes(tmp_path) -> None:
    GO.clear()
    SEEN.clear()
    url = f"duckdb:///{tmp_path / 'store.duckdb'}"
    found = model(
        entrance("a"),
        Stage(id="s", name="S", mode="sequential"),
        step("e", "tests.effect"),
        step("h", "tests.hold", order=1),
        leave("r"),
        wires=[("in", "a", "e", "a"), ("e", "result", "h", "a"), ("h", "result", "out", "r")],
    )
    opened = engine.open(url, tethers=[effect, hold])
    run = opened.start(found, {"a": 5})
    while not SEEN:
        threading.Event().wait(0.01)
    opened.close()
    assert run.status == "paused"
    GO.set()
    with engine.open(url, tethers=[effect, hold]) as again:
        assert [waiting.id for waiting in again.runs.interrupted()] == [run.id]
        assert [entry.path for entry in again.runs.steps(run.id) if entry.status == "succeeded"] == ["e"]
        resumed = again.runs.resume(run.id).wait()
        assert (resumed.status, resumed.outputs) == ("succeeded", {"r": 5})
        assert resumed.run.resumed == 1
        assert again.runs.interrupted() == []
        assert again.ledger.verify().ok
    assert len(SEEN) == 1


def test_nested_models_come_along_from_the_store_and_from_files(eng, tmp_path) -> None:
    child = eng.models.add(simple().changed(name="Child model"))
    around = model(
        entrance("a"),
        stage(),
        nested("n", "Child model"),
        leave("r"),
        wires=[("in", "a", "n", "a"), ("n", "r", "out", "r")],
        name="Around it",
    )
    run = eng.run(around, {"a": 1})
    assert run.outputs == {"r": 2}
    eng.models.delete(child.id)
    assert eng.runs.model_of(run.id).content_hash == around.content_hash
    with pytest.raises(ModelInvalid):
        eng.run(around, {"a": 1})
    simple().changed(id="child").save(tmp_path / "child.json")
    by_file = around.changed(nodes={**around.nodes, "n": nested("n", "child.json")})
    by_file.save(tmp_path / "around.json")
    assert eng.run(tmp_path / "around.json", {"a": 1}).outputs == {"r": 2}


def test_the_last_good_result_serves_as_a_fallback(eng) -> None:
    values = iter([7])

    @engine.tether(reference="tests.once")
    def once(a: int) -> int:
        """Work once."""
        del a
        return next(values)

    eng.tethers.load(once)
    saved = eng.models.add(simple("tests.once", fallback=Fallback(use="cached")))
    assert eng.run(saved.name, {"a": 1}).outputs == {"r": 7}
    assert eng.run(saved.name, {"a": 1}).outputs == {"r": 7}


def test_published_models_run_as_their_version(eng) -> None:
    saved = eng.models.add(simple())
    eng.models.publish(saved.id)
    run = eng.run(saved.id, {"a": 1})
    assert (run.run.trial, str(run.run.version)) == (False, "1.0.0")


def test_sources_of_functions_that_are_broken_are_named(tmp_path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("1/0")
    for source, words in (
        (str(bad), "ZeroDivisionError"),
        (str(tmp_path / "none.py"), "no such file"),
        ("no.such.module", "no such module"),
        ("json", "marked"),
    ):
        with pytest.raises(TetherSourceBroken, match=words):
            engine.open("memory:", tethers=[source])
