"""The way to a store that another process owns: requests over connections that are kept.

A connection is used only after the owner has proved, on it, that it wrote the sidecar and has this very file: the
token is never sent to a stranger that got the port of a dead owner.
"""

from __future__ import annotations

import hmac
import http.client
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from time import monotonic
from typing import IO, Any, NamedTuple

from engine.domain.canonical import Json, as_list, as_object
from engine.domain.events import Head
from engine.errors import StoreLocked, StoreUnreachable
from engine.ledger.chain import Row
from engine.storage.shared import codec, sidecar
from engine.storage.shared.sidecar import HOST, PROTOCOL, OwnerGone, Sidecar, proof

_GREETING_S = 3.0
_ANSWER_S = 120.0
"""Longer than a query may take (60 s) and than a request to wait is kept."""
_MOST_IDLE = 8
_IN_MEMORY_BYTES = 8 * 1024 * 1024
"""A longer ledger waits in a temporary file to be read."""
_START_OF_LINE = 8
"""Where the only key of a line is, or its first."""
_IDLE_S = 45.0
"""Less than the owner keeps a connection that nobody uses."""
_LOST = (OSError, http.client.HTTPException, ValueError)
"""What a connection raises that ends, or speaks something else than the owner does."""
_TRANSIENT = (401, 403)
"""Answers of somebody who is not this owner any more."""


class _Idle(NamedTuple):
    connection: http.client.HTTPConnection
    since: float


class Remote:
    """The owner of a store as its clients reach it. Safe to use from any thread."""

    def __init__(self, path: Path, address: Sidecar, organization: str) -> None:
        """Use the owner that the sidecar names; `reach` makes sure that it is there."""
        self.pid = os.getpid()
        self.owner = address.pid
        self._path, self._address, self._organization = path, address, organization
        self._identity = sidecar.identity(path) or ""
        self._lock = Lock()
        self._idle: list[_Idle] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._closed = False

    def ask(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """Return what a verb gives; raise what it raises, or `OwnerGone`."""
        plain = {"organization": self._organization, "arguments": codec.arguments_json(verb, arguments)}
        status, data = self._exchange(verb, codec.bytes_of(plain))
        try:
            answer = codec.value_of(data) if status in (200, 422) else None
            if status == 200:
                return codec.VERBS[verb].result.back(as_object(answer)["result"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._odd(f"what it answered makes no sense: {str(error)[:200]}") from None
        raise self._told(status, answer)

    def ledger(self, stack: ExitStack) -> tuple[Head, Iterator[Row]]:
        """Return the head and all rows at one moment, fetched whole before the first is given; or `OwnerGone`."""
        spool = stack.enter_context(SpooledTemporaryFile[bytes](_IN_MEMORY_BYTES))
        connection, _ = self._take()
        try:
            self._send(connection, "ledger", codec.bytes_of({"organization": self._organization}))
            response = connection.getresponse()
            if response.status != 200:
                data = response.read() if response.status == 422 else b"null"
                raise self._told(response.status, codec.value_of(data))
            shutil.copyfileobj(response, spool)
        except _LOST as error:
            raise OwnerGone from error
        finally:
            self._drop(connection)
        return self._head(spool), _rows(spool)

    def _head(self, spool: IO[bytes]) -> Head:
        """Return the head from the first line if the last one says that nothing is missing."""
        spool.seek(0)
        first, last = as_object(codec.value_of(spool.readline())), b"null"
        for line in spool:
            last = line
        if b"error" in last[:_START_OF_LINE]:
            raise self._told(422, codec.value_of(last))
        if b"end" not in last[:_START_OF_LINE]:
            raise OwnerGone
        return codec.HEAD.back(first["head"])

    def close(self) -> None:
        """End all connections, those in use too."""
        with self._lock:
            self._closed = True
            for kept in self._idle:
                kept.connection.close()
            self._idle.clear()
            for connection in self._busy:  # who uses it sees it end and closes it
                with suppress(OSError, AttributeError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    # ---- connections ------------------------------------------------------------------------------------------

    def _exchange(self, verb: str, body: bytes) -> tuple[int, bytes]:
        """Ask once more over a new connection when a kept one has ended meanwhile: all verbs may be repeated."""
        while True:
            connection, is_new = self._take()
            try:
                self._send(connection, verb, body)
                response = connection.getresponse()
                status, data = response.status, response.read()
            except _LOST as error:
                self._drop(connection)
                if is_new or self._closed:
                    raise OwnerGone from error
                continue
            except BaseException:
                self._drop(connection)
                raise
            if response.will_close:
                self._drop(connection)
            else:
                self._give_back(connection)
            return status, data

    def _send(self, connection: http.client.HTTPConnection, verb: str, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {self._address.token}", "Content-Type": "application/json"}
        connection.request("POST", f"/{verb}", body, headers)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        """Return a connection and whether it is new."""
        with self._lock:
            if self._closed:
                raise OwnerGone
            fresh = monotonic() - _IDLE_S
            while self._idle:
                kept = self._idle.pop()
                if kept.since > fresh:
                    self._busy.add(kept.connection)
                    return kept.connection, False
                kept.connection.close()
        connection = self._greeted()
        with self._lock:
            self._busy.add(connection)
        return connection, True

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
            if len(self._idle) < _MOST_IDLE and not self._closed:
                self._idle.append(_Idle(connection, monotonic()))
                return
        connection.close()

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def greet(self) -> None:
        """Make sure that the owner is there, and keep the connection; `OwnerGone` if it is not."""
        self._give_back(self._greeted())

    def _greeted(self) -> http.client.HTTPConnection:
        """Return a new connection to the owner, proved to be it."""
        connection = http.client.HTTPConnection(HOST, self._address.port, timeout=_GREETING_S)
        nonce = secrets.token_hex(16)
        mine = proof(self._address, "client", nonce, self._identity)
        try:
            headers = {"Authorization": f"Proof {mine}", "X-Treadle-Nonce": nonce}
            connection.request("POST", "/hello", b"{}", headers)
            response = connection.getresponse()
            told = as_object(codec.value_of(response.read(sidecar.LONGEST_BYTES)))
            given = str(told.get("proof", ""))
            right = proof(self._address, "owner", nonce, self._identity)
            is_owner = response.status == 200 and hmac.compare_digest(given.encode(), right.encode())
            if is_owner:
                connection.sock.settimeout(_ANSWER_S)
                return connection
        except (*_LOST, AttributeError) as error:
            connection.close()
            raise OwnerGone from error
        except BaseException:
            connection.close()
            raise
        connection.close()
        raise OwnerGone

    # ---- errors -----------------------------------------------------------------------------------------------

    def _told(self, status: int, answer: Json) -> Exception:
        if status in _TRANSIENT:
            return OwnerGone()
        if status == 422 and (error := codec.error_from(answer)) is not None:
            return error
        return self._odd(f"it refused the request ({status})")

    def _odd(self, reason: str) -> StoreUnreachable:
        owner = f"process {self._address.pid} has it open and was asked, but {reason}"
        return StoreUnreachable(path=self._path, reason=owner)


def reach(path: Path, organization: str) -> Remote | None:
    """Return the way to the owner of the store, or None if nobody is there who serves it.

    `StoreLocked` if it is a program of another release.
    """
    address = sidecar.read(sidecar.place_of(path))
    if address is None:
        return None
    if address.protocol != PROTOCOL:
        raise StoreLocked(path=path, owner=f" of another release (process {address.pid})")
    remote = Remote(path, address, organization)
    try:
        remote.greet()
    except OwnerGone:
        return None
    return remote


def _rows(spool: IO[bytes]) -> Iterator[Row]:
    spool.seek(0)
    for line in spool:
        for row in as_list(as_object(codec.value_of(line)).get("rows")):
            yield Row(*row)
