"""Outgoing calls reach what was checked and nothing else, and say in one sentence why not."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pytest

from engine.errors import StepCancelled, StepTimedOut, TargetRefused, TetherFailed, TreadleError
from engine.execution.invocation import Context, is_retryable
from engine.outside.addresses import allowed_by_environment, why_refused
from engine.outside.http import Policy, Request, send
from engine.tethers.library.http import request


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self.status, self.headers, self.body = 200, {"Content-Type": "application/json"}, b'{"a":1}'
        self.redirects: dict[str, tuple[int, str]] = {}
        self.dribble_s = 0.0
        self.dribble_head = False

    @property
    def port(self) -> int:
        return self.server_address[1]

    def handle_error(self, *_) -> None:
        """Clients hang up in these tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def answer(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.seen.append({"method": self.command, "path": self.path, "headers": headers, "body": body})
        if server.dribble_head:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(200):
                self.wfile.write(b"x: y\r\n")
                self.wfile.flush()
                time.sleep(server.dribble_s)
        status, location = server.redirects.get(self.path, (server.status, ""))
        self.send_response(status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        for at in range(0, len(server.body), 1 if server.dribble_s else len(server.body)):
            self.wfile.write(server.body[at : at + 1] if server.dribble_s else server.body)
            self.wfile.flush()
            time.sleep(server.dribble_s)


for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
    setattr(Handler, f"do_{method}", Handler.answer)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving()


@pytest.fixture
def other() -> Iterator[Server]:
    yield from serving()


def serving() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def here(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


OPEN = Policy(allow=frozenset({"here.test", "other.test"}), resolver=here)
CLOSED = Policy(allow=frozenset())


def url(server: Server, path: str = "/", host: str = "here.test") -> str:
    return f"http://{host}:{server.port}{path}"


def refusal(target: str, policy: Policy = CLOSED, **more: Any) -> str:
    with pytest.raises(TargetRefused) as caught:
        send(Request(target, **more), policy=policy)
    assert not is_retryable(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def failure(policy: Policy, target: str, **more: Any) -> TreadleError:
    with pytest.raises(TetherFailed) as caught:
        send(Request(target, **more), policy=policy)
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_answer_is_a_value(server) -> None:
    answer = send(Request(url(server, "/x?y=1")), policy=OPEN)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, {"a": 1}, "application/json")
    seen = server.seen[0]
    assert (seen["method"], seen["path"]) == ("GET", "/x?y=1")
    assert seen["headers"]["host"] == f"here.test:{server.port}"


@pytest.mark.parametrize(
    ("kind", "sent", "body"),
    [
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("text/plain; charset=latin-1", b"\xe4", "ä"),
        ("text/html", "ä".encode(), "ä"),
        ("text/plain; charset=nonsense", b"a", "a"),
        ("image/png", b"\x89", b"\x89"),
        ("", b"\x89", b"\x89"),
        ("application/json", b"", None),
        ("text/plain", b"", ""),
    ],
)
def test_bodies_are_parsed_by_their_type(server, kind, sent, body) -> None:
    server.headers, server.body = {"Content-Type": kind} if kind else {}, sent
    assert send(Request(url(server)), policy=OPEN).body == body


@pytest.mark.parametrize("body", [b"{", b"NaN", b'{"a":1,"a":2}', b"1 2", b"\xff", b"[" * 300 + b"]" * 300])
def test_wrong_json_is_told(server, body) -> None:
    server.body = body
    error = failure(OPEN, url(server))
    assert str(error).startswith(f"Answer: The answer of http://here.test:{server.port}/")
    assert not is_retryable(error)


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ("ä", "text/plain; charset=utf-8", "ä".encode()),
        (b"\0", "application/octet-stream", b"\0"),
        ({"a": [1]}, "application/json", b'{"a":[1]}'),
        (pa.table({"a": [1]}), "application/json", b'[{"a":1}]'),
    ],
)
def test_bodies_are_sent_by_what_they_are(server, body, kind, sent) -> None:
    send(Request(url(server), "POST", body=body), policy=OPEN)
    assert (server.seen[0]["headers"]["content-type"], server.seen[0]["body"]) == (kind, sent)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "[::ffff:127.0.0.1]",
        "0.0.0.0", "[::]", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "localhost", "224.0.0.1", "100.64.0.1",
        "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]",
        "168.63.129.16", "192.0.0.192", "255.255.255.255", "240.0.0.1", "[ff02::1]", "[::ffff:a9fe:a9fe]",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(host) -> None:
    assert "is refused" in refusal(f"http://{host}/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_not_refused(address) -> None:
    assert why_refused(address) is None


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:10.0.0.1"], ["nonsense"]])
def test_a_name_that_leads_inside_is_refused(answers) -> None:
    told = refusal("http://example.com/", Policy(allow=frozenset(), resolver=lambda *_: answers))
    assert "add example.com:80 to TREADLE_HTTP_ALLOW" in told


def test_the_address_that_was_checked_is_the_one_connected_to(server) -> None:
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["203.0.113.1"]

    policy = Policy(allow=frozenset({"here.test"}), resolver=rebinding)
    assert send(Request(url(server)), policy=policy).status == 200
    assert asked == ["here.test"]


def test_a_name_rebound_to_the_inside_is_never_connected_to(server) -> None:
    answers = iter([["203.0.113.1"], ["127.0.0.1"]])
    told = refusal(url(server), Policy(allow=frozenset(), resolver=lambda *_: next(answers), connect_s=0.2))
    assert "203.0.113.1" in told
    assert server.seen == []


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd", "ftp://example.com/", "gopher://x/", "/relative", "", "http://", "http:///x",
        "http://user:secret@127.0.0.1/", "http://example.com@127.0.0.1/", "http://x\r\nHost: y/", "http://x:0/",
        "http://a b/", "http://x:99999/", "javascript:alert(1)", "http://exa%6dple.com%2f/", "//example.com/",
    ],
)  # fmt: skip
def test_what_is_not_a_plain_web_address_is_refused(target) -> None:
    assert "secret" not in refusal(target, OPEN)


def test_names_are_allowed_with_or_without_port(server, monkeypatch) -> None:
    monkeypatch.setenv("TREADLE_HTTP_ALLOW", f" Here.Test:{server.port} , x ")
    assert allowed_by_environment() == {f"here.test:{server.port}", "x"}
    assert send(Request(url(server, host="HERE.test.")), policy=Policy(resolver=here)).status == 200
    monkeypatch.setenv("TREADLE_HTTP_ALLOW", "here.test:1")
    refusal(url(server), Policy(resolver=here))
    monkeypatch.setenv("TREADLE_HTTP_ALLOW", "127.0.0.1")
    assert send(Request(url(server, host="127.0.0.1"))).status == 200


def test_the_environments_proxy_is_not_used(server, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(Request(url(server)), policy=OPEN).status == 200


def test_a_redirect_inside_is_refused(server, other) -> None:
    for inside in (f"http://127.0.0.1:{other.port}/", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
        server.redirects["/"] = (302, inside)
        refusal(url(server), Policy(allow=frozenset({"here.test"}), resolver=lambda host, _: ["127.0.0.1", host][:1]))
    assert other.seen == []


def test_a_redirect_to_another_origin_takes_no_secrets_along(server, other) -> None:
    server.redirects["/"] = (307, url(other, "/there", "other.test"))
    headers = {"Authorization": "Bearer s", "Cookie": "c=s", "X-Api-Key": "s", "Accept": "text/plain"}
    send(Request(url(server), "POST", headers, {"a": 1}), policy=OPEN)
    assert {"authorization", "cookie", "x-api-key"} <= set(server.seen[0]["headers"])
    there = other.seen[0]
    assert not {"authorization", "cookie", "x-api-key"} & set(there["headers"])
    assert (there["method"], there["body"], there["headers"]["accept"]) == ("POST", b'{"a":1}', "text/plain")
    assert there["headers"]["host"] == f"other.test:{other.port}"


def test_a_redirect_within_the_origin_keeps_headers_and_303_becomes_get(server) -> None:
    server.redirects["/"] = (303, "/there?x=1")
    send(Request(url(server), "POST", {"Authorization": "s"}, "text"), policy=OPEN)
    there = server.seen[1]
    assert (there["method"], there["path"], there["body"]) == ("GET", "/there?x=1", b"")
    assert there["headers"]["authorization"] == "s"
    assert "content-type" not in there["headers"]


def test_redirects_end_after_five(server) -> None:
    server.redirects["/"] = (302, "/")
    assert str(failure(OPEN, url(server))) == "Redirects: it was sent on more than 5 times"
    assert len(server.seen) == 6


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (404, False), (408, True), (429, True), (503, True)])
def test_an_unexpected_status_is_told_and_knows_whether_to_try_again(server, status, retryable) -> None:
    server.status, server.body = status, b"no\nway"
    server.headers = {"Content-Type": "text/plain", "Retry-After": "7"}
    error = failure(OPEN, url(server, "/x?secret=1"))
    assert str(error).startswith(f"HTTP {status}: GET http://here.test:{server.port}/x was answered so; ")
    assert "it asks to wait 7 s (Retry-After): no way" in str(error)
    assert "secret" not in str(error)
    assert is_retryable(error) is retryable


def test_an_expected_status_is_an_answer(server) -> None:
    server.status = 404
    assert send(Request(url(server)), policy=OPEN, expect=[404]).status == 404


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nY: b"}, {"X\r\nY": "b"}, {"X": "a\0"}, {"X": "ä"}, {"": "x"}, {"Host": "y"}, {"Content-Length": "1"},
     {"transfer-encoding": "chunked"}],
)  # fmt: skip
def test_headers_that_smuggle_are_refused(server, headers) -> None:
    error = failure(OPEN, url(server), headers=headers)
    assert not is_retryable(error)
    assert server.seen == []


def test_a_method_that_smuggles_is_refused(server) -> None:
    failure(OPEN, url(server), method="GET / HTTP/1.1\r\nX:")
    assert server.seen == []


def test_a_huge_answer_is_cut_off(server) -> None:
    server.headers, server.body = {}, bytes(3 << 20)
    policy = Policy(allow=OPEN.allow, resolver=here, limit_bytes=1 << 20)
    assert "more than 1 MiB" in str(failure(policy, url(server)))


def test_a_packed_bomb_is_cut_off_and_a_packed_answer_is_read(server) -> None:
    policy = Policy(allow=OPEN.allow, resolver=here, limit_bytes=1 << 20)
    server.headers["Content-Encoding"] = "gzip"
    server.body = gzip.compress(json.dumps([1, 2]).encode())
    assert send(Request(url(server)), policy=policy).body == [1, 2]
    server.body = gzip.compress(bytes(200 << 20))
    assert "more than 1 MiB" in str(failure(policy, url(server)))
    server.body = gzip.compress(bytes(1000))[:-9]
    assert "cut short" in str(failure(policy, url(server)))


@pytest.mark.parametrize("head", [False, True])
def test_an_answer_that_dribbles_ends_at_the_total_timeout(server, head) -> None:
    server.body, server.dribble_s, server.dribble_head = b"1" * 200, 0.05, head
    began = time.monotonic()
    with pytest.raises(StepTimedOut, match=r"within 0.4 s"):
        send(Request(url(server)), policy=Policy(allow=OPEN.allow, resolver=here, total_s=0.4))
    assert time.monotonic() - began < 2


def test_a_cancelled_call_stops_soon(server) -> None:
    server.body, server.dribble_s = b"1" * 200, 0.05
    until = time.monotonic() + 0.3
    with pytest.raises(StepCancelled):
        send(Request(url(server)), policy=OPEN, stopped=lambda: time.monotonic() > until)


def test_what_does_not_answer_is_told_and_may_be_tried_again() -> None:
    error = failure(OPEN, "http://here.test:1/")
    assert str(error).startswith("Connection: http://here.test:1/ can't be called (")
    assert is_retryable(error)

    def nothing(*_: object) -> list[str]:
        raise OSError

    error = failure(Policy(allow=frozenset(), resolver=nothing), "http://nowhere.test/")
    assert str(error) == "Name: the name nowhere.test can't be resolved"


def test_a_server_that_speaks_no_tls_is_told(server) -> None:
    error = failure(OPEN, f"https://here.test:{server.port}/")
    assert str(error).startswith("Connection: https://here.test:")


def test_tls_names_the_host_and_not_the_address() -> None:
    heard: list[bytes] = []

    def listen(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        failure(OPEN, f"https://here.test:{listener.getsockname()[1]}/")
        thread.join()
    assert b"here.test" in heard[0]


@pytest.fixture
def context(monkeypatch) -> Context:
    monkeypatch.setenv("TREADLE_HTTP_ALLOW", "127.0.0.1")
    return Context("run", "a/ä\u2028b", 2, None)


def test_the_step_sends_its_key_with_what_changes_things(server, context) -> None:
    target = url(server, host="127.0.0.1")
    answer = request(target, {"a": 1}, method="POST", headers={"X": "1"}, context=context)
    assert (answer.body, answer.status) == ({"a": 1}, 200)
    assert server.seen[0]["headers"]["idempotency-key"] == "run/a/%C3%A4%E2%80%A8b/2"
    request(target, method="PUT", headers={"idempotency-key": "mine"}, context=context)
    assert server.seen[1]["headers"]["idempotency-key"] == "mine"
    request(target, context=context)
    assert "idempotency-key" not in server.seen[2]["headers"]
    assert request(target, method="HEAD", context=context).body is None


def test_the_step_takes_the_statuses_it_expects(server, context) -> None:
    server.status = 404
    assert request(url(server, host="127.0.0.1"), expect=[404], context=context).status == 404
    with pytest.raises(TetherFailed, match="HTTP 404"):
        request(url(server, host="127.0.0.1"), context=context)
