"""kill -9 at random moments of a run, then resume: no completed effect is repeated, none is lost.

A witness outside the engine counts: each effect appends a line to a file and syncs it. After every kill the journal
says which steps were complete at that moment; their lines must never grow again.
"""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

import engine
from engine.execution.records import recover
from engine.storage.journal_sqlite import SqliteJournal
from tests.chaos.nursery import Nursery

EFFECTS = 24
AT_ONCE = 5  # four of the parallel stage and one of the sequential


def test_fifty_kills_repeat_and_lose_nothing(tmp_path: Path) -> None:
    _kill_until(tmp_path, moments=50, seed=20_261)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_thousand_kills_repeat_and_lose_nothing(tmp_path: Path) -> None:
    _kill_until(tmp_path, moments=1_000, seed=20_262)


def _kill_until(folder: Path, *, moments: int, seed: int) -> None:
    dice, kills, rounds, nursery = random.Random(seed), 0, 0, Nursery("tests.chaos.witnessed_run")
    try:
        while kills < moments:
            rounds += 1
            kills += _one_run(nursery, folder / f"round-{rounds}", dice)
    finally:
        nursery.close()
    assert kills >= moments


def _one_run(nursery: Nursery, folder: Path, dice: random.Random) -> int:
    """Kill one run again and again until it gets through; return how often it was killed."""
    folder.mkdir()
    witness = folder / "witness.txt"
    kills, complete = 0, Counter[str]()
    while True:
        nursery.begin(str(folder))
        nursery.wait_for("started")
        code = nursery.kill_after(dice.uniform(0.0, 0.3))
        written = witness.read_text().splitlines() if witness.exists() else []
        lines = Counter(line.split(" ")[1] for line in written)
        for path, count in complete.items():
            assert lines[path] == count, f"{path} was complete and was done again"
        if code == 0:
            _check_end(folder, lines, kills)
            return kills
        assert code == -signal.SIGKILL
        kills += 1
        done = _complete_paths(folder)
        complete = Counter({path: lines[path] for path in done if path.startswith("effect")})
        assert all(lines[path] >= 1 for path in complete), "the journal says complete, but the effect is lost"


def _complete_paths(folder: Path) -> set[str]:
    journal = SqliteJournal(folder / "store.duckdb.journal")
    try:
        return {path for run in journal.unfinished() for path in recover(journal.read(run)).done}
    finally:
        journal.close()


def _check_end(folder: Path, lines: Counter[str], kills: int) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert result == {"status": "succeeded", "total": sum(range(EFFECTS))}
    assert set(lines) == {f"effect-{number}" for number in range(EFFECTS)}
    assert sum(lines.values()) <= EFFECTS + AT_ONCE * kills, "more attempts than kills can explain"
    with engine.open(f"duckdb:///{folder / 'store.duckdb'}") as opened:
        assert opened.ledger.verify().ok
        steps = opened.runs.steps(opened.runs.list()[0].id)
        assert all(step.status == "succeeded" for step in steps)
        assert opened.runs.interrupted() == []
