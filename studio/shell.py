"""The frame around every page: app bar, rail and room; and what a page hands over to be framed.

A page module exposes one function::

    def page(ctx: PageContext) -> Page: ...

It runs once per browser tab, on the server's event loop, with the session's document current. An engine
error raised in it becomes an error page with the error's own sentence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import jinja2
import panel as pn
import param
from markupsafe import Markup
from panel.template.base import Template

from studio.static import asset_url
from studio.theme import TreadleDesign, icon, pill

if TYPE_CHECKING:
    from studio.session import Session
    from studio.settings import StudioSettings

Tone = Literal["idle", "ok", "run", "warn", "bad"]
Appearance = Literal["light", "dark"]


@dataclass(frozen=True)
class Crumb:
    """One step of the way to here. Without `href` it is text; the last one is where we are."""

    label: str
    href: str | None = None


@dataclass(frozen=True)
class Badge:
    """A small chip after the crumbs: a word, its tone, and an icon's name if it helps."""

    text: str
    tone: Tone = "idle"
    icon: str | None = None
    title: str = ""


class Bar(param.Parameterized):
    """What stands at the left of the app bar. Assign to `crumbs` or `badges` and the browser follows.

    Assign a new list; don't append to the old one. From a worker thread use `Session.later`.
    """

    crumbs: list[Crumb] = param.List(item_type=Crumb)  # type: ignore[assignment]
    badges: list[Badge] = param.List(item_type=Badge)  # type: ignore[assignment]

    def crumbs_html(self) -> Markup:
        """The crumbs as escaped HTML."""
        last = len(self.crumbs) - 1
        parts = [_crumb_html(crumb, here=index == last) for index, crumb in enumerate(self.crumbs)]
        return Markup('<span class="crumb-sep" aria-hidden="true">/</span>').join(parts)

    def badges_html(self) -> Markup:
        """The badges as escaped HTML."""
        return Markup("").join(
            pill(badge.text, badge.tone, icon_name=badge.icon, title=badge.title) for badge in self.badges
        )


@dataclass(frozen=True)
class PageContext:
    """What a page is given.

    `query` holds the first value of each query argument: names of at most 32 letters, digits, `-` and `_`,
    values of at most 512 printable characters; anything else is dropped. `theme` is the appearance when the
    page was opened; `session.on_theme` tells of changes. `path` is the route, such as `/runs`.
    """

    engine: Any
    actor: str
    theme: Appearance
    query: Mapping[str, str]
    settings: StudioSettings
    session: Session
    path: str = "/"


@dataclass(frozen=True)
class Page:
    """What a page hands back.

    `main` is any Panel viewable. With `room="fill"` it gets exactly the room under the app bar and must
    scroll inside itself (give it `sizing_mode="stretch_both"`); with `room="scroll"` it is padded, as high
    as it wants, and the room scrolls. `actions` are Panel viewables at the right of the app bar, the
    primary one last.
    """

    title: str
    main: Any
    bar: Bar = field(default_factory=Bar)
    actions: Sequence[Any] = ()
    room: Literal["fill", "scroll"] = "scroll"


@dataclass(frozen=True)
class PageRoute:
    """Where a page lives. `build` is its page function; with a `label` and `icon` it stands on the rail.

    `under` is the path of the rail's item to light up when that is another page's (`/run` lights `/runs`).
    """

    path: str
    build: Callable[[PageContext], Page]
    label: str | None = None
    icon: str | None = None
    under: str | None = None


def _crumb_html(crumb: Crumb, *, here: bool) -> Markup:
    if here:
        return Markup('<b class="crumb" aria-current="page">{}</b>').format(crumb.label)
    if crumb.href is None:
        return Markup('<span class="crumb">{}</span>').format(crumb.label)
    return Markup('<a class="crumb" href="{}">{}</a>').format(_local(crumb.href), crumb.label)


def _local(href: str) -> str:
    """`href` if it stays on this server, else the home page: data must not lead out or run scripts."""
    return href if href.startswith("/") and not href.startswith(("//", "/\\")) else "/"


_SCRIPT = re.compile(r"<script(?=[\s>])")
# Runs before the first paint, so that no page flashes in the other theme.
_THEME_SCRIPT = Markup(
    "(function(d){if(d.dataset.theme)return;"
    "var t=matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light';d.dataset.theme=t;"
    "document.cookie='treadle-theme=system-'+t+'; path=/; max-age=31536000; samesite=strict'})"
    "(document.documentElement)"
)


def _trusted_scripts(html: str, nonce: str) -> Markup:
    """Bokeh's own script tags with the page's nonce. Only for what Bokeh made: it holds no page data."""
    return Markup(_SCRIPT.sub(f'<script nonce="{nonce}"', html))  # noqa: S704


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["trusted_scripts"] = _trusted_scripts
    environment.globals.update(asset=asset_url, icon=icon)
    return environment.from_string((Path(__file__).parent / "shell.html").read_text(encoding="utf-8"))


def frame(page: Page, ctx: PageContext, routes: Sequence[PageRoute], remembered: Appearance | None) -> Template:
    """The Panel template that draws `page` inside the shell and keeps the app bar up to date.

    `remembered` is the appearance the browser asked for; None lets the browser decide before it paints.
    """
    template = Template(_template(), design=TreadleDesign, location=True)
    template.add_panel("main", pn.panel(page.main))
    if page.actions:
        row = pn.Row(*page.actions, css_classes=["tr-actions"], margin=0, align="center")
        template.add_panel("actions", row)
    here = next((route.under or route.path for route in routes if route.path == ctx.path), ctx.path)
    variables = {
        "page_title": page.title,
        "theme": remembered,
        "theme_script": _THEME_SCRIPT,
        "crumbs": page.bar.crumbs_html(),
        "badges": page.bar.badges_html(),
        "rail": [route for route in routes if route.label and route.icon],
        "here": here,
        "room": page.room,
        "has_actions": bool(page.actions),
    }
    for name, value in variables.items():
        template.add_variable(name, value)
    _follow(page.bar, ctx.session)
    return template


def _follow(bar: Bar, session: Session) -> None:
    wire = cast("Any", session.wire)

    def tell(*_events: param.parameterized.Event) -> None:
        wire.crumbs = str(bar.crumbs_html())
        wire.badges = str(bar.badges_html())

    tell()
    watcher = bar.param.watch(tell, ["crumbs", "badges"])
    session.on_close(lambda: bar.param.unwatch(watcher))
