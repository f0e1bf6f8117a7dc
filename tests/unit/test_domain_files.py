"""Model files: what is read, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from engine.domain.canonical import as_list, as_object, canonical_bytes, loads
from engine.domain.model import FunctionModel, json_schema
from engine.errors import FileError, FileMissing, NotAModel, NotCanonical, NotJson, TooDeep, UnknownFormat
from tests.small_models import TABLE, action, entry, exit_, finished, nested, port, stage, waits, workflow

ROOT = Path(__file__).parent.parent.parent
CORPORA = ROOT.parent / "shared" / "corpora"


def a_file(**fields: Any) -> dict[str, Any]:
    return {"format": "treadle/1", "id": "m", "name": "model", **fields}


BAD = [
    ("", NotJson, "line 1, column 1"),
    ("{", NotJson, "is not valid JSON"),
    ("{}{}", NotJson, "Extra data"),
    (b"\xff\xfe{}", NotJson, "byte 0 is not UTF-8"),
    ('{"a": 1, "a": 2}', NotJson, "'a' stands twice"),
    ('{"a": NaN}', NotJson, "NaN is not a JSON number"),
    ('{"a": -Infinity}', NotJson, "-Infinity is not a JSON number"),
    ('{"a": 1e999}', NotJson, "not JSON compliant"),
    ('{"a": ' + "9" * 5_000 + "}", NotJson, "is not valid JSON"),
    ('{"a": "\\ud800"}', NotJson, "surrogate"),
    ('{"\\udfff": 1}', NotJson, "surrogate"),
    ('{"a": "\ud800"}', NotJson, "surrogates not allowed"),
    ("[" * 10_000, TooDeep, "deeper than 200 levels"),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, TooDeep, "deeper than 200 levels"),
    ("[]", NotAModel, "top level: it is not an object"),
    ("null", NotAModel, "top level"),
    ("{}", UnknownFormat, "no format field"),
    (a_file(format="treadle/9"), UnknownFormat, "'treadle/9'"),
    (a_file(colour="red"), NotAModel, "colour: there is no such field"),
    (a_file(status="published"), NotAModel, "status: there is no such field"),
    (a_file(name="ab"), NotAModel, "name: .*at least 3"),
    (a_file(name="a\nb c"), NotAModel, "control characters"),
    (a_file(version="1.0"), NotAModel, "'1.0' is not a version like 1.2.3"),
    (a_file(nodes={}), NotAModel, "nodes: it is not a list"),
    (a_file(nodes=[{}]), NotAModel, r"nodes\[0\]: it has no id"),
    (a_file(nodes=[3]), NotAModel, r"nodes\[0\]: it has no id"),
    (a_file(nodes=[stage(), stage()]), NotAModel, r"nodes\[1\]: the id 'work' stands twice"),
    (a_file(nodes=[stage(kind="oddNode")]), NotAModel, "nodes.work"),
    (a_file(nodes=[stage(colour=1)]), NotAModel, "nodes.work.stageNode.colour"),
    (a_file(nodes=[stage(id="a/b")]), NotAModel, "nodes"),
    (a_file(nodes=[stage(position={"x": "left"})]), NotAModel, "position.x"),
    (a_file(nodes=[stage(parallelism=0)]), NotAModel, "parallelism"),
    (a_file(nodes=[stage(goals=["g"] * 11)]), NotAModel, "goals"),
    (a_file(nodes=[action(priority=11)]), NotAModel, "priority"),
    (a_file(nodes=[action(fallback={"use": "action"})]), NotAModel, "names an action exactly when"),
    (a_file(nodes=[action(retry={"max_attempts": 11})]), NotAModel, "max_attempts"),
    (a_file(wires=[{"id": "w", "source": "a"}]), NotAModel, "wires.w.source_port"),
    (a_file(dependencies=[waits("a > b", necessity="perhaps")]), NotAModel, "necessity"),
]


@pytest.mark.parametrize(("text", "error", "told"), BAD, ids=lambda value: str(value)[:40])
def test_what_is_no_model_is_refused_with_the_place_and_the_reason(text: Any, error: type, told: str) -> None:
    written = json.dumps(text) if isinstance(text, dict) else text
    with pytest.raises(error, match=told) as caught:
        FunctionModel.loads(written, source="sales.json")
    assert str(caught.value).startswith("sales.json ")
    assert len(str(caught.value)) < 1_200


def test_a_byte_order_mark_is_read_over() -> None:
    text = finished().to_file()
    assert FunctionModel.loads(b"\xef\xbb\xbf" + text) == finished()
    assert FunctionModel.loads("\ufeff" + text.decode()) == finished()


def test_an_agent_task_and_knowledge_keep_their_rules() -> None:
    agent = {"kind": "agentNode", "id": "a", "name": "a", "parent": "work"}
    with pytest.raises(NotAModel, match="names an agent or the capabilities"):
        FunctionModel.loads(json.dumps(a_file(nodes=[stage(), agent])))
    doc = {
        "kind": "kbNode",
        "id": "d",
        "name": "d",
        "parent": "work",
        "reference": "k",
        "view": ["bob"],
        "edit": ["ann"],
    }
    with pytest.raises(NotAModel, match="ann may edit but not view"):
        FunctionModel.loads(json.dumps(a_file(nodes=[stage(), doc])))


def test_a_model_is_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    model = finished(version="1.2.3", tags=["a"], description="Ünïcode 😀")
    model.save(path)
    assert FunctionModel.load(path) == model
    assert path.read_text(encoding="utf-8").count("\n") > 10
    with pytest.raises(FileMissing, match="no file"):
        FunctionModel.load(tmp_path / "other.json")


def test_the_file_leaves_out_what_is_as_usual() -> None:
    written = loads(finished().to_file())
    assert written["nodes"][0]["id"] == "clean"
    assert "retry" not in written["nodes"][0]
    assert "status" not in written
    assert "version" not in written


def test_elements_are_kept_under_their_own_ids() -> None:
    with pytest.raises(ValueError, match="kept under another id"):
        FunctionModel.model_validate({"id": "m", "name": "model", "nodes": {"x": stage()}})


def test_the_published_schema_is_up_to_date() -> None:
    published = json.loads((ROOT / "assets/schema/treadle-1.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(json_schema()))


def test_the_parts_of_a_model_are_found_in_order() -> None:
    nodes = [entry(), entry("also"), exit_(), stage(), action("b", order=1), action("a", order=1), action("c")]
    model = workflow([*nodes, nested(order=5)], ["in.rows > a.rows", "in.rows > b.rows", "a.rows > out.rows"])
    assert [node.id for node in model.children("work")] == ["c", "a", "b", "inner"]
    assert [node.id for node in model.input_boundaries()] == ["also", "in"]
    assert [node.id for node in model.output_boundaries()] == ["out"]
    assert [wire.target for wire in model.wires_out_of("in")] == ["a", "b"]
    assert [wire.source for wire in model.wires_into("out")] == ["a"]
    assert model.wires_into("in") == ()
    assert model.port("in", "rows", "output") is not None
    assert model.port("in", "rows", "input") is None
    assert model.port("gone", "rows", "input") is None
    assert sum(1 for _ in model.containers()) == 4


def test_a_contract_that_makes_no_sense_has_the_ports_it_can() -> None:
    odd = {
        "type": "object",
        "required": 3,
        "properties": {"": {}, "a\nb": {}, "x" * 201: {}, "rows": TABLE, "any": True},
    }
    model = workflow([entry(fields=odd), entry("no", fields={"properties": 3}), entry("none", input_contract=None)])
    assert [(one.name, one.required) for one in model.nodes["in"].outputs] == [("rows", False), ("any", False)]
    assert model.nodes["no"].outputs == model.nodes["none"].outputs == ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "Out of range"),
        ({1: 2}, "a key is not text"),
        ({"a": {3}}, "not JSON serializable"),
        ("\ud800", "surrogate"),
        (10**5_000, "limit"),
    ],
    ids=["not a number", "a key that is no text", "a set", "half a pair", "five thousand digits"],
)
def test_what_json_cannot_hold_is_refused(value: Any, told: str) -> None:
    with pytest.raises(NotCanonical, match=told):
        canonical_bytes(value)


def test_what_nests_too_deeply_is_not_written() -> None:
    value: Any = []
    for _ in range(300):
        value = [value]
    with pytest.raises(NotCanonical, match="deeper"):
        canonical_bytes(value)


def test_one_number_is_written_in_one_way() -> None:
    assert canonical_bytes([1.0, -0.0, 1e20, 1e21, 10**21, 10**21 + 1, 0.1]) == (
        b"[1,0,100000000000000000000,1e+21,1e+21,1000000000000000000001,0.1]"
    )
    assert canonical_bytes(10**400) == b"1" + b"0" * 400


def test_brackets_in_texts_are_no_depth() -> None:
    assert loads(json.dumps({"a": "[" * 500 + '\\"'})) == {"a": "[" * 500 + '\\"'}
    assert as_object([]) == {}
    assert as_list({}) == []


def test_files_of_other_programs_are_refused_and_break_nothing() -> None:
    found = sorted(CORPORA.rglob("*.json"))[:200] if CORPORA.is_dir() else []
    if not found:
        pytest.skip("the corpora are not beside this repository")
    for path in found:
        with pytest.raises(FileError):
            FunctionModel.loads(path.read_bytes(), source=path.name)


@pytest.mark.parametrize("place", range(0, 600, 13))
def test_a_damaged_file_is_refused_or_read_and_never_breaks(place: int) -> None:
    text = workflow([entry(), stage(), action(inputs=[port("rows", TABLE)])], ["in.rows > clean.rows"]).to_file()
    at = place % len(text)
    for damage in (b"", b"\x00", b"[", b'"', b"9e99", b"\xff"):
        with contextlib.suppress(FileError):
            FunctionModel.loads(text[:at] + damage + text[at + 1 :])
