"""Lost connections, a killed server, and what is the Neo4j journal's own: damage and claims."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from engine.domain.writes import InsertModel, Record, UpdateModel
from engine.errors import JournalBroken, StoreUnreachable
from engine.storage.neo4j import Neo4jJournal, open_neo4j
from tests import neo4j_servers
from tests.contract.samples import draft, everything, model
from tests.contract.test_journal import record
from tests.contract.test_neo4j_store import count_up, verified
from tests.servers_proxy import Proxy

ROOT = Path(__file__).parents[2]


# ---- lost connections ---------------------------------------------------------------------------------------------

COMMIT = b"\x00\x02\xb0\x12\x00\x00"
"""Bolt's message, in its chunk."""


@pytest.fixture
def proxy(neo4j_url):
    made = Proxy(neo4j_servers.neo4j().port)
    yield made
    made.close()


def through(proxy):
    return neo4j_servers.neo4j().url(port=proxy.port)


@pytest.mark.parametrize("answer_only", [False, True])
def test_a_commit_whose_answer_is_lost_is_done_once(proxy, answer_only):
    with closing(open_neo4j(through(proxy))) as catalog:
        catalog.commit(InsertModel(model=model()))
        for revision in range(1, 4):
            proxy.lose(COMMIT, answer_only=answer_only)
            (made,) = catalog.commit(
                UpdateModel(model=model(revision=revision), expected_revision=revision - 1),
                Record(draft=draft(revision)),
            )
            assert made.sequence == revision
            assert proxy.lost.is_set()
        assert (catalog.model("m1").revision, catalog.head().sequence) == (3, 3)
        assert verified(catalog).ok


@pytest.mark.parametrize("answer_only", [False, True])
def test_records_whose_answer_is_lost_are_kept_once(proxy, answer_only):
    with closing(Neo4jJournal(through(proxy))) as journal:
        for number in range(4):
            proxy.lose(COMMIT, answer_only=answer_only)
            journal.sync(journal.append(record(number)))
            assert proxy.lost.is_set()
        assert journal.read("r1") == [record(number) for number in range(4)]


@pytest.mark.slow
def test_a_killed_server_has_every_acknowledged_write_when_it_is_back(neo4j_url, tmp_path):
    neo4j_servers._hold(tmp_path / "users", fcntl.LOCK_SH)
    server = neo4j_servers.start(tmp_path)
    acknowledged, kept, stop = [], [], threading.Event()
    with closing(open_neo4j(server.url())) as catalog, closing(Neo4jJournal(server.url())) as journal:
        catalog.commit(InsertModel(model=everything().changed(description="")))

        def write():
            with suppress(StoreUnreachable):
                while not stop.is_set():
                    count_up(catalog, "m-all", 1)
                    acknowledged.append(catalog.head().sequence)

        def keep():
            with suppress(JournalBroken):
                while not stop.is_set():
                    journal.sync(journal.append(record(len(kept))))
                    kept.append(record(len(kept)))

        threads = [threading.Thread(target=work) for work in (write, keep)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        os.kill(neo4j_servers.java_of(tmp_path), signal.SIGKILL)
        neo4j_servers.start(tmp_path, port=server.port, password=server.password)
        stop.set()
        for thread in threads:
            thread.join()
    try:
        with closing(open_neo4j(server.url())) as catalog, closing(Neo4jJournal(server.url())) as journal:
            assert len(acknowledged) > 3
            assert len(kept) > 3
            assert catalog.head().sequence >= acknowledged[-1]
            assert catalog.model("m-all").revision == catalog.head().sequence + 7
            assert [number for number, _ in catalog.batches("m-all")][-1] == catalog.model("m-all").revision
            assert verified(catalog).ok
            assert journal.read("r1")[: len(kept)] == kept
    finally:
        os.kill(neo4j_servers.java_of(tmp_path), signal.SIGKILL)


# ---- the journal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "MATCH (c:JournalChunk {organization: 'local', number: 2}) DETACH DELETE c",
        "MATCH (c:JournalChunk {organization: 'local', number: 3}) DETACH DELETE c",
        "MATCH (c:JournalChunk {organization: 'local', number: 2}) SET c.data = 'text'",
        "MATCH (c:JournalChunk {organization: 'local', number: 2}) SET c.number = 4",
        "MATCH (r:JournalRun {organization: 'local'}) SET r.crc = 1",
        "MATCH (r:JournalRun {organization: 'local'}) SET r.records = 2",
        "MATCH (r:JournalRun {organization: 'local'}) SET r.run = 'r2'",
        """MATCH (a:JournalChunk {organization: 'local', number: 1})
        MATCH (b:JournalChunk {organization: 'local', number: 2})
        WITH a, b, a.data AS first SET a.data = b.data SET b.data = first""",
    ],
)
def test_a_damaged_journal_is_told(neo4j_url, damage):
    with closing(Neo4jJournal(neo4j_url)) as journal:
        for number in range(3):
            journal.sync(journal.append(record(number)))
        neo4j_servers.neo4j().run(damage)
        with pytest.raises(JournalBroken):
            journal.read("r1")


def test_a_run_whose_name_is_lost_is_told(neo4j_url):
    with closing(Neo4jJournal(neo4j_url)) as journal:
        journal.sync(journal.append(record(1)))
        neo4j_servers.neo4j().run("MATCH (r:JournalRun {organization: 'local'}) DETACH DELETE r")
        with pytest.raises(JournalBroken, match="lost or damaged"):
            journal.unfinished()


CLAIMER = """
import sys; sys.path.insert(0, {root!r})
from engine.storage.neo4j import Neo4jJournal
journal = Neo4jJournal(sys.argv[1])
print(journal.claim("r1"), flush=True)
sys.stdin.readline()
journal.close()
"""


def claiming(url):
    command = [sys.executable, "-c", CLAIMER.format(root=str(ROOT)), url]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_claim_is_the_other_programs_until_it_leaves(neo4j_url):
    with closing(Neo4jJournal(neo4j_url)) as journal, claiming(neo4j_url) as other:
        assert other.stdout.readline() == "True\n"
        assert not journal.claim("r1")
        assert journal.claim("r2")
        other.communicate("\n")
        assert journal.claim("r1")
        with closing(Neo4jJournal(neo4j_url)) as second:
            assert second.claim("r1")
        assert journal.claim("r1")
        with claiming(neo4j_url) as late:
            assert late.stdout.readline() == "False\n"
            late.communicate("\n")


def test_a_killed_programs_claim_is_free_when_it_was_not_seen_for_a_while(neo4j_url):
    with closing(Neo4jJournal(neo4j_url)) as journal, claiming(neo4j_url) as other:
        assert other.stdout.readline() == "True\n"
        other.kill()
        assert not journal.claim("r1")
        aged = "MATCH (o:JournalOwner {organization: 'local'}) SET o.seen_at = datetime() - duration({seconds: 31})"
        neo4j_servers.neo4j().run(aged)
        assert journal.claim("r1")
