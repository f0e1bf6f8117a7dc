"""Opening a Postgres store: every way it can fail has a sentence of its own, without the password."""

import re
import secrets
import socket
import time
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from engine.domain.writes import InsertModel, PutSetting, Record
from engine.errors import StoreCorrupted, StoreNewer, StoreOlder, StoreUnreachable
from engine.storage.journal_postgres import PostgresJournal
from engine.storage.sql import migrations, schema
from engine.storage.sql.postgres import open_postgres
from tests.contract.samples import draft, model
from tests.servers import free_port
from tests.threads import together


@pytest.fixture
def empty_url(postgres):
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def login(postgres):
    """Return a function that makes a user with a password."""
    made = []

    def make(options=""):
        made.append(f"u{secrets.token_hex(6)}")
        postgres.run(f"CREATE ROLE {made[-1]} LOGIN PASSWORD 'it is secret' {options}")
        return made[-1]

    yield make
    for user in made:
        postgres.run(f"DROP ROLE {user}")


def database_of(url):
    return url.rpartition("/")[2]


def refused(url, error):
    with pytest.raises(error) as told:
        open_postgres(url)
    for secret in re.findall(r"//\w+:(.+)@", url):
        assert secret not in str(told.value)
        assert secret not in repr(told.value.facts)
    return str(told.value)


def test_a_store_is_made_in_an_empty_database(empty_url):
    catalog = open_postgres(empty_url)
    catalog.commit(InsertModel(model=model()), Record(draft=draft()))
    catalog.close()
    again = open_postgres(empty_url)
    assert (again.model("m1"), again.head().sequence) == (model(), 1)
    facts = again.describe()
    assert (facts["kind"], facts["schema_version"], facts["statements"]["pool"]["in_use"]) == ("postgres", 2, 0)
    assert facts["size_bytes"] > 0
    assert 0 < facts["latency_ms"] < 5_000
    assert "@127.0.0.1" in facts["place"]
    assert re.search(r"//postgres:\w+@", empty_url)[0] not in str(facts)
    again.close()


def test_four_programs_may_open_an_empty_database_at_once(empty_url):
    opened = []
    together(*(lambda kind=kind: opened.append(kind(empty_url)) for kind in (open_postgres, PostgresJournal) * 2))
    for store in opened:
        store.close()
    assert len(opened) == 4


def test_a_wrong_password_is_told(postgres, login):
    user = login()
    assert "password are wrong" in refused(postgres.url(user=user, password="guessed wrongly"), StoreUnreachable)


def test_a_user_that_is_not_there_is_told(postgres):
    # the server says no more than that the password is wrong, so as not to tell who is there
    assert "user or password" in refused(postgres.url(user="nobody_at_all"), StoreUnreachable)


def test_a_database_that_is_not_there_is_told(postgres):
    assert "no such database" in refused(postgres.url("not_there"), StoreUnreachable)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_told(host):
    url = f"postgresql://me:hidden@{host}:{free_port()}/x?connect_timeout=5"
    assert "no server answers there" in refused(url, StoreUnreachable)


@pytest.mark.parametrize("url", ["postgresql://me:p@ss:word@host:port/x", "postgresql://me:hidden@host/x?odd=1"])
def test_a_url_that_can_not_be_read_is_told(url):
    told = refused(url, StoreUnreachable)
    assert "special signs as %XX" in told
    assert "word" not in told.replace("PASSWORD", "")


class Page(BaseRequestHandler):
    """What a web server does with bytes it does not understand."""

    def handle(self):
        self.request.recv(8)
        if self.server.answers:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("answers", [True, False])
def test_a_server_of_another_kind_is_told(answers):
    with ThreadingTCPServer(("127.0.0.1", 0), Page) as server:
        server.answers = answers
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            told = refused(f"postgresql://me:hidden@127.0.0.1:{server.server_address[1]}/x", StoreUnreachable)
        finally:
            server.shutdown()
            thread.join()
    assert "does not speak as Postgres does" in told


def test_a_server_that_says_nothing_is_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        url = f"postgresql://me:hidden@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2"
        assert "no server answers there" in refused(url, StoreUnreachable)
        assert time.monotonic() - began < 10


def test_a_database_that_can_not_keep_every_text_is_told(postgres):
    name = f"t{secrets.token_hex(8)}"
    postgres.run(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "ENCODING 'UTF8'" in refused(postgres.url(name), StoreUnreachable)
    postgres.drop(name)


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        ("UPDATE treadle.schema_version SET version = 99", StoreNewer, "schema 99"),
        ("UPDATE treadle.schema_version SET version = 1", StoreCorrupted, "schema version is 1"),
        ("DELETE FROM treadle.schema_version", StoreCorrupted, "schema version is None"),
        ("DROP TABLE treadle.runs CASCADE", StoreCorrupted, "no table runs"),
        ("DROP TABLE treadle.schema_version", StoreCorrupted, "not one of ours"),
    ],
)
def test_a_schema_that_is_not_as_it_should_be_is_told(postgres, postgres_url, damage, error, words):
    postgres.run(damage, database=database_of(postgres_url))
    assert words in refused(postgres_url, error)


def test_an_older_schema_is_left_as_it_is_unless_its_upgrade_is_safe_or_asked_for(monkeypatch, postgres_url):
    upgraded = []
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    monkeypatch.setattr(migrations, "are_safe", lambda found: bool(upgraded))
    monkeypatch.setattr(migrations, "upgrade", lambda connection, found: upgraded.append(found))
    assert "treadle migrate" in refused(postgres_url, StoreOlder)
    open_postgres(postgres_url, migrate=True).close()
    open_postgres(postgres_url).close()
    assert upgraded == [2, 2]


def test_the_schema_of_another_program_is_left_as_it_is(postgres, empty_url):
    postgres.run("CREATE SCHEMA treadle", "CREATE TABLE treadle.theirs (a int)", database=database_of(empty_url))
    assert "not one of ours" in refused(empty_url, StoreCorrupted)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'treadle'"
    assert postgres.run(tables, database=database_of(empty_url)) == [(1,)]


def test_the_owner_of_a_database_can_make_a_store_without_more_rights(postgres, login):
    user, name = login(), postgres.new_database()
    postgres.run(f"ALTER DATABASE {name} OWNER TO {user}")
    url = postgres.url(name, user=user, password="it is secret")
    first, other = open_postgres(url, organization="acme"), open_postgres(url, organization="globex")
    first.commit(PutSetting(key="k", value=1))
    assert (first.setting("k"), other.setting("k")) == (1, None)
    first.close()
    other.close()
    postgres.drop(name)


def test_an_owner_who_makes_roles_acts_as_the_app(postgres, login):
    user, name = login("CREATEROLE"), postgres.new_database()
    postgres.run(f"ALTER DATABASE {name} OWNER TO {user}")
    catalog = open_postgres(postgres.url(name, user=user, password="it is secret"))
    catalog.commit(PutSetting(key="k", value=1))
    assert catalog.setting("k") == 1
    catalog.close()
    postgres.drop(name)


def test_a_login_with_the_rights_of_the_app_can_use_a_store_and_make_none(postgres, postgres_url, login):
    user = login("IN ROLE treadle_app")
    url = postgres.url(database_of(postgres_url), user=user, password="it is secret")
    catalog = open_postgres(url)
    catalog.commit(Record(draft=draft()))
    assert catalog.head().sequence == 1
    catalog.close()
    empty = postgres.new_database()
    told = refused(postgres.url(empty, user=user, password="it is secret"), StoreUnreachable)
    assert "open it once as the database's owner" in told
    postgres.drop(empty)


def test_a_login_without_rights_is_told_which_it_needs(postgres, postgres_url, login):
    url = postgres.url(database_of(postgres_url), user=login(), password="it is secret")
    assert "treadle_app" in refused(url, StoreUnreachable)


def test_a_login_that_would_see_everybodys_rows_is_refused(postgres, postgres_url, login):
    user = login("BYPASSRLS")
    postgres.run(f"GRANT USAGE ON SCHEMA treadle TO {user}", database=database_of(postgres_url))
    told = refused(postgres.url(database_of(postgres_url), user=user, password="it is secret"), StoreUnreachable)
    assert "sees the rows of every organization" in told
    assert f"GRANT treadle_app TO {user}" in told
    postgres.run(f"REVOKE ALL ON SCHEMA treadle FROM {user}", database=database_of(postgres_url))


def test_a_store_without_an_organization_is_refused(postgres_url):
    for odd in ("", "a\x00b"):
        with pytest.raises(StoreUnreachable, match="organization"):
            open_postgres(postgres_url, organization=odd)
