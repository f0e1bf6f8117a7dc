"""What is Neo4j's own: several programs, commits seen piece by piece, lost connections, foreign organizations."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from engine.domain.nodes import Stage
from engine.domain.writes import InsertBatch, InsertModel, PutEntity, PutRun, PutSetting, PutSteps, Record, UpdateModel
from engine.errors import (
    JournalBroken,
    LedgerTampered,
    StaleRevision,
    StoreCorrupted,
    StoreNewer,
    StoreUnreachable,
)
from engine.ledger.verification import verify
from engine.storage.neo4j import Neo4jBlobs, Neo4jJournal, open_neo4j
from engine.storage.neo4j.schema import SCHEMA_VERSION
from tests import neo4j_servers
from tests.contract.samples import batch, draft, entities, everything, model, run, step
from tests.contract.test_journal import record
from tests.servers import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def catalog(neo4j_url):
    opened = open_neo4j(neo4j_url)
    yield opened
    opened.close()


def verified(catalog):
    with catalog.ledger() as (head, rows):
        return verify(rows, head)


def in_threads(*works):
    failures = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def count_up(catalog, key, times):
    """Raise a model's revision again and again; return how often another one came first."""
    stale = 0
    while times:
        old = catalog.model(key)
        new = old.changed(revision=old.revision + 1, description=str(int(old.description or 0) + 1))
        try:
            catalog.commit(
                UpdateModel(model=new, expected_revision=old.revision),
                InsertBatch(batch=batch(new.revision, of=key), revision=new.revision),
                Record(draft=draft(new.revision, entity=key)),
            )
            times -= 1
        except StaleRevision:
            stale += 1
    return stale


# ---- several writers ----------------------------------------------------------------------------------------------


def test_eight_writers_of_two_programs_on_several_models_and_on_one_lose_nothing(catalog, neo4j_url):
    with closing(open_neo4j(neo4j_url)) as other:
        for number in range(5):
            catalog.commit(InsertModel(model=model(number)))
        own = [lambda number=number: count_up(number % 2 and catalog or other, f"m{number}", 15) for number in range(4)]
        shared = [lambda number=number: count_up(number % 2 and catalog or other, "m4", 5) for number in range(4)]
        in_threads(*own, *shared)
        kept = [catalog.model(f"m{number}") for number in range(5)]
        assert [(each.revision, each.description) for each in kept] == [(15, "15")] * 4 + [(20, "20")]
        assert other.head().sequence == 80
        assert verified(other).ok


def test_a_reader_sees_a_model_as_one_commit_left_it(catalog, neo4j_url):
    def version_of(number):
        nodes = {f"n{each}": Stage(id=f"n{each}", name=f"Stage {number}") for each in range(40)}
        return model(nodes=nodes, revision=number, description=str(number))

    catalog.commit(InsertModel(model=version_of(0)))
    done = threading.Event()

    def write():
        for number in range(1, 31):
            catalog.commit(UpdateModel(model=version_of(number), expected_revision=number - 1))
        done.set()

    def read():
        with closing(open_neo4j(neo4j_url)) as other:
            while not done.is_set():
                found = other.model("m1")
                assert {node.name for node in found.nodes.values()} == {f"Stage {found.revision}"}

    in_threads(write, read, read)


def test_the_other_program_is_told_of_a_commit(catalog, neo4j_url):
    with closing(open_neo4j(neo4j_url)) as other:
        began = time.monotonic()
        writer = threading.Timer(0.1, lambda: other.commit(Record(draft=draft())))
        writer.start()
        assert catalog.wait(0, 20)
        assert time.monotonic() - began < 5
        writer.join()


# ---- one organization sees nothing of another ---------------------------------------------------------------------


def test_an_organization_sees_and_changes_nothing_of_another(catalog, neo4j_url):
    theirs = everything()
    catalog.commit(
        InsertModel(model=theirs), InsertBatch(batch=batch(of="m-all"), revision=1), PutRun(run=run()),
        PutSteps(steps=(step(),)), PutSetting(key="k", value=1), Record(draft=draft()),
        *(PutEntity(entity=entity) for entity in entities()),
    )  # fmt: skip
    before = catalog.describe()
    with closing(open_neo4j(neo4j_url, organization="other")) as other:
        assert (other.model("m-all"), other.model_named("everything"), other.run("r1")) == (None, None, None)
        assert (other.models(), other.nodes(), other.edges(), other.runs(), other.steps("r1")) == ([], [], [], [], [])
        assert (other.batches("m-all"), other.versions("m1"), other.entries(), other.settings()) == ([], [], [], {})
        assert all(other.entities(entity.kind) == [] for entity in entities())
        assert other.head().sequence == 0
        mine = theirs.changed(organization="other", revision=0)
        other.commit(
            InsertModel(model=mine), PutSetting(key="k", value=2), PutRun(run=run(status="failed")),
            PutSteps(steps=(step(status="failed"),)), Record(draft=draft()),
        )  # fmt: skip
        other.commit(UpdateModel(model=mine.changed(nodes={}, wires={}, dependencies={}, revision=1),
                                 expected_revision=0))  # fmt: skip
        Neo4jBlobs(other.database).put(b"theirs")
    assert catalog.model("m-all") == theirs
    assert (catalog.setting("k"), catalog.run("r1").status) == (1, "pending")
    assert {name: catalog.describe()[name] for name in ("models", "runs", "steps", "entries", "entities")} == {
        name: before[name] for name in ("models", "runs", "steps", "entries", "entities")
    }
    assert Neo4jBlobs(catalog.database).names() == []
    neo4j_servers.neo4j().run("MATCH (n {organization: 'other'}) DETACH DELETE n")


# ---- odd values and damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["`); DROP", "$organization", "{a: 1}", "k" * 1_000_000, "\u2028", "'\"\\"])
def test_odd_and_long_keys_are_kept(catalog, key):
    catalog.commit(PutSetting(key=key, value=[key]), PutSteps(steps=(step(key, node="n"),)))
    assert catalog.setting(key) == [key]
    assert [each.path for each in catalog.steps("r1")] == [key]


@pytest.mark.parametrize(
    "damage",
    [
        "MATCH (n:Node {organization: 'local', id: 'clean'}) SET n.body = replace(n.body, 'tables', 'tablez')",
        "MATCH (n:Node {organization: 'local', id: 'clean'}) DETACH DELETE n",
        "MATCH (:Node {organization: 'local'})-[e:WIRE]->() DELETE e",
        "MATCH (m:Model {organization: 'local'}) SET m.body = '{}'",
    ],
)
def test_a_damaged_model_is_told(catalog, damage):
    catalog.commit(InsertModel(model=everything()))
    neo4j_servers.neo4j().run(damage)
    with pytest.raises(StoreCorrupted, match="m-all are lost or altered"):
        catalog.model("m-all")


@pytest.mark.parametrize(
    ("tampered", "first_bad"),
    [
        ("MATCH (e:Entry {organization: 'local', sequence: 3}) SET e.actor = 'mallory'", 3),
        ("MATCH (e:Entry {organization: 'local', sequence: 3}) DETACH DELETE e", 3),
        ("MATCH (e:Entry {organization: 'local', sequence: 6}) DETACH DELETE e", 6),
        ("MATCH (h:LedgerHead {organization: 'local'}) SET h.mark = '5' + substring(h.mark, 1)", 6),
        ("MATCH (e:Entry {organization: 'local', sequence: 6}) SET e.sequence = 7", 6),
    ],
)
def test_a_tampered_ledger_is_found(catalog, tampered, first_bad):
    catalog.commit(*(Record(draft=draft(number)) for number in range(1, 7)))
    neo4j_servers.neo4j().run(tampered)
    assert (verified(catalog).ok, verified(catalog).first_bad) == (False, first_bad)


def test_a_ledger_without_its_head_is_not_begun_anew(catalog, neo4j_url):
    catalog.commit(Record(draft=draft()))
    neo4j_servers.neo4j().run("MATCH (h:LedgerHead {organization: 'local'}) DELETE h")
    for use in (catalog.head, lambda: catalog.commit(Record(draft=draft())), lambda: open_neo4j(neo4j_url)):
        with pytest.raises(LedgerTampered):
            use()


# ---- opening ------------------------------------------------------------------------------------------------------


def test_health_tells_latency_and_pool(catalog):
    facts = catalog.describe()
    assert (facts["kind"], facts["neo4j_edition"], facts["schema_version"]) == ("neo4j", "community", SCHEMA_VERSION)
    assert 0 < facts["latency_ms"] < 5_000
    assert facts["pool"]["in_use"] == 0
    assert facts["pool"]["idle"] >= 1
    assert neo4j_servers.neo4j().password not in str(facts)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"password": "wr0ng"}, "the password is wrong"),
        ({"user": "nobody"}, "does not let the user nobody in"),
        ({"database": "nothing"}, "has no database nothing"),
        ({"port": 1}, "no Neo4j server answers"),
    ],
)
def test_a_wrong_address_is_told_in_a_sentence_without_the_password(neo4j_url, change, says):
    url = neo4j_servers.neo4j().url(**change)
    for opening in (open_neo4j, Neo4jJournal):
        with pytest.raises(StoreUnreachable, match=says) as told:
            opening(url)
        assert neo4j_servers.neo4j().password not in str(told.value)
        assert "wr0ng" not in str(told.value)


@pytest.mark.parametrize("url", ["neo4j://", "bolt://[::1", "http://host", "neo4j://h:99999", "bolt://"])
def test_what_is_no_address_is_told(url):
    with pytest.raises(StoreUnreachable):
        open_neo4j(url)


def test_a_server_of_another_kind_is_told():
    def answer():
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(3):
            threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(StoreUnreachable, match="no Neo4j server"):
            open_neo4j(f"bolt://u:p@127.0.0.1:{listening.getsockname()[1]}")


def test_a_newer_schema_is_refused_and_left(catalog, neo4j_url):
    server = neo4j_servers.neo4j()
    server.run("MATCH (s:TreadleSchema) SET s.version = $version", version=SCHEMA_VERSION + 1)
    try:
        for opening in (open_neo4j, Neo4jJournal):
            with pytest.raises(StoreNewer, match=f"schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}"):
                opening(neo4j_url)
    finally:
        server.run("MATCH (s:TreadleSchema) SET s.version = $version", version=SCHEMA_VERSION)


def test_four_open_a_new_database_at_once(neo4j_url):
    server = neo4j_servers.neo4j()
    server.run("MATCH (s:TreadleSchema) DELETE s")
    opened = []
    in_threads(*[lambda: opened.append(open_neo4j(neo4j_url))] * 4)
    for each in opened:
        each.close()
    assert server.run("MATCH (s:TreadleSchema) RETURN s.version AS version") == [{"version": SCHEMA_VERSION}]


# ---- lost connections ---------------------------------------------------------------------------------------------

COMMIT = b"\x00\x02\xb0\x12\x00\x00"
"""Bolt's message, in its chunk."""


class Wire:
    """A wire to the server that can be cut: before the next COMMIT gets there, or before its answer comes back."""

    def __init__(self, port):
        self.cut = None
        self.cuts = 0
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near):
        with near, socket.create_connection(("127.0.0.1", self._port)) as far:
            threading.Thread(target=self._answer, args=(far, near), daemon=True).start()
            with suppress(OSError):
                while data := near.recv(65_536):
                    if COMMIT in data and self.cut is not None:
                        self._cut(data, near, far)
                        return
                    far.sendall(data)

    def _cut(self, data, near, far):
        how, self.cut = self.cut, None
        self.cuts += 1
        near.shutdown(socket.SHUT_RDWR)
        if how == "after":
            far.sendall(data)
            time.sleep(0.2)
        far.shutdown(socket.SHUT_RDWR)

    def _answer(self, far, near):
        with suppress(OSError):
            while data := far.recv(65_536):
                near.sendall(data)


@contextmanager
def wire():
    server = neo4j_servers.neo4j()
    with closing(Wire(server.port)) as made:
        yield made, server.url(port=made.port)


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_done_once(neo4j_url, cut):
    with wire() as (cable, url), closing(open_neo4j(url)) as catalog:
        catalog.commit(InsertModel(model=model()))
        for revision in range(1, 4):
            cable.cut = cut
            (made,) = catalog.commit(
                UpdateModel(model=model(revision=revision), expected_revision=revision - 1),
                Record(draft=draft(revision)),
            )
            assert made.sequence == revision
        assert cable.cuts == 3
        assert (catalog.model("m1").revision, catalog.head().sequence) == (3, 3)
        assert verified(catalog).ok


@pytest.mark.parametrize("cut", ["before", "after"])
def test_records_whose_answer_is_lost_are_kept_once(neo4j_url, cut):
    with wire() as (cable, url), closing(Neo4jJournal(url)) as journal:
        for number in range(4):
            cable.cut = cut
            journal.sync(journal.append(record(number)))
        assert cable.cuts == 4
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
        "MATCH (a:JournalChunk {organization: 'local', number: 1}) "
        "MATCH (b:JournalChunk {organization: 'local', number: 2}) "
        "WITH a, b, a.data AS first SET a.data = b.data SET b.data = first",
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


def test_a_port_where_nobody_listens_is_told_soon():
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match="no Neo4j server answers"):
        open_neo4j(f"bolt://u:p@127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 30
