"""The editor in a real browser, by mouse and keys, against a real server: what a person does in a first hour."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import engine
from engine.domain.edits import AddNode, Connect
from engine.domain.model import Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.values import Port, Position
from studio.asgi import StudioSettings, build, serving
from studio.editor.state import EditorState, open_state

TABLE = {"type": "array", "items": {"type": "object"}, "format": "table"}
NUMBER = {"type": "object", "properties": {"number": {"type": "number", "default": 20}}, "required": ["number"]}


def double(number: float) -> float:
    """Give twice as much."""
    time.sleep(0.4)
    return 2 * number


def explode(number: float) -> float:
    """Fail in a way that a person can read."""
    message = f"{number:g} is too much to bear"
    raise ValueError(message)


def model_edits() -> list[Any]:
    """A number in, doubled, out."""
    ports = {
        "inputs": (Port(name="number", schema={"type": "number"}),),
        "outputs": (Port(name="result", schema={"type": "number"}),),
    }
    nodes = [
        Boundary(id="in", name="Number", boundary="input", input_contract=NUMBER, position=Position(x=0, y=60)),
        Stage(id="work", name="Work", visual={"width": 480, "height": 170}, position=Position(x=240, y=0)),
        Tether(id="twice", name="Twice", reference="own.double", parent="work", position=Position(x=24, y=60), **ports),
        Boundary(
            id="out",
            name="Answer",
            boundary="output",
            output_contract={"type": "object", "properties": {"answer": {"type": "number"}}, "required": ["answer"]},
            position=Position(x=780, y=60),
        ),
    ]
    wires = [
        Wire(id="w1", source="in", source_port="number", target="twice", target_port="number"),
        Wire(id="w2", source="twice", source_port="result", target="out", target_port="answer"),
    ]
    return [*(AddNode(node=node) for node in nodes), *(Connect(wire=wire) for wire in wires)]


class Place:
    """A store with a studio over it."""

    def __init__(self, store: Any, url: str) -> None:
        self.store, self.url = store, url
        self.base = url.partition("/?")[0]
        self.count = 0

    def model(self) -> str:
        """A fresh model of one step; its id."""
        self.count += 1
        made = self.store.models.create(f"Doubling {self.count}")
        return self.store.models.save(made.id, model_edits(), base_revision=0, name="Draw it").id

    def state(self, model: str) -> EditorState:
        """The state that the tabs of a model share."""
        state = open_state(self.store, model)
        state.release()
        return state


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with (
        engine.open(
            "memory:", tethers=[engine.tether("own.double")(double), engine.tether("own.explode")(explode)]
        ) as store,
        serving(build(store, StudioSettings(access_log=False))) as server,
    ):
        yield Place(store, server.url)


class Visit:
    """A browser window with its complaints and requests."""

    def __init__(self, browser: Any, place: Place, scheme: str = "light") -> None:
        self.place = place
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self.tab = self.new_tab()
        self.tab.goto(place.url.replace("/?", "/editor?"))

    def new_tab(self) -> Any:
        tab = self.context.new_page()
        tab.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.requested.append(request.url))
        return tab

    def open(self, model: str, tab: Any = None) -> Any:
        """Open a model's editor and wait until it can be used."""
        tab = tab or self.tab
        tab.goto(f"{self.place.base}/editor?model={model}")
        tab.wait_for_selector("html[data-ready]", timeout=20_000)
        tab.wait_for_selector(".fe-entry", timeout=20_000)
        return tab

    def select(self, node: str, tab: Any = None) -> None:
        tab = tab or self.tab
        name = tab.locator(f".react-flow__node[data-id='{node}'] .fe-name")
        name.click()
        tab.wait_for_selector(f".who b:has-text('{name.inner_text()}')")


@pytest.fixture
def visit(browser: Any, place: Place) -> Iterator[Visit]:
    visiting = Visit(browser, place)
    yield visiting
    visiting.context.close()


def eventually(check: Callable[[], Any], within_s: float = 8.0) -> Any:
    """What `check` gives once it is true; the last it gave when time is up."""
    end = time.monotonic() + within_s
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def drag(tab: Any, source: Any, target: tuple[float, float]) -> None:
    """Press on the middle of an element, move and let go, as a hand does."""
    box = source.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(target[0] - 30, target[1] - 20, steps=4)
    tab.mouse.move(*target, steps=4)
    tab.mouse.up()


def middle(locator: Any) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def dot(tab: Any, node: str, port: str, side: str) -> Any:
    return tab.locator(f".react-flow__node[data-id='{node}'] .fe-port--{side} .fe-port__dot[data-handleid='{port}']")


def test_a_model_opens_without_complaints_or_strangers(visit: Visit, place: Place) -> None:
    tab = visit.open(place.model())
    assert tab.locator(".react-flow__node").count() == 4
    tab.wait_for_selector("#badges .pill.ok:has-text('Valid')")
    assert tab.inner_text("#crumbs b").startswith("Doubling")
    assert "revision 1" in tab.inner_text("#badges")
    assert all(url.startswith((place.base, "blob:", "data:")) for url in visit.requested)
    assert visit.complaints == []


def test_drag_connect_undo_redo_and_save(visit: Visit, place: Place) -> None:
    model = place.model()
    tab = visit.open(model)
    frame = tab.locator(".react-flow__node[data-id='work']").bounding_box()
    entry = tab.locator(".fe-entry[data-type='tether:own.double']")
    entry.scroll_into_view_if_needed()
    drag(tab, entry, (frame["x"] + frame["width"] * 0.75, frame["y"] + frame["height"] * 0.55))
    tab.wait_for_selector("#badges .pill.warn:has-text('unsaved')")
    state = place.state(model)
    added = eventually(lambda: [node for node in state.model.actions() if node.id != "twice"])[0]
    assert added.parent == "work"
    tab.wait_for_selector("#badges .pill.bad:has-text('problem')")

    drag(tab, dot(tab, "twice", "result", "source"), middle(dot(tab, added.id, "number", "target")))
    assert eventually(lambda: len(state.model.wires) == 3)
    tab.keyboard.press("Control+z")
    assert eventually(lambda: len(state.model.wires) == 2)
    tab.wait_for_selector("button[aria-label^='Redo: Connect']:enabled")
    tab.keyboard.press("Control+Shift+z")
    assert eventually(lambda: len(state.model.wires) == 3)

    tab.wait_for_selector("button[aria-label^='Undo: Connect']:enabled")
    tab.keyboard.press("Control+s")
    tab.wait_for_selector("#badges:has-text('revision 2')")
    assert "unsaved" not in tab.inner_text("#badges")
    assert place.store.models.get(model).wires == state.model.wires
    assert visit.complaints == []


def test_a_refused_wire_says_why(visit: Visit, place: Place) -> None:
    model = place.model()
    tab = visit.open(model)
    drag(tab, dot(tab, "in", "number", "source"), middle(dot(tab, "out", "answer", "target")))
    tab.wait_for_selector(".fe-refusal:has-text('wire')")
    assert len(place.state(model).model.wires) == 2


def test_the_inspector_edits_coalesce_and_refuse_in_place(visit: Visit, place: Place) -> None:
    model = place.model()
    tab = visit.open(model)
    visit.select("twice")
    name = tab.get_by_label("Name", exact=True)
    name.fill("")
    name.type("Double it")
    state = place.state(model)
    assert eventually(lambda: state.model.nodes["twice"].name == "Double it")
    assert state.unsaved == 1
    tab.wait_for_selector(".react-flow__node[data-id='twice'] .fe-name:has-text('Double it')")

    tab.click("[data-tab=policy]")
    attempts = tab.get_by_label("Attempts", exact=True)
    attempts.fill("99")
    tab.wait_for_selector("text=It must be from 1 to 10.")
    assert state.model.nodes["twice"].retry.max_attempts == 1
    assert attempts.input_value() == "99"
    attempts.fill("3")
    assert eventually(lambda: state.model.nodes["twice"].retry.max_attempts == 3)
    when = tab.get_by_label("Runs when", exact=True)
    when.fill("nummer > 1")
    tab.wait_for_selector(".field-note.bad")
    when.fill("number > 1.0")
    assert eventually(lambda: state.model.nodes["twice"].condition is not None)
    assert visit.complaints == []


def test_problems_lead_to_their_node(visit: Visit, place: Place) -> None:
    tab = visit.open(place.model())
    visit.select("twice")
    tab.keyboard.press("Delete")
    tab.click("[data-tab=problems]")
    row = tab.locator("tbody tr", has_text="Answer").first
    row.click()
    tab.wait_for_selector(".react-flow__node[data-id='out'].selected")
    tab.wait_for_selector(".who b:has-text('Answer')")
    assert visit.complaints == []


def test_a_run_by_mouse_shows_states_and_data(visit: Visit, place: Place) -> None:
    model = place.model()
    tab = visit.open(model)
    tab.wait_for_selector("#badges .pill.ok")
    tab.get_by_role("button", name="Run", exact=True).click()
    tab.wait_for_selector(".react-flow__node[data-id='twice'] [data-state=running]")
    tab.wait_for_selector(".react-flow__node[data-id='twice'] .fe-pill[data-tone=ok]")
    tab.wait_for_selector(".react-flow__node[data-id='out'] .fe-pill[data-tone=ok]")
    visit.select("twice")
    tab.click("[data-tab=data]")
    tab.wait_for_selector("text=40")
    tab.click("[data-tab=runs]")
    tab.wait_for_selector("tbody tr:has-text('trial of revision 1')")
    assert place.store.models.get(model).revision == 1
    assert visit.complaints == []


def test_a_failing_step_says_what_failed(visit: Visit, place: Place) -> None:
    model = place.model()
    state = open_state(place.store, model)
    from engine.domain.edits import Change, Configure

    state.do("Break it", [Configure(id="twice", changes=(Change(path=("reference",), value="own.explode"),))])
    tab = visit.open(model)
    tab.get_by_role("button", name="Run", exact=True).click()
    tab.wait_for_selector(".react-flow__node[data-id='twice'] .fe-message:has-text('too much to bear')")
    tab.wait_for_selector(".toast.bad:has-text('too much to bear')")
    assert tab.locator(".toast.bad").count() == 1
    state.release()


def test_a_model_with_errors_is_not_run_and_shows_where(visit: Visit, place: Place) -> None:
    tab = visit.open(place.model())
    visit.select("out")
    tab.keyboard.press("Delete")
    tab.wait_for_selector("#badges .pill.bad")
    tab.get_by_role("button", name="Run", exact=True).click()
    tab.wait_for_selector(".toast.bad:has-text('output')")
    tab.wait_for_selector("[data-tab=problems][aria-selected=true]")
    assert visit.complaints == []


def test_a_reload_loses_nothing_and_a_second_tab_sees_the_edit(visit: Visit, place: Place) -> None:
    model = place.model()
    first = visit.open(model)
    second = visit.open(model, visit.new_tab())
    first.bring_to_front()
    visit.select("twice", first)
    first.get_by_label("Name", exact=True).fill("Seen by both")
    second.wait_for_selector(".react-flow__node[data-id='twice'] .fe-name:has-text('Seen by both')")
    second.wait_for_selector("#badges:has-text('unsaved')")
    second.close()
    first.reload()
    first.wait_for_selector(".react-flow__node[data-id='twice'] .fe-name:has-text('Seen by both')")
    first.wait_for_selector("#badges:has-text('unsaved')")
    first.locator("[aria-label='Workflow editor']").focus()
    first.keyboard.press("Control+z")
    first.wait_for_selector(".react-flow__node[data-id='twice'] .fe-name:has-text('Twice')")
    assert visit.complaints == []


def test_unsaved_work_survives_a_restart(place: Place) -> None:
    model = place.model()
    state = open_state(place.store, model)
    state.describe("description", "typed and not saved")
    state.release()
    again = open_state(place.store, model)
    assert again is not state
    assert again.model.description == "typed and not saved"
    assert again.undo() == "Change the description"
    again.release()


def test_publish_by_mouse(visit: Visit, place: Place) -> None:
    model = place.model()
    tab = visit.open(model)
    tab.wait_for_selector("#badges .pill.ok")
    tab.get_by_role("button", name="Publish", exact=True).click()
    dialog = tab.get_by_role("dialog")
    assert dialog.get_by_label("Version").input_value() == "1.0.0"
    dialog.get_by_label("Message").fill("The first")
    dialog.get_by_role("button", name="Publish", exact=True).click()
    tab.wait_for_selector("#badges:has-text('Published 1.0.0')")
    assert place.store.models.versions(model)[0].message == "The first"
    assert visit.complaints == []


def test_an_archived_model_is_read_only(visit: Visit, place: Place) -> None:
    model = place.model()
    place.store.models.publish(model)
    place.store.models.archive(model)
    visit.tab.goto(f"{place.base}/editor?model={model}")
    visit.tab.wait_for_selector("#badges:has-text('Archived')")
    visit.tab.wait_for_selector(".fe-root[data-readonly=true]")
    assert visit.tab.get_by_role("button", name="Run", exact=True).is_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_theme(browser: Any, place: Place, scheme: str) -> None:
    visiting = Visit(browser, place, scheme)
    tab = visiting.open(place.model())
    assert tab.get_attribute(".fe-root", "data-theme") == scheme
    paper = tab.evaluate("getComputedStyle(document.querySelector('.bar')).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 31)"}[scheme]
    assert visiting.complaints == []
    visiting.context.close()


def test_the_list_of_models_leads_to_the_editor(visit: Visit, place: Place) -> None:
    model = place.model()
    name = place.store.models.get(model).name
    visit.tab.goto(f"{place.base}/editor")
    visit.tab.locator("tbody tr", has_text=name).first.click()
    visit.tab.wait_for_url(f"**/editor?model={model}")
    visit.tab.wait_for_selector(f"#crumbs b:has-text('{name}')")
    assert visit.complaints == []


def test_a_reload_shows_the_last_run_again_and_folds_are_remembered(visit: Visit, place: Place) -> None:
    model = place.model()
    place.store.run(model, {}).wait()
    tab = visit.open(model)
    tab.wait_for_selector(".react-flow__node[data-id='twice'] .fe-pill[data-tone=ok]")
    tab.get_by_role("button", name="Hide the inspector").click()
    tab.wait_for_selector("[data-tab=settings]", state="hidden")
    tab.reload()
    tab.get_by_role("button", name="Show the inspector").click()
    visit.select("twice")
    assert visit.complaints == []
