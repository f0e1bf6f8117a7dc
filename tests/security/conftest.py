"""A studio with two tiny pages, served by a real uvicorn on a free loopback port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import panel as pn
import pytest

from engine.errors import ModelNotFound
from studio.asgi import StudioApp, StudioSettings, build, serving
from studio.shell import Badge, Bar, Crumb, Page, PageContext, PageRoute

BODY_LIMIT_BYTES = 2_000


@dataclass
class Studio:
    """A running studio as a client sees it."""

    app: StudioApp
    port: int
    token: str

    @property
    def base(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: object) -> httpx.Client:
        """A client that knows nothing."""
        return httpx.Client(base_url=self.base, trust_env=False, timeout=20, **options)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def guest_with_cookie(self) -> Iterator[httpx.Client]:
        """A client that came in with the token and keeps the cookie."""
        with self.client() as client:
            answer = client.get("/", params={"token": self.token})
            assert answer.status_code == 303
            yield client


def _page(ctx: PageContext) -> Page:
    kind = ctx.query.get("fail")
    if kind == "missing":
        raise ModelNotFound(name="<i>Weather</i>")
    if kind == "bug":
        message = "secret detail"
        raise ValueError(message)
    shown = ctx.query.get("name", "nothing")
    bar = Bar(crumbs=[Crumb("Home", "/"), Crumb(shown)], badges=[Badge("Valid", "ok", "check")])
    return Page("Tiny", pn.pane.Str(f"by {ctx.actor}"), bar, (pn.widgets.Button(label="Go"),))


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    """One studio for the tests of a module; its sessions are given up after 1 s."""
    settings = StudioSettings(
        body_limit_bytes=BODY_LIMIT_BYTES, message_limit_bytes=4_000, abandoned_session_s=1.0, access_log=False
    )
    pages = [PageRoute("/", _page, "Home", "house"), PageRoute("/runs", _page, "Runs", "activity")]
    app = build(None, settings, pages=pages)

    @app.fastapi.post("/api/echo")
    async def echo(text: dict) -> dict:
        return text

    with serving(app) as server:
        yield Studio(app, server.port, settings.token)
