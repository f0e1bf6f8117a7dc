"""Any sequence of commits, good and bad, leaves Neo4j as it leaves memory."""

from contextlib import ExitStack

from hypothesis import settings

from engine.storage.neo4j import open_neo4j
from tests import neo4j_servers
from tests.contract.test_catalog_machine import Catalogs


class Neo4jCatalogs(Catalogs):
    """The machine of `test_catalog_machine` on the server's one database, emptied before."""

    def begin(self):
        self.server, self.turn = neo4j_servers.neo4j(), ExitStack()
        self.turn.enter_context(neo4j_servers.emptied(self.server))
        return self.open()

    def open(self):
        return open_neo4j(self.server.url())

    def end(self):
        self.turn.close()


Neo4jCatalogs.TestCase.settings = settings(Catalogs.TestCase.settings, max_examples=3)
TestNeo4jCatalogs = Neo4jCatalogs.TestCase
