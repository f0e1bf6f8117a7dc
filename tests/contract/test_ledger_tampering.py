"""Whoever changes the ledger in the DuckDB file itself is found: every field of every entry, every row."""

import pytest

from engine.domain.events import Head
from engine.domain.writes import Record
from engine.ledger.chain import Row, entry_hash
from engine.ledger.checkpoints import CheckpointFile
from engine.ledger.verification import verify
from engine.storage.sql.duckdb import open_duckdb
from tests.contract.samples import at, draft

ENTRIES = 6
TEXTS = [name for name in Row._fields if name != "sequence"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "store.duckdb"
    catalog = open_duckdb(path)
    catalog.commit(*(Record(draft=draft(number, run="r1", request="ü")) for number in range(1, ENTRIES + 1)))
    catalog.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def tampered(original, tmp_path_factory):
    """Return what verification finds after some SQL, which is then taken back."""
    path = tmp_path_factory.mktemp("tampered") / "store.duckdb"
    path.write_bytes(original)
    catalog = open_duckdb(path)

    def check(*statements, signed=()):
        raw = catalog.database._handle.cursor()
        raw.begin()
        try:
            for statement in statements:
                raw.execute(statement)
            head = Head(
                **dict(
                    zip(
                        ("sequence", "hash"),
                        raw.execute("SELECT sequence, hash FROM ledger_head").fetchone(),
                        strict=True,
                    )
                )
            )
            rows = raw.execute("SELECT * FROM ledger ORDER BY sequence").fetchall()
        finally:
            raw.rollback()
        return verify((Row(*row) for row in rows), head, signed)

    check.rows = catalog.database._handle.cursor().execute("SELECT * FROM ledger ORDER BY sequence").fetchall()
    yield check
    catalog.close()


def quoted(text):
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def test_nothing_changed_verifies(tampered):
    assert tampered().ok


@pytest.mark.parametrize("field", TEXTS)
def test_each_character_of_each_field_of_each_entry_is_guarded(tampered, field):
    for number in range(1, ENTRIES + 1):
        text = Row(*tampered.rows[number - 1])._asdict()[field]
        for place in range(len(text)):
            changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
            found = tampered(f"UPDATE ledger SET {field} = {quoted(changed)} WHERE sequence = {number}")
            assert (found.ok, found.first_bad, found.entries) == (False, number, number - 1), (text, changed)


@pytest.mark.parametrize("field", TEXTS)
def test_a_field_made_longer_shorter_or_empty_is_found(tampered, field):
    for number in range(1, ENTRIES + 1):
        text = Row(*tampered.rows[number - 1])._asdict()[field]
        for changed in (text + " ", text[1:], text[:-1], "", " " + text, text.upper() if text.upper() != text else "x"):
            found = tampered(f"UPDATE ledger SET {field} = {quoted(changed)} WHERE sequence = {number}")
            assert (found.ok, found.first_bad) == (False, number)


@pytest.mark.parametrize("field", ["run", "request"])
def test_nothing_and_empty_text_are_not_one(tampered, field):
    found = tampered(f"UPDATE ledger SET {field} = NULL WHERE sequence = 3")
    assert (found.ok, found.first_bad) == (False, 3)


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
def test_a_removed_entry_is_named(tampered, number):
    found = tampered(f"DELETE FROM ledger WHERE sequence = {number}")
    assert (found.ok, found.first_bad, "removed" in found.reason) == (False, number, True)


def test_a_tail_removed_with_its_head_is_found_by_a_checkpoint(tampered, tmp_path):
    last = Row(*tampered.rows[-1])
    signed = [CheckpointFile(tmp_path / "c", bytes(32)).append(Head(sequence=ENTRIES, hash=last.hash), at(0))]
    cut = [
        "DELETE FROM ledger WHERE sequence > 4",
        f"UPDATE ledger_head SET sequence = 4, hash = '{tampered.rows[3][10]}'",
    ]
    assert tampered(*cut).ok
    found = tampered(*cut, signed=signed)
    assert (found.ok, found.first_bad) == (False, 5)


def test_a_ledger_rewritten_from_an_entry_on_with_its_head_is_found_by_a_checkpoint(tampered, tmp_path):
    last = Row(*tampered.rows[-1])
    checkpoints = CheckpointFile(tmp_path / "c", bytes(32))
    checkpoints.append(Head(sequence=2, hash=tampered.rows[1][10]), at(0))
    checkpoints.append(Head(sequence=ENTRIES, hash=last.hash), at(1))
    statements, previous = [], tampered.rows[2][9]
    for row in tampered.rows[2:]:
        forged = (*row[:2], "mallory", *row[3:9], previous)
        previous = entry_hash(forged)
        statements.append(
            f"UPDATE ledger SET actor = 'mallory', previous_hash = '{forged[9]}', hash = '{previous}' "
            f"WHERE sequence = {row[0]}"
        )
    statements.append(f"UPDATE ledger_head SET hash = '{previous}'")
    assert tampered(*statements).ok
    found = tampered(*statements, signed=checkpoints.read())
    assert (found.ok, found.first_bad) == (False, 3)


def test_the_head_is_guarded(tampered):
    assert tampered(f"UPDATE ledger_head SET hash = '{'0' * 64}'").first_bad == ENTRIES
    assert tampered(f"UPDATE ledger_head SET sequence = {ENTRIES - 1}").first_bad == ENTRIES
    assert tampered(f"UPDATE ledger_head SET sequence = {ENTRIES + 1}").first_bad == ENTRIES + 1
