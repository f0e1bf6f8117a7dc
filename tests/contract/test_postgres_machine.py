"""Any sequence of commits, good and bad, leaves Postgres as it leaves memory."""

from hypothesis import settings

from engine.storage.sql.postgres import open_postgres
from tests import servers
from tests.contract.test_catalog_machine import Catalogs


class PostgresCatalogs(Catalogs):
    """The machine of `test_catalog_machine` on a database of its own."""

    def begin(self):
        self.server = servers.postgres()
        self.name = self.server.new_database()
        return self.open()

    def open(self):
        return open_postgres(self.server.url(self.name))

    def end(self):
        self.server.drop(self.name)


PostgresCatalogs.TestCase.settings = settings(Catalogs.TestCase.settings, max_examples=4)
TestPostgresCatalogs = PostgresCatalogs.TestCase
