"""A damaged journal is told in one sentence, never read wrongly, and left as it is."""

import random
import sqlite3
import time

import pytest

from engine.errors import JournalBroken
from engine.ports import JournalRecord
from engine.storage.journal_sqlite import SqliteJournal


def records(run, number):
    return [JournalRecord(run, "done", f"step-{each}", 1, each, bytes([each % 256]) * 100) for each in range(number)]


def written(path, runs=("r1", "r2"), number=150):
    journal = SqliteJournal(path)
    for run in runs:
        for record in records(run, number):
            journal.append(record)
    journal.close()
    return path.read_bytes()


def read_all(path):
    """Return what the journal holds by run, or None if it says that it is broken."""
    try:
        journal = SqliteJournal(path)
    except JournalBroken:
        return None
    try:
        return {run: journal.read(run) for run in journal.unfinished()}
    except JournalBroken:
        return None
    finally:
        journal.close()


def test_a_flipped_bit_anywhere_is_never_read_as_something_else(tmp_path):
    path, chance = tmp_path / "journal.db", random.Random(3)
    whole = written(path)
    right = {run: records(run, 150) for run in ("r1", "r2")}
    places = [*range(16, 120), *(chance.randrange(len(whole)) for _ in range(500))]
    told = 0
    for place in places:
        damaged = whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]
        path.write_bytes(damaged)
        found = read_all(path)
        told += found is None
        assert found in (None, right), place
        for beside in tmp_path.glob("journal.db-*"):
            beside.unlink()
    assert told > len(places) / 2


def test_a_changed_cell_is_told_with_run_and_position(tmp_path):
    path = tmp_path / "journal.db"
    changes = (
        "kind = 'failed'", "path = 'other'", "attempt = 2", "ts_us = 0", "body = x'00'", "body = 'text'", "crc = 1",
        "crc = NULL", "position = 900", "body = NULL", "attempt = 'x'",
    )  # fmt: skip
    for change in changes:
        whole = written(path, number=10)
        with sqlite3.connect(path) as raw:
            raw.execute("PRAGMA writable_schema = 1")
            raw.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'records'")
        raw.close()
        with sqlite3.connect(path) as raw:
            raw.execute(f"UPDATE records SET {change} WHERE run = 1 AND position = 4")
        raw.close()
        journal = SqliteJournal(path)
        with pytest.raises(JournalBroken, match="record 4 of run r1 is damaged"):
            journal.read("r1")
        assert journal.read("r2") == records("r2", 10)
        journal.close()
        path.unlink()
        assert whole


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM records WHERE run = 1 AND position = 10", "those after 9 are lost"),
        ("DELETE FROM records WHERE run = 1", "those after 0 are lost"),
        ("UPDATE runs SET records = 9 WHERE number = 1", "damaged"),
        ("UPDATE runs SET run = 'rx' WHERE number = 1", "name is lost"),
        ("DELETE FROM runs WHERE number = 1", "name is lost"),
    ],
)
def test_lost_records_are_told(tmp_path, change, reason):
    path = tmp_path / "journal.db"
    written(path, number=10)
    with sqlite3.connect(path) as raw:
        raw.execute(change)
    raw.close()
    journal = SqliteJournal(path)
    with pytest.raises(JournalBroken, match=reason):
        journal.read("r1")
    journal.close()


def test_a_journal_cut_short_anywhere_opens_whole_or_is_told(tmp_path):
    path, chance = tmp_path / "journal.db", random.Random(4)
    whole = written(path)
    lengths = [
        *range(1, 120, 7),
        *(4096 * page for page in range(1, len(whole) // 4096)),
        *(chance.randrange(len(whole)) for _ in range(100)),
    ]
    for length in lengths:
        path.write_bytes(whole[:length])
        assert read_all(path) is None, length
        assert path.read_bytes() == whole[:length]


@pytest.mark.parametrize(
    "content",
    [b"x", b"not a journal " * 1_000, b"SQLite format 3\x00", b"SQLite format 3\x00" + bytes(8_176), bytes(8_192)],
)
def test_another_file_is_told_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(JournalBroken) as told:
        SqliteJournal(path)
    assert str(path) in str(told.value)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["journal.db"]


def test_the_database_of_another_program_is_told_and_left_as_it_is(tmp_path):
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    whole = path.read_bytes()
    with pytest.raises(JournalBroken, match="another program"):
        SqliteJournal(path)
    assert path.read_bytes() == whole


def test_a_newer_journal_is_told(tmp_path):
    path = tmp_path / "journal.db"
    written(path, number=1)
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 9")
    raw.close()
    with pytest.raises(JournalBroken, match="format 9, this program knows 1"):
        SqliteJournal(path)


def test_an_empty_file_and_a_missing_directory_are_a_new_journal(tmp_path):
    (tmp_path / "empty.db").touch()
    for path in (tmp_path / "empty.db", tmp_path / "a" / "b" / "journal.db"):
        written(path, number=3)
        assert read_all(path) == {run: records(run, 3) for run in ("r1", "r2")}


def test_places_that_can_not_be_are_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path, tmp_path / "file" / "journal.db"):
        with pytest.raises(JournalBroken):
            SqliteJournal(path)


@pytest.mark.parametrize(
    "bad", [JournalRecord("r1", "done", "\ud800", 1, 1, b""), JournalRecord("r1", "done", "p", 1, 2**70, b"")]
)
def test_a_write_that_fails_stops_everything_that_follows(tmp_path, bad):
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.sync(journal.append(records("r1", 1)[0]))
    ticket = journal.append(bad)
    with pytest.raises(JournalBroken):
        journal.sync(ticket)
    for _ in range(2):
        with pytest.raises(JournalBroken):
            journal.append(records("r1", 1)[0])
        with pytest.raises(JournalBroken):
            journal.sync(1)
    journal.close()
    assert read_all(tmp_path / "journal.db") == {"r1": records("r1", 1)}


def test_a_full_disk_stops_everything_that_follows(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.db")
    with journal._database:
        journal._connection.execute("PRAGMA max_page_count = 8")

    def fill():
        for number in range(100):
            journal.sync(journal.append(JournalRecord("r1", "done", "p", 1, number, b"x" * 4_000)))

    with pytest.raises(JournalBroken, match="full"):
        fill()
    with pytest.raises(JournalBroken, match="full"):
        journal.append(records("r1", 1)[0])
    journal.close()
    kept = read_all(tmp_path / "journal.db")["r1"]
    assert [record.ts_us for record in kept] == list(range(len(kept)))


def test_appending_does_not_wait_for_the_disk(tmp_path):
    """Not a benchmark: with the writer held up, a hundred thousand appends still take no time to speak of."""
    journal = SqliteJournal(tmp_path / "journal.db")
    given = records("r1", 256) * 40
    with journal._database:
        start = time.perf_counter()
        for record in given:
            ticket = journal.append(record)
        took_s = time.perf_counter() - start
    journal.sync(ticket)
    assert journal.read("r1") == given
    journal.close()
    assert took_s / len(given) < 50e-6
