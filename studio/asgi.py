"""The studio as one ASGI application: the gate, the pages, the assets and whatever routers are added."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import panel as pn
from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from engine.errors import TreadleError
from studio.access import Access
from studio.documents import Documents, TokenCheck, note_failure
from studio.error_pages import THEME_COOKIE, error_response, refusal_response
from studio.logs import logger
from studio.queries import query_of
from studio.security import ACTOR, Gate
from studio.serving import NotLocal, PortInUse, Server, serve, serving
from studio.session import Session, report
from studio.settings import StudioSettings
from studio.shell import Appearance, Page, PageContext, PageRoute, frame
from studio.static import serve_asset

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

__all__ = [
    "NotLocal",
    "PortInUse",
    "Server",
    "StudioApp",
    "StudioSettings",
    "build",
    "own_pages",
    "serve",
    "serving",
]

_log = logger("studio.pages")

# path, module, label on the rail, icon, rail item it belongs to
_OWN = (
    ("/", "studio.home.view", "Home", "house", None),
    ("/editor", "studio.editor.view", "Models", "workflow", None),
    ("/runs", "studio.runs.view", "Runs", "activity", None),
    ("/run", "studio.runs.view", None, None, "/runs"),
    ("/ledger", "studio.ledger.view", "Ledger", "shield-check", None),
)


class StudioApp:
    """The ASGI callable `build` returns. `fastapi` is the application behind the gate."""

    def __init__(self, fastapi: FastAPI, documents: Documents, settings: StudioSettings) -> None:
        """Put the gate and the access layer around `fastapi`."""
        self.fastapi = fastapi
        self.documents = documents
        self.settings = settings
        checked = TokenCheck(fastapi, documents)
        self._entry = Access(Gate(checked, settings, refusal_response), settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ASGI connection."""
        await self._entry(scope, receive, send)


def build(
    engine: Any,
    settings: StudioSettings,
    *,
    pages: Sequence[PageRoute] | None = None,
    routers: Sequence[APIRouter] = (),
) -> StudioApp:
    """The studio over `engine`.

    `pages` replaces the studio's own pages (tests, other products); `routers` are REST routers to include.
    """
    routes = tuple(own_pages() if pages is None else pages)
    pn.extension("tabulator", exception_handler=report, notifications=False)
    app = FastAPI(title="Treadle", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_route("/health", _health, methods=["GET"], include_in_schema=False)
    app.add_route("/assets/{name:path}", serve_asset, methods=["GET"], include_in_schema=False)
    for router in routers:
        app.include_router(router)
    builders = {route.path: _builder(route, routes, engine, settings) for route in routes}
    documents = Documents(builders, app, settings)
    app.add_exception_handler(HTTPException, _http_error)
    return StudioApp(app, documents, settings)


def own_pages() -> list[PageRoute]:
    """The studio's pages that are installed. Their modules are imported when a page is first opened."""
    return [
        PageRoute(path, _lazy_page(module, path), label, icon, under)
        for path, module, label, icon, under in _OWN
        if _exists(module)
    ]


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _lazy_page(module: str, path: str) -> Callable[[PageContext], Page]:
    """`module.page`; for `/run` the module's `run_page` if it has one."""

    def page(ctx: PageContext) -> Page:
        loaded = importlib.import_module(module)
        build_page = getattr(loaded, "run_page", loaded.page) if path == "/run" else loaded.page
        return build_page(ctx)

    return page


def _builder(
    route: PageRoute, routes: Sequence[PageRoute], engine: Any, settings: StudioSettings
) -> Callable[[], None]:
    """What Panel calls for each new session of `route`."""

    def make() -> None:
        document = cast("Any", pn.state.curdoc)
        document.config.notify_connection_status = False  # the frame tells it in its own look
        request = document.session_context.request
        cookie = request.cookies.get(THEME_COOKIE)
        remembered = cast("Appearance | None", cookie if cookie in {"light", "dark"} else None)
        actor = ACTOR.get(settings.actor)
        session = Session(document, actor=actor, theme=remembered or "light")
        ctx = PageContext(
            engine=engine,
            actor=actor,
            theme=session.theme,
            query=query_of(request.arguments),
            settings=settings,
            session=session,
            path=route.path,
        )
        try:
            page = route.build(ctx)
            document.title = page.title
            document.add_root(session.wire)
            # Rendered here and not by Panel, which would show a traceback of its own.
            frame(page, ctx, routes, remembered).server_doc(document, title=page.title)
        except Exception as error:  # noqa: BLE001  it becomes the request's error page
            _note(document, error)

    return make


def _note(document: Any, error: Exception) -> None:
    """Log that a page could not be built and let its request answer with an error page."""
    session = Session.here()
    if session is not None:
        session.closed = True
    if not isinstance(error, TreadleError):
        _log.error("page failed", exc_info=error)
    note_failure(document, error)


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else None
    own_words = status != 404 and request.url.path.startswith("/api")
    return error_response(request.scope, status, sentence=str(detail) if own_words else None)
