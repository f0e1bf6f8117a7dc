"""What the owner answers: one request after the other on a connection, each let in before its body is read.

    POST /hello    the client proves that it knows the token, the owner that it knows it too and has this very file
    POST /VERB     a verb of `codec.VERBS`, arguments as JSON
    POST /ledger   one line of JSON for the head, one for each page of rows, one for the end

Nothing here is for browsers: other methods, an Origin header or another Host get nothing but a status.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from itertools import islice
from typing import Any, Protocol, cast

from engine.domain.canonical import Json, as_object
from engine.domain.events import Entry
from engine.domain.writes import Write
from engine.errors import TreadleError
from engine.storage.shared import codec
from engine.storage.shared.sidecar import HOST, PROTOCOL, Sidecar, proof
from engine.storage.sql.catalog import SqlCatalog

LARGEST_BODY_BYTES = 512 * 1024 * 1024
"""A commit seals a run with all its steps, whose values are up to 64 KiB each."""
_IDLE_S = 60.0
_LINGER_BYTES = 65_536
_LINGER_S = 0.2
_ROWS_IN_LINE = 1_000


class Serving(Protocol):
    """What a request is answered from."""

    @property
    def sidecar(self) -> Sidecar:
        """What clients were told."""
        ...

    @property
    def identity(self) -> str:
        """Which file is owned."""
        ...

    @property
    def closing(self) -> bool:
        """Whether the owner lets go of it."""
        ...

    def catalog(self, organization: str) -> SqlCatalog:
        """Return the catalog as an organization sees it."""
        ...

    def commit(self, organization: str, writes: Sequence[Write], once: str | None) -> tuple[Entry, ...]:
        """Do all writes or none, once; see `SqlCatalog.commit_once`."""
        ...

    def news(self, organization: str, after: int, timeout_s: float) -> list[Entry]:
        """Wait for news; see `Catalog.news`. Raises `Gone` when the owner closes meanwhile."""
        ...


class Gone(Exception):
    """The owner is closing: who asked has to ask the next one."""


class Requests(BaseHTTPRequestHandler):
    """The requests of one connection, until it ends."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, address: Any, serving: Serving) -> None:
        """Answer what comes in on `connection`."""
        self.serving = serving
        super().__init__(connection, address, cast("Any", None))

    def do_POST(self) -> None:
        """Answer one request."""
        refused = self._refusal()
        if refused:
            self._refuse(refused)
        elif self.path == "/hello":
            self._greet()
        else:
            self._do(self.path.removeprefix("/"))

    def _refusal(self) -> int:
        """Return why a request is not looked at, or 0. Nothing of its body was read."""
        if self.headers.get_all("Host") != [f"{HOST}:{self.serving.sidecar.port}"] or "Origin" in self.headers:
            return 403
        if not self._is_let_in():
            return 401
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            return 411
        return 413 if len(length) > 12 or int(length) > LARGEST_BODY_BYTES else 0

    def _is_let_in(self) -> bool:
        sidecar = self.serving.sidecar
        right = f"Bearer {sidecar.token}"
        if self.path == "/hello":
            right = f"Proof {proof(sidecar, 'client', self._nonce(), self.serving.identity)}"
        given = self.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())

    def _nonce(self) -> str:
        return self.headers.get("X-Treadle-Nonce", "")

    def _greet(self) -> None:
        self._body()
        told = proof(self.serving.sidecar, "owner", self._nonce(), self.serving.identity)
        self._answer(200, {"protocol": PROTOCOL, "proof": told})

    def _do(self, verb: str) -> None:
        try:
            asked = as_object(codec.value_of(self._body()))
            catalog = self.serving.catalog(str(asked["organization"]))
            if verb == "ledger":
                self._stream(catalog)
                return
            if verb not in codec.VERBS:
                self._refuse(404)
                return
            arguments = codec.arguments_from(verb, asked["arguments"])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            self._refuse(400)
            return
        try:
            status, body = 200, {"result": self._result(catalog, verb, arguments)}
        except TreadleError as error:
            self._end_if_closing()
            status, body = 422, codec.error_json(error)
        except Exception:  # noqa: BLE001  (a fault of ours: its words are not for the wire)
            self._end_if_closing()
            self._refuse(500)
            return
        self._answer(status, body)

    def _result(self, catalog: SqlCatalog, verb: str, arguments: dict[str, Any]) -> Json:
        if verb == "news":
            found: Any = self.serving.news(catalog.organization, **arguments)
        elif verb == "commit_once":
            found = self.serving.commit(catalog.organization, arguments["writes"], arguments["commit"])
        else:
            found = getattr(catalog, verb)(**arguments)
        return codec.VERBS[verb].result.to(found)

    def _stream(self, catalog: SqlCatalog) -> None:
        """Send the whole ledger, chunk by chunk; whoever reads no line that says 'end' has not got all of it."""
        started = False
        try:
            with catalog.ledger() as (head, rows):
                self._start(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/x-ndjson"})
                started = True
                self._chunk({"head": codec.HEAD.to(head)})
                for page in _pages(rows):
                    self._chunk({"rows": page})
                self._chunk({"end": True})
        except TreadleError as error:
            self._end_if_closing()
            if not started:
                self._answer(422, codec.error_json(error))
                return
            self._chunk(codec.error_json(error))
        self.wfile.write(b"0\r\n\r\n")

    def _end_if_closing(self) -> None:
        """Leave without an answer when the error may come from closing: who asked finds the next owner."""
        if self.serving.closing:
            raise Gone

    def _chunk(self, line: Json) -> None:
        data = codec.bytes_of(line) + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, status: int, value: Json) -> None:
        body = codec.bytes_of(value)
        self._start(status, {"Content-Length": str(len(body)), "Content-Type": "application/json"})
        self.wfile.write(body)

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.close_connection = self.close_connection or self.serving.closing
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _refuse(self, status: int) -> None:
        """Answer with nothing but a status, and end the connection: what is left of the request is not read."""
        self.close_connection = True
        self.send_response_only(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_S)
            left = _LINGER_BYTES  # closing at once would reset the connection before the client has read the status
            while left > 0 and (data := self.connection.recv(left)):
                left -= len(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no HTTP, or another method: without the page that the standard library writes."""
        del message, explain
        self._refuse(code)

    def handle_expect_100(self) -> bool:
        """Invite nobody to send a body: it is not known yet whether it may come in."""
        self._refuse(417)
        return False

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the standard library's name)
        """Log nothing: headers bear the token."""


def _pages(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while page := list(islice(rows, _ROWS_IN_LINE)):
        yield page
