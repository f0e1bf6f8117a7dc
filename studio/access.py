"""The outermost layer: request ids, security headers, one access log line, and pages for what went wrong."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import structlog
from starlette.datastructures import MutableHeaders

from studio.error_pages import error_response
from studio.logs import logger
from studio.security import TOO_LARGE, BodyTooLarge

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from studio.settings import StudioSettings

_QUIET_PREFIXES = ("/static/", "/assets/", "/components/", "/health")
_IMMUTABLE = "public, max-age=31536000, immutable"
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_NO_PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'"


def content_policy(nonce: str, host: str) -> str:
    """The content security policy of a page.

    Bokeh compiles its JavaScript callbacks with `new Function`, hence 'unsafe-eval'; Panel's components are
    modules fetched from blobs. Inline scripts need the nonce, so markup injected into a page runs nothing.
    Inline styles are how Bokeh styles its shadow roots.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self' blob: ws://{host} wss://{host}",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class Access:
    """Wraps `app`. `scope["treadle"]` holds the request's `id` and the page's `nonce`."""

    def __init__(self, app: ASGIApp, settings: StudioSettings) -> None:
        """Wrap `app`; the log goes to stderr, static files are left out of it."""
        self._app = app
        self._log = logger("studio.access")
        self._enabled = settings.access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        facts = scope["treadle"] = {"id": secrets.token_hex(6), "nonce": secrets.token_urlsafe(16)}
        structlog.contextvars.bind_contextvars(request=facts["id"])  # every log line of this task carries it
        started = time.perf_counter()
        answer: dict[str, Any] = {"status": None}

        async def observe(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                _add_headers(scope, facts, message)
            elif message["type"] == "websocket.close" and answer["status"] is None:
                answer["status"] = message.get("code", 1000)
            elif message["type"] == "websocket.accept":
                answer["status"] = 101
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except BodyTooLarge:
            await self._answer_late(scope, receive, observe, answer, TOO_LARGE.status)
        except Exception as error:  # noqa: BLE001  the outermost place: here it becomes a page and a log line
            self._log.error("request failed", path=scope["path"], exc_info=error)
            await self._answer_late(scope, receive, observe, answer, 500)
        finally:
            self._write(scope, answer, time.perf_counter() - started)

    async def _answer_late(
        self, scope: Scope, receive: Receive, send: Send, answer: dict[str, Any], status: int
    ) -> None:
        if answer["status"] is not None:
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
        else:
            await error_response(scope, status)(scope, receive, send)

    def _write(self, scope: Scope, answer: dict[str, Any], took_s: float) -> None:
        if not self._enabled or (scope["path"].startswith(_QUIET_PREFIXES) and (answer["status"] or 0) < 400):
            return
        # The path only: a query may carry the token.
        self._log.info(
            scope["type"],
            method=scope.get("method", "WS"),
            path=scope["path"],
            status=answer["status"],
            ms=round(took_s * 1000, 1),
        )


def _add_headers(scope: Scope, facts: dict[str, str], message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _ALWAYS.items():
        headers[name] = value
    headers["x-request-id"] = facts["id"]
    if headers.get("content-type", "").startswith("text/html"):
        headers["content-security-policy"] = content_policy(facts["nonce"], _host(scope))
        headers["cache-control"] = "no-store"
        return
    headers["content-security-policy"] = _NO_PAGE_POLICY
    if scope["path"].startswith(("/static/", "/assets/")) and message["status"] in {200, 304}:
        versioned = scope["query_string"].startswith(b"v=")
        fonts = scope["path"].startswith("/assets/fonts/")
        headers["cache-control"] = _IMMUTABLE if versioned or fonts else "no-cache"
    else:
        headers.setdefault("cache-control", "no-store")


def _host(scope: Scope) -> str:
    """The host the gate has accepted; a refused one may hold anything and must not get into a header."""
    value = next((value for name, value in scope["headers"] if name == b"host"), b"")
    text = value.decode("latin-1")
    return text if all(ch.isalnum() or ch in ".:-[]" for ch in text) else "localhost"
