"""The ledger's page without a browser: words, pages, changes, proof and export."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import engine as treadle
from engine.domain.events import Draft
from engine.domain.writes import Record
from engine.engine import Engine
from studio.ledger.state import PAGE_ROWS, LedgerState, changes_of, href_of, label_of, words_of


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine over a store in memory."""
    with treadle.open("memory:") as opened:
        yield opened


def keep(engine: Engine, count: int, *, actor: str = "you") -> None:
    """Append entries about settings."""
    now = engine.models._clock.now()
    drafts = [
        Draft(
            ts=now, actor=actor, action="setting.changed", entity_kind="setting", entity=f"setting.{place}", patch="[]"
        )
        for place in range(count)
    ]
    engine._catalog.commit(*(Record(draft=draft) for draft in drafts))


def test_an_entry_reads_as_a_sentence_with_a_link(engine: Engine) -> None:
    model = engine.models.create("Weekly report")
    found = LedgerState(engine).load()
    (entry,) = found.entries
    assert (words_of(entry), label_of(entry, found.names)) == ("created the model", "Weekly report")
    assert href_of(entry) == f"/editor?model={model.id}"


def test_pages_follow_each_other_by_number(engine: Engine) -> None:
    keep(engine, PAGE_ROWS * 2 + 5)
    state = LedgerState(engine)
    seen = []
    while True:
        found = state.load()
        seen += [entry.sequence for entry in found.entries]
        if not found.more:
            break
        state.older(found)
    assert seen == list(range(PAGE_ROWS * 2 + 5, 0, -1))
    state.newer()
    assert state.load().entries[0].sequence == PAGE_ROWS + 5


def test_a_filter_goes_back_to_the_newest(engine: Engine) -> None:
    keep(engine, PAGE_ROWS + 5)
    keep(engine, 2, actor="robot")
    state = LedgerState(engine)
    state.older(state.load())
    state.actor = "robot"
    assert [entry.actor for entry in state.load().entries] == ["robot", "robot"]


def test_an_address_can_point_at_an_entry(engine: Engine) -> None:
    keep(engine, 9)
    state = LedgerState(engine, selected=4)
    found = state.entry()
    assert found is not None
    assert found.sequence == state.load().entries[0].sequence == 4
    assert LedgerState(engine, selected=99).entry() is None


def test_a_change_shows_what_was_before_and_after(engine: Engine) -> None:
    model = engine.models.create("Weekly report", description="Every Monday")
    engine.models.delete(model.id)
    state = LedgerState(engine)
    deleted, created = state.load().entries
    made, _ = changes_of(created)
    assert [(change.path, change.before, change.after) for change in made] == [
        ("description", None, "Every Monday"),
        ("name", None, "Weekly report"),
    ]
    gone, _ = changes_of(deleted)
    assert ("deleted_by", None, "you") in [(change.path, change.before, change.after) for change in gone]


def test_a_good_ledger_verifies_with_its_count(engine: Engine) -> None:
    keep(engine, 12)
    verdict = LedgerState(engine).verify()
    assert verdict.ok
    assert verdict.sentence.startswith("12 entries verified in ")


def test_an_altered_entry_is_named(engine: Engine) -> None:
    keep(engine, 12)
    entries = engine._catalog._entries
    entries[6] = entries[6].model_copy(update={"actor": "mallory"})
    verdict = LedgerState(engine).verify()
    assert (verdict.ok, verdict.first_bad) == (False, 7)
    assert verdict.sentence == (
        "Entry 7 was altered: its hash is not that of its fields. The 6 entries before it are as they were written."
    )


def test_the_export_holds_every_entry_that_matches_and_runs_nothing(engine: Engine) -> None:
    keep(engine, 1_200)
    keep(engine, 1, actor="=cmd()")
    state = LedgerState(engine)
    assert len(json.loads(state.as_json())) == 1_201
    state.actor = "=cmd()"
    heads, row = state.as_csv().decode().splitlines()
    assert heads.startswith("ts,actor,action")
    assert "'=cmd()" in row
