"""Outgoing HTTP: the one way in which anything here speaks to an address that a person or a model chose.

The host is resolved once, every address is checked, and the connection goes to the checked address, so that a name
can't point elsewhere a moment later. Redirects are followed by hand and checked like the first address. Proxies of the
environment are not used: they would choose the address instead of us.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urljoin, urlsplit

from engine.errors import StepCancelled, TargetRefused, TetherFailed
from engine.outside.addresses import Allowed, Resolve, allowed_addresses, resolve_by_system

if TYPE_CHECKING:
    import httpx

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_LIMIT = 5
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "proxy-authorization"})
_PRIVATE = frozenset({"authorization", "cookie", "idempotency-key"})
"""Headers that are not carried on to another host."""


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str
    """The address that answered, after redirects."""


class Limits(NamedTuple):
    """What a request may use."""

    timeout_s: float = 30.0
    connect_s: float = 10.0
    size_bytes: int = 16 << 20


class _Target(NamedTuple):
    url: str
    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == _default_port(self.scheme) else f"{shown}:{self.port}"


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    limits: Limits | None = None,
    allowed: Allowed | None = None,
    resolve: Resolve = resolve_by_system,
    cancelled: Callable[[], bool] = lambda: False,
) -> Reply:
    """Send one request and return the reply, whatever its status.

    Raise `TargetRefused` for an address that may not be spoken to, `TetherFailed` if there is no reply or a too large
    one, `StepCancelled` once `cancelled` says so.
    """
    bounds, names = limits or Limits(), Allowed.from_environment() if allowed is None else allowed
    deadline = time.monotonic() + bounds.timeout_s
    sent = _checked_headers(method, url, headers or {})
    exchange = _Exchange(bounds, deadline, cancelled)
    target = _target(url)
    for _ in range(_REDIRECT_LIMIT + 1):
        addresses = allowed_addresses(target.host, target.port, allowed=names, resolve=resolve)
        reply = exchange.send(method, target, addresses, sent, body)
        location = reply.headers.get("location")
        if reply.status not in _REDIRECTS or not location:
            return reply
        following = _target(urljoin(target.url, location))
        if target.scheme == "https" and following.scheme == "http":
            raise TargetRefused(target=_shown(following.url), reason="a redirect leads from https to http")
        if (following.host, following.port) != (target.host, target.port):
            sent = {name: value for name, value in sent.items() if name.lower() not in _PRIVATE}
        if reply.status == 303 or (reply.status in {301, 302} and method == "POST"):
            method, body = ("HEAD" if method == "HEAD" else "GET"), None
            sent = {name: value for name, value in sent.items() if name.lower() != "content-type"}
        target = following
    raise _failed(method, url, f"it redirects more than {_REDIRECT_LIMIT} times")


class _Exchange:
    """Sends requests to checked addresses within one set of limits."""

    def __init__(self, limits: Limits, deadline: float, cancelled: Callable[[], bool]) -> None:
        self._limits = limits
        self._deadline = deadline
        self._cancelled = cancelled

    def send(
        self, method: str, target: _Target, addresses: list[str], headers: dict[str, str], body: bytes | None
    ) -> Reply:
        """Try the addresses of a host in turn until one answers."""
        import httpx

        for address in addresses:
            last = address == addresses[-1]
            try:
                return self._send(method, target, address, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if last:
                    raise _failed(method, target.url, _reason(error, self._limits)) from None
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise _failed(method, target.url, _reason(error, self._limits)) from None
        raise _failed(method, target.url, "it has no address")

    def _send(
        self, method: str, target: _Target, address: str, headers: dict[str, str], body: bytes | None
    ) -> Reply:
        import httpx

        left = max(0.001, self._deadline - time.monotonic())
        timeout = httpx.Timeout(min(left, self._limits.timeout_s), connect=min(left, self._limits.connect_s))
        pinned = httpx.URL(target.url).copy_with(host=address)
        with (
            httpx.Client(trust_env=False, follow_redirects=False, timeout=timeout) as client,
            client.stream(
                method,
                pinned,
                headers={**headers, "Host": target.authority},
                content=body,
                extensions={"sni_hostname": target.host},
            ) as response,
        ):
            content = self._read(method, target, response)
            return Reply(response.status_code, dict(response.headers), content, target.url)

    def _read(self, method: str, target: _Target, response: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes(65_536):
            size += len(part)
            if size > self._limits.size_bytes:
                reason = f"the reply is larger than {self._limits.size_bytes:,} bytes; ask for less, or raise its limit"
                raise _failed(method, target.url, reason, permanent=True)
            if self._cancelled():
                raise StepCancelled
            if time.monotonic() > self._deadline:
                raise _failed(method, target.url, f"no whole reply within {self._limits.timeout_s:g} s")
            parts.append(part)
        return b"".join(parts)


def _target(url: str) -> _Target:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused(target=_shown(url), reason="it is not an address") from None
    if parts.scheme not in {"http", "https"}:
        raise TargetRefused(target=_shown(url), reason="it must start with http:// or https://")
    if not parts.hostname or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise TargetRefused(target=_shown(url), reason="it names no host, or holds blanks")
    if parts.username is not None or parts.password is not None:
        raise TargetRefused(target=_shown(url), reason="it holds a name or password; use the authentication instead")
    return _Target(url, parts.scheme, parts.hostname, port or _default_port(parts.scheme))


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _checked_headers(method: str, url: str, headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name.lower() in _OURS:
            raise _failed(method, url, f"the header {name} is set by the program itself", permanent=True)
        if not name.isascii() or not str(value).isascii() or any(ord(char) < 32 for char in f"{name}{value}"):
            raise _failed(method, url, f"the header {name!r} holds characters that headers can't", permanent=True)
    return {"User-Agent": "treadle", "Accept": "*/*", **{name: str(value) for name, value in headers.items()}}


def _reason(error: Exception, limits: Limits) -> str:
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {limits.connect_s:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"no reply within {limits.timeout_s:g} s"
    text = str(error).split("\n")[0].strip() or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        return f"no connection ({text})"
    return text


def _failed(method: str, url: str, reason: str, **facts: Any) -> TetherFailed:
    return TetherFailed(kind=f"{method} {_shown(url)}", reason=reason, **facts)


def _shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" if separator else bare.rpartition("@")[2]
