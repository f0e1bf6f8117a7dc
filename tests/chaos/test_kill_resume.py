"""kill -9 at random moments of a run, then resume: no completed effect is repeated, none is lost.

A witness outside the engine counts: each effect appends a line to a file and syncs it. After every kill the journal
says which steps were complete at that moment; their lines must never grow again.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import engine
from engine.execution.records import recover
from engine.storage.journal_postgres import PostgresJournal
from engine.storage.journal_sqlite import SqliteJournal
from tests.chaos.nursery import Nursery
from tests.servers import PostgresServer

EFFECTS = 24
AT_ONCE = 5  # four of the parallel stage and one of the sequential


class Place(NamedTuple):
    """Where a run is kept: the URL of its store, and its journal."""

    url: str
    open_journal: Callable[[], SqliteJournal | PostgresJournal]


Places = Callable[[Path], AbstractContextManager[Place]]
"""Makes a new store for each run."""


@contextmanager
def files(folder: Path) -> Iterator[Place]:
    """DuckDB with its journal in SQLite."""
    yield Place(f"duckdb:///{folder / 'store.duckdb'}", lambda: SqliteJournal(folder / "store.duckdb.journal"))


def databases(server: PostgresServer, template: str) -> Places:
    """Databases of a Postgres server, each a copy of the template."""

    @contextmanager
    def made(folder: Path) -> Iterator[Place]:
        del folder
        name = server.new_database(like=template)
        yield Place(server.url(name), lambda: PostgresJournal(server.url(name)))
        server.drop(name)

    return made


def test_twenty_kills_repeat_and_lose_nothing(tmp_path):
    kill_until(tmp_path, files, moments=20, seed=20_261)


def test_ten_kills_of_a_client_of_postgres_repeat_and_lose_nothing(tmp_path, postgres, postgres_template):
    kill_until(tmp_path, databases(postgres, postgres_template), moments=10, seed=20_263)


@pytest.mark.ci
def test_a_hundred_kills_repeat_and_lose_nothing(tmp_path):
    kill_until(tmp_path, files, moments=100, seed=20_264)


@pytest.mark.ci
def test_a_hundred_kills_of_a_client_of_postgres_repeat_and_lose_nothing(tmp_path, postgres, postgres_template):
    kill_until(tmp_path, databases(postgres, postgres_template), moments=100, seed=20_265)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_thousand_kills_repeat_and_lose_nothing(tmp_path):
    kill_until(tmp_path, files, moments=1_000, seed=20_262)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_thousand_kills_of_a_client_of_postgres_repeat_and_lose_nothing(tmp_path, postgres, postgres_template):
    kill_until(tmp_path, databases(postgres, postgres_template), moments=1_000, seed=20_266)


def kill_until(folder: Path, places: Places, *, moments: int, seed: int) -> None:
    """Kill runs, one after the other, until so many kills are done."""
    began, dice, kills, rounds = time.monotonic(), random.Random(seed), 0, 0
    nursery = Nursery("tests.chaos.witnessed_run")
    try:
        while kills < moments:
            rounds += 1
            own = folder / f"round-{rounds}"
            own.mkdir()
            with places(own) as place:
                kills += _one_run(nursery, own, place, dice)
    finally:
        nursery.close()
    print(f"{kills} kills of {rounds} runs in {time.monotonic() - began:.1f} s")


def _one_run(nursery: Nursery, folder: Path, place: Place, dice: random.Random) -> int:
    """Kill one run again and again until it gets through; return how often it was killed."""
    witness = folder / "witness.txt"
    kills, complete = 0, Counter[str]()
    while True:
        nursery.begin(f"{folder}\t{place.url}")
        nursery.wait_for("started")
        code = nursery.kill_after(dice.uniform(0.0, 0.3))
        written = witness.read_text().splitlines() if witness.exists() else []
        lines = Counter(line.split(" ")[1] for line in written)
        for path, count in complete.items():
            assert lines[path] == count, f"{path} was complete and was done again"
        if code == 0:
            _check_end(folder, place, lines, kills)
            return kills
        assert code == -signal.SIGKILL
        kills += 1
        done = _complete_paths(place)
        complete = Counter({path: lines[path] for path in done if path.startswith("effect")})
        assert all(lines[path] >= 1 for path in complete), "the journal says complete, but the effect is lost"


def _complete_paths(place: Place) -> set[str]:
    journal = place.open_journal()
    try:
        _until_free(journal)
        return {path for run in journal.unfinished() for path in recover(journal.read(run)).done}
    finally:
        journal.close()


def _until_free(journal: SqliteJournal | PostgresJournal) -> None:
    """Return once nobody has a run any more: a server tells nobody when it has seen the end of a killed client."""
    until = time.monotonic() + 60
    while journal.held():
        assert time.monotonic() < until
        time.sleep(0.005)


def _check_end(folder: Path, place: Place, lines: Counter[str], kills: int) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert result == {"status": "succeeded", "total": sum(range(EFFECTS))}
    assert set(lines) == {f"effect-{number}" for number in range(EFFECTS)}
    assert sum(lines.values()) <= EFFECTS + AT_ONCE * kills, "more attempts than kills can explain"
    with engine.open(place.url) as opened:
        assert opened.ledger.verify().ok
        steps = opened.runs.steps(opened.runs.list()[0].id)
        assert all(step.status == "succeeded" for step in steps)
        assert opened.runs.interrupted() == []
