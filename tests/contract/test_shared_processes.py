"""One file and several real processes: they see each other's changes, and a dead owner is followed by the next one."""

import random
from contextlib import contextmanager
from threading import Thread

import pytest

from engine.ledger.verification import verify
from engine.ports import JournalRecord
from engine.storage.blobs import FileBlobs
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.shared import sidecar
from engine.storage.shared.catalog import open_shared
from tests.contract import agents


@contextmanager
def processes(number):
    found = [agents.Agent() for _ in range(number)]
    try:
        yield found
    finally:
        for agent in reversed(found):
            agent.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.duckdb"


def test_two_programs_see_each_others_changes(path):
    with processes(2) as (first, second):
        assert [each.ask(agents.open_, path) for each in (first, second)] == [first.pid, first.pid]
        made = second.ask(agents.insert, path, 1)
        assert [entry.sequence for entry in made] == [1]
        first.ask(agents.insert, path, 2)
        assert first.ask(agents.names, path) == second.ask(agents.names, path) == ["Model 1", "Model 2"]
        assert first.ask(agents.head, path) == second.ask(agents.head, path) == 2


def test_both_programs_wait_for_news(path):
    with processes(2) as (first, second):
        for one in (first, second):
            one.ask(agents.open_, path)
        for waiting, other in ((first, second), (second, first)):
            before = other.ask(agents.head, path)
            waiting.tell(agents.news, path, before, 30)
            other.ask(agents.insert, path, before)
            assert waiting.answer() == [before + 1]
            assert waiting.ask(agents.news, path, before + 1, 0) == []


def test_an_owner_that_closes_hands_over(path):
    with processes(3) as (first, second, third):
        for one in (first, second):
            one.ask(agents.open_, path)
        second.tell(agents.news, path, 0, 30)
        first.ask(agents.close, path)
        assert third.ask(agents.open_, path) in (second.pid, third.pid)
        third.ask(agents.insert, path, 1)
        assert second.answer() == [1]
        assert second.ask(agents.names, path) == ["Model 1"]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.ci
def test_ten_killed_owners_lose_and_repeat_no_commit_of_their_clients(path):
    _kill(path, rounds=10, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_two_hundred_killed_owners_lose_and_repeat_no_commit_of_their_clients(path):
    _kill(path, rounds=200, seed=4)


def _kill(path, *, rounds, seed):
    """Kill the owner while its client commits, then the client, which owns by then, while it does the same."""
    dice = random.Random(seed)
    owner = agents.Agent()
    assert owner.ask(agents.open_, path) == owner.pid
    for number in range(rounds):
        client, third = agents.Agent(), agents.Agent()
        assert client.ask(agents.open_, path) == owner.pid
        client.tell(agents.commit_on, path, number)
        told = [client.answer() for _ in range(dice.randint(2, 12))]
        owner.kill()
        told += [client.answer() for _ in range(dice.randint(1, 12))]
        assert third.ask(agents.open_, path) == client.pid
        told += client.kill()
        acknowledged = [revision for revision in told if revision]
        third.ask(agents.head, path)
        _check(path, number, acknowledged)
        assert third.ask(agents.owner, path) == third.pid
        owner = third
    owner.close()


def _check(path, number, acknowledged):
    catalog = open_shared(path)
    try:
        kept = [revision for revision, _ in catalog.batches(f"m-{number}")]
        with catalog.ledger() as (head, rows):
            found = list(rows)
        assert acknowledged == list(range(1, len(acknowledged) + 1))
        assert kept == list(range(1, len(kept) + 1))
        assert len(acknowledged) <= len(kept) <= len(acknowledged) + 1
        assert catalog.model(f"m-{number}").revision == len(kept)
        mine = [row.request for row in found if row.entity == f"m-{number}"]
        assert mine == [f"{number}-{revision}" for revision in kept]
        assert verify(iter(found), head).ok
    finally:
        catalog.close()


def test_who_waits_while_the_owner_dies_hears_of_the_next_owners_news(path):
    with processes(2) as (first, second):
        first.ask(agents.open_, path)
        catalog = open_shared(path)
        assert second.ask(agents.open_, path) == first.pid
        heard = []
        thread = Thread(target=lambda: heard.extend(catalog.news(0, 30)))
        thread.start()
        first.kill()
        second.ask(agents.insert, path, 1)
        thread.join()
        assert [entry.sequence for entry in heard] == [1]
        catalog.close()


def test_a_fork_of_the_owner_works_through_it_and_takes_nothing_away(path):
    with processes(2) as (first, second):
        first.ask(agents.open_, path)
        first.ask(agents.insert, path, 1)
        before = sidecar.read(sidecar.place_of(path))
        assert first.ask(agents.fork, path) == f"{first.pid} 1"
        assert sidecar.read(sidecar.place_of(path)) == before
        assert second.ask(agents.open_, path) == first.pid
        assert second.ask(agents.fork, path) == f"{first.pid} 1"
        second.ask(agents.insert, path, 2)
        assert first.ask(agents.names, path) == ["Model 1", "Model 2"]


def test_journal_and_blobs_are_opened_by_each_program_itself(path):
    record = JournalRecord("r1", "started", "", 1, 1, b"{}")
    with processes(1) as (other,):
        assert other.ask(agents.journal_append, path, record)
        journal = SqliteJournal(f"{path}.journal")
        assert (journal.read("r1"), journal.unfinished()) == ([record], ["r1"])
        assert not journal.claim("r1")
        name = other.ask(agents.blob_put, path, b"large")
        assert FileBlobs(f"{path}.blobs").get(name) == b"large"
        journal.sync(journal.append(record._replace(run="r2")))
        assert journal.unfinished() == ["r1", "r2"]
        other.kill()
        assert journal.claim("r1")
        journal.close()
