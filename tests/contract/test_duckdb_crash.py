"""A process killed at any moment leaves a store that opens, verifies and has every commit it was told of."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.domain.writes import InsertBatch, InsertModel, PutRun, PutSteps, Record, UpdateModel
from engine.errors import StoreCorrupted
from engine.ledger.verification import verify
from engine.storage.sql.duckdb import open_duckdb
from tests.contract.samples import batch, draft, everything, run, step

ROOT = Path(__file__).parents[2]
KILLS = 20


def write_on(path):
    """Commit again and again and print each revision once it is acknowledged: what the child process does."""
    catalog = open_duckdb(path)
    old = catalog.model("m-all")
    if old is None:
        old = everything()
        catalog.commit(InsertModel(model=old))
    while True:
        number = old.revision + 1
        new = old.changed(revision=number, description=str(number))
        catalog.commit(
            UpdateModel(model=new, expected_revision=old.revision),
            InsertBatch(batch=batch(number, of="m-all"), revision=number),
            PutRun(run=run(number)),
            PutSteps(steps=tuple(step(f"s{each}", of=f"r{number}", started=each) for each in range(5))),
            Record(draft=draft(number)),
        )
        print(number, flush=True)
        old = new


def start(work, path):
    """Run one of the functions here in a process of its own. Without pandas, which DuckDB imports if it is there."""
    command = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['pandas'] = None\n"
        f"from tests.contract.test_duckdb_crash import {work.__name__} as work; print(0, flush=True); work(sys.argv[1])"
    )
    return subprocess.Popen([sys.executable, "-c", command, path], stdout=subprocess.PIPE, cwd=ROOT)


def run_and_kill(path, after_s, *, while_opening):
    with start(write_on, path) as process:
        lines = [process.stdout.readline()]
        if not while_opening:
            lines.append(process.stdout.readline())
        time.sleep(after_s)
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
    return max(int(line) for line in lines if line.endswith(b"\n"))


def test_twenty_kills_lose_no_acknowledged_commit(tmp_path):
    path, chance = tmp_path / "store.duckdb", random.Random(20)
    for number in range(KILLS):
        acknowledged = run_and_kill(path, chance.uniform(0, 0.1), while_opening=number % 4 == 3)
        catalog = open_duckdb(path)
        kept = catalog.model("m-all")
        assert kept.revision >= acknowledged
        assert kept.description == str(kept.revision)
        assert [revision for revision, _ in catalog.batches("m-all")] == list(range(8, kept.revision + 1))
        assert len(catalog.steps(f"r{kept.revision}")) == 5
        assert catalog.run(f"r{kept.revision}") is not None
        with catalog.ledger() as (head, rows):
            found = verify(rows, head)
        assert (found.ok, found.entries) == (True, kept.revision - 7)
        catalog.close()


def test_a_kill_while_the_store_is_made_leaves_one_or_none(tmp_path):
    chance = random.Random(7)
    for number in range(6):
        path = tmp_path / f"store{number}.duckdb"
        with start(open_duckdb, path) as process:
            assert process.stdout.readline()
            time.sleep(chance.uniform(0, 0.08))
            process.kill()
        try:
            open_duckdb(path).close()
        except StoreCorrupted:
            pytest.fail("what the kill left does not open")
