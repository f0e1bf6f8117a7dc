"""Runs and steps, as every catalog keeps them."""

import pytest

from engine.domain.queries import RunQuery
from engine.domain.runs import Attempt
from engine.domain.values import Semver
from engine.domain.writes import PutRun, PutSteps
from tests.contract.samples import ODD_TEXTS, at, everything, run, step, value


def ids(found):
    return [kept.id for kept in found]


def whole_run():
    return run(
        7,
        model="m-all",
        version=Semver.parse("2.0.1"),
        trial=False,
        status="failed",
        durability="strict",
        started_at=at(1),
        ended_at=at(2),
        inputs={"rows": value(), "it's": value(bytes(range(256)), "application/octet-stream")},
        outputs={"report": value(b"", "text/plain").model_copy(update={"data": None})},
        error="It's $1: \x00 and \u2028",
        steps_total=3,
        steps_done=1,
        resumed=2,
        merkle_root="ab" * 32,
        model_file={**everything().to_json(), "nested": {"m2": None}},
        options={"until": ["a", 1.5, None]},
    )


def whole_step():
    attempts = (
        Attempt(number=1, started_at=at(1), ended_at=at(2), status="failed", error="once", idempotency_key="k1"),
        Attempt(number=2, started_at=at(3), status="running", idempotency_key="k2"),
    )
    return step(
        "per-file[3]/clean",
        attempts=attempts,
        outputs={"rows": value(b"\xff\x00\xfe", "application/octet-stream")},
        error="a\x00b",
        reason="it's $1",
        logs=("one", "two\u2028"),
        status="retrying",
    )


def test_a_run_is_read_as_it_was_written(catalog):
    catalog.commit(PutRun(run=whole_run()))
    assert catalog.run("r7") == whole_run()
    assert catalog.run("nobody") is None


def test_a_run_is_replaced_by_its_id(catalog):
    catalog.commit(PutRun(run=run(1)), PutRun(run=run(1, status="running")))
    assert catalog.run("r1").status == "running"
    catalog.commit(PutRun(run=run(1, status="succeeded", model_file={"a": 1})))
    assert catalog.run("r1") == run(1, status="succeeded", model_file={"a": 1})
    assert ids(catalog.runs()) == ["r1"]


def test_runs_are_listed_newest_first_paged_and_without_their_model_files(catalog):
    for number in (2, 1, 3):
        catalog.commit(PutRun(run=run(number, model_file={"large": True})))
    assert ids(catalog.runs()) == ["r3", "r2", "r1"]
    assert ids(catalog.runs(RunQuery(limit=1, offset=1))) == ["r2"]
    assert [kept.model_file for kept in catalog.runs()] == [None] * 3


def test_runs_are_found_by_model_status_and_text(catalog):
    catalog.commit(
        PutRun(run=run(1, status="failed", error="No such FILE: straße.csv")),
        PutRun(run=run(2, model="m2", model_name="Größe", status="failed")),
        PutRun(run=run(3, model="m2", model_name="Größe")),
    )
    assert ids(catalog.runs(RunQuery(model="m2"))) == ["r3", "r2"]
    assert ids(catalog.runs(RunQuery(model="m2", status="failed"))) == ["r2"]
    assert ids(catalog.runs(RunQuery(text="STRASSE"))) == ["r1"]
    assert ids(catalog.runs(RunQuery(text="grösse"))) == ["r3", "r2"]
    assert ids(catalog.runs(RunQuery(text="R2"))) == ["r2"]
    assert ids(catalog.runs(RunQuery(text="%"))) == []
    assert ids(catalog.runs(RunQuery(model="nobody"))) == []


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_text_in_a_run_is_kept_and_found(catalog, text):
    odd = run(1, model_name=text, error=text, actor=text)
    catalog.commit(PutRun(run=odd), PutRun(run=run(2, model_name="Plain")))
    assert catalog.run("r1") == odd
    assert ids(catalog.runs(RunQuery(text=text))) == ["r1"]


def test_a_step_is_read_as_it_was_written(catalog):
    catalog.commit(PutSteps(steps=(whole_step(),)))
    assert catalog.steps("r1") == [whole_step()]


def test_steps_come_by_start_then_path_and_those_that_never_started_last(catalog):
    given = (
        step("never-b"), step("b", started=2), step("a", started=2), step("first", started=1), step("never-a"),
        step("Z", started=2), step("ä", started=2), step("other", of="r2", started=0),
    )  # fmt: skip
    catalog.commit(PutSteps(steps=given))
    assert [kept.path for kept in catalog.steps("r1")] == ["first", "Z", "a", "b", "ä", "never-a", "never-b"]
    assert catalog.steps("nobody") == []


def test_putting_steps_again_changes_nothing_and_the_last_one_counts(catalog):
    steps = tuple(step(f"s{number}", started=number) for number in range(50))
    for _ in range(2):
        catalog.commit(PutSteps(steps=steps), PutRun(run=run(1)))
    catalog.commit(PutSteps(steps=(step("s3", started=3, error="one"), step("s3", started=3, error="two"))))
    catalog.commit(PutSteps(steps=()))
    assert len(catalog.steps("r1")) == 50
    assert catalog.steps("r1")[3].error == "two"
    assert catalog.describe()["steps"] == 50


def test_many_steps_are_sealed_in_one_commit(catalog):
    steps = tuple(step(f"s{number:05}", started=number, outputs={"rows": value()}) for number in range(3_000))
    catalog.commit(PutRun(run=run(1, steps_total=3_000)), PutSteps(steps=steps))
    assert tuple(catalog.steps("r1")) == steps
