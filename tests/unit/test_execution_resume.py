"""A crash after any record of the journal: the resumed run ends as the whole one, and repeats nothing that was done."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.values import Fallback, RetryPolicy
from engine.execution.records import describe_path, fold, merkle_leaves, recover
from engine.ledger.chain import merkle_root
from engine.ports import JournalRecord
from engine.storage.memory_journal import MemoryJournal
from tests.building import Bench, Functions, Nested, entrance, leave, model, nested, stage, step

SOON = RetryPolicy(max_attempts=3, backoff="immediate")
CHILD = model(
    entrance("a"),
    stage(),
    step("p", "effect"),
    step("q", "flaky", order=1, retry=SOON),
    leave("r"),
    wires=[("in", "a", "p", "a"), ("p", "result", "q", "a"), ("q", "result", "out", "r")],
)
EVERYTHING = model(
    entrance("a"),
    stage("one", mode="sequential"),
    step("x", "effect", parent="one"),
    step("y", "flaky", parent="one", order=1, retry=SOON),
    stage("two", parallelism=2),
    nested("n", "child", parent="two", for_each="a"),
    step("b", "boom", parent="two", order=1, fallback=Fallback(use="action", action="stand-in")),
    step("stand-in", "effect", parent="two", order=2),
    stage("gate", mode="conditional"),
    step("big", "effect", parent="gate", condition={"$cel": "size(a) > 5"}),
    step("small", "effect", parent="gate", order=1, condition={"$cel": "size(a) > 0"}),
    stage("lax", on_failure="skip"),
    step("lost", "boom", parent="lax"),
    step("after-lost", "effect", parent="lax", order=1),
    leave("r", "n", "s"),
    wires=[
        ("in", "a", "x", "a"),
        ("x", "result", "y", "a"),
        ("y", "result", "n", "a"),
        ("in", "a", "b", "a"),
        ("in", "a", "big", "a"),
        ("in", "a", "small", "a"),
        ("in", "a", "lost", "a"),
        ("lost", "result", "after-lost", "a"),
        ("b", "result", "out", "r"),
        ("n", "r", "out", "n"),
        ("small", "result", "out", "s"),
    ],
    depends=[("one", "two")],
)
INPUTS = {"a": [3, 1, 2]}


def whole():
    bench = Bench(Functions(), Nested(child=CHILD))
    journal = MemoryJournal()
    ran = bench.go(EVERYTHING, INPUTS, journal=journal)
    assert ran.outcome.status == "succeeded", ran.outcome.error
    return ran, journal.read("run-1")


WHOLE, RECORDS = whole()


@pytest.mark.parametrize("crash_at", range(len(RECORDS) + 1))
def test_a_crash_after_any_record_repeats_and_loses_nothing(crash_at) -> None:
    before = RECORDS[:crash_at]
    journal = MemoryJournal()
    for record in before:
        journal.append(record)
    bench = Bench(Functions(), Nested(child=CHILD))
    ran = bench.go(EVERYTHING, INPUTS, journal=journal, recovered=recover(before))
    assert ran.outcome.outputs == WHOLE.outcome.outputs
    assert ran.states == WHOLE.states
    done_before = {record.path for record in before if record.kind == "done"}
    records = journal.read("run-1")
    done_again = [record.path for record in records[crash_at:] if record.kind == "done"]
    assert not done_before & set(done_again)
    assert len(done_again) == len(set(done_again))
    interrupted = {(r.path, r.attempt): r.body for r in before if r.kind == "intent" and r.path not in done_before}
    for record in records[crash_at:]:
        if record.kind == "intent" and (record.path, record.attempt) in interrupted:
            assert record.body.split(b",")[1] == interrupted[record.path, record.attempt].split(b",")[1]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, len(RECORDS)), st.integers(0, len(RECORDS)))
def test_a_second_crash_during_the_resume_changes_nothing(first, second) -> None:
    journal = MemoryJournal()
    for record in RECORDS[:first]:
        journal.append(record)
    bench = Bench(Functions(), Nested(child=CHILD))
    bench.go(EVERYTHING, INPUTS, journal=journal, recovered=recover(RECORDS[:first]))
    middle = journal.read("run-1")[: max(first, second)]
    again = MemoryJournal()
    for record in middle:
        again.append(record)
    ran = bench.go(EVERYTHING, INPUTS, journal=again, recovered=recover(middle))
    assert ran.outcome.outputs == WHOLE.outcome.outputs


def test_an_effect_says_what_it_is_about_to_do_before_it_does_it() -> None:
    kinds = [(record.kind, record.path) for record in RECORDS]
    for path in ("x", "small", "n[0]/p"):
        assert kinds.index(("intent", path)) < kinds.index(("done", path))
    assert ("intent", "y") not in kinds


def test_an_effect_waits_until_its_intent_is_on_disk() -> None:
    class Slow(MemoryJournal):
        synced = 0

        def sync(self, ticket: int) -> None:
            super().sync(ticket)
            self.synced = max(self.synced, ticket)

    journal, functions, seen = Slow(), Functions(), list[int]()
    functions.add("watched", lambda _i, _s: seen.append(journal.synced), effect=True)
    bench = Bench(functions)
    bench.go(model(stage(mode="sequential"), step("x", "add", inputs=(), parameters={"a": 1}, order=0)), journal=Slow())
    bench.go(model(stage(), step("x", "watched", inputs=())), journal=journal)
    assert seen == [1]


def test_a_journal_that_breaks_stops_the_run() -> None:
    class Broken(MemoryJournal):
        def append(self, record: JournalRecord) -> int:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        Bench().go(model(stage(), step("x", "add", inputs=(), parameters={"a": 1})), journal=Broken())


def test_a_run_under_way_shows_what_is_pending() -> None:
    plan = Bench(models=Nested(child=CHILD)).plan(EVERYTHING)
    steps = {entry.path: entry.status for entry in fold("run-1", RECORDS[:1], plan, ended=False)}
    assert steps["small"] == "pending"
    assert {entry.status for entry in fold("run-1", [], plan)} == {"cancelled"}


def test_paths_name_their_node() -> None:
    plan = Bench(models=Nested(child=CHILD)).plan(EVERYTHING)
    assert describe_path(plan, "n[2]/p") == ("p", "p", "tetherNode")
    assert describe_path(plan, "n[2]") == ("n", "n · 3", "functionModelContainer")
    assert describe_path(plan, "nobody/x")[1] == "nobody"
    assert describe_path(plan, "x/y/z")[1] == "x/y/z"
    assert describe_path(plan, "a//b")[0] in ("a", "a//b")


def test_the_merkle_root_covers_every_record_in_order() -> None:
    root = merkle_root(merkle_leaves(RECORDS))
    assert root == merkle_root(merkle_leaves(list(RECORDS)))
    assert root != merkle_root(merkle_leaves(RECORDS[:-1]))
    assert root != merkle_root(merkle_leaves(RECORDS[::-1]))
    changed = [RECORDS[0]._replace(body=RECORDS[0].body + b" "), *RECORDS[1:]]
    assert root != merkle_root(merkle_leaves(changed))
