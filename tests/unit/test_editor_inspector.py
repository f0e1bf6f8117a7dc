"""Forms from schemas, values from texts, ports and contracts as fields."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine.domain.edits import AddNode, Change, Configure, Connect, apply, blank
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port
from engine.errors import EditRefused
from studio.editor.contract import fields_of, fresh_field, replaced
from studio.editor.fields import Field, NotAValue, edit_of, is_expression, parsed, text_of, value_of
from studio.editor.forms import policy_form, schema_field, settings_form
from studio.editor.inputs_form import InputsForm, needs_inputs
from studio.editor.inspector import Inspector
from studio.editor.sentences import sentence
from studio.editor.state import EditorState

SPEC = TetherSpec(
    reference="own.cut", name="Cut", category="Mine",
    inputs=(Port(name="text", schema={"type": "string"}), Port(name="at", schema={"type": "integer"})),
    settings={
        "type": "object",
        "properties": {
            "side": {"enum": ["left", "right"], "default": "left"},
            "times": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
            "strict": {"type": "boolean", "default": False},
            "words": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]},
            "code": {"type": "string", "x-widget": "sql"},
            "rest": {"type": "object"},
        },
    },
)  # fmt: skip


@pytest.fixture
def model() -> FunctionModel:
    contract: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    nodes = [
        Boundary(id="in", name="In", boundary="input", input_contract=contract),
        Stage(id="s", name="S"),
        Tether(id="cut", name="Cut", reference="own.cut", parent="s", inputs=SPEC.inputs),
    ]
    wire = Wire(id="w", source="in", source_port="text", target="cut", target_port="text")
    return apply(blank("m", "Model"), [*(AddNode(node=node) for node in nodes), Connect(wire=wire)])


def form_fields(model: FunctionModel) -> dict[str, Field]:
    sections = settings_form(model, model.nodes["cut"], {"own.cut": SPEC})
    return {field.key.removeprefix("parameters."): field for section in sections for field in section.fields}


def test_each_setting_gets_the_widget_of_its_type(model: FunctionModel) -> None:
    kinds = {name: field.kind for name, field in form_fields(model).items()}
    assert kinds == {
        "side": "select", "times": "integer", "strict": "switch", "words": "tags", "code": "code", "rest": "json",
        "at": "integer", "effect": "select",
    }  # fmt: skip


def test_only_ports_without_a_wire_take_a_value(model: FunctionModel) -> None:
    fields = form_fields(model)
    assert "text" not in fields
    assert (fields["at"].switchable, fields["at"].names) == (True, ("text", "inputs", "run"))


@pytest.mark.parametrize(
    ("text", "why"),
    [("ten", "not a whole number"), ("0", "from 1 to 9"), ("10", "from 1 to 9"), ("1.5", "not a whole number")],
)
def test_a_number_out_of_bounds_is_refused_in_words(text: str, why: str) -> None:
    field = schema_field("times", SPEC.settings["properties"]["times"], path=("parameters", "times"))  # type: ignore[index,call-overload]
    with pytest.raises(NotAValue, match=why):
        parsed(field, text)
    assert parsed(field, " 7 ") == 7
    assert parsed(field, "") is None


def test_texts_become_values_and_values_texts() -> None:
    assert parsed(Field(("t",), "T", "tags"), "a, b,, c") == ["a", "b", "c"]
    assert parsed(Field(("t",), "T", "lines"), "one\n\n two ") == ["one", "two"]
    assert parsed(Field(("t",), "T", "json"), '{"a": 1}') == {"a": 1}
    with pytest.raises(NotAValue, match="not JSON"):
        parsed(Field(("t",), "T", "json"), '{"a": 1, "a": 2}')
    assert parsed(Field(("t",), "T", "expression"), "x > 1") == {"$cel": "x > 1"}
    assert text_of(Field(("t",), "T", "number"), 2.0) == "2"
    assert text_of(Field(("t",), "T", "text"), {"$cel": "x"}) == "x"
    with pytest.raises(NotAValue, match="needed"):
        parsed(Field(("name",), "Name", "text", needed=True), "")


def test_a_value_back_at_its_default_is_taken_out(model: FunctionModel) -> None:
    field = form_fields(model)["times"]
    assert edit_of("cut", field, 1).changes == (Change(path=("parameters", "times"), remove=True),)
    after = apply(model, [edit_of("cut", field, 3)])
    assert value_of(after.nodes["cut"], field) == 3
    switch = form_fields(model)["strict"]
    assert value_of(apply(model, [edit_of("cut", switch, value=True)]).nodes["cut"], switch) is True
    expression = apply(model, [edit_of("cut", field, {"$cel": "size(text)"})])
    assert is_expression(value_of(expression.nodes["cut"], field))


def test_the_policy_offers_other_actions_as_fallback(model: FunctionModel) -> None:
    other = Tether(id="other", name="Other", reference="own.cut", parent="s")
    wider = apply(model, [AddNode(node=other)])
    fields = {field.key: field for section in policy_form(wider, wider.nodes["cut"]) for field in section.fields}
    assert "Run Other" in dict(fields["fallback"].options)
    assert ("text", '"text"') in fields["for_each"].options


def test_a_renamed_contract_field_keeps_its_wires(model: FunctionModel) -> None:
    fields = list(fields_of(model.nodes["in"], "outputs"))
    renamed = [field.__class__(**{**field.__dict__, "name": "line"}) for field in fields]
    after = apply(model, replaced(model, model.nodes["in"], "outputs", renamed, renamed=("text", "line")))
    assert after.wires["w"].source_port == "line"
    assert [port.name for port in after.nodes["in"].outputs] == ["line"]
    lost = apply(model, replaced(model, model.nodes["in"], "outputs", []))
    assert not lost.wires


def test_contract_fields_have_types_defaults_and_names_of_their_own(model: FunctionModel) -> None:
    fields = list(fields_of(model.nodes["in"], "outputs"))
    added = fresh_field(fields).with_type("number").with_default(0.5)
    after = apply(model, replaced(model, model.nodes["in"], "outputs", [*fields, added]))
    contract = after.nodes["in"].input_contract
    assert contract["properties"]["value"] == {"type": "number", "default": 0.5}
    with pytest.raises(EditRefused, match="already"):
        replaced(model, model.nodes["in"], "outputs", [fields[0], fields[0]])


def test_a_run_asks_for_what_has_no_default(model: FunctionModel) -> None:
    assert needs_inputs(model)
    form = InputsForm(model, {"text": "abc"})
    assert form.values() == {"text": "abc"}
    contract = {"type": "object", "properties": {"text": {"type": "string", "default": "x"}}, "required": ["text"]}
    eased = apply(model, [Configure(id="in", changes=(Change(path=("input_contract",), value=contract),))])
    assert not needs_inputs(eased)


def test_errors_are_read_without_their_paths(model: FunctionModel) -> None:
    with pytest.raises(EditRefused) as caught:
        apply(model, [Configure(id="cut", changes=(Change(path=("priority",), value=99),))])
    assert sentence(caught.value) == "Input should be less than or equal to 10."


def test_the_inspector_edits_through_the_state_and_follows_undo() -> None:
    with engine.open("memory:") as store:
        state = EditorState(store, store.models.create("Looked at"))
        state.wish({"type": "add", "node_type": "stage", "position": {"x": 0, "y": 0}, "parent": None, "link": None})
        inspector = Inspector(state)
        inspector.show(["stage"])
        assert inspector._basics is not None
        name = inspector._basics.fields[0]
        name.widget.value = "Work"
        assert state.model.nodes["stage"].name == "Work"
        state.undo()
        inspector.refresh()
        assert name.widget.value == "Stage"
        limit = next(field for field in inspector._form.fields if field.field.key == "parallelism")
        limit.widget.value = "1000"
        assert "from 1 to 100" in limit._note.object
        assert state.model.nodes["stage"].parallelism == 4
