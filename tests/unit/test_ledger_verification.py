"""Verification finds every alteration, removal, insertion and move, and names the first entry concerned."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.events import Draft, Head
from engine.ledger.chain import Row, entry_hash, link, row_of
from engine.ledger.checkpoints import Checkpoint
from engine.ledger.verification import verify

START = datetime(2026, 1, 1, tzinfo=UTC)
texts = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f"), min_size=1, max_size=8
)
drafts = st.builds(
    Draft,
    ts=st.integers(0, 10**9).map(lambda us: START + timedelta(microseconds=us)),
    actor=texts,
    action=st.sampled_from(["model.created", "run.ended"]),
    entity_kind=texts,
    entity=texts,
    run=st.none() | texts,
    request=st.none() | texts,
)
chains = st.lists(drafts, min_size=1, max_size=8).map(lambda given: link(Head(), given))
FIELDS = [name for name in Row._fields if name != "sequence"]


def head_of(entries):
    return Head(sequence=entries[-1].sequence, hash=entries[-1].hash)


def rows_of(entries):
    return [row_of(entry) for entry in entries]


def ten():
    return link(
        Head(),
        [Draft(ts=START, actor="you", action="model.edited", entity_kind="model", entity=f"m{n}") for n in range(10)],
    )


def forged(row, **changes):
    changed = row._replace(**changes)
    return changed._replace(hash=entry_hash(changed[:10]))


def signed(entry):
    return Checkpoint(sequence=entry.sequence, hash=entry.hash, ts=START, signature="")


@given(chains)
def test_what_was_linked_verifies(entries):
    for given_as in (entries, rows_of(entries), iter(entries)):
        found = verify(given_as, head_of(entries), [signed(entry) for entry in entries])
        assert found == (True, len(entries), None, "")


def test_an_empty_ledger_verifies():
    assert verify([], Head()).ok


@given(chains, st.data())
def test_any_change_of_any_field_is_found_and_named(entries, data):
    rows = rows_of(entries)
    place = data.draw(st.integers(0, len(rows) - 1))
    field = data.draw(st.sampled_from(FIELDS))
    old = getattr(rows[place], field)
    rows[place] = rows[place]._replace(
        **{field: data.draw((st.none() | texts | st.just("")).filter(lambda new: new != old))}
    )
    found = verify(rows, head_of(entries))
    assert (found.ok, found.first_bad, found.entries) == (False, place + 1, place)


@given(chains, st.data())
def test_a_removed_entry_is_found_and_named(entries, data):
    rows = rows_of(entries)
    place = data.draw(st.integers(0, len(rows) - 1))
    del rows[place]
    found = verify(rows, head_of(entries))
    assert (found.ok, found.first_bad) == (False, place + 1)
    assert "removed" in found.reason


@given(chains, st.data())
def test_an_entry_removed_with_the_others_renumbered_is_found_and_named(entries, data):
    rows = rows_of(entries)
    place = data.draw(st.integers(0, len(rows) - 1))
    rows = rows[:place] + [row._replace(sequence=row.sequence - 1) for row in rows[place + 1 :]]
    found = verify(rows, head_of(entries))
    assert (found.ok, found.first_bad) == (False, place + 1)
    assert "removed" in found.reason


@given(chains, st.data())
def test_an_inserted_entry_is_found_and_named(entries, data):
    rows = rows_of(entries)
    place = data.draw(st.integers(0, len(rows)))
    before = Head() if place == 0 else Head(sequence=place, hash=rows[place - 1].hash)
    (new,) = link(before, [data.draw(drafts.filter(lambda draft: draft.request != "new"))])
    stranger = forged(row_of(new), request="new!")
    found = verify([*rows[:place], stranger, *rows[place:]], head_of(entries))
    assert (found.ok, found.first_bad) == (False, place + 1)
    renumbered = [row._replace(sequence=row.sequence + 1) for row in rows[place:]]
    found = verify([*rows[:place], stranger, *renumbered], head_of(entries))
    assert (found.ok, found.first_bad) == (False, place + 1)
    assert "inserted" in found.reason


@given(chains.filter(lambda entries: len(entries) > 1), st.data())
def test_swapped_entries_are_found_and_named(entries, data):
    rows = rows_of(entries)
    first = data.draw(st.integers(0, len(rows) - 2))
    second = data.draw(st.integers(first + 1, len(rows) - 1))
    rows[first], rows[second] = rows[second], rows[first]
    assert verify(rows, head_of(entries)).first_bad == first + 1
    rows[first], rows[second] = rows[first]._replace(sequence=first + 1), rows[second]._replace(sequence=second + 1)
    found = verify(rows, head_of(entries))
    assert (found.ok, found.first_bad) == (False, first + 1)


def test_an_entry_rewritten_with_a_new_hash_is_the_one_named():
    entries = ten()
    for place in range(10):
        rows = rows_of(entries)
        rows[place] = forged(rows[place], actor="mallory")
        found = verify(rows, head_of(entries))
        assert (found.ok, found.first_bad) == (False, place + 1), place
        rows[place] = forged(rows[place], previous_hash="f" * 64)
        found = verify(rows, head_of(entries))
        assert (found.ok, found.first_bad) == (False, place + 1), place


def test_a_consistent_fork_and_a_consistent_cut_are_found_by_checkpoints():
    entries = ten()
    fork = entries[:6]
    assert verify(fork, head_of(fork)).ok
    found = verify(fork, head_of(fork), [signed(entries[2]), signed(entries[7])])
    assert (found.ok, found.first_bad, found.entries) == (False, 7, 6)
    other = link(
        Head(sequence=6, hash=entries[5].hash),
        [Draft(ts=START, actor="mallory", action="run.ended", entity_kind="run", entity="r")] * 4,
    )
    fork = [*entries[:6], *other]
    assert verify(fork, head_of(fork), [signed(entries[5])]).ok
    found = verify(fork, head_of(fork), [signed(entries[8]), signed(entries[4])])
    assert (found.ok, found.first_bad) == (False, 6)


def test_a_walk_can_start_from_a_trusted_head():
    entries = ten()
    base = Head(sequence=4, hash=entries[3].hash)
    assert verify(entries[4:], head_of(entries), base=base) == (True, 6, None, "")
    assert verify(entries[5:], head_of(entries), base=base).first_bad == 5
    assert verify(entries[4:], head_of(entries), base=Head(sequence=4, hash="0" * 64)).ok is False


def test_the_ledger_is_walked_once_and_never_held():
    entries = ten()
    alive = []

    def one_at_a_time():
        for entry in entries:
            alive.append(entry.sequence)
            yield row_of(entry)
            assert len(alive) == entry.sequence

    assert verify(one_at_a_time(), head_of(entries)).ok
