"""The editor without a browser: steps, undo, saving, drafts, checking, runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.domain.edits import AddNode, Change, Configure, Connect, Describe, Move, blank
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.values import Port, Position
from engine.errors import EditConflict, EditRefused
from studio.editor.history import History
from studio.editor.state import EditorState, open_state

NUMBER = {"type": "number"}


def shift(value: float) -> float:
    """Add one."""
    return value + 1


def small_edits() -> list[Any]:
    """A number in, one more out."""
    contract = {"type": "object", "properties": {"value": {**NUMBER, "default": 1}}, "required": ["value"]}
    ports = {"inputs": (Port(name="value", schema=NUMBER),), "outputs": (Port(name="result", schema=NUMBER),)}
    out = {"type": "object", "properties": {"value": NUMBER}, "required": ["value"]}
    nodes = [
        Boundary(id="in", name="In", boundary="input", input_contract=contract),
        Stage(id="stage", name="Stage"),
        Tether(id="step", name="Step", reference="own.shift", parent="stage", **ports),
        Boundary(id="out", name="Out", boundary="output", output_contract=out),
    ]
    wires = [
        Wire(id="w1", source="in", source_port="value", target="step", target_port="value"),
        Wire(id="w2", source="step", source_port="result", target="out", target_port="value"),
    ]
    return [*(AddNode(node=node) for node in nodes), *(Connect(wire=wire) for wire in wires)]


def named(node: str, name: str) -> Configure:
    return Configure(id=node, changes=(Change(path=("name",), value=name),))


def eventually(check: Callable[[], Any], within_s: float = 8.0) -> Any:
    end = time.monotonic() + within_s
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


@pytest.fixture
def store() -> Iterator[Any]:
    with engine.open("memory:", tethers=[engine.tether("own.shift")(shift)]) as opened:
        yield opened


@pytest.fixture
def state(store: Any) -> Iterator[EditorState]:
    made = store.models.create("Small")
    saved = store.models.save(made.id, small_edits(), base_revision=0)
    opened = open_state(store, saved.id)
    yield opened
    opened.release()


def test_typing_is_one_step_and_keeps_its_first_name() -> None:
    history = History(blank("m", "Model"))
    history.do("Add", [AddNode(node=Stage(id="s", name="A"))])
    for at, name in enumerate(("B", "Bi", "Big")):
        history.do(f"Rename to {name}", [named("s", name)], key="s.name", at_s=at)
    assert [step.name for step in history.done] == ["Add", "Rename to B"]
    history.undo()
    assert history.model.nodes["s"].name == "A"
    history.redo()
    assert history.model.nodes["s"].name == "Big"


def test_an_edit_that_changes_nothing_is_no_step() -> None:
    history = History(blank("m", "Model"))
    history.do("Add", [AddNode(node=Stage(id="s", name="A"))])
    assert not history.do("Rename", [named("s", "A")])
    assert len(history.done) == 1


def test_undo_of_what_was_not_saved_leaves_nothing_to_save() -> None:
    history = History(blank("m", "Model"))
    history.do("Add", [AddNode(node=Stage(id="s", name="A"))])
    history.undo()
    assert history.edits() == ()
    history.redo()
    assert len(history.edits()) == 1


def test_undo_of_what_was_saved_is_something_to_save() -> None:
    history = History(blank("m", "Model"))
    history.do("Add", [AddNode(node=Stage(id="s", name="A"))])
    history.saved(history.model.changed(revision=1))
    history.undo()
    assert [edit.edit for edit in history.edits()] == ["RemoveNode"]
    history.redo()
    assert history.edits() == ()


@given(st.lists(st.sampled_from(["add", "rename", "move", "undo", "redo"]), max_size=25))
def test_all_undone_is_the_base_and_the_pending_steps_lead_to_the_model(wishes: list[str]) -> None:
    base = FunctionModel(id="m", name="Model")
    history = History(base)
    for number, wish in enumerate(wishes):
        last = next(reversed(history.model.nodes), None)
        if wish == "add":
            history.do("Add", [AddNode(node=Stage(id=f"s{number}", name=f"S{number}"))])
        elif wish == "rename" and last:
            history.do("Rename", [named(last, f"N{number}")], key=f"{last}.name", at_s=number * 2)
        elif wish == "move" and last:
            history.do("Move", [Move(id=last, to=Position(x=number, y=1))])
        elif wish == "undo":
            history.undo()
        elif wish == "redo":
            history.redo()
    again = History(base)
    assert again.restore(history.to_json())
    assert again.model == history.model
    assert [step.name for step in again.done] == [step.name for step in history.done]
    while history.undo():
        pass
    assert history.model.content_hash == base.content_hash


def test_a_draft_that_does_not_fit_is_left_out() -> None:
    history = History(blank("m", "Model"))
    assert not history.restore({"pending": [{"name": "x", "edits": [{"edit": "RemoveNode", "id": "gone"}]}]})
    assert history.model.nodes == {}


def test_saving_makes_one_revision_with_the_names_of_its_steps(state: EditorState, store: Any) -> None:
    state.do("Rename", [named("step", "First")])
    state.do("Move", [Move(id="in", to=Position(x=5, y=5))])
    assert state.unsaved == 2
    state.save()
    assert (state.unsaved, state.base_revision) == (0, 2)
    assert store.models.history(state.id)[-1][1].name == "Rename, Move"


def test_what_others_saved_meanwhile_is_merged(state: EditorState, store: Any) -> None:
    state.do("Rename", [named("step", "Mine")])
    store.models.save(state.id, [named("out", "Theirs")], base_revision=1)
    state.save()
    assert {state.model.nodes["step"].name, state.model.nodes["out"].name} == {"Mine", "Theirs"}


def test_a_conflict_is_said_and_loses_nothing(state: EditorState, store: Any) -> None:
    state.do("Rename", [named("step", "Mine")])
    store.models.save(state.id, [named("step", "Theirs")], base_revision=1)
    with pytest.raises(EditConflict, match="same field"):
        state.save()
    assert (state.unsaved, state.model.nodes["step"].name) == (1, "Mine")
    state.discard()
    assert (state.unsaved, state.model.nodes["step"].name) == (0, "Theirs")


def test_tabs_share_one_state_and_hear_of_each_other(state: EditorState, store: Any) -> None:
    other = open_state(store, state.id)
    assert other is state
    heard: list[Any] = []
    stop = other.on_change(lambda change, _: heard.append(change))
    state.do("Rename", [named("step", "Shared")])
    assert [view["name"] for view in heard[-1].nodes] == ["Shared"]
    assert heard[-1].wires == []
    stop()
    other.release()


def test_unsaved_work_outlives_the_last_tab(store: Any) -> None:
    made = store.models.create("Draft")
    first = open_state(store, made.id)
    first.do("Add", [AddNode(node=Stage(id="s", name="A"))])
    first.undo()
    first.release()
    second = open_state(store, made.id)
    assert second is not first
    assert (second.undo_name, second.redo_name) == (None, "Add")
    second.redo()
    second.save()
    second.release()
    third = open_state(store, made.id)
    assert (third.unsaved, third.left_behind) == (0, False)
    third.release()


def test_unsaved_work_on_an_older_revision_is_merged_when_saved(store: Any) -> None:
    made = store.models.create("Older")
    store.models.save(made.id, small_edits(), base_revision=0)
    first = open_state(store, made.id)
    first.do("Rename", [named("step", "Mine")])
    first.release()
    store.models.save(made.id, [named("out", "Theirs")], base_revision=1)
    second = open_state(store, made.id)
    assert second.base_revision == 1
    second.save()
    assert (second.base_revision, second.model.nodes["out"].name) == (3, "Theirs")
    second.release()


def test_findings_follow_the_model(state: EditorState) -> None:
    assert eventually(lambda: state.checked)
    assert state.errors == 0
    state.wish({"type": "remove", "nodes": ["out"], "wires": []})
    assert eventually(lambda: state.checked and state.errors)
    state.undo()
    assert eventually(lambda: state.checked and not state.errors)


def test_a_run_takes_the_model_as_it_is_and_saves_nothing(state: EditorState, store: Any) -> None:
    state.do("Rename", [named("step", "Tried")])
    state.run({"value": 4})
    assert eventually(lambda: not state.trial.running and state.trial.steps)
    assert state.trial.status["step"]["state"] == "succeeded"
    assert state.trial.handle.outputs == {"value": 5}
    assert store.models.get(state.id).revision == 1
    assert state.trial.run.trial


def test_a_published_model_with_unsaved_edits_runs_as_a_trial(state: EditorState) -> None:
    state.publish(number=None, message="")
    assert state.run({}).trial is False
    assert eventually(lambda: not state.trial.running)
    state.do("Rename", [named("step", "Tried")])
    assert state.run({}).trial is True
    assert eventually(lambda: not state.trial.running)


def test_an_archived_model_is_read_only(state: EditorState, store: Any) -> None:
    state.publish(number=None, message="")
    store.models.archive(state.id)
    state.discard()
    assert state.read_only
    with pytest.raises(EditRefused, match="archived"):
        state.do("Describe", [Describe(changes=(Change(path=("description",), value="x"),))])
