"""What comes in at the owner's door: programs of the same person that know the token, and nobody else."""

import json
import socket
from contextlib import closing
from http.client import HTTPConnection

import pytest

from engine.domain.writes import InsertModel
from engine.storage.shared import sidecar
from engine.storage.shared.catalog import open_shared
from engine.storage.shared.server import LARGEST_BODY_BYTES
from tests.contract.samples import model

ASK_HEAD = json.dumps({"organization": "local", "arguments": {}}).encode()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("door") / "store.duckdb"


@pytest.fixture(scope="module")
def owned(path):
    catalog = open_shared(path)
    catalog.commit(InsertModel(model=model()))
    yield catalog
    catalog.close()


@pytest.fixture
def known(owned, path):
    return sidecar.read(sidecar.place_of(path))


def ask(known, verb="head", body=ASK_HEAD, *, method="POST", **headers):
    """Return (status, body) of one request; a header given as None is left out."""
    given = {
        "Host": f"127.0.0.1:{known.port}",
        "Authorization": f"Bearer {known.token}",
        "Content-Length": str(len(body)),
    }
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection("127.0.0.1", known.port, timeout=20)) as connection:
        connection.putrequest(method, f"/{verb}", skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "Server" not in response.headers
        return response.status, response.read()


def test_who_knows_the_token_is_answered(known):
    status, body = ask(known)
    assert (status, json.loads(body)) == (200, {"result": [0, "0" * 64]})


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer \xff", "Proof 00"])
@pytest.mark.parametrize("verb", ["head", "hello", "nothing"])
def test_who_does_not_is_refused_with_an_empty_answer(known, given, verb):
    assert ask(known, verb, Authorization=given) == (401, b"")


def test_the_token_alone_opens_no_hello(known):
    assert ask(known, "hello") == (401, b"")
    nonce = "a" * 32
    wrong = sidecar.proof(known, "client", nonce, "1:1")
    assert ask(known, "hello", Authorization=f"Proof {wrong}", X_Treadle_Nonce=nonce) == (401, b"")


def test_the_owner_proves_that_it_is_it(known, path):
    nonce, file = "a" * 32, sidecar.identity(path)
    mine = sidecar.proof(known, "client", nonce, file)
    status, body = ask(known, "hello", Authorization=f"Proof {mine}", X_Treadle_Nonce=nonce)
    assert (status, json.loads(body)["proof"]) == (200, sidecar.proof(known, "owner", nonce, file))
    assert known.token not in body.decode()


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "", None])
def test_another_host_is_refused(known, host):
    assert ask(known, Host=host) == (403, b"")


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1"])
def test_a_browser_is_refused(known, origin):
    assert ask(known, Origin=origin) == (403, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "PROPFIND"])
def test_other_methods_get_nothing(known, method):
    status, body = ask(known, method=method)
    assert (status // 100, body) == (5, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Length": str(LARGEST_BODY_BYTES + 1)}, 413),
        ({"Content_Length": "9" * 5_000}, 413),
        ({"Content_Length": None}, 411),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": "1e3"}, 411),
        ({"Content_Length": "²"}, 411),
        ({"Transfer_Encoding": "chunked"}, 411),
        ({"Expect": "100-continue"}, 417),
    ],
)
def test_a_body_of_no_or_too_great_length_is_not_read(known, headers, status):
    assert ask(known, body=b"", **headers) == (status, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"organization": "local", "arguments": {"more": 1}}',
        b'{"organization": "local", "arguments": {"model": 1}}',
        b'{"organization": "local", "arguments": {"model": NaN}}',
        b'{"organization": "local", "arguments": 7}',
        b'{"organization": "local", "arguments": {"commit": "a", "writes": [["drop", 1]]}}',
        b'{"organization": "local", "arguments": {"commit": "a", "writes": [["record", {"__class__": "x"}]]}}',
    ],
)
@pytest.mark.parametrize("verb", ["model", "commit_once"])
def test_garbage_is_refused_and_changes_nothing(known, owned, verb, body):
    assert ask(known, verb, body) == (400, b"")
    assert owned.describe()["models"] == 1


@pytest.mark.parametrize(
    "verb", ["", "nothing", "close", "commit", "database", "__class__", "model/", "../model", "a?b"]
)
def test_what_is_no_verb_is_not_found(known, verb):
    assert ask(known, verb) == (404, b"")


def test_what_is_no_http_gets_no_page(known):
    for words in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"x" * 70_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", known.port), timeout=20) as raw:
            raw.sendall(words)
            answer = b""
            while part := raw.recv(4_096):
                answer += part
        assert b"<" not in answer
    assert ask(known)[0] == 200


def test_connections_that_say_nothing_keep_nobody_out(known):
    silent = [socket.create_connection(("127.0.0.1", known.port)) for _ in range(50)]
    assert ask(known)[0] == 200
    for each in silent:
        each.close()


def test_closing_does_not_wait_for_those_who_say_nothing(tmp_path):
    catalog = open_shared(tmp_path / "store.duckdb")
    there = sidecar.read(sidecar.place_of(tmp_path / "store.duckdb"))
    with socket.create_connection(("127.0.0.1", there.port)) as silent:
        assert ask(there)[0] == 200
        catalog.close()
        assert silent.recv(1) == b""
