"""What is Neo4j's own: several programs, commits seen piece by piece, lost connections, foreign organizations."""

import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from engine.domain.nodes import Stage
from engine.domain.queries import EntityQuery, ModelQuery
from engine.domain.writes import InsertBatch, InsertModel, PutEntity, PutRun, PutSetting, PutSteps, Record, UpdateModel
from engine.errors import (
    LedgerTampered,
    StaleRevision,
    StoreCorrupted,
    StoreNewer,
    StoreUnreachable,
)
from engine.storage.neo4j import Neo4jBlobs, Neo4jJournal, open_neo4j
from engine.storage.neo4j.schema import SCHEMA_VERSION
from tests import neo4j_servers
from tests.contract.laws import verified
from tests.contract.samples import batch, draft, entities, everything, model, run, step
from tests.servers import free_port
from tests.threads import together

ROOT = Path(__file__).parents[2]


@pytest.fixture
def catalog(neo4j_url):
    opened = open_neo4j(neo4j_url)
    yield opened
    opened.close()


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
        programs = [catalog, other] * 2
        own = [lambda at=at, by=by: count_up(by, f"m{at}", 15) for at, by in enumerate(programs)]
        together(*own, *(lambda by=by: count_up(by, "m4", 5) for by in programs))
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

    together(write, read, read)


def test_the_other_program_is_told_of_a_commit(catalog, neo4j_url):
    with closing(open_neo4j(neo4j_url)) as other:
        began = time.monotonic()
        writer = threading.Timer(0.1, lambda: other.commit(Record(draft=draft())))
        writer.start()
        assert catalog.news(0, 20)
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
        assert all(other.entities(EntityQuery(kind=entity.kind)) == [] for entity in entities())
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


def test_a_store_of_the_first_schema_is_brought_up_to_date(catalog, neo4j_url):
    kept = [model(number) for number in range(3)]
    catalog.commit(*(InsertModel(model=each) for each in kept))
    server = neo4j_servers.neo4j()
    back = (
        "MATCH (t:SearchText)-[:FINDS]->(m) SET m.search = t.text, m.node_search = '' DETACH DELETE t",
        "DROP CONSTRAINT treadle_searchtext_organization_model",
        "MATCH (s:TreadleSchema) SET s.version = 1",
    )
    for statement in back:
        server.run(statement)
    again = open_neo4j(neo4j_url)
    assert [row.id for row in again.models(ModelQuery(text="model 1"))] == ["m1"]
    again.commit(UpdateModel(model=kept[1].changed(name="Renamed"), expected_revision=0))
    assert [row.id for row in again.models(ModelQuery(text="model"))] == ["m2", "m0"]
    again.close()
    assert server.run("MATCH (m:Model) WHERE m.search IS NOT NULL RETURN m.id") == []
    assert server.run("MATCH (s:TreadleSchema) RETURN s.version AS version") == [{"version": SCHEMA_VERSION}]


def test_four_open_a_new_database_at_once(neo4j_url):
    server = neo4j_servers.neo4j()
    server.run("MATCH (s:TreadleSchema) DELETE s")
    opened = []
    together(*[lambda: opened.append(open_neo4j(neo4j_url))] * 4)
    for each in opened:
        each.close()
    assert server.run("MATCH (s:TreadleSchema) RETURN s.version AS version") == [{"version": SCHEMA_VERSION}]


def test_a_port_where_nobody_listens_is_told_soon():
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match="no Neo4j server answers"):
        open_neo4j(f"bolt://u:p@127.0.0.1:{free_port()}")
    assert time.monotonic() - began < 30
