"""A process killed while it makes a store leaves one that opens, or none. While it writes: tests/chaos."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import StoreCorrupted
from engine.storage.sql.duckdb import open_duckdb

ROOT = Path(__file__).parents[2]


def start(work, path):
    """Run one of the functions here in a process of its own. Without pandas, which DuckDB imports if it is there."""
    command = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['pandas'] = None\n"
        f"from tests.contract.test_duckdb_crash import {work.__name__} as work; print(0, flush=True); work(sys.argv[1])"
    )
    return subprocess.Popen([sys.executable, "-c", command, path], stdout=subprocess.PIPE, cwd=ROOT)


@pytest.mark.ci
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
