"""Any sequence of commits, good and bad, leaves Postgres as it leaves memory."""

import shutil

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

from engine.storage.sql.postgres import open_postgres
from tests import servers
from tests.contract.test_catalog_machine import Catalogs


class PostgresCatalogs(Catalogs):
    """The machine of `test_catalog_machine` on a database of its own."""

    def __init__(self):
        super().__init__()
        self.duckdb.close()
        self.server = servers.postgres()
        self.name = self.server.new_database()
        self.duckdb = open_postgres(self.server.url(self.name))

    @rule()
    def open_again(self):
        self.duckdb.close()
        self.duckdb = open_postgres(self.server.url(self.name))

    def teardown(self):
        self.duckdb.close()
        self.server.drop(self.name)
        shutil.rmtree(self.directory)


PostgresCatalogs.TestCase.settings = settings(
    max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPostgresCatalogs = PostgresCatalogs.TestCase
