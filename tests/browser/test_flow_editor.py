"""The flow editor in a real browser, with a real mouse and real keys.

One file, though long: the browser and the served page are started once for all of it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import panel as pn
import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, Locator, Page, Route, expect

from studio.components.flow_editor import FlowEditor, build

START_TIMEOUT_S = 30

pytestmark = pytest.mark.timeout(60)


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url: str) -> bool:
    """Whether something serves this address."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The harness, served by a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "tests.browser.flow_editor_harness", str(port)]
    url = f"http://127.0.0.1:{port}/app"
    with subprocess.Popen(command) as process:
        give_up_s = time.monotonic() + START_TIMEOUT_S
        while not answers(url):
            assert process.poll() is None, "the harness ended before it served a page"
            assert time.monotonic() < give_up_s, "the harness does not answer"
        yield url
        process.terminate()


@dataclass
class Editor:
    """The page as a person uses it: by names, not by selectors."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def node(self, name: str) -> Locator:
        """A card or a frame by its name."""
        return self.page.locator(".react-flow__node").filter(
            has=self.page.locator(".fe-name", has_text=re.compile(f"^{re.escape(name)}$"))
        )

    def port(self, name: str, side: str, label: str) -> Locator:
        """A port's circle; `side` is Input or Output."""
        return self.node(name).locator(f'.fe-port__dot[aria-label^="{side} {label},"]')

    def wire(self, name: str) -> Locator:
        """A wire by its spoken name, "A to B"."""
        return self.page.locator(f'.react-flow__edge[aria-label="Wire from {name}"]')

    @property
    def wires(self) -> Locator:
        """All wires."""
        return self.page.locator(".react-flow__edge")

    @property
    def nodes(self) -> Locator:
        """All nodes."""
        return self.page.locator(".react-flow__node")

    def middle(self, target: Locator) -> tuple[float, float]:
        """The middle of an element in the window."""
        box = target.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag(self, start: Locator, end: Locator | tuple[float, float], *, drop: bool = True) -> None:
        """Press on one thing, go to another, and let go."""
        x, y = self.middle(start)
        to = end if isinstance(end, tuple) else self.middle(end)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + 12, y + 8, steps=3)
        self.page.mouse.move(*to, steps=8)
        if drop:
            self.page.mouse.up()

    def click(self, name: str) -> None:
        """Select a node."""
        self.node(name).locator(".fe-name").click()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def place(self, name: str) -> tuple[float, float]:
        """Where a node's corner is, in whole pixels."""
        box = self.node(name).bounding_box()
        assert box is not None
        return round(box["x"]), round(box["y"])

    def boxes(self, *names: str) -> list[dict[str, float]]:
        """Where these nodes are, all at one moment: asked one by one they may be in the middle of a glide."""
        nodes = [self.node(name).element_handle() for name in names]
        return self.page.evaluate(BOXES, nodes)

    def watch(self, *names: str) -> None:
        """Note in every frame from now on where these nodes are; `watched` gives the notes."""
        self.page.evaluate(WATCH, [self.node(name).element_handle() for name in names])

    @property
    def watched(self) -> list[list[dict[str, float]]]:
        """The boxes of the watched nodes, one list a frame."""
        return self.page.evaluate("window.watched")

    def expect_all_in_sight(self) -> None:
        """Every node is on the canvas, now or soon, and none of them moves any more."""
        canvas = self.page.locator(".fe-canvas").element_handle()
        self.page.evaluate("window.places = null")
        self.page.wait_for_function(IN_SIGHT, arg=canvas, polling="raf")

    def expect_place(self, name: str, place: tuple[int, int]) -> None:
        """A node's corner is there, now or soon: what Python answers is drawn a little after it has come."""
        give_up_s = time.monotonic() + 5
        while self.place(name) != place and time.monotonic() < give_up_s:
            self.page.wait_for_timeout(50)
        assert self.place(name) == place

    def empty_spot(self) -> tuple[float, float]:
        """A point of the canvas with nothing on it."""
        box = self.page.locator(".fe-canvas").bounding_box()
        assert box is not None
        return box["x"] + box["width"] - 160, box["y"] + box["height"] - 90


BOXES = "(nodes) => nodes.map((node) => node.getBoundingClientRect().toJSON())"
WATCH = """(nodes) => {
  window.watched = [];
  const look = () => {
    window.watched.push(nodes.map((node) => node.getBoundingClientRect().toJSON()));
    requestAnimationFrame(look);
  };
  look();
}"""
IN_SIGHT = """(canvas) => {
  const room = canvas.getBoundingClientRect();
  const boxes = [...canvas.querySelectorAll(".react-flow__node")].map((node) => node.getBoundingClientRect());
  const places = JSON.stringify(boxes);
  window.stillFrames = window.places === places ? window.stillFrames + 1 : 0;
  window.places = places;
  return window.stillFrames >= 10 && boxes.every((box) => box.top >= room.top && box.right <= room.right
    && box.bottom <= room.bottom && box.left >= room.left);
}"""
DRAWN = ".fe-step, .fe-frame, .fe-empty"


def is_whole(frame: dict[str, float], inner: dict[str, float]) -> bool:
    """Whether one box is inside the other."""
    beside = frame["left"] < inner["left"] and inner["right"] < frame["right"]
    return beside and frame["top"] < inner["top"] and inner["bottom"] < frame["bottom"]


@pytest.fixture
def open_editor(browser: Browser, address: str) -> Iterator[object]:
    """Opens pages and, when the test is over, insists that none complained or called outside."""
    opened: list[Editor] = []
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.grant_permissions(["clipboard-read", "clipboard-write"])

    def start(query: str = "", *, prepare: Callable[[Page], object] = bool, drawn: str | None = DRAWN) -> Editor:
        page = context.new_page()
        prepare(page)
        page.set_default_timeout(8_000)
        editor = Editor(page)
        opened.append(editor)
        page.on("pageerror", lambda error: note_complaint(editor, str(error)))
        page.on("console", lambda message: note_complaint(editor, message.text, message.type))
        page.on("request", lambda request: note_request(editor, request.url))
        page.goto(f"{address}?{query}")
        if drawn is not None:
            page.locator(drawn).first.wait_for()
        return editor

    yield start
    context.close()
    assert [editor.complaints for editor in opened if editor.complaints] == []
    assert [editor.outside for editor in opened if editor.outside] == []


def note_complaint(editor: Editor, text: str, kind: str = "error") -> None:
    """Remember an error of the page."""
    if kind == "error":
        editor.complaints.append(text)


def note_request(editor: Editor, url: str) -> None:
    """Remember what is not our own server's."""
    if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
        editor.outside.append(url)


def test_the_drawing_is_shown_readably(open_editor) -> None:
    editor = open_editor("state=running")
    expect(editor.nodes).to_have_count(8)
    expect(editor.wires).to_have_count(6)
    expect(editor.node("Write summary")).to_contain_text("attempt 2 of 3")
    expect(editor.node("Write summary")).to_contain_text("62 %")
    expect(editor.node("Prepare").locator(".fe-pill")).to_have_text("2 of 2 · 0.21 s")
    expect(editor.wire("Write summary to Report").locator(".fe-wire")).to_have_attribute("data-moving", "true")
    expect(editor.page.locator(".fe-map")).to_have_count(0)


def test_a_failure_is_a_sentence_on_the_node(open_editor) -> None:
    editor = open_editor("state=failed")
    expect(editor.node("Write summary").locator(".fe-message")).to_contain_text("answered 429 each time")
    expect(editor.node("Explain").locator(".fe-pill").first).to_have_attribute("data-tone", "bad")


def test_dragging_from_the_palette_adds_a_node_where_it_is_dropped(open_editor) -> None:
    editor = open_editor()
    entry = editor.page.locator('.fe-entry[data-type="sql"]')
    editor.drag(entry, editor.empty_spot(), drop=False)
    expect(editor.page.locator(".fe-ghost")).to_have_text("SQL query")
    editor.page.mouse.up()
    expect(editor.node("SQL query")).to_be_visible()
    x, y = editor.place("SQL query")
    assert abs(x + 24 - editor.empty_spot()[0]) < 12
    assert abs(y + 24 - editor.empty_spot()[1]) < 12


def test_dropping_into_a_container_makes_it_the_parent(open_editor) -> None:
    editor = open_editor()
    x, y = editor.middle(editor.node("Prepare"))
    editor.drag(editor.page.locator('.fe-entry[data-type="python"]'), (x, y + 55), drop=False)
    expect(editor.node("Prepare").locator(".fe-frame")).to_have_attribute("data-target", "true")
    editor.page.mouse.up()
    expect(editor.node("Python function")).to_be_visible()
    editor.node("Prepare").get_by_label("Collapse").click()
    expect(editor.node("Python function")).to_have_count(0)


def test_clicking_in_the_palette_adds_in_the_middle_and_search_finds(open_editor) -> None:
    editor = open_editor("demo=empty")
    expect(editor.page.locator(".fe-empty button")).to_have_text(
        [re.compile("^Input"), re.compile("^Output"), re.compile("^Read CSV")]
    )
    field_ = editor.page.get_by_label("Find a node")
    field_.fill("nothing like that")
    expect(editor.page.locator(".fe-palette .fe-none")).to_contain_text("Nothing is called")
    field_.fill("sql")
    editor.page.locator(".fe-entry").first.click()
    expect(editor.node("SQL query")).to_be_visible()
    expect(editor.page.locator(".fe-empty")).to_have_count(0)


def test_a_starter_on_the_empty_canvas_adds_it(open_editor) -> None:
    editor = open_editor("demo=empty")
    editor.page.locator(".fe-empty button").first.click()
    expect(editor.node("Input")).to_be_visible()


def test_the_palette_folds_and_remembers(open_editor) -> None:
    editor = open_editor()
    editor.page.get_by_label("Hide the palette").click()
    expect(editor.page.locator(".fe-palette")).to_have_count(0)
    again = open_editor()
    expect(again.page.locator(".fe-palette")).to_have_count(0)
    again.page.get_by_label("Show the palette").click()
    expect(again.page.locator(".fe-palette")).to_be_visible()


def test_drawing_a_wire_connects_and_undo_takes_it_back(open_editor) -> None:
    editor = open_editor()
    editor.drag(editor.port("Field table", "Output", "Table"), editor.port("Report", "Input", "Value"))
    expect(editor.wire("Field table to Report")).to_have_count(1)
    expect(editor.page.get_by_role("status").filter(has_text="Connected Field table to Report.")).to_have_count(1)
    undo = editor.page.get_by_label(re.compile("^Undo"))
    expect(undo).to_have_attribute("title", "Undo: Connect (Ctrl+Z)")
    editor.press("Control+z")
    expect(editor.wires).to_have_count(6)
    editor.press("Control+Shift+z")
    expect(editor.wires).to_have_count(7)
    editor.press("Control+z")
    expect(editor.wires).to_have_count(6)
    editor.press("Control+y")
    expect(editor.wires).to_have_count(7)


def test_while_connecting_what_fits_glows_and_the_rest_dims(open_editor) -> None:
    editor = open_editor()
    editor.drag(editor.port("Field table", "Output", "Table"), editor.empty_spot(), drop=False)
    fit = editor.node("Report").locator(".fe-port--target")
    expect(fit).to_have_attribute("data-fit", "fit")
    expect(editor.node("Write summary").locator(".fe-port--target")).to_have_attribute("data-fit", "unfit")
    editor.page.mouse.up()


def test_a_wire_that_does_not_fit_is_refused_beside_the_pointer(open_editor) -> None:
    editor = open_editor()
    target = editor.port("Write summary", "Input", "Prompt")
    x, y = editor.middle(target)
    editor.drag(editor.port("Field table", "Output", "Table"), target)
    refusal = editor.page.locator(".fe-refusal")
    expect(refusal).to_have_text("Table gives table, but Prompt takes text.")
    box = refusal.bounding_box()
    assert abs(box["x"] - x) < 60
    assert abs(box["y"] - y) < 60
    expect(editor.wires).to_have_count(6)


def test_a_loop_is_refused(open_editor) -> None:
    editor = open_editor()
    editor.click("Clean rows")
    editor.press("Delete")
    expect(editor.nodes).to_have_count(7)
    editor.drag(editor.page.locator('.fe-entry[data-type="python"]'), editor.empty_spot())
    editor.drag(
        editor.port("Group by species", "Output", "Table"),
        editor.port("Python function", "Input", "Rows"),
    )
    expect(editor.wire("Group by species to Python function")).to_have_count(1)
    editor.drag(
        editor.port("Python function", "Output", "Table"),
        editor.port("Group by species", "Input", "Rows"),
    )
    expect(editor.page.locator(".fe-refusal")).to_contain_text("close a loop")


def test_pythons_own_refusal_is_shown_too(open_editor) -> None:
    editor = open_editor()
    editor.drag(editor.page.locator('.fe-entry[data-type="http"]'), editor.empty_spot())
    editor.drag(editor.port("HTTP request", "Output", "Body"), editor.port("Report", "Input", "Value"))
    expect(editor.page.locator(".fe-refusal")).to_have_text("A body must be read before it is reported.")


def test_dropping_a_wire_on_a_card_takes_its_only_fitting_port(open_editor) -> None:
    editor = open_editor()
    editor.drag(editor.port("Field table", "Output", "Table"), editor.node("Report").locator(".fe-foot"))
    expect(editor.wire("Field table to Report")).to_have_count(1)


def test_dropping_a_wire_on_the_canvas_offers_what_fits_and_connects_it(open_editor) -> None:
    editor = open_editor()
    editor.drag(editor.port("Write summary", "Output", "Text"), editor.empty_spot())
    options = editor.page.locator(".fe-option")
    expect(options.filter(has_text="SQL query")).to_have_count(0)
    expect(options.filter(has_text="Agent task")).to_have_count(1)
    editor.page.keyboard.type("agent")
    editor.press("Enter")
    expect(editor.wire("Write summary to Agent task")).to_have_count(1)


def test_tab_adds_where_the_pointer_is(open_editor) -> None:
    editor = open_editor()
    editor.page.mouse.click(*editor.empty_spot())
    editor.press("Tab")
    expect(editor.page.get_by_role("combobox")).to_be_focused()
    editor.press("ArrowDown", "ArrowDown", "ArrowUp", "Enter")
    expect(editor.node("Output")).to_be_visible()
    assert abs(editor.place("Output")[0] - editor.empty_spot()[0]) < 12


def test_a_node_is_connected_by_keyboard_alone(open_editor) -> None:
    editor = open_editor()
    editor.click("Field table")
    editor.press("c")
    expect(editor.page.locator(".fe-option").first).to_be_visible()
    editor.page.keyboard.type("report")
    editor.press("Enter")
    expect(editor.wire("Field table to Report")).to_have_count(1)


def test_delete_removes_the_selected_and_undo_brings_it_back(open_editor) -> None:
    editor = open_editor()
    editor.click("Group by species")
    editor.press("Delete")
    expect(editor.node("Group by species")).to_have_count(0)
    expect(editor.wires).to_have_count(3)
    editor.press("Control+z")
    expect(editor.wires).to_have_count(6)


def test_a_wire_is_selected_and_deleted(open_editor) -> None:
    editor = open_editor()
    editor.wire("Field table to Clean rows").click(force=True)
    editor.page.get_by_label("Delete wire").click()
    expect(editor.wires).to_have_count(5)


def test_shift_adds_to_the_selection_and_a_marquee_takes_what_it_touches(open_editor) -> None:
    editor = open_editor()
    selected = editor.page.locator('[data-selected="true"]:is(.fe-step, .fe-frame)')
    editor.click("Field table")
    editor.node("Report").locator(".fe-name").click(modifiers=["Shift"])
    expect(selected).to_have_count(2)
    editor.press("Escape")
    expect(selected).to_have_count(0)
    x, y = editor.place("Report")
    editor.page.keyboard.down("Shift")
    editor.page.mouse.move(x - 10, y - 30)
    editor.page.mouse.down()
    editor.page.mouse.move(x + 60, y + 60, steps=5)
    editor.page.mouse.up()
    editor.page.keyboard.up("Shift")
    expect(selected).to_have_count(1)


def test_dragging_moves_and_undo_moves_back(open_editor) -> None:
    editor = open_editor()
    before = editor.place("Field table")
    x, y = editor.middle(editor.node("Field table").locator(".fe-name"))
    editor.drag(editor.node("Field table").locator(".fe-name"), (x, y + 200))
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_have_attribute("title", "Undo: Move (Ctrl+Z)")
    assert editor.place("Field table")[1] > before[1] + 150
    editor.press("Control+z")
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_be_disabled()
    editor.expect_place("Field table", before)


def test_dragging_out_of_a_container_leaves_it(open_editor) -> None:
    editor = open_editor()
    editor.drag(editor.node("Clean rows").locator(".fe-name"), editor.empty_spot())
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_be_enabled()
    editor.node("Prepare").get_by_label("Collapse").click()
    expect(editor.node("Group by species")).to_have_count(0)
    expect(editor.node("Clean rows")).to_be_visible()


def test_arrow_keys_move_by_the_grid_as_one_step(open_editor) -> None:
    editor = open_editor()
    x, y = editor.place("Report")
    editor.click("Report")
    editor.press("ArrowDown", "ArrowDown", "ArrowRight")
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_be_enabled()
    editor.expect_place("Report", (x + 8, y + 16))
    editor.press("Control+z")
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_be_disabled()
    editor.expect_place("Report", (x, y))


def test_enter_renames_and_escape_does_not(open_editor) -> None:
    editor = open_editor()
    editor.click("Report")
    editor.press("Enter")
    editor.page.keyboard.type("Field report")
    editor.press("Enter")
    expect(editor.node("Field report")).to_be_visible()
    editor.press("F2")
    editor.page.keyboard.type("Not this")
    editor.press("Escape")
    expect(editor.node("Field report")).to_be_visible()


def test_copy_paste_and_duplicate(open_editor) -> None:
    editor = open_editor()
    editor.click("Report")
    editor.press("Control+c")
    editor.press("Control+v")
    expect(editor.node("Report")).to_have_count(2)
    editor.press("Control+d")
    expect(editor.node("Report")).to_have_count(3)


def test_a_container_folds_to_a_card_with_proxy_ports(open_editor) -> None:
    editor = open_editor("state=running")
    editor.node("Prepare").get_by_label("Collapse").click()
    expect(editor.nodes).to_have_count(6)
    expect(editor.wires).to_have_count(5)
    expect(editor.node("Prepare").locator(".fe-port")).to_have_count(2)
    expect(editor.node("Prepare")).to_contain_text("2 nodes inside")
    editor.node("Prepare").get_by_label("Expand").click()
    expect(editor.nodes).to_have_count(8)
    expect(editor.wires).to_have_count(6)


def test_a_container_is_put_before_another(open_editor) -> None:
    editor = open_editor()
    editor.node("Prepare").locator(".fe-badge").hover()
    editor.drag(
        editor.node("Prepare").get_by_label("Runs before"),
        editor.node("Explain").get_by_label("Runs after"),
    )
    expect(editor.page.locator('[aria-label="Prepare runs before Explain"]')).to_have_count(1)


def test_a_container_is_resized(open_editor) -> None:
    editor = open_editor()
    width = editor.node("Explain").bounding_box()["width"]
    editor.node("Explain").locator(".fe-badge").click()
    corner = editor.node("Explain").locator(".react-flow__resize-control.handle.bottom.right")
    x, y = editor.middle(corner)
    editor.drag(corner, (x + 80, y + 40))
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_have_attribute("title", "Undo: Resize (Ctrl+Z)")
    assert editor.node("Explain").bounding_box()["width"] > width + 60


def arrange(editor: Editor) -> None:
    """Arrange the drawing and wait until all of it lies still where it belongs, which is in one line."""
    editor.page.get_by_label("Arrange").click()
    expect(editor.page.get_by_label(re.compile("^Undo"))).to_have_attribute("title", "Undo: Layout (Ctrl+Z)")
    expect(editor.node("Report")).to_have_attribute("style", re.compile(r"translate\(1208px, 88px\)"))
    editor.expect_all_in_sight()


def test_arranging_keeps_containers_whole(open_editor) -> None:
    editor = open_editor()
    editor.watch("Prepare", "Clean rows")
    arrange(editor)
    assert is_whole(*editor.boxes("Prepare", "Clean rows"))
    assert [boxes for boxes in editor.watched if not is_whole(*boxes)] == [], "nor was it torn in any frame"


def test_arranging_what_is_arranged_is_no_step_and_shows_all(open_editor) -> None:
    editor = open_editor()
    arrange(editor)
    before = editor.place("Field table")
    editor.page.mouse.move(*editor.empty_spot())
    editor.page.mouse.wheel(0, -400)
    first = editor.node("Field table").element_handle()
    editor.page.wait_for_function(
        "([node, x]) => Math.abs(node.getBoundingClientRect().x - x) > 40", arg=[first, before[0]]
    )
    arrange(editor)
    assert editor.place("Field table") == before
    undo = editor.page.get_by_label(re.compile("^Undo"))
    undo.click()
    expect(undo).to_be_disabled()


def test_nothing_is_drawn_before_the_stylesheet_has_come(open_editor) -> None:
    at_once = open_editor()
    held: list[Route] = []

    def hold(page: Page) -> None:
        page.route(re.compile(r"/flow_editor\.css"), lambda route: held.append(route))  # noqa: PLW0108 - a built-in won't do

    late = open_editor(prepare=hold, drawn=None)
    late.page.locator(".fe-root").wait_for(state="attached")
    late.page.wait_for_timeout(300)
    expect(late.nodes).to_have_count(0)
    assert len(held) == 1
    held[0].continue_()
    late.page.locator(DRAWN).first.wait_for()
    assert late.boxes("Field table", "Report", "Explain") == at_once.boxes("Field table", "Report", "Explain")
    late.click("Report")


def test_the_context_menu_acts_on_its_node(open_editor) -> None:
    editor = open_editor()
    editor.node("Report").locator(".fe-name").click(button="right")
    menu = editor.page.get_by_role("menu")
    expect(menu.get_by_role("menuitem", name="Run to here")).to_be_visible()
    menu.get_by_role("menuitem", name=re.compile("^Delete")).click()
    expect(editor.node("Report")).to_have_count(0)
    editor.page.mouse.click(*editor.empty_spot(), button="right")
    editor.page.get_by_role("menuitem", name=re.compile("^Add a node")).click()
    expect(editor.page.get_by_role("combobox")).to_be_focused()


def test_read_only_shows_and_selects_but_changes_nothing(open_editor) -> None:
    editor = open_editor("read_only=1")
    expect(editor.page.locator(".fe-palette")).to_have_count(0)
    editor.click("Report")
    editor.press("Delete", "Enter", "Tab")
    expect(editor.nodes).to_have_count(8)
    expect(editor.page.get_by_role("combobox")).to_have_count(0)
    expect(editor.page.get_by_text("Read only")).to_be_visible()


def test_labels_are_text_whatever_they_say(open_editor) -> None:
    editor = open_editor("demo=hostile")
    expect(editor.page.locator(".fe-canvas img, .fe-canvas script")).to_have_count(0)
    assert editor.page.evaluate("window.hacked") is None
    expect(editor.node("تجميع حسب الأنواع")).to_be_visible()
    long = editor.nodes.filter(has_text="A very long name").first
    assert long.bounding_box()["width"] < 230


def test_sixty_ports_fold_and_unfold(open_editor) -> None:
    editor = open_editor("demo=ports")
    wide = editor.node("Sixty inputs")
    expect(wide.locator(".fe-port--target")).to_have_count(9)
    expect(editor.wires).to_have_count(2)
    wide.get_by_role("button", name="51 more ports").click()
    expect(wide.locator(".fe-port--target")).to_have_count(60)
    wide.get_by_role("button", name="Fewer ports").click()
    expect(wide.locator(".fe-port--target")).to_have_count(9)
    expect(editor.node("Join tables").first.locator(".fe-problem")).to_have_count(0)


def test_dark_comes_from_the_parameter_and_from_the_page(open_editor) -> None:
    editor = open_editor("dark=1")
    root = editor.page.locator(".fe-root")
    expect(root).to_have_attribute("data-theme", "dark")
    light = open_editor()
    expect(light.page.locator(".fe-root")).to_have_attribute("data-theme", "light")
    light.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    expect(light.page.locator(".fe-root")).to_have_attribute("data-theme", "dark")


def test_a_run_is_shown_and_announced(open_editor) -> None:
    editor = open_editor()
    editor.page.mouse.click(*editor.empty_spot())
    editor.press("Control+Enter")
    expect(editor.node("Field table")).to_contain_text("344 rows")
    expect(editor.page.get_by_role("status").filter(has_text="Field table done")).to_have_count(1)


def test_a_thousand_nodes_open_and_change_quickly(open_editor) -> None:
    started_s = time.monotonic()
    editor = open_editor("n=1000")
    expect(editor.node("Query 0")).to_be_visible()
    opened_s = time.monotonic() - started_s
    expect(editor.page.locator(".fe-map")).to_be_visible()
    assert editor.nodes.count() < 200, "only what is in sight is on the page"
    figures = editor.page.evaluate(MEASURE)
    sys.stdout.write(json.dumps({"open_s": round(opened_s, 2), **figures}) + "\n")
    assert opened_s < 6
    assert figures["add_ms"] < 600
    assert figures["status_ms"] < 250


# Generous bounds above: machines of a test farm are shared. The figures themselves are printed.
MEASURE = """async () => {
  const find = (from) => { for (const { shadowRoot } of from.querySelectorAll("*")) {
    const hit = shadowRoot && (shadowRoot.querySelector(".fe-root") || find(shadowRoot));
    if (hit) return hit; } };
  const editor = find(document);
  const until = (test) => new Promise((done) => { const start = performance.now();
    const paint = () => requestAnimationFrame(() => done(performance.now() - start));
    const look = () => test() ? paint() : setTimeout(look, 1);
    look(); });
  editor.querySelector('.fe-entry[data-type="python"]').click();
  const names = () => [...editor.querySelectorAll(".fe-name")].map((el) => el.textContent);
  const add_ms = await until(() => names().includes("Python function"));
  editor.focus();
  const key = new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true, composed: true });
  editor.dispatchEvent(key);
  const status_ms = await until(() => [...editor.querySelectorAll(".fe-pill")].length > 5);
  return { add_ms: Math.round(add_ms), status_ms: Math.round(status_ms) };
}"""


def test_messages_of_several_threads_keep_their_order_in_the_outbox(monkeypatch) -> None:
    monkeypatch.setattr(pn.config, "comms", "ipywidgets")

    def set_slowly(editor: FlowEditor, name: str, value: object) -> None:
        if name == "outbox":
            time.sleep(0.001)  # here another thread used to come in between
        object.__setattr__(editor, name, value)

    editor = FlowEditor()
    monkeypatch.setattr(FlowEditor, "__setattr__", set_slowly)
    seen: list[int] = []
    editor.param.watch(lambda event: seen.append(event.new[-1]["seq"]), "outbox")
    threads = [threading.Thread(target=lambda: [editor.toast("Hello.") for _ in range(15)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(1, 61))
    assert [entry["seq"] for entry in editor.outbox] == seen


def test_the_committed_bundle_is_what_the_sources_give() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, and the bundle can only be rebuilt with it.")
    assert build.main(["--check"]) == 0
