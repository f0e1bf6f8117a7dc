"""The ledger, as every catalog keeps it: chained in the same transaction, gapless, in order."""

import pytest

from engine.domain.events import GENESIS_HASH, Head
from engine.domain.model import FunctionModel
from engine.domain.queries import EntryQuery
from engine.domain.writes import InsertModel, Record, UpdateModel
from engine.errors import StaleRevision
from engine.ledger.chain import link
from engine.ledger.verification import verify
from tests.contract.laws import verified
from tests.contract.samples import ODD_TEXTS, at, draft, model
from tests.threads import together


def sequences(found):
    return [entry.sequence for entry in found]


def test_a_new_ledger_is_empty_and_verifies(catalog):
    assert catalog.head() == Head(sequence=0, hash=GENESIS_HASH)
    assert catalog.entries() == []
    assert verified(catalog).ok


def test_entries_are_chained_to_the_head_in_the_order_of_their_writes(catalog):
    drafts = [draft(number, run="r1", request="q") for number in range(1, 6)]
    made = catalog.commit(*(Record(draft=each) for each in drafts[:3]))
    made += catalog.commit(Record(draft=drafts[3]), InsertModel(model=model()), Record(draft=drafts[4]))
    assert made == link(Head(), drafts)
    assert catalog.entries() == list(made)
    assert catalog.head() == Head(sequence=5, hash=made[-1].hash)
    assert catalog.commit(InsertModel(model=model(2))) == ()
    assert (verified(catalog).ok, verified(catalog).entries) == (True, 5)


def test_entries_are_found_by_place_action_entity_actor_and_text(catalog):
    catalog.commit(
        Record(draft=draft(1, action="model.created")),
        Record(draft=draft(2, entity="m2", actor="ada")),
        Record(draft=draft(3, entity="m2", run="Run-9")),
        Record(draft=draft(4, request="Request-8", patch='[{"op":"add","path":"/name","value":"Needle"}]')),
    )
    assert sequences(catalog.entries(EntryQuery(after=1, before=4))) == [2, 3]
    assert sequences(catalog.entries(EntryQuery(before=1))) == []
    assert sequences(catalog.entries(EntryQuery(before=0))) == []
    assert sequences(catalog.entries(EntryQuery(after=9))) == []
    assert sequences(catalog.entries(EntryQuery(newest_first=True, limit=2))) == [4, 3]
    assert sequences(catalog.entries(EntryQuery(limit=2))) == [1, 2]
    assert sequences(catalog.entries(EntryQuery(action="model.created"))) == [1]
    assert sequences(catalog.entries(EntryQuery(entity="m2"))) == [2, 3]
    assert sequences(catalog.entries(EntryQuery(entity="m2", actor="ada"))) == [2]
    assert sequences(catalog.entries(EntryQuery(text="nEEdle"))) == [4]
    assert sequences(catalog.entries(EntryQuery(text="run-9"))) == [3]
    assert sequences(catalog.entries(EntryQuery(text="REQUEST-8"))) == [4]
    assert sequences(catalog.entries(EntryQuery(text="ADA"))) == [2]
    assert sequences(catalog.entries(EntryQuery(text="%"))) == []


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_text_in_an_entry_is_kept_found_and_verifies(catalog, text):
    odd = draft(1, actor=text, entity=text, request=text)
    (made,) = catalog.commit(Record(draft=odd))
    catalog.commit(Record(draft=draft(2)))
    assert catalog.entries(EntryQuery(entity=text)) == [made]
    assert made.actor == made.request == text
    assert verified(catalog).ok


def test_eight_writers_leave_no_gap(catalog):
    together(
        *(
            lambda index=index: [catalog.commit(Record(draft=draft(n, entity=f"m{index}"))) for n in range(1, 26)]
            for index in range(8)
        )
    )
    assert sequences(catalog.entries()) == list(range(1, 201))
    assert (verified(catalog).ok, catalog.head().sequence) == (True, 200)
    for index in range(8):
        assert [entry.ts for entry in catalog.entries(EntryQuery(entity=f"m{index}"))] == [at(n) for n in range(1, 26)]


@pytest.mark.parametrize("each", [20, pytest.param(1_250, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])])
def test_eight_threads_of_optimistic_updates_lose_nothing(catalog, each):
    catalog.commit(InsertModel(model=model(description="")))

    def count_up():
        for _ in range(each):
            while not try_once():
                pass

    def try_once():
        old: FunctionModel = catalog.model("m1")
        new = old.changed(revision=old.revision + 1, description=str(int(old.description or 0) + 1))
        try:
            catalog.commit(UpdateModel(model=new, expected_revision=old.revision), Record(draft=draft(new.revision)))
        except StaleRevision:
            return False
        return True

    together(*[count_up] * 8)
    kept = catalog.model("m1")
    assert (kept.description, kept.revision, catalog.head().sequence) == (str(8 * each), 8 * each, 8 * each)
    assert verified(catalog).ok
    entries = catalog.entries(EntryQuery(limit=8 * each + 1))
    assert [entry.ts for entry in entries] == [at(revision) for revision in range(1, 8 * each + 1)]


def test_a_reader_of_the_whole_ledger_sees_one_moment(catalog):
    catalog.commit(Record(draft=draft(1)))
    with catalog.ledger() as (head, rows):
        catalog.commit(Record(draft=draft(2)))
        assert verify(rows, head).ok
    assert verified(catalog).entries == 2
