"""The gate in front of the studio: nothing is parsed, routed or created for a stranger.

A pure ASGI middleware for http and websocket. In this order it looks at the Host (DNS rebinding), at where the
request comes from (Origin, Sec-Fetch-*), at the cookie or token, and limits sizes on the way in. Only `/health`
and the public assets (fonts, styles, scripts of ours) are served without a cookie.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from studio.settings import StudioSettings

ACTOR: ContextVar[str] = ContextVar("actor")
"""Who the gate let in; set for the request's task, so also while a page is built."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC_PREFIXES = ("/assets/",)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(\d{1,5}))?\Z")
_FAILURES_KEPT = 20
_MOST_ARGUMENTS = 64
_FAILURE_WINDOW_S = 60.0
_FAILURE_DELAY_S = 0.3
_MESSAGE_TOO_BIG = 1009
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Refusal:
    """Why a request stays outside: an HTTP status and what to say."""

    status: int
    title: str
    sentence: str


STRANGER = Refusal(
    401,
    "Open the studio with its own address",
    "This browser has not been let in yet: open the URL that the studio printed in the terminal.",
)
WRONG_TOKEN = Refusal(
    401,
    "That token is not valid",
    "The studio may have been started again since: open the URL that it printed last in the terminal.",
)
TOO_MANY = Refusal(429, "Too many wrong tokens", "Wait a minute, then open the URL printed in the terminal.")
WRONG_HOST = Refusal(
    403, "Unknown address", "The studio does not answer under this host name; use localhost or add the name."
)
FOREIGN = Refusal(403, "Refused", "Another site's page asked for this; open the studio directly instead.")
TOO_LARGE = Refusal(413, "Too large", "What was sent is larger than the studio accepts; send less at once.")

Render = Callable[["Scope", Refusal], "ASGIApp"]


class Seal:
    """Signs and checks the cookie's value: an issue time and a nonce under HMAC-SHA256, bound to the port."""

    def __init__(self, secret: bytes, lifetime_s: int) -> None:
        """Sign with `secret`; values older than `lifetime_s` seconds don't count."""
        self._secret = secret
        self._lifetime_s = lifetime_s

    def issue(self, port: int, now_s: float) -> str:
        """A new cookie value for `port`."""
        body = f"{int(now_s)}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self._sign(port, body)}"

    def holds(self, value: str, port: int, now_s: float) -> bool:
        """Whether `value` was issued by us for `port` and is not too old."""
        body, _, signature = value.rpartition(".")
        if not body or not hmac.compare_digest(signature.encode(), self._sign(port, body).encode()):
            return False
        issued = int(body.partition(".")[0])
        return now_s - self._lifetime_s < issued <= now_s + 1

    def _sign(self, port: int, body: str) -> str:
        return hmac.new(self._secret, f"treadle|{port}|{body}".encode(), hashlib.sha256).hexdigest()


class _Headers:
    """The request's headers, lower case; a header that may stand once but comes twice counts as hostile."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def one(self, name: str) -> str | None:
        values = self._values.get(name, [])
        return values[0].strip() if len(values) == 1 else None

    def has(self, name: str) -> bool:
        return name in self._values

    def cookie(self, name: str) -> str:
        try:
            morsel = SimpleCookie("; ".join(self._values.get("cookie", ()))).get(name)
        except CookieError:
            return ""
        return "" if morsel is None else morsel.value


class Gate:
    """Lets in who has the token or our cookie, from our own pages; `render` makes the page for the others."""

    def __init__(
        self, app: ASGIApp, settings: StudioSettings, render: Render, clock: Callable[[], float] = time.time
    ) -> None:
        """Stand in front of `app`; `clock` gives Unix time in seconds."""
        self._app = app
        self._settings = settings
        self._render = render
        self._clock = clock
        self._seal = Seal(settings.cookie_secret, settings.cookie_lifetime_s)
        self._hosts = _LOOPBACK | {host.lower() for host in settings.hosts}
        self._failures: deque[float] = deque(maxlen=_FAILURES_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _Headers(scope["headers"])
        refusal = self._foreign(scope, headers)
        if refusal is None and self._is_public(scope):
            await self._app(scope, receive, send)
            return
        if refusal is None and not self._is_known(scope, headers):
            offered = _offered_token(scope, headers)
            if offered is None:
                refusal = STRANGER
            elif not self._matches(offered):
                refusal = await self._failed()
            elif scope["type"] == "http" and not headers.has("authorization"):
                await self._welcome(scope, headers, send)
                return
        if refusal is None and _too_large(headers, self._settings.body_limit_bytes):
            refusal = TOO_LARGE
        if refusal is not None:
            await self._refuse(refusal, scope, receive, send)
            return
        ACTOR.set(self._settings.actor)
        await self._app(scope, self._limited(scope, receive, send), send)

    def _foreign(self, scope: Scope, headers: _Headers) -> Refusal | None:
        """Refuse what is not addressed to us, or what another site's page sent."""
        host = (headers.one("host") or "").lower()
        parts = _HOST.match(host)
        if parts is None or parts[1] not in self._hosts:
            return WRONG_HOST
        origin = headers.one("origin")
        if headers.has("origin") and not self._is_ours(origin, host):
            return FOREIGN
        site = headers.one("sec-fetch-site")
        if site is None or site in {"same-origin", "none"} or origin in self._settings.origins:
            return None
        # Cookies know no ports: a page of another local server counts as "same-site" and is foreign too.
        opens_page = scope["type"] == "http" and scope["method"] in _SAFE_METHODS
        return None if opens_page and headers.one("sec-fetch-mode") == "navigate" else FOREIGN

    def _is_ours(self, origin: str | None, host: str) -> bool:
        if origin is None:
            return False
        if origin in self._settings.origins:
            return True
        parts = urlsplit(origin)
        return parts.scheme in {"http", "https"} and parts.netloc.lower() == host

    def _is_public(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            return False
        return scope["path"] == "/health" or scope["path"].startswith(_PUBLIC_PREFIXES)

    def _is_known(self, scope: Scope, headers: _Headers) -> bool:
        value = headers.cookie(cookie_name(scope))
        return bool(value) and self._seal.holds(value, _port(scope), self._clock())

    def _matches(self, offered: str) -> bool:
        return hmac.compare_digest(offered.encode(), self._settings.token.encode())

    async def _failed(self) -> Refusal:
        """Make guessing slow; the right token is never held up, it is looked at first."""
        now = self._clock()
        recent = sum(1 for at in self._failures if now - at < _FAILURE_WINDOW_S)
        if recent >= _FAILURES_KEPT:
            return TOO_MANY
        self._failures.append(now)
        await asyncio.sleep(_FAILURE_DELAY_S)
        return WRONG_TOKEN

    async def _welcome(self, scope: Scope, headers: _Headers, send: Send) -> None:
        """Set the cookie and go to the same page without the token in its address."""
        value = self._seal.issue(_port(scope), self._clock())
        cookie = (
            f"{cookie_name(scope)}={value}; Path=/; HttpOnly; SameSite=Strict; "
            f"Max-Age={self._settings.cookie_lifetime_s}"
        )
        if scope.get("scheme") == "https":
            cookie += "; Secure"
        target = _without_token(scope)
        common = [(b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        if headers.one("sec-fetch-site") in {"cross-site", "same-site"}:
            # A Strict cookie would not be sent along a redirect that began on another site; a new
            # navigation from our own page is.
            body = f'<!doctype html><meta http-equiv="refresh" content="0;url={target}">'.encode()
            kind = (b"content-type", b"text/html; charset=utf-8")
            await send({"type": "http.response.start", "status": 200, "headers": [*common, kind]})
            await send({"type": "http.response.body", "body": body})
            return
        location = (b"location", target.encode())
        length = (b"content-length", b"0")
        await send({"type": "http.response.start", "status": 303, "headers": [*common, location, length]})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Closing before accepting: the server answers the handshake with 403.
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refusal.sentence})
            return
        await self._render(scope, refusal)(scope, receive, send)

    def _limited(self, scope: Scope, receive: Receive, send: Send) -> Receive:
        if scope["type"] == "websocket":
            return _limited_messages(receive, send, self._settings.message_limit_bytes)
        return _limited_body(receive, self._settings.body_limit_bytes)


class BodyTooLarge(HTTPException):
    """The body turned out larger than allowed while it was read.

    An HTTPException, because FastAPI turns every other error met while reading a body into "400 Bad Request".
    """

    def __init__(self) -> None:
        """Answer 413."""
        super().__init__(TOO_LARGE.status, TOO_LARGE.sentence)


def cookie_name(scope: Scope) -> str:
    """The cookie's name, bound to the port so that two studios on one host don't log each other out."""
    return f"treadle-{_port(scope)}"


def _port(scope: Scope) -> int:
    server = scope.get("server")
    return int(server[1] or 0) if server else 0


def _offered_token(scope: Scope, headers: _Headers) -> str | None:
    """The token of an `Authorization: Bearer` header or of the query; None if none is offered."""
    scheme, _, value = (headers.one("authorization") or "").partition(" ")
    if scheme.lower() in {"bearer", "token"}:
        return value.strip()
    if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
        return next((text for name, text in _query(scope) if name == "token"), None)
    return None


def _query(scope: Scope) -> list[tuple[str, str]]:
    try:
        text = scope["query_string"].decode("latin-1")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_ARGUMENTS)
    except ValueError:  # more arguments than any page of ours has
        return []


def _without_token(scope: Scope) -> str:
    kept = urlencode([pair for pair in _query(scope) if pair[0] != "token"])
    raw = scope.get("raw_path") or scope["path"].encode()
    # One leading slash only: "//host" would lead to another server.
    path = "/" + re.sub(r"[^A-Za-z0-9/_.~%-]", "", raw.decode("latin-1").partition("?")[0]).lstrip("/")
    return f"{path}?{kept}" if kept else path


def _too_large(headers: _Headers, limit: int) -> bool:
    if not headers.has("content-length"):
        return False
    length = headers.one("content-length") or ""
    return not length.isdecimal() or int(length) > limit


def _limited_body(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise BodyTooLarge
        return message

    return read


def _limited_messages(receive: Receive, send: Callable[[Any], Awaitable[None]], limit: int) -> Receive:
    async def read() -> Message:
        message = await receive()
        size = len(message.get("bytes") or b"") or len(message.get("text") or "")
        if size > limit:
            await send({"type": "websocket.close", "code": _MESSAGE_TOO_BIG})
            return {"type": "websocket.disconnect", "code": _MESSAGE_TOO_BIG}
        return message

    return read
