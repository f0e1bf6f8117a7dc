"""Who owns a file, what the sidecar is worth, and that nothing but DuckDB's lock decides."""

import json
import socket
import stat
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from engine.domain.writes import InsertModel, PutSetting, Record, UpdateModel
from engine.errors import OrganizationForeign, StaleRevision, StoreCorrupted, StoreLocked, StoreUnreachable
from engine.storage.shared import catalog as shared
from engine.storage.shared import sidecar
from engine.storage.shared.catalog import open_shared
from engine.storage.sql.duckdb import open_duckdb
from tests.contract import agents
from tests.contract.samples import draft, model

FIRST = Path(__file__).parent.parent / "fixtures" / "store_v1.zip"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.duckdb"


@pytest.fixture
def held(owner, path):
    """Let another program have the file, one that serves nobody."""
    open_duckdb(path).close()
    pid = owner.ask(agents.hold_raw, path)
    yield pid
    owner.ask(agents.close_raw, path)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(shared, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(shared, "_SHORT_PATIENCE_S", 0.1)


def refusal(path):
    with pytest.raises(StoreLocked) as told:
        open_shared(path)
    return str(told.value)


def test_the_sidecar_is_for_its_owner_alone_and_goes_with_the_store(path):
    catalog = open_shared(path)
    place = sidecar.place_of(path)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert len(bytes.fromhex(sidecar.read(place).token)) == 32
    assert sidecar.read(place).token not in repr(sidecar.read(place)) + json.dumps(catalog.describe())
    catalog.close()
    catalog.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_two_catalogs_of_one_process_share_the_file_and_its_news(path):
    first, second = open_shared(path), open_shared(path)
    heard = []
    thread = Thread(target=lambda: heard.extend(second.news(0, 30)))
    thread.start()
    entries = first.commit(InsertModel(model=model()), Record(draft=draft()))
    thread.join()
    assert (heard, second.model("m1")) == ([*entries], model())
    first.close()
    second.commit(InsertModel(model=model(2)))
    second.close()


def test_waiting_ends_when_the_catalog_is_closed(path):
    first, second = open_shared(path), open_shared(path)
    begun = []

    def waiting():
        begun.append(True)
        with pytest.raises(StoreUnreachable, match="closed"):
            second.news(0, 30)

    thread = Thread(target=waiting)
    thread.start()
    second.close()
    thread.join(20)
    assert not thread.is_alive()
    first.close()


def test_a_second_opening_in_the_process_lets_nobody_else_in(path):
    first, second = open_shared(path), open_shared(path)
    program = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    tried = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert "Could not set lock" in tried.stderr
    second.close()
    first.close()


def test_an_upgrade_lets_nobody_else_in(owner, path):
    with zipfile.ZipFile(FIRST) as kept:
        kept.extractall(path.parent)
    catalog = open_shared(path)
    program = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    tried = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert "Could not set lock" in tried.stderr
    assert owner.ask(agents.open_, path) == catalog.describe()["owner_pid"]
    owner.ask(agents.close, path)
    catalog.close()


def test_a_program_that_serves_nobody_is_named(held, path, impatient):
    assert f"{path} is in use by another program (process {held})" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 4_000,
        b"null",
        b'{"port": "80"}',
        b'{"protocol": "treadle-owner/0", "port": 0, "pid": 1, "token": "x"}',
    ],
)
def test_a_sidecar_that_says_nothing_stops_nobody(path, content):
    sidecar.place_of(path).write_bytes(content)
    catalog = open_shared(path)
    catalog.commit(InsertModel(model=model()))
    assert sidecar.read(sidecar.place_of(path)) is not None
    catalog.close()
    assert not sidecar.place_of(path).exists()


def test_the_sidecar_of_a_dead_owner_stops_nobody(path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    open_duckdb(path).close()
    assert sidecar.write(sidecar.place_of(path), sidecar.new_sidecar(port))
    catalog = open_shared(path)
    assert sidecar.read(sidecar.place_of(path)).port != port
    catalog.close()


def test_a_killed_owner_is_followed_although_its_sidecar_stays(path):
    agent = agents.Agent()
    agent.ask(agents.open_, path)
    agent.ask(agents.insert, path, 1)
    agent.kill()
    assert sidecar.place_of(path).exists()
    catalog = open_shared(path)
    assert catalog.model("m1") == model()
    catalog.close()


def test_a_stranger_at_the_port_of_a_dead_owner_is_not_believed_and_gets_no_token(held, path, impatient):
    heard = []

    class Stranger(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = b'{"protocol": "treadle-owner/1.2", "proof": "00", "result": null}'
            heard.append((str(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        stale = sidecar.new_sidecar(server.server_address[1])
        sidecar.write(sidecar.place_of(path), stale)
        assert f"(process {held})" in refusal(path)
        server.shutdown()
        thread.join()
    assert heard
    assert stale.token not in repr(heard)
    sidecar.place_of(path).unlink()


def test_the_owner_of_the_original_does_not_answer_for_a_copy(held, path, impatient):
    other = path.with_name("original.duckdb")
    original = open_shared(other)
    sidecar.place_of(path).write_bytes(sidecar.place_of(other).read_bytes())
    assert f"(process {held})" in refusal(path)
    original.close()
    sidecar.place_of(path).unlink()


def test_the_owner_of_another_release_is_told_apart(held, path, impatient):
    sidecar.write(sidecar.place_of(path), sidecar.new_sidecar(1)._replace(protocol="treadle-owner/99.1"))
    assert "another program of another release" in refusal(path)
    sidecar.place_of(path).unlink()


def test_a_link_to_the_file_leads_to_the_same_owner(owner, path):
    assert owner.ask(agents.open_, path) == owner.pid
    link = path.parent / "elsewhere" / "link.duckdb"
    link.parent.mkdir()
    link.symlink_to(path)
    catalog = open_shared(link)
    assert catalog.describe()["owner_pid"] == owner.pid
    with pytest.raises(StoreLocked, match=f"process {owner.pid}"):
        _ = catalog.database
    catalog.close()
    owner.ask(agents.close, path)


def test_a_client_never_makes_a_new_store_where_its_own_one_was(path):
    agent = agents.Agent()
    agent.ask(agents.open_, path)
    catalog = open_shared(path)
    agent.kill()
    path.rename(path.with_name("moved.duckdb"))
    with pytest.raises(StoreUnreachable, match="moved or replaced"):
        catalog.models()
    assert not path.exists()
    catalog.close()


def test_what_can_not_be_opened_is_told_as_ever(path):
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(StoreCorrupted):
        open_shared(path)
    with pytest.raises(StoreUnreachable):
        open_shared(path.parent)
    assert not sidecar.place_of(path).exists()


def test_errors_arrive_as_they_were_raised(owner, path):
    owner.ask(agents.open_, path)
    catalog = open_shared(path)
    with pytest.raises(OrganizationForeign, match="belongs"):
        catalog.commit(InsertModel(model=model(organization="others")))
    catalog.commit(InsertModel(model=model()))
    with pytest.raises(StaleRevision) as told:
        catalog.commit(UpdateModel(model=model(revision=9), expected_revision=8))
    assert told.value.facts == {"current": 0, "based_on": 8}
    catalog.close()
    owner.ask(agents.close, path)


def test_a_commit_asked_for_twice_is_done_once(path):
    catalog = open_duckdb(path)
    writes = (InsertModel(model=model()), Record(draft=draft(1)), Record(draft=draft(2)))
    made = catalog.commit_once("one", *writes)
    assert [entry.sequence for entry in made] == [1, 2]
    assert catalog.commit_once("one", *writes) == made
    assert catalog.commit_once("two", PutSetting(key="k", value=1)) == ()
    assert catalog.commit_once("two", PutSetting(key="k", value=2)) == ()
    assert (catalog.setting("k"), catalog.head().sequence) == (1, 2)
    with pytest.raises(StaleRevision):
        catalog.commit_once("three", *_stale())
    assert catalog.commit_once("three", PutSetting(key="k", value=3)) == ()
    catalog.close()


def _stale():
    return (UpdateModel(model=model(revision=9), expected_revision=8),)


def test_commits_older_than_a_day_are_forgotten(path):
    catalog = open_duckdb(path)
    with catalog.database.reading() as connection:
        for name, age in (("old", timedelta(hours=25)), ("young", timedelta(hours=23))):
            connection.exec_driver_sql(
                "INSERT INTO remote_commits VALUES (?, ?, 0, 0)", (name, datetime.now(UTC) - age)
            )
    catalog.commit_once("new", PutSetting(key="k", value=1))
    with catalog.database.reading() as connection:
        found = connection.exec_driver_sql("SELECT id FROM remote_commits ORDER BY id").all()
    assert [row.id for row in found] == ["new", "young"]
    catalog.close()
