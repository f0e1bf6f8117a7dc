"""The picture of a model, and from intents of the canvas back to edits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.domain.edits import AddNode, Connect, apply, blank
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.rules.findings import finding
from engine.domain.runs import Run
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port, Position
from engine.errors import EditRefused, WireRefused
from engine.execution.frames import RunEvent
from studio.editor import canvas
from studio.editor.intents import World, step_for
from studio.editor.overlay import Overlay
from studio.editor.palette import catalog

TEXT = {"type": "string"}
SPEC = TetherSpec(
    reference="own.upper", name="Upper case", category="Mine", icon="type",
    inputs=(Port(name="text", schema=TEXT),), outputs=(Port(name="text", schema=TEXT),),
)  # fmt: skip
WORLD = World({"own.upper": SPEC}, lambda _: None)
NAMES = canvas.Names(WORLD.specs)


def do(model: FunctionModel, kind: str, **fields: Any) -> FunctionModel:
    step = step_for(model, {"type": kind, **fields}, WORLD)
    assert step is not None
    return apply(model, step.edits)


def add(
    model: FunctionModel, node_type: str, x: float, y: float, parent: str | None = None, link: Any = None
) -> FunctionModel:
    return do(model, "add", node_type=node_type, position={"x": x, "y": y}, parent=parent, link=link)


def view(model: FunctionModel, key: str) -> dict[str, Any]:
    return canvas.Scene(model, NAMES).nodes[key]


@pytest.fixture
def empty() -> FunctionModel:
    return blank("m", "Model")


def test_a_loose_action_is_drawn_where_it_was_dropped_and_its_stage_is_not(empty: FunctionModel) -> None:
    model = add(empty, "tether:own.upper", 100, 50)
    scene = canvas.Scene(model, NAMES)
    assert list(scene.nodes) == ["upper-case"]
    shown = scene.nodes["upper-case"]
    assert (shown["position"], shown["parent"], shown["subtitle"], shown["icon"]) == (
        {"x": 100, "y": 50},
        None,
        "Upper case",
        "type",
    )
    moved = do(model, "move", items=[{"id": "upper-case", "position": {"x": 7, "y": 9}}])
    assert view(moved, "upper-case")["position"] == {"x": 7, "y": 9}


def test_dragging_into_a_frame_and_out_again(empty: FunctionModel) -> None:
    model = add(add(empty, "stage", 0, 0), "tether:own.upper", 600, 50)
    inside = do(model, "move", items=[{"id": "upper-case", "position": {"x": 30, "y": 60}, "parent": "stage"}])
    assert view(inside, "upper-case")["parent"] == "stage"
    assert [node.id for node in inside.containers()] == ["stage"]
    outside = do(inside, "move", items=[{"id": "upper-case", "position": {"x": 600, "y": 60}, "parent": None}])
    assert (view(outside, "upper-case")["parent"], view(outside, "upper-case")["position"]) == (
        None,
        {"x": 600, "y": 60},
    )


def test_a_frame_holds_its_contents_and_says_its_mode(empty: FunctionModel) -> None:
    model = add(add(empty, "stage", 0, 0), "tether:own.upper", 700, 300, parent="stage")
    frame = view(model, "stage")
    assert (frame["width"], frame["height"], frame["badge"]) == (700 + 176 + 20, 300 + 78 + 20, "parallel · 4")


def test_a_node_dropped_at_the_end_of_a_wire_is_connected(empty: FunctionModel) -> None:
    model = add(empty, "tether:own.upper", 0, 0)
    link = {"node": "upper-case", "port": "text", "side": "source", "own_port": "text"}
    model = add(model, "tether:own.upper", 300, 0, link=link)
    [wire] = model.wires.values()
    assert (wire.source, wire.target) == ("upper-case", "upper-case-2")
    assert model.nodes["upper-case-2"].name == "Upper case 2"


def test_a_wire_that_can_not_be_is_refused_with_the_reason(empty: FunctionModel) -> None:
    model = add(empty, "tether:own.upper", 0, 0)
    ends = {"source": "upper-case", "source_port": "text", "target": "upper-case", "target_port": "text"}
    with pytest.raises(WireRefused, match="feed itself"):
        do(model, "connect", **ends)
    with pytest.raises(EditRefused, match="not there any more"):
        add(model, "tether:own.lost", 0, 0)


def test_copies_are_selected_and_steps_are_named(empty: FunctionModel) -> None:
    model = add(empty, "tether:own.upper", 0, 0)
    step = step_for(model, {"type": "duplicate", "ids": ["upper-case"], "offset": 24}, WORLD)
    assert step is not None
    assert (step.name, step.select) == ("Duplicate Upper case", ("upper-case-2",))
    removed = step_for(model, {"type": "remove", "nodes": ["upper-case"], "wires": []}, WORLD)
    assert removed is not None
    assert removed.name == "Remove Upper case"
    assert apply(model, removed.edits).nodes == {}


def test_only_what_changed_is_sent(empty: FunctionModel) -> None:
    model = add(add(empty, "input", 0, 0), "output", 300, 0)
    scene = canvas.Scene(model, NAMES)
    renamed = do(model, "rename", id="input", name="Given")
    change = scene.show(renamed, ())
    assert ([node["id"] for node in change.nodes], change.wires, change.removed_nodes) == (["input"], [], [])
    assert not scene.show(renamed, ())
    gone = scene.show(do(renamed, "remove", nodes=["input"], wires=[]), ())
    assert gone.removed_nodes == ["input"]


def test_findings_are_shown_at_what_is_drawn(empty: FunctionModel) -> None:
    model = add(empty, "tether:own.upper", 0, 0)
    stage = next(model.containers()).id
    found = [finding("structure.orphan", stage, "It stands alone.", "Connect it.")]
    change = canvas.Scene(model, NAMES).show(model, found)
    assert [problem["text"] for problem in change.nodes[0]["problems"]] == ["It stands alone. Connect it."]
    assert canvas.subject_node(model, stage) == "upper-case"
    assert canvas.subject_node(model, None) is None


def test_port_types_follow_the_rule_of_the_engine() -> None:
    types = canvas.port_types()
    assert "number" in types["integer"]["into"]
    assert "text" not in types["number"]["into"]
    assert "list" in types["table"]["into"]


def test_the_palette_has_kinds_functions_and_other_models() -> None:
    entries = catalog([SPEC], [], model="m")
    labels = [(entry["category"], entry["label"]) for entry in entries]
    assert labels[:4] == [
        ("Boundaries", "Input"),
        ("Boundaries", "Output"),
        ("Structure", "Stage"),
        ("Structure", "Gateway"),
    ]
    assert ("Your functions", "Upper case") in labels
    assert entries[0]["outputs"][0]["id"] == "value"


def running_model() -> FunctionModel:
    """A number in, a step, a number out."""
    ports = {"inputs": (Port(name="text", schema=TEXT),), "outputs": (Port(name="text", schema=TEXT),)}
    nodes = [
        Boundary(id="in", name="In", boundary="input", input_contract={"type": "object", "properties": {"text": TEXT}}),
        Stage(id="s", name="S"),
        Tether(id="a", name="A", reference="own.upper", parent="s", position=Position(x=1, y=1), **ports),
    ]
    wire = Wire(id="w", source="in", source_port="text", target="a", target_port="text")
    return apply(blank("m", "Model"), [*(AddNode(node=node) for node in nodes), Connect(wire=wire)])


def test_events_become_statuses() -> None:
    overlay = Overlay(running_model(), {"a": 4})
    assert overlay.begin()["a"] == {"state": "queued", "detail": "waits for 1"}
    assert overlay.take([RunEvent(0, "in", "in", "succeeded", {"outputs": {"text": "x"}})])["a"]["detail"] == ""
    began = overlay.take([RunEvent(10, "a", "a", "running", {"attempt": 2, "attempts": 3, "began_us": 10})])
    assert began["a"] == {"state": "running", "attempt": 2, "attempts": 3}
    part = overlay.take([RunEvent(20, "a#2/inner", "inner", "succeeded", {})])
    assert (part["a"]["detail"], part["a"]["progress"]) == ("1 of 4", 0.25)
    done = overlay.take([RunEvent(2_010, "a", "a", "succeeded", {"began_us": 10, "outputs": {"text": "loud"}})])
    assert done["a"] == {"state": "succeeded", "ms": 2.0, "detail": "loud"}


def test_a_failure_keeps_its_sentence() -> None:
    overlay = Overlay(running_model())
    overlay.begin()
    overlay.take([RunEvent(0, "a", "a", "running", {"attempt": 3, "attempts": 3})])
    failed = overlay.take([RunEvent(1, "a", "a", "failed", {"error": "No such file."})])
    assert failed["a"] == {"state": "failed", "attempt": 3, "attempts": 3, "message": "No such file."}


def test_a_run_that_rests_keeps_what_waits_and_what_comes_later() -> None:
    overlay = Overlay(running_model())
    overlay.begin()
    waits = overlay.take([RunEvent(0, "a", "a", "waiting", {"question": "Ship it?"})])
    assert waits["a"] == {"state": "waiting", "detail": "Ship it?"}
    run = Run(id="r", model="m", model_name="M", content_hash="", status="waiting", created_at=datetime.now(UTC))
    assert overlay.end(run) == {}
    assert overlay.end(run.model_copy(update={"status": "cancelled"}))["a"]["state"] == "cancelled"
