"""A connection to exactly the address that was checked, with a deadline for all of it.

TLS and the Host header keep the name: only where the socket leads is decided here. It is httpcore's network backend,
so that no name is resolved a second time by anything.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

from engine.errors import StepCancelled

_SLICE_S = 0.25
_Addresses = Callable[[str, int], list[str]]
_Stopped = Callable[[], bool]


class Deadline:
    """How long all of a call may still take, and whether it was stopped."""

    def __init__(self, total_s: float, stopped: _Stopped) -> None:
        self._until = time.monotonic() + total_s
        self._stopped = stopped

    def left_s(self) -> float:
        """Return the seconds left, 0 at the end; raise `StepCancelled` if it was stopped."""
        if self._stopped():
            raise StepCancelled
        return max(0.0, self._until - time.monotonic())


def pool(addresses: _Addresses, deadline: Deadline) -> httpcore.ConnectionPool:
    """Return a pool for one call that connects only to what `addresses` returns for a host and port."""
    backend = _Backend(addresses, deadline)
    return httpcore.ConnectionPool(ssl_context=_tls(), max_connections=1, network_backend=backend)


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, addresses: _Addresses, deadline: Deadline) -> None:
        self._addresses, self._deadline = addresses, deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses(host, port):
            limit_s = min(timeout or 60.0, self._deadline.left_s())
            if limit_s <= 0:
                raise httpcore.ConnectTimeout("deadline")
            try:
                stream = self._sockets.connect_tcp(address, port, limit_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A stream whose every wait ends at the deadline, and soon after the call was stopped."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = time.monotonic() + (timeout or 60.0)
        while True:
            left_s = min(until - time.monotonic(), self._deadline.left_s())
            if left_s <= 0:
                raise httpcore.ReadTimeout("deadline")
            try:
                return self._stream.read(max_bytes, min(left_s, _SLICE_S))
            except httpcore.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), 65_536):
            left_s = min(timeout or 60.0, self._deadline.left_s())
            if left_s <= 0:
                raise httpcore.WriteTimeout("deadline")
            self._stream.write(buffer[at : at + 65_536], left_s)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit_s = max(0.01, min(timeout or 60.0, self._deadline.left_s()))
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, limit_s), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
