"""What all tests share. In CI the generated cases are the same every time: new ones are looked for at the desk."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests import servers

settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def postgres():
    """Return the session's Postgres server; see `tests.servers`."""
    return servers.postgres()


@pytest.fixture(scope="session")
def postgres_template(postgres):
    """Return a database with our schema to make copies of."""
    from engine.storage.sql.postgres import open_postgres

    name = postgres.new_database()
    open_postgres(postgres.url(name)).close()
    return name


@pytest.fixture
def postgres_url(postgres, postgres_template):
    """Return the URL of a new database with our schema and nothing in it."""
    name = postgres.new_database(like=postgres_template)
    yield postgres.url(name)
    postgres.drop(name)
