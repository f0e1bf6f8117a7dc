"""A line to the server that breaks at any read, before the server hears of it or before its answer: asked once more."""

import pytest

from engine.domain.writes import InsertModel, PutEntity, PutRun, PutSetting, PutSteps, Record
from engine.storage.neo4j import open_neo4j
from engine.storage.sql.postgres import open_postgres
from tests import neo4j_servers
from tests.contract.samples import draft, entities, everything, run, step
from tests.contract.test_catalog_odd_texts import ways_to_ask
from tests.servers_proxy import Proxy

ANYTHING = b""


@pytest.fixture(params=["postgres", pytest.param("neo4j", marks=pytest.mark.ci)])
def line(request):
    """Return a catalog and the line to its server."""
    if request.param == "neo4j":
        request.getfixturevalue("neo4j_url")
        server = neo4j_servers.neo4j()
        proxy = Proxy(server.port)
        opened = open_neo4j(server.url(port=proxy.port))
    else:
        database = request.getfixturevalue("postgres_url").rpartition("/")[2]
        server = request.getfixturevalue("postgres")
        proxy = Proxy(server.port)
        opened = open_postgres(server.url(database, port=proxy.port))
    yield opened, proxy
    opened.close()
    proxy.close()


@pytest.mark.parametrize("answer_only", [False, True])
def test_every_read_is_answered_all_the_same(line, answer_only):
    catalog, proxy = line
    catalog.commit(
        InsertModel(model=everything()),
        PutRun(run=run(1)),
        PutSteps(steps=(step("a", started=1),)),
        PutSetting(key="m-all", value=1),
        *(PutEntity(entity=each) for each in entities()),
        Record(draft=draft()),
    )
    ways = ways_to_ask(catalog, "m-all") | {
        "head": catalog.head,
        "settings": catalog.settings,
        "all entries": catalog.entries,
        "all nodes": catalog.nodes,
        "whole ledger": lambda: _whole(catalog),
    }
    expected = {name: ask() for name, ask in ways.items()}
    assert sum(bool(found) for found in expected.values()) > 8
    for name, ask in ways.items():
        proxy.lose(ANYTHING, answer_only=answer_only)
        assert ask() == expected[name], name
        assert proxy.lost.is_set(), name


def _whole(catalog):
    with catalog.ledger() as (head, rows):
        return head, list(rows)
