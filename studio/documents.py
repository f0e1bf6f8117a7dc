"""Bokeh documents over ASGI: page routes, sessions that end, and tokens that carry nothing secret.

bokeh_fastapi does the websocket. What it lacks is done here: a document request can't choose its session id,
no header or cookie of ours goes into the session token, a dropped connection releases its session (it forgets
to, so abandoned sessions would stay in memory for good), and a forged token is refused before it is opened.
"""

from __future__ import annotations

import asyncio
import calendar
import importlib
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import panel.io.fastapi  # noqa: F401  importing it teaches bokeh_fastapi's sockets Panel's dispatch
from bokeh.document import Document
from bokeh.protocol.exceptions import ProtocolError
from bokeh.util.token import (
    check_token_signature,
    generate_jwt_token,
    generate_session_id,
    get_session_id,
    get_token_payload,
)
from bokeh_fastapi import BokehFastAPI
from fastapi import FastAPI, Request
from panel.io.application import build_applications
from panel.io.server import ComponentResourceHandler, server_html_page_for_session
from starlette.responses import FileResponse, HTMLResponse, Response
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.ioloop import IOLoop
from tornado.web import HTTPError

from engine.errors import TreadleError
from studio.error_pages import THEME_COOKIE, appearance_of, error_response
from studio.queries import clean_query

if TYPE_CHECKING:
    from bokeh.server.connection import ServerConnection
    from bokeh.server.session import ServerSession
    from starlette.types import ASGIApp, Receive, Scope, Send

    from studio.settings import StudioSettings

_TOKEN_LIFETIME_S = 24 * 3600
_CHECK_AT_LEAST_EVERY_S = 10.0
_FAILURE = "treadle_failure"

Builder = Callable[[], Any]


def note_failure(document: Document, error: Exception) -> None:
    """Remember that building the page failed; the request then answers with an error page."""
    document.template_variables[_FAILURE] = error


class Documents(BokehFastAPI):
    """The Bokeh side of the studio's server."""

    def __init__(self, builders: Mapping[str, Builder], app: FastAPI, settings: StudioSettings) -> None:
        """Serve `builders` (by path) on `app`; each returns the Panel template of its page."""
        for path in builders:
            # First come, first served: these stand before the document routes bokeh_fastapi adds below.
            app.add_api_route(path, self._page_at(path), methods=["GET"], include_in_schema=False)
        check_s = min(settings.abandoned_session_s, _CHECK_AT_LEAST_EVERY_S)
        super().__init__(
            build_applications(dict(builders), title="Treadle", location=True),
            app=app,
            secret_key=settings.session_secret,
            sign_sessions=True,
            include_headers=[],
            include_cookies=[],
            check_unused_sessions_milliseconds=max(1, int(check_s * 1000)),
            unused_session_lifetime_milliseconds=int(settings.abandoned_session_s * 1000),
        )
        app.add_api_route("/components/{path:path}", _component_resource, methods=["GET"], include_in_schema=False)

    @property
    def session_count(self) -> int:
        """How many tabs have a document in memory."""
        return sum(len(list(context.sessions)) for context in self._applications.values())

    def has_session(self, session_id: str) -> bool:
        """Whether a page request has opened this session and it is still kept."""
        return any(session_id in context._sessions for context in self._applications.values())  # noqa: SLF001

    def new_connection(self, *arguments: Any, **options: Any) -> ServerConnection:
        """Open a connection and make sure that it is given up when its task ends, however it ends."""
        connection = super().new_connection(*arguments, **options)
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda _task: self.client_lost(connection))
        return connection

    def _page_at(self, path: str) -> Callable[[Request], Any]:
        async def page(request: Request) -> Response:
            session = await self._open(path, request)
            document = session.document
            failure = document.template_variables.pop(_FAILURE, None)
            if failure is not None:
                session.request_expiration()
                return _failure_page(request.scope, failure)
            html = server_html_page_for_session(
                session,
                resources=cast("Any", self.resources()),
                title=document.title,
                template=document.template,
                template_variables={**document.template_variables, "nonce": request.scope["treadle"]["nonce"]},
            )
            return HTMLResponse(html)

        return page

    async def _open(self, path: str, request: Request) -> ServerSession:
        """A new session, whose token holds the cleaned query and the remembered theme and nothing else."""
        context = self._applications[path]
        query = clean_query(request.query_params.multi_items())
        opened = HTTPServerRequest(
            start_line=RequestStartLine("GET", f"{path}?{urlencode(query)}", "HTTP/1.1"),
            # Panel splits the host at its colon and would fail at an IPv6 address.
            headers=HTTPHeaders({"host": f"localhost:{request.url.port or 80}"}),
        )
        opened.route_params, opened.app_path = {}, path  # type: ignore[attr-defined]  read by Panel
        theme = appearance_of(request.scope)
        payload: Any = {
            "headers": {},
            "cookies": {THEME_COOKIE: theme} if theme else {},
            "arguments": opened.arguments,
        }
        session_id = generate_session_id(secret_key=self.secret_key, signed=True)
        token = generate_jwt_token(
            session_id,
            secret_key=self.secret_key,
            signed=True,
            expiration=_TOKEN_LIFETIME_S,
            extra_payload=payload,
        )
        if context.io_loop is None:
            context._loop = IOLoop.current()  # noqa: SLF001  as bokeh_fastapi does
        return await context.create_session_if_needed(session_id, opened, token)


class TokenCheck:
    """Closes a websocket whose Bokeh token is missing, forged, too old, or of a session that has ended.

    Bokeh would make a new document for an ended session, whose parts the open page doesn't know; the page
    says instead that it has to be loaded again.
    """

    def __init__(self, app: ASGIApp, documents: Documents) -> None:
        """Stand in front of `app`, which serves `documents`."""
        self._app = app
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ASGI connection."""
        if scope["type"] == "websocket" and not self._holds(scope.get("subprotocols", [])):
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "Reload the page."})
            return
        await self._app(scope, receive, send)

    def _holds(self, subprotocols: list[str]) -> bool:
        if len(subprotocols) != 2 or subprotocols[0] != "bokeh":
            return False
        token = subprotocols[1]
        try:
            if not check_token_signature(token, signed=True, secret_key=self._documents.secret_key):
                return False
            if get_token_payload(token)["session_expiry"] <= calendar.timegm(time.gmtime()):
                return False
            return self._documents.has_session(get_session_id(token))
        except (ValueError, KeyError, TypeError, ProtocolError):
            return False


def _failure_page(scope: Scope, failure: Exception) -> Response:
    if isinstance(failure, TreadleError):
        missing = type(failure).__name__.endswith(("NotFound", "Missing"))
        return error_response(scope, 404 if missing else 500, "This can't be shown", str(failure))
    return error_response(scope, 500)


def _component_resource(path: str) -> Response:
    """A file that a component class lists as its own. Panel would import any module named in the address."""
    module = path.partition("/")[0]
    if module not in sys.modules:
        return Response(status_code=404)
    try:
        found = ComponentResourceHandler.parse_url_path(ComponentResourceHandler, path)  # type: ignore[arg-type]
    except (HTTPError, IndexError, AttributeError):
        return Response(status_code=404)
    folder = importlib.import_module(module).__file__
    resolved = pathlib.Path(found).resolve()
    if folder is None or not resolved.is_file():
        return Response(status_code=404)
    return FileResponse(resolved)
