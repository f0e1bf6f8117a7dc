"""The journal in Postgres, between several programs: a run has one owner, and a dead one's runs fall free."""

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from engine.errors import JournalBroken
from engine.ports import JournalRecord
from engine.storage.journal_postgres import PostgresJournal
from tests.threads import together

ROOT = Path(__file__).parents[2]


@pytest.fixture
def opened(postgres_url):
    """Return a function that opens journals of the same database."""
    made = []

    def open_one(**options):
        made.append(PostgresJournal(postgres_url, **options))
        return made[-1]

    yield open_one
    for journal in made:
        journal.close()


def record(number=1, run="r1", body=b"{}"):
    return JournalRecord(run, "done", f"step-{number}", 1, number, body)


def raw(postgres, url, *statements):
    return postgres.run(*statements, database=url.rpartition("/")[2])


def has_run(journal, run):
    journal.sync(journal.append(record(run=run)))


def test_a_run_is_claimed_by_one(opened):
    first, second = opened(), opened()
    assert first.claim("r1")
    assert not second.claim("r1")
    assert first.claim("r1")
    assert second.claim("r2")
    first.forget("r1")
    assert second.claim("r1")


def test_the_claims_of_a_closed_journal_fall_free(opened):
    first, second = opened(), opened()
    assert first.claim("r1")
    first.close()
    assert second.claim("r1")


def test_the_claims_of_a_killed_program_fall_free_and_its_records_stay(postgres_url, opened):
    journal = opened()
    command = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.contract.test_postgres_journal import PostgresJournal, has_run\n"
        "journal = PostgresJournal(sys.argv[1]); has_run(journal, 'r1')\n"
        "print(journal.claim('r1'), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        assert child.stdout.readline() == b"True\n"
        assert not journal.claim("r1")
        assert journal.claim_next() is None
        child.kill()
        child.wait()
        until = time.monotonic() + 10
        while not journal.claim("r1"):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert journal.read("r1") == [record(run="r1")]
    assert journal.unfinished() == ["r1"]


def test_the_next_free_run_is_the_oldest_nobody_has(opened):
    first, second = opened(), opened()
    for run in ("r2", "r1", "r3"):
        has_run(first, run)
    assert first.claim("r2")
    assert second.claim_next() == "r1"
    assert first.claim_next() == "r3"
    assert (first.claim_next(), second.claim_next()) == (None, None)
    second.close()
    assert first.claim_next() == "r1"


def test_a_run_that_is_being_looked_at_is_passed_over(postgres, postgres_url, opened):
    journal = opened()
    for run in ("r1", "r2"):
        has_run(journal, run)
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT FROM treadle.journal_runs WHERE run = 'r1' FOR UPDATE")
        assert journal.claim_next() == "r2"
        assert journal.claim_next() is None
    assert journal.claim_next() == "r1"


def test_eight_ask_at_once_and_each_run_is_given_once(opened):
    journals = [opened() for _ in range(8)]
    for number in range(40):
        has_run(journals[0], f"r{number}")
    given = []

    def work(journal):
        while (run := journal.claim_next()) is not None:
            given.append(run)

    together(*(lambda journal=journal: work(journal) for journal in journals))
    assert sorted(given) == sorted(f"r{number}" for number in range(40))


def test_two_journals_append_to_one_run_without_losing_any(opened):
    first, second = opened(), opened()
    for number in range(200):
        first.append(record(number))
        second.append(record(number + 1_000, run="r2" if number % 2 else "r1"))
    first.sync(200)
    second.sync(200)
    assert (len(first.read("r1")), len(second.read("r1")), len(first.read("r2"))) == (300, 300, 100)


def test_organizations_see_only_their_own_runs(opened):
    here, there = opened(), opened(organization="acme")
    has_run(here, "r1")
    assert here.claim("r1")
    assert (there.unfinished(), there.read("r1"), there.claim_next()) == ([], [], None)
    assert there.claim("r1")
    there.forget("r1")
    assert here.read("r1") == [record(run="r1")]


def test_a_journal_that_lost_its_connection_writes_nothing_more(postgres, postgres_url, opened):
    journal, other = opened(), opened()
    has_run(journal, "r1")
    assert journal.claim("r1")
    owner = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1953655404 ORDER BY objid LIMIT 1"
    raw(postgres, postgres_url, f"SELECT pg_terminate_backend(({owner}))")
    with pytest.raises(JournalBroken):
        journal.sync(journal.append(record(2)))
    for use in (lambda: journal.append(record(3)), lambda: journal.read("r1"), lambda: journal.claim("r1")):
        with pytest.raises(JournalBroken):
            use()
    assert other.claim("r1")
    assert other.read("r1") == [record(run="r1")]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE treadle.journal_records SET body = 'x' WHERE position = 2", "record 2 of run r1 is damaged"),
        ("UPDATE treadle.journal_records SET attempt = 9 WHERE position = 3", "record 3 of run r1 is damaged"),
        ("DELETE FROM treadle.journal_records WHERE position = 2", "record 2 of run r1 is damaged"),
        ("DELETE FROM treadle.journal_records WHERE position > 3", "of the 5 records of run r1, those after 3"),
        ("DELETE FROM treadle.journal_records", "of the 5 records of run r1, those after 0"),
        ("UPDATE treadle.journal_runs SET crc = crc + 1", "of the 5 records"),
        ("UPDATE treadle.journal_runs SET run = 'r2'", "record 1 of run r2 is damaged"),
    ],
)
def test_damaged_records_are_told(postgres, postgres_url, opened, damage, words):
    journal = opened()
    for number in range(5):
        journal.append(record(number))
    assert len(journal.read("r1")) == 5
    raw(postgres, postgres_url, damage)
    with pytest.raises(JournalBroken, match=words):
        journal.read(journal.unfinished()[0])


def test_a_large_batch_is_written_in_parts(opened):
    journal = opened()
    for number in range(12_000):
        ticket = journal.append(record(number))
    journal.sync(ticket)
    assert [each.ts_us for each in journal.read("r1")] == list(range(12_000))
