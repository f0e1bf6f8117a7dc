"""kill -9 at random moments of mixed writing: what was acknowledged is there, a commit as a whole or not at all.

The program that writes is `mixed_writing`. After each kill the store is opened again and compared with what the same
commits make in memory; then it takes further writes, and the next kill follows.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

import psycopg
import pytest

from engine.domain.entities import Kind
from engine.domain.events import Entry
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.errors import StoreUnreachable
from engine.ledger.verification import verify
from engine.ports import Catalog
from engine.wiring import Stores
from tests.chaos.mixed_writing import (
    LANES,
    Expected,
    do_next,
    journal_next,
    open_at,
    position_of,
    record_of,
    records_in,
)
from tests.chaos.nursery import Nursery
from tests.servers import PostgresServer, kill_postgres, new_folder, postmaster_of, restart_postgres, start_postgres

MOMENTS_OF_A_STORE = 13
"""Then another one: the comparison takes the whole store."""
ALL = 1_000_000
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One process with everything imported for all tests here."""
    made = Nursery("tests.chaos.mixed_writing")
    yield made
    made.close()


class Kills(NamedTuple):
    """How many there were, and what was acknowledged before them."""

    moments: int
    commits: int
    records: int

    def __add__(self, other: Kills) -> Kills:  # type: ignore[override]
        return Kills(*(one + another for one, another in zip(self, other, strict=True)))


class Store:
    """A store that is written by one child after the other, and what has to be in it."""

    def __init__(self, nursery: Nursery, url: str, home: Path, dice: random.Random) -> None:
        self._nursery, self._url, self._home, self._dice = nursery, url, home, dice
        self._expected = Expected()
        self._commits = dict.fromkeys(LANES, 0)
        self._records = 0

    def begin(self) -> None:
        """Let a child write."""
        order = {"url": self._url, "home": str(self._home), "often": self._dice.random() < 0.5}
        self._nursery.begin(json.dumps(order))

    def kill_once(self) -> Kills:
        """Kill a child at a random moment: at any of its opening, or of its writing."""
        self.begin()
        if self._dice.random() < 0.8:
            self._nursery.wait_for("lane")
        code = self._nursery.kill_after(self._dice.uniform(0, 0.15))
        assert code == -signal.SIGKILL, self._nursery.lines[-1:]
        return self.note(1)

    def note(self, moments: int) -> Kills:
        """Take down what the child was told is done."""
        before = (sum(self._commits.values()), self._records)
        for line in self._nursery.lines:
            match line.split():
                case ["lane", lane, position]:
                    self._commits[LANES[int(lane)]] = int(position)
                case ["journal", number]:
                    self._records = int(number)
        return Kills(moments, sum(self._commits.values()) - before[0], self._records - before[1])

    def check(self) -> None:
        """Open the store and look at everything in it, then write a little more."""
        stores = open_at(self._url, str(self._home))
        try:
            self._check_catalog(stores.catalog)
            self._check_blobs(stores)
            there = records_in(stores)
            assert there >= self._records, "acknowledged records are lost"
            for lane in LANES:
                self._commits[lane] = do_next(stores.catalog, stores.blobs, lane)
                self._expected.advance(lane, self._commits[lane])
            self._records = journal_next(stores, there)
            assert stores.journal.claim(record_of(there).run)
        finally:
            stores.close()

    def _check_catalog(self, catalog: Catalog) -> None:
        for lane in LANES:
            there = position_of(catalog, lane)
            acknowledged = self._commits[lane]
            assert acknowledged <= there <= acknowledged + 1, f"{lane}: {acknowledged} acknowledged, {there} there"
            self._expected.advance(lane, there)
        assert content_of(catalog) == content_of(self._expected.catalog)
        with catalog.ledger() as (head, rows):
            found = verify(rows, head)
        assert found.ok, found.reason

    def _check_blobs(self, stores: Stores) -> None:
        for sha256 in self._expected.blobs.names():
            assert stores.blobs.get(sha256) == self._expected.blobs.get(sha256)


def content_of(catalog: Catalog) -> dict[str, object]:
    """Return all that a catalog holds; the ledger by lane, whose order among each other is nobody's."""
    rows = [*catalog.models(ModelQuery(limit=ALL)), *catalog.models(ModelQuery(deleted=True, limit=ALL))]
    models = sorted(row.id for row in rows)
    runs = [run.id for run in catalog.runs(RunQuery(limit=ALL))]
    return {
        "rows": rows,
        "models": [catalog.model(key) for key in models],
        "edits": [catalog.batches(key) for key in models],
        "versions": [catalog.versions(key) for key in models],
        "nodes": catalog.nodes(NodeQuery(limit=ALL)),
        "edges": catalog.edges(EdgeQuery(limit=ALL)),
        "runs": [catalog.run(key) for key in runs],
        "steps": [catalog.steps(key) for key in runs],
        "entities": [catalog.entities(EntityQuery(kind=kind, limit=ALL)) for kind in get_args(Kind)],
        "settings": catalog.settings(),
        "ledger": {
            lane: [_told(entry) for entry in catalog.entries(EntryQuery(actor=lane, limit=ALL))] for lane in LANES
        },
        "length": catalog.head().sequence,
    }


def _told(entry: Entry) -> tuple[object, ...]:
    return (entry.ts, entry.action, entry.entity_kind, entry.entity, entry.patch)


def kill_files(nursery: Nursery, folder: Path, moments: int, seed: int) -> Kills:
    """Kill the writer of DuckDB stores with their journals."""
    done, dice = Kills(0, 0, 0), random.Random(seed)
    while done.moments < moments:
        place = folder / f"{done.moments}"
        store = Store(nursery, f"duckdb:///{place / 'store.duckdb'}", place, dice)
        for _ in range(min(MOMENTS_OF_A_STORE, moments - done.moments)):
            done += store.kill_once()
            store.check()
    return done


def kill_clients(nursery: Nursery, server: PostgresServer, template: str, home: Path, moments: int, seed: int) -> Kills:
    """Kill the program that writes to databases of a server."""
    done, dice = Kills(0, 0, 0), random.Random(seed)
    while done.moments < moments:
        with a_database(server, template) as name:
            store = Store(nursery, server.url(name), home, dice)
            for _ in range(min(MOMENTS_OF_A_STORE, moments - done.moments)):
                done += store.kill_once()
                wait_until(lambda name=name: server.run(_OTHERS, database=name) == [(0,)])
                store.check()
    return done


@contextmanager
def a_database(server: PostgresServer, template: str) -> Iterator[str]:
    name = server.new_database(like=template)
    yield name
    server.drop(name)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Ask until it is so: the server tells nobody when it has seen the end of a killed client."""
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.ci
def test_a_killed_program_leaves_its_files_whole(nursery, tmp_path):
    done = kill_files(nursery, tmp_path, 25, seed=31)
    assert done.moments == 25
    assert min(done.commits, done.records) > 15


@pytest.mark.ci
def test_a_killed_program_leaves_its_database_whole(nursery, postgres, postgres_template, tmp_path):
    done = kill_clients(nursery, postgres, postgres_template, tmp_path, 25, seed=32)
    assert done.moments == 25
    assert min(done.commits, done.records) > 15


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_two_hundred_kills_leave_files_whole(nursery, tmp_path):
    done = kill_files(nursery, tmp_path, 200, seed=33)
    print(f"DuckDB and SQLite: {done}")
    assert done.moments == 200


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_two_hundred_kills_leave_databases_whole(nursery, postgres, postgres_template, tmp_path):
    done = kill_clients(nursery, postgres, postgres_template, tmp_path, 200, seed=34)
    print(f"Postgres: {done}")
    assert done.moments == 200


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_killed_server_leaves_its_database_whole(nursery, tmp_path):
    """Kill one process of the server, which then recovers by itself, or all of them, and start it again."""
    folder, dice, done = new_folder(), random.Random(35), Kills(0, 0, 0)
    server = start_postgres(folder, fsync=True)
    store = Store(nursery, server.url(), tmp_path, dice)
    for number in range(24):
        store.begin()
        nursery.wait_for("lane")
        nursery.kill_after(dice.uniform(0, 0.2)) if number % 6 == 5 else time.sleep(dice.uniform(0, 0.2))
        if number % 2:
            kill_postgres(folder)
            restart_postgres(folder, server)
        else:
            dice.choice(postmaster_of(folder).children()).kill()
        assert nursery.end() in (3, -signal.SIGKILL), nursery.lines[-1:]
        wait_until(lambda: answers(server))
        done += store.note(1)
        store.check()
    print(f"Postgres, its server killed: {done}")
    assert done.commits > 100


def answers(server: PostgresServer) -> bool:
    """Say whether the server takes connections, and nobody else has one."""
    try:
        return server.run(_OTHERS) == [(0,)]
    except (psycopg.Error, StoreUnreachable):
        return False
