"""Gestures: what a person does in one go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from engine.domain.edits import Edit, apply, blank, inverse
from engine.domain.gestures import (
    absolute_position,
    add_action,
    add_container,
    connect,
    copy_text,
    depend,
    duplicate,
    fresh_ids,
    is_frameless,
    move,
    paste,
    removal,
    rename,
    reparent,
    unique_name,
    why_not_connect,
    why_not_depend,
)
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.values import Position
from engine.errors import EditRefused, NotAModel, NotJson, UnknownFormat, WireRefused
from tests.small_models import (
    TABLE,
    TEXT,
    action,
    contract,
    entry,
    exit_,
    finished,
    nested,
    port,
    stage,
    waits,
    workflow,
)

HERE = Position(x=100, y=100)
CLEAN = {"kind": "tetherNode", "name": "Clean", "reference": "tables.clean"}


def do(model: FunctionModel, edits: Sequence[Edit]) -> FunctionModel:
    """Apply a gesture; undoing it must give the model back."""
    after = apply(model, edits)
    assert apply(after, inverse(model, edits)) == model
    return after


def with_action(model: FunctionModel, **more: Any) -> FunctionModel:
    return do(model, add_action(model, CLEAN, at=HERE, new_id=fresh_ids(model), **more))


def names_of(model: FunctionModel) -> list[str]:
    return sorted(node.name for node in model.actions())


# ---- placing --------------------------------------------------------------------------------------------------


def test_an_action_on_the_bare_canvas_gets_a_frameless_stage() -> None:
    model = with_action(blank("m", "model"))
    assert sorted(model.nodes) == ["clean", "clean-stage"]
    assert is_frameless(model.nodes["clean-stage"])
    assert absolute_position(model, "clean") == HERE


def test_an_action_dropped_on_a_stage_joins_it_at_the_end() -> None:
    model = with_action(finished(), parent="work")
    assert model.nodes["clean-2"].name == "Clean 2"
    assert [node.order for node in model.children("work")] == [0, 1]


def test_a_stage_gets_its_frame_when_a_second_action_joins() -> None:
    model = with_action(blank("m", "model"))
    model = with_action(model, parent="clean-stage")
    assert not is_frameless(model.nodes["clean-stage"])
    assert len(model.children("clean-stage")) == 2


def test_dragging_an_action_out_gives_it_a_stage_and_back_in_takes_it_away() -> None:
    model = with_action(finished(), parent="work")
    out = do(model, reparent(model, "clean-2", None, at=HERE, new_id=fresh_ids(model)))
    assert absolute_position(out, "clean-2") == HERE
    assert is_frameless(out.nodes["clean-2-stage"])
    back = do(out, reparent(out, "clean-2", "work", at=Position(x=5, y=6), new_id=fresh_ids(out)))
    assert "clean-2-stage" not in back.nodes
    assert [node.id for node in back.children("work")] == ["clean", "clean-2"]


def test_dragging_the_only_action_of_a_frameless_stage_moves_the_stage() -> None:
    model = with_action(blank("m", "model"))
    there = Position(x=-7, y=8)
    moved = do(model, reparent(model, "clean", None, at=there, new_id=fresh_ids(model)))
    assert absolute_position(moved, "clean") == there
    assert sorted(moved.nodes) == sorted(model.nodes)
    assert absolute_position(do(moved, move(moved, "clean", to=HERE)), "clean") == HERE


def test_moving_is_told_in_places_of_the_canvas() -> None:
    model = with_action(finished(), parent="work")
    for key in ("clean-2", "work", "in"):
        assert absolute_position(do(model, move(model, key, to=HERE)), key) == HERE
    assert (
        do(model, reparent(model, "clean-2", "work", at=HERE, new_id=fresh_ids(model))).nodes["clean-2"].position
        == HERE
    )


@pytest.mark.parametrize(
    ("node", "parent", "reason"),
    [
        ("clean", "in", "is a boundary"),
        ("clean", "gone", "no 'gone'"),
        ("work", None, "is a container"),
        ("gone", None, "no 'gone'"),
        ("clean", "clean", "is an action"),
    ],
)
def test_what_cannot_be_dragged_there_is_refused_with_the_reason(node: str, parent: str | None, reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        reparent(finished(), node, parent, at=HERE, new_id=fresh_ids(finished()))


def test_an_action_is_not_dragged_into_a_stage_that_waits_for_it() -> None:
    nodes = [stage("one"), stage("two"), action("a", "one"), action("b", "one"), action("c", "two")]
    model = workflow(nodes, ["a.rows > b.rows"], [waits("one > two")])
    with pytest.raises(EditRefused, match="'A' would then wait for itself"):
        reparent(model, "a", "two", at=HERE, new_id=fresh_ids(model))


def test_a_node_that_makes_no_sense_is_refused() -> None:
    model = finished()
    with pytest.raises(EditRefused, match="reference"):
        add_action(model, {"kind": "tetherNode", "name": "x"}, at=HERE, new_id=fresh_ids(model))
    with pytest.raises(EditRefused, match="mode"):
        add_container(model, {**stage(), "mode": "odd"}, at=HERE, new_id=fresh_ids(model))
    with pytest.raises(EditRefused, match="at most 200"):
        add_action(model, {**CLEAN, "name": "x" * 300}, at=HERE, new_id=fresh_ids(model))
    with pytest.raises(EditRefused, match="None"):
        add_container(model, {"kind": "stageNode"}, at=HERE, new_id=fresh_ids(model))


def test_a_container_is_added_with_a_name_of_its_own() -> None:
    model = finished()
    added = do(model, add_container(model, {"kind": "stageNode", "name": "Work"}, at=HERE, new_id=fresh_ids(model)))
    assert added.nodes["work-2"].name == "Work 2"


def test_a_frameless_stage_is_renamed_with_its_action() -> None:
    model = with_action(blank("m", "model"))
    renamed = do(model, rename(model, "clean", " Tidy "))
    assert {node.name for node in renamed.nodes.values()} == {"Tidy"}
    assert do(finished(), rename(finished(), "work", "Labour")).nodes["work"].name == "Labour"
    for name, key in (("", "clean"), ("x", "gone")):
        with pytest.raises(EditRefused):
            rename(model, key, name)
    with pytest.raises(EditRefused):
        move(model, "gone", to=HERE)


def test_names_are_counted_on() -> None:
    assert unique_name("Read", []) == "Read"
    assert unique_name("Read", ["READ"]) == "Read 2"
    assert unique_name("Read 2", ["Read 2"]) == "Read 3"
    assert unique_name("Read", ["read", "Read 2"]) == "Read 3"
    assert unique_name("2", ["2"]) == "2 2"
    assert len(unique_name("x" * 200, ["x" * 200])) <= 200


# ---- connecting -----------------------------------------------------------------------------------------------


def busy() -> FunctionModel:
    """Return a model with something of everything to connect."""
    io = entry("io", boundary="input-output", output_contract=contract("rows"))
    return workflow(
        [
            entry(),
            io,
            stage(),
            action(),
            action("other", order=1),
            action("words", order=2, inputs=[port("rows", TEXT)], outputs=[port("rows", TEXT)]),
            action(
                "gather",
                order=3,
                inputs=[port("rows", TABLE, many=True), port("all", {"type": "array", "items": TABLE}, many=True)],
            ),
            action(
                "each",
                order=4,
                for_each="rows",
                inputs=[port("rows", {"type": "object"})],
                outputs=[port("rows", {"type": "object"})],
            ),
            exit_(),
        ],
        ["in.rows > clean.rows", "clean.rows > out.rows", "clean.rows > gather.rows", "clean.rows > gather.all"],
    )


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("gone.rows", "clean.rows", "no node 'gone'"),
        ("in.rows", "gone.rows", "no node 'gone'"),
        ("clean.rows", "clean.rows", "can't feed itself"),
        ("work.rows", "clean.rows", "is a stage"),
        ("out.rows", "clean.rows", "only arrives"),
        ("clean.rows", "in.rows", "only starts"),
        ("in.cols", "other.rows", "has no output 'cols'"),
        ("in.rows", "other.cols", "has no input 'cols'"),
        ("in.rows", "clean.rows", "connected already"),
        ("io.rows", "clean.rows", "filled by 'In' already"),
        ("in.rows", "words.rows", "a list can never be text"),
        ("words.rows", "gather.rows", "text can never be a list"),
        ("words.rows", "each.rows", "'Each' works through a list item by item, but text can never be a list"),
        ("gather.rows", "each.rows", None),
        ("in.rows", "gather.rows", None),
        ("in.rows", "gather.all", None),
        ("each.rows", "other.rows", None),
        ("io.rows", "io.rows", None),
        ("in.rows", "other.rows", None),
    ],
)
def test_why_two_ports_can_or_cannot_be_connected(source: str, target: str, reason: str | None) -> None:
    model = busy()
    ends = dict(zip(("source", "source_port"), source.split("."), strict=True))
    ends |= dict(zip(("target", "target_port"), target.split("."), strict=True))
    found = why_not_connect(model, **ends)
    new = Wire(id="new", **ends)
    if reason is None:
        assert found is None
        assert "new" in do(model, connect(model, new)).wires
    else:
        assert reason in (found or "")
        with pytest.raises(WireRefused, match="can't be connected"):
            connect(model, new)


def test_a_wire_that_would_close_a_circle_is_refused_with_its_names() -> None:
    model = workflow([stage(), action("a"), action("b", order=1)], ["a.rows > b.rows"])
    assert why_not_connect(model, "b", "rows", "a", "rows") == "that would be a circle: A → B → A"
    with pytest.raises(WireRefused, match="already"):
        connect(
            finished(),
            Wire(id="in.rows > clean.rows", source="in", source_port="rows", target="out", target_port="rows"),
        )


def test_a_filler_that_is_gone_is_named_by_its_id() -> None:
    model = workflow([entry(), stage(), action()], ["gone.rows > clean.rows"])
    assert "filled by 'gone'" in (why_not_connect(model, "in", "rows", "clean", "rows") or "")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("gone", "work", "no node"),
        ("clean", "work", "is an action"),
        ("work", "work", "can't wait for itself"),
        ("work", "in", "nothing comes before"),
        ("work", "out", "already"),
        ("out", "work", "circle: 'Work' → 'Out'"),
        ("in", "work", None),
    ],
)
def test_why_a_container_can_or_cannot_wait(source: str, target: str, reason: str | None) -> None:
    model = workflow([entry(), stage(), action(), exit_()], (), [waits("work > out")])
    found = why_not_depend(model, source, target)
    edge = Dependency(id="new", source=source, target=target)
    if reason is None:
        assert found is None
        assert "new" in do(model, depend(model, edge)).dependencies
    else:
        assert reason.replace("'", "") in (found or "").replace("'", "")
        with pytest.raises(EditRefused):
            depend(model, edge)
    with pytest.raises(EditRefused, match="already"):
        depend(model, Dependency(id="work > out", source="in", target="work"))


# ---- removing -------------------------------------------------------------------------------------------------


def test_removing_a_node_takes_what_hangs_on_it() -> None:
    model = workflow(
        [
            entry(),
            stage(),
            action(),
            action("b", order=1, compensation="clean", fallback={"use": "action", "action": "clean"}),
        ],
        ["in.rows > clean.rows", "clean.rows > b.rows"],
        [waits("in > work")],
    )
    after = do(model, removal(model, ["clean"]))
    assert set(after.nodes) == {"in", "work", "b"}
    assert not after.wires
    assert after.nodes["b"] == workflow([stage(), action("b", order=1)]).nodes["b"]
    everything = do(model, removal(model, ["work"], ["in > work"]))
    assert set(everything.nodes) == {"in"}
    assert not everything.dependencies


def test_removing_the_last_action_takes_its_frameless_stage() -> None:
    model = with_action(blank("m", "model"))
    assert not do(model, removal(model, ["clean"])).nodes
    assert not do(model, removal(model, ["clean-stage"])).nodes


def test_removing_only_a_wire() -> None:
    model = finished()
    after = do(model, removal(model, (), ["in.rows > clean.rows"]))
    assert set(after.wires) == {"clean.rows > out.rows"}
    for nodes, wires in ((["gone"], ()), ((), ["gone"])):
        with pytest.raises(EditRefused, match="gone"):
            removal(model, nodes, wires)


# ---- copies ---------------------------------------------------------------------------------------------------


def copied() -> FunctionModel:
    return workflow(
        [
            entry(),
            stage(),
            action(compensation="other"),
            action("other", order=1, fallback={"use": "action", "action": "clean"}),
            nested(order=2, fallback={"use": "constant", "constant": 1}),
            stage("later"),
        ],
        ["in.rows > clean.rows", "clean.rows > other.rows"],
        [waits("work > later")],
    )


def test_a_duplicate_has_inner_wires_unique_names_and_its_own_references() -> None:
    model = copied()
    after = do(model, duplicate(model, ["work", "later"], offset=HERE, new_id=fresh_ids(model)))
    assert names_of(after) == ["Clean", "Clean 2", "Inner", "Inner 2", "Other", "Other 2"]
    assert after.nodes["clean-2"].compensation == "other-2"  # type: ignore[union-attr]
    assert after.nodes["other-2"].fallback.action == "clean-2"  # type: ignore[union-attr]
    assert [(w.source, w.target) for w in after.wires.values()].count(("clean-2", "other-2")) == 1
    assert len(after.wires) == 3
    assert len(after.dependencies) == 2
    assert after.nodes["work-2"].position == HERE


def test_a_duplicate_of_an_action_stays_in_its_stage_and_names_the_originals() -> None:
    model = copied()
    after = do(model, duplicate(model, ["clean"], offset=HERE, new_id=fresh_ids(model)))
    twin = after.nodes["clean-2"]
    assert (twin.parent, twin.order, twin.compensation) == ("work", 3, "other")  # type: ignore[union-attr]
    assert twin.position == HERE


def test_a_duplicate_of_a_frameless_action_is_frameless() -> None:
    model = with_action(blank("m", "model"))
    after = do(model, duplicate(model, ["clean"], offset=HERE, new_id=fresh_ids(model)))
    assert sum(map(is_frameless, after.nodes.values())) == 2
    assert {node.name for node in after.nodes.values()} == {"Clean", "Clean 2"}


def test_what_is_copied_can_be_pasted_into_another_model() -> None:
    text = copy_text(copied(), ["work", "later"])
    model = finished()
    after = do(model, paste(model, text, at=HERE, new_id=fresh_ids(model)))
    assert names_of(after) == ["Clean", "Clean 2", "Inner", "Other"]
    assert min(after.nodes[key].position.x for key in ("work-2", "later")) == HERE.x
    assert len(after.dependencies) == 1


def test_actions_without_their_stage_are_pasted_into_the_one_given_or_on_the_canvas() -> None:
    text = copy_text(copied(), ["clean", "other"])
    model = blank("m", "model")
    alone = do(model, paste(model, text, at=HERE, new_id=fresh_ids(model)))
    assert sum(map(is_frameless, alone.nodes.values())) == 2
    assert len(alone.wires) == 1
    model = with_action(blank("n", "model"))
    joined = do(model, paste(model, text, at=HERE, new_id=fresh_ids(model), parent="clean-stage"))
    assert [node.order for node in joined.children("clean-stage")] == [0, 1, 2]
    assert not is_frameless(joined.nodes["clean-stage"])
    assert absolute_position(joined, "clean-2") == HERE
    outside = copy_text(copied(), ["other"])
    lonely = do(blank("m", "model"), paste(blank("m", "model"), outside, at=HERE, new_id=fresh_ids(finished())))
    assert next(lonely.actions()).fallback is None


def test_copying_and_pasting_nothing_does_nothing() -> None:
    model = finished()
    assert paste(model, copy_text(model, []), at=HERE, new_id=fresh_ids(model)) == ()
    with pytest.raises(EditRefused, match="gone"):
        copy_text(model, ["gone"])
    with pytest.raises(EditRefused, match="no stage"):
        paste(model, copy_text(model, ["clean"]), at=HERE, new_id=fresh_ids(model), parent="in")


@pytest.mark.parametrize(
    ("clip", "error", "told"),
    [
        ("not json", NotJson, "clipboard is not valid JSON"),
        ("[]", NotAModel, "not an object"),
        ("{}", UnknownFormat, "no format field"),
        ({"format": "treadle/clip/9"}, UnknownFormat, "'treadle/clip/9'"),
        ({"nodes": [], "more": 1}, NotAModel, "more: there is no such field"),
        ({"nodes": 3}, NotAModel, "nodes: it is not a list"),
        ({"nodes": [3]}, NotAModel, "nodes"),
        ({"nodes": [{"kind": "odd", "id": "a", "name": "a"}]}, NotAModel, "odd"),
        ({"nodes": [stage(), stage()]}, NotAModel, "'work' stands twice"),
        ({"nodes": [action()]}, NotAModel, "its container is not there"),
        ({"nodes": [stage(), action(), action("b", "clean")]}, NotAModel, "its container is not there"),
        ({"wires": [{"id": "w"}]}, NotAModel, "wires"),
        (
            {"wires": [{"id": "w", "source": "a", "source_port": "b", "target": "c", "target_port": "d"}]},
            NotAModel,
            "an end",
        ),
        ({"dependencies": [waits("a > b")]}, NotAModel, "no container"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_clipboard_that_is_not_ours_is_refused(clip: Any, error: type[Exception], told: str) -> None:
    text = clip if isinstance(clip, str) else json.dumps({"format": "treadle/clip/1", **clip})
    with pytest.raises(error, match=told):
        paste(finished(), text, at=HERE, new_id=fresh_ids(finished()))
