"""URLs that lead nowhere or elsewhere: one sentence with the mend, exit code 3, and never a password."""

import json
import os
import subprocess
import sys
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

import engine
from engine.errors import StoreError
from studio.doctor import examine
from tests import neo4j_servers
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
SECRET = "s3cret"
ODD_SECRETS = [
    "s3cret#a",
    "s3cret/b",
    "s3cret?c",
    "s3cret@d",
    "s3cret%e",
    "s3cret[f",
    "s3cret:g",
    "s3cret h",
    "s3cret\\i",
]


class Web(BaseRequestHandler):
    """What a web server says to what it does not understand, or Redis: a line, and the end."""

    def handle(self):
        self.request.recv(64)
        self.request.sendall(self.server.says)


@pytest.fixture(params=[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"-ERR unknown command\r\n"])
def another_server(request):
    with ThreadingTCPServer(("127.0.0.1", 0), Web) as server:
        server.says = request.param
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def refused(url, capfd):
    """Return what is said of a URL, to callers and by the doctor; nothing is made, and no password seen."""
    before = sorted(Path.cwd().iterdir())
    with pytest.raises(StoreError) as told:
        engine.open(url)
    _, trouble = examine(url)
    seen = [str(told.value), repr(told.value.facts), *trouble, *capfd.readouterr()]
    assert not [text for text in seen if SECRET in text]
    assert str(told.value) in trouble
    assert sorted(Path.cwd().iterdir()) == before or [each.name for each in Path.cwd().iterdir()] == ["home"]
    return str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.db", "mysql://me@host/x", "file:///x.duckdb", "duckdb://", "duckdb:x", "memory", "memory://", " ",
        "postgres//me@host", "redis://host", "treadle", "/a/path", "x" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_store_is_told_with_the_ways_to_write_one(url, capfd):
    assert "Use duckdb:///FILE, postgresql://…, neo4j://… or memory:" in refused(url, capfd)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "neo4j", "bolt"])
@pytest.mark.parametrize("secret", ODD_SECRETS)
def test_a_password_with_special_signs_is_never_shown(scheme, secret, capfd):
    assert refused(f"{scheme}://me:{secret}@127.0.0.1:{free_port()}/x", capfd)


@pytest.mark.parametrize("scheme", ["mysql", "ftp", "duckdb", "redis", "http", "POSTGRESQL"])
def test_a_password_for_another_kind_of_store_is_never_shown(scheme, capfd):
    assert refused(f"{scheme}://me:{SECRET}@host/x.duckdb", capfd)


@pytest.mark.parametrize("scheme", ["postgresql", "neo4j", "bolt"])
def test_a_port_where_nobody_answers_is_told(scheme, capfd):
    assert "server answers there" in refused(f"{scheme}://me:{SECRET}@127.0.0.1:{free_port()}/x", capfd)


@pytest.mark.parametrize("port", ["abc", "99999", "-1"])
@pytest.mark.parametrize("scheme", ["postgresql", "bolt"])
def test_a_port_that_is_none_is_told(scheme, port, capfd):
    assert "URL" in refused(f"{scheme}://me:{SECRET}@127.0.0.1:{port}/x", capfd)


@pytest.mark.parametrize("scheme", ["postgresql", "bolt"])
def test_another_kind_of_server_is_told(scheme, another_server, capfd):
    told = refused(f"{scheme}://me:{SECRET}@127.0.0.1:{another_server}/x", capfd)
    assert "does not speak as Postgres does" in told if scheme == "postgresql" else "no Neo4j server" in told


def test_a_wrong_password_or_database_of_postgres_is_told(postgres, capfd):
    assert "password are wrong" in refused(postgres.url(password=SECRET), capfd)
    with pytest.raises(StoreError, match="no such database") as told:
        engine.open(postgres.url("not_there"))
    assert postgres.password not in str(told.value)


def test_the_other_kind_of_database_behind_the_url_is_told(postgres, capfd):
    assert "no Neo4j server" in refused(f"neo4j://me:{SECRET}@127.0.0.1:{postgres.port}", capfd)
    server = neo4j_servers.neo4j()
    told = refused(f"postgresql://me:{SECRET}@127.0.0.1:{server.port}/x", capfd)
    assert "does not speak as Postgres does" in told


def test_a_wrong_password_or_database_of_neo4j_is_told(capfd):
    server = neo4j_servers.neo4j()
    assert "password is wrong" in refused(server.url(password=SECRET), capfd)
    with pytest.raises(StoreError, match="no database not-there") as told:
        engine.open(server.url(database="not-there"))
    assert server.password not in str(told.value)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_doctor_ends_with_three_and_one_sentence(as_json, tmp_path):
    command = "import sys; from studio.cli import main; sys.exit(main())"
    url = f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/x"
    done = subprocess.run(
        [sys.executable, "-c", command, "doctor", "--store", url, *(["--json"] if as_json else [])],
        cwd=ROOT, env={**os.environ, "TREADLE_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)["trouble"] if as_json else [done.stderr]
    assert "no server answers there; start it, or check host and port in its URL" in told[0]
