"""The shell in a real browser: it opens, stays on this machine, remembers the theme, says what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import panel as pn
import pytest

from studio.asgi import StudioSettings, build, serving
from studio.serving import Server
from studio.shell import Badge, Bar, Crumb, Page, PageContext, PageRoute
from studio.theme import button, empty_state


def _page(ctx: PageContext) -> Page:
    bar = Bar(crumbs=[Crumb("Models", "/"), Crumb("<b>Weather</b>")], badges=[Badge("revision 1")])
    save, fail, busy = button("Save", "save", "primary"), button("Fail"), button("Later")

    def saved(_event: object) -> None:
        bar.badges = [Badge("revision 2", "ok", "check")]
        ctx.session.toast("Saved <i>it</i>", "ok")

    def failed(_event: object) -> None:
        message = "no <luck>"
        raise ValueError(message)

    def from_a_thread(_event: object) -> None:
        def write() -> None:
            bar.crumbs = [Crumb("From a thread")]

        threading.Thread(target=lambda: ctx.session.later(write)).start()

    save.on_click(saved)
    fail.on_click(failed)
    busy.on_click(from_a_thread)
    main = pn.Column(empty_state("Nothing here yet", "It would be here."), pn.widgets.TextInput(label="Name"))
    return Page("Weather", main, bar, (fail, busy, save))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A studio with one page and one that fills the room."""

    def filling(_ctx: PageContext) -> Page:
        main = pn.Column(pn.pane.Str("x"), sizing_mode="stretch_both", margin=0, css_classes=["filling"])
        return Page("Full", main, Bar(crumbs=[Crumb("Full")]), room="fill")

    pages = [PageRoute("/", _page, "Home", "house"), PageRoute("/editor", filling, "Models", "workflow")]
    with serving(build(None, StudioSettings(access_log=False), pages=pages)) as running:
        yield running


class Visit:
    """A browser context with one tab, noting every request and complaint."""

    def __init__(self, browser: Any, scheme: str = "light") -> None:
        """Open an empty tab; `scheme` is the system's appearance."""
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
        self.tab = self.context.new_page()
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self.tab.on("console", self._note)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requested.append(request.url))

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, url: str) -> Any:
        """Go to `url` and wait until the page is alive."""
        self.tab.goto(url)
        self.tab.wait_for_selector("html[data-ready]", timeout=20_000)
        return self.tab


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """A light visit, closed afterwards."""
    visiting = Visit(browser)
    yield visiting
    visiting.context.close()


def test_it_opens_with_the_token_and_talks_to_nobody_else(visit: Visit, server: Server) -> None:
    tab = visit.open(server.url)
    tab.wait_for_selector("text=Nothing here yet")
    assert "token" not in tab.url
    assert tab.title() == "Weather · Treadle"
    base = server.url.partition("/?")[0]
    assert all(url.startswith((base, "blob:", "data:")) for url in visit.requested)
    assert visit.complaints == []
    assert tab.inner_text("#crumbs b") == "<b>Weather</b>"
    assert tab.locator(".rail-item").count() == 2
    assert tab.get_attribute(".rail-item >> nth=0", "aria-current") == "page"


def test_a_wrong_token_shows_where_the_right_one_is(visit: Visit, server: Server) -> None:
    visit.tab.goto(server.url[:-4] + "XXXX")
    assert "terminal" in visit.tab.inner_text("main")
    assert visit.tab.locator(".rail").count() == 0


def test_the_theme_is_remembered_and_sent_with_the_first_byte(visit: Visit, server: Server) -> None:
    tab = visit.open(server.url)
    assert tab.get_attribute("html", "data-theme") == "light"
    tab.click("#theme")
    assert tab.get_attribute("html", "data-theme") == "dark"
    answer = tab.reload()
    assert 'data-theme="dark"' in answer.text()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"


def test_the_theme_follows_the_system_at_first(browser: Any, server: Server) -> None:
    visit = Visit(browser, scheme="dark")
    tab = visit.open(server.url)
    assert tab.get_attribute("html", "data-theme") == "dark"
    tab.emulate_media(color_scheme="light")
    tab.wait_for_selector("html[data-theme=light]")
    visit.context.close()


def test_the_bar_follows_the_page_and_errors_become_toasts(visit: Visit, server: Server) -> None:
    tab = visit.open(server.url)
    tab.click("button:has-text('Save')")
    tab.wait_for_selector("#badges .pill.ok:has-text('revision 2')")
    tab.wait_for_selector(".toast.ok:has-text('Saved <i>it</i>')")
    tab.click("button:has-text('Fail')")
    tab.wait_for_selector(".toast.bad:has-text('no <luck>')")
    tab.click("button:has-text('Later')")
    tab.wait_for_selector("#crumbs:has-text('From a thread')")
    assert visit.complaints == []


def test_a_filling_page_gets_exactly_the_room(visit: Visit, server: Server) -> None:
    visit.open(server.url)
    tab = visit.open(server.url.partition("?")[0] + "editor")
    tab.wait_for_selector(".filling")
    box = tab.locator(".filling").bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (48, 44, 1440 - 48, 900 - 44)
    assert tab.evaluate("document.documentElement.scrollHeight") == 900


def test_the_frame_is_painted_before_any_script_of_bokeh(visit: Visit, server: Server) -> None:
    visit.open(server.url)
    visit.tab.route("**/static/**", lambda route: route.abort())
    visit.tab.goto(server.url.partition("?")[0])
    assert visit.tab.is_visible(".bar")
    assert visit.tab.is_visible("#crumbs b")
    visit.tab.wait_for_function("getComputedStyle(document.querySelector('.skeleton')).opacity == 1")


def test_the_keyboard_reaches_the_frame(visit: Visit, server: Server) -> None:
    tab = visit.open(server.url)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    names = tab.eval_on_selector_all(".rail-item, #theme", "all => all.map(one => one.getAttribute('aria-label'))")
    assert all(names)
