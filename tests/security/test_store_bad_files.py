"""Files that were damaged, cut, exchanged or can't be written: they open whole, or one sentence says what is wrong."""

import random
import subprocess
import time
from contextlib import suppress

import pytest

from engine.domain.queries import EntityQuery
from engine.domain.writes import InsertModel, PutEntity, PutRun, PutSetting, PutSteps, Record
from engine.errors import JournalBroken, LedgerTampered, StoreCorrupted, StoreError, StoreUnreachable
from engine.ledger.verification import verify
from engine.ports import JournalRecord
from engine.storage.blobs import FileBlobs
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.sql.duckdb import open_duckdb
from tests.contract.samples import draft, entities, everything, model, run, step

HEADERS_BYTES = 12_288
"""DuckDB's three header blocks."""
LOGGED = 30
LONGEST_S = 20


def write(path, *, keep_log):
    """Make a store with something of everything, the last of it in its write-ahead log alone if asked for."""
    catalog = open_duckdb(path)
    catalog.commit(
        InsertModel(model=everything()),
        PutRun(run=run()),
        PutSteps(steps=(step(),)),
        *(PutEntity(entity=entity) for entity in entities()),
        *(Record(draft=draft(number)) for number in range(200)),
    )
    if keep_log:
        catalog.database._handle.checkpoint()
        catalog.database._handle.cursor().execute("PRAGMA disable_checkpoint_on_shutdown")
        for number in range(LOGGED):
            catalog.commit(PutSetting(key=f"k{number}", value="x" * 100), Record(draft=draft(number)))
    catalog.close()


def found_in(path):
    """Return what a store holds, verified; None if it says that it is damaged."""
    began = time.monotonic()
    try:
        catalog = open_duckdb(path)
        try:
            with catalog.ledger() as (head, rows):
                verified = verify(rows, head)
            found = (
                catalog.model("m-all"),
                catalog.run("r1"),
                catalog.steps("r1"),
                catalog.settings(),
                [catalog.entities(EntityQuery(kind=entity.kind)) for entity in entities()],
                verified,
            )
            catalog.commit(Record(draft=draft()))
        finally:
            catalog.close()
    except (StoreCorrupted, LedgerTampered):
        found = None
    assert time.monotonic() - began < LONGEST_S
    return found


def damaged_somewhere(path, whole, place, dice):
    path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :])


def flip_in_file(folder, times, seed):
    dice, path = random.Random(seed), folder / "store.duckdb"
    write(path, keep_log=False)
    whole = path.read_bytes()
    right, told = found_in(path), 0
    for number in range(times):
        damaged_somewhere(path, whole, dice.randrange(len(whole) if number % 2 else HEADERS_BYTES), dice)
        found = found_in(path)
        told += found is None
        assert found in (None, right)
        for beside in folder.glob("store.duckdb?*"):
            beside.unlink()
    return told


def test_a_flipped_bit_in_a_store_is_told_or_harmless(tmp_path):
    assert flip_in_file(tmp_path, 40, seed=3) > 5


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_thousand_flipped_bits_in_a_store_are_told_or_harmless(tmp_path):
    told = flip_in_file(tmp_path, 1_000, seed=4)
    print(f"{told} of 1000 told")
    assert told > 100


def test_a_flipped_bit_in_the_log_of_a_store_is_told(tmp_path):
    dice, path, log = random.Random(5), tmp_path / "store.duckdb", tmp_path / "store.duckdb.wal"
    write(path, keep_log=True)
    file, logged = path.read_bytes(), log.read_bytes()
    right = found_in(path)
    outcomes = []
    for _ in range(40):
        place = dice.randrange(len(logged))
        path.write_bytes(file)
        damaged_somewhere(log, logged, place, dice)
        found = found_in(path)
        outcomes.append((place, "told" if found is None else "whole" if found == right else "less"))
        log.unlink(missing_ok=True)
    assert {what for _, what in outcomes} <= {"told", "whole"}, outcomes


def test_a_store_cut_short_anywhere_is_told_or_lacks_nothing(tmp_path):
    path, dice = tmp_path / "store.duckdb", random.Random(6)
    write(path, keep_log=False)
    whole = path.read_bytes()
    right = found_in(path)
    for length in [*range(1, 40, 13), 4_096, HEADERS_BYTES, *(dice.randrange(len(whole)) for _ in range(12))]:
        path.write_bytes(whole[:length])
        with suppress(StoreUnreachable):
            assert found_in(path) in (None, right), length
        for beside in tmp_path.glob("store.duckdb?*"):
            beside.unlink()


@pytest.fixture
def read_only(tmp_path):
    """Return a function that makes a small disk read-only, for the superuser too."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"A small disk can't be mounted here (it needs the superuser): {mounted.stderr.decode().strip()}")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_can_only_be_read_is_told(read_only):
    place, protect = read_only
    write(place / "store.duckdb", keep_log=False)
    journal, blobs = SqliteJournal(place / "journal"), FileBlobs(place / "blobs")
    record = JournalRecord("r1", "done", "p", 1, 1, b"x")
    journal.sync(journal.append(record))
    journal.close()
    kept = blobs.put(b"kept")
    protect()
    before = {each.name for each in place.iterdir()}
    for path in (place / "store.duckdb", place / "new.duckdb", place / "folder" / "new.duckdb"):
        with pytest.raises(StoreUnreachable, match=r"(?i)read.only"):
            open_duckdb(path)
    with pytest.raises(StoreUnreachable, match=r"(?i)read.only"):
        blobs.put(b"new")
    assert blobs.get(kept) == b"kept"

    def use_journal():
        opened = SqliteJournal(place / "journal")
        try:
            opened.sync(opened.append(record))
        finally:
            opened.close()

    with pytest.raises(JournalBroken, match=r"(?i)read.?only|unable to open"):
        use_journal()
    assert {each.name for each in place.iterdir()} == before


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "x" * 300], ids=["NUL", "surrogate", "too long"])
def test_a_name_that_no_file_can_have_is_told(tmp_path, name):
    for opening in (open_duckdb, SqliteJournal):
        with pytest.raises(StoreError) as told:
            opening(tmp_path / name)
        assert "\x00" not in str(told.value)
        str(told.value).encode()


def test_a_file_where_the_folder_of_values_should_be_is_told(tmp_path):
    (tmp_path / "blobs").write_text("in the way")
    with pytest.raises(StoreUnreachable, match="blobs"):
        FileBlobs(tmp_path / "blobs").put(b"x")
    assert (tmp_path / "blobs").read_text() == "in the way"


def test_a_store_is_not_taken_for_a_journal_nor_a_journal_for_a_store(tmp_path):
    store, journal = tmp_path / "store.duckdb", tmp_path / "journal"
    catalog = open_duckdb(store)
    catalog.commit(InsertModel(model=model()))
    catalog.close()
    SqliteJournal(journal).close()
    before = (store.read_bytes(), journal.read_bytes())
    with pytest.raises(StoreCorrupted):
        open_duckdb(journal)
    with pytest.raises(JournalBroken):
        SqliteJournal(store)
    assert (store.read_bytes(), journal.read_bytes()) == before
