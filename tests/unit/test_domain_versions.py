"""Versions: numbers, what a change asks for, comparison; contracts of a whole model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from engine.domain.contracts import (
    MAX_PROBLEMS,
    input_contract,
    is_table,
    output_contract,
    ports_of_nested,
    problems,
    why_not_schema,
    with_defaults,
)
from engine.domain.edits import Change, Configure, Describe, Move, apply
from engine.domain.model import FunctionModel
from engine.domain.plain_schemas import is_plainly_schema, plainly_meets
from engine.domain.schemas import narrowed, short_name, types_of, why_not
from engine.domain.values import Nature, Position, Semver
from engine.domain.versions import check_number, compare, propose
from engine.errors import VersionTooLow
from tests.small_models import TABLE, TEXT, action, contract, entry, exit_, finished, stage, waits, workflow

# ---- numbers --------------------------------------------------------------------------------------------------


def test_a_number_is_read_and_written_alike() -> None:
    for text in ("0.0.0", "1.2.3", "10.0.999999999"):
        assert str(Semver.parse(text)) == text
        assert Semver.model_validate(text) == Semver.parse(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.-3", "1.2.3-beta", "1.2.3\n", "1" * 99]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        Semver.parse(text)


def test_numbers_are_ordered_part_by_part() -> None:
    texts = ["0.9.9", "1.0.0", "1.0.2", "1.0.10", "1.2.0", "2.0.0"]
    assert sorted(map(Semver.parse, reversed(texts))) == list(map(Semver.parse, texts))
    bumps = [str(Semver.parse("1.2.3").bumped(nature)) for nature in Nature]
    assert bumps == ["1.2.4", "1.3.0", "2.0.0"]


# ---- proposals ------------------------------------------------------------------------------------------------


def taking(fields: dict[str, Any] | None = None, given: dict[str, Any] | None = None, **more: Any) -> FunctionModel:
    """Return the finished model with these contracts, published as 1.2.3."""
    boundaries = [entry(fields=fields, **more), exit_(fields=given)]
    return workflow(
        [*boundaries, stage(), action()], ["in.rows > clean.rows", "clean.rows > out.rows"], version="1.2.3"
    )


def rule(text: str) -> dict[str, Any]:
    return {"expression": {"$cel": text}, "message": "no"}


LIMIT = {"type": "integer", "default": 10}
PROPOSALS = [
    (taking(), taking(), None, "1.2.3", "Nothing changed."),
    (taking(), taking(contract()), Nature.MAJOR, "2.0.0", "The input 'rows' is gone."),
    (taking(), taking(contract("rows", "cols")), Nature.MAJOR, "2.0.0", "The new input 'cols' must be given."),
    (taking(), taking(contract("rows", limit=LIMIT)), Nature.MINOR, "1.3.0", "The input 'limit' is new."),
    (taking(), taking(contract("rows", "limit", limit=LIMIT)), Nature.MINOR, "1.3.0", "The input 'limit' is new."),
    (taking(contract(rows=TABLE)), taking(), Nature.MAJOR, "2.0.0", "The input 'rows' must now be given."),
    (taking(), taking(contract(rows=TABLE)), Nature.MINOR, "1.3.0", "The input 'rows' is no longer needed."),
    (
        taking(contract("rows", n=LIMIT)),
        taking(contract("rows", n={"type": "integer"})),
        Nature.MAJOR,
        "2.0.0",
        "default",
    ),
    (
        taking(contract("rows", n={"type": "number"})),
        taking(contract("rows", n={"type": "integer"})),
        Nature.MAJOR,
        "2.0.0",
        "The input 'n' no longer takes a number that is not whole.",
    ),
    (
        taking(contract("rows", n={"type": "integer"})),
        taking(contract("rows", n={"type": "number"})),
        Nature.MINOR,
        "1.3.0",
        "The input 'n' takes more.",
    ),
    (
        taking(),
        taking({**contract("rows"), "additionalProperties": False}),
        Nature.MAJOR,
        "2.0.0",
        "no longer takes other",
    ),
    (taking({**contract("rows"), "additionalProperties": False}), taking(), Nature.MINOR, "1.3.0", "contract is wider"),
    (taking(given=contract("rows", "sum")), taking(), Nature.MAJOR, "2.0.0", "The output 'sum' is gone."),
    (taking(), taking(given=contract("rows", sum=TEXT)), Nature.MINOR, "1.3.0", "The output 'sum' is new."),
    (taking(), taking(given=contract(rows=TABLE)), Nature.MAJOR, "2.0.0", "'rows' is no longer always given."),
    (taking(given=contract(rows=TABLE)), taking(), Nature.MINOR, "1.3.0", "'rows' is always given."),
    (
        taking(given=contract("rows", n={"type": "integer"})),
        taking(given=contract("rows", n={"type": ["integer", "null"]})),
        Nature.MAJOR,
        "2.0.0",
        "The output 'n' may now give nothing.",
    ),
    (
        taking(given=contract("rows", n={})),
        taking(given=contract("rows", n={"type": "integer"})),
        Nature.MINOR,
        "1.3.0",
        "The output 'n' is more exact.",
    ),
    (taking(), taking(rules=[rule("rows.size() > 0")]), Nature.MAJOR, "2.0.0", "must now meet"),
    (taking(rules=[rule("rows.size() > 0")]), taking(), Nature.MINOR, "1.3.0", "need no longer"),
]


@pytest.mark.parametrize(
    ("before", "after", "nature", "number", "reason"), PROPOSALS, ids=lambda value: str(value)[:40]
)
def test_a_change_asks_for_its_number(
    before: FunctionModel, after: FunctionModel, nature: Nature | None, number: str, reason: str
) -> None:
    proposal = propose(before, after)
    assert (proposal.nature, str(proposal.number)) == (nature, number)
    assert any(reason in told for told in proposal.reasons), proposal.reasons


def test_rules_of_outputs_vouch_for_them() -> None:
    vouched = workflow([exit_(rules=[rule("rows.size() > 0")])], version="1.0.0")
    plain = workflow([exit_()], version="1.0.0")
    assert propose(vouched, plain).nature is Nature.MAJOR
    assert propose(plain, vouched).nature is Nature.MINOR


def test_the_first_version_is_1_0_0() -> None:
    proposal = propose(None, finished())
    assert (str(proposal.number), proposal.reasons) == ("1.0.0", ("This is the first version.",))


def test_new_nodes_are_minor_and_the_inside_is_a_patch() -> None:
    before = finished(version="1.0.0")
    more = before.changed(
        nodes={**before.nodes, **{n.id: n for n in workflow([stage(f"s{i}") for i in range(5)]).containers()}}
    )
    assert propose(before, more).reasons == ("New: 'S0', 'S1', 'S2' and 2 more.",)
    renamed = apply(before, [Configure(id="clean", changes=(Change(path=("name",), value="Tidy"),))])
    assert propose(before, renamed).nature is Nature.PATCH
    assert "inside" in propose(before, renamed).reasons[0]


def test_a_number_can_be_raised_and_not_lowered() -> None:
    proposal = propose(taking(), taking(contract("rows", limit=LIMIT)))
    for text in ("1.3.0", "1.3.1", "2.0.0"):
        check_number(proposal, Semver.parse(text))
    with pytest.raises(VersionTooLow, match=r"1\.2\.4 is too low: the change is minor, .* at least 1\.3\.0"):
        check_number(proposal, Semver.parse("1.2.4"), name="model")
    unchanged = propose(taking(), taking())
    check_number(unchanged, Semver.parse("1.2.4"))
    with pytest.raises(VersionTooLow, match="must go up"):
        check_number(unchanged, Semver.parse("1.2.3"))


# ---- comparison -----------------------------------------------------------------------------------------------


def test_a_comparison_tells_what_is_new_gone_changed_and_moved() -> None:
    before = finished()
    after = apply(
        before,
        [
            Move(id="work", to=Position(x=9, y=9)),
            Configure(
                id="clean", changes=(Change(path=("parameters", "limit"), value=3), Change(path=("order",), value=2))
            ),
            Describe(changes=(Change(path=("description",), value="d" * 100),)),
        ],
    )
    after = workflow([stage("late"), entry()], ["in.rows > late.x"], [waits("work > late")]).changed(
        nodes={**{k: n for k, n in after.nodes.items() if k != "out"}, "late": workflow([stage("late")]).nodes["late"]},
        description=after.description,
    )
    found = compare(before, after)
    assert [node.id for node in found.added] == ["late"]
    assert [node.id for node in found.removed] == ["out"]
    assert found.moved == ("work",)
    assert [(f.field, f.old, f.new) for f in found.changed[0].fields] == [
        ("order", None, 2),
        ("parameters.limit", None, 3),
    ]
    assert found.lines() == [
        f"~ description: nothing → '{'d' * 79} …",
        "- 'Out' (ioNode)",
        "+ 'Late' (stageNode)",
        "~ 'Clean': order: nothing → 2",
        "~ 'Clean': parameters.limit: nothing → 3",
        "~ 'work' stands elsewhere",
        "- clean.rows → out.rows",
        "- in.rows → clean.rows",
        "+ in.rows → late.x",
        "+ 'late' waits for 'work'",
    ]
    assert "- 'late' waits for 'work'" in compare(after, before).lines()
    assert found.model_dump(mode="json")["changed"][0]["name"] == "Clean"
    assert not found.is_empty
    assert compare(before, before).is_empty


def test_a_node_of_another_kind_is_another_node() -> None:
    found = compare(workflow([stage("x")]), workflow([entry("x")]))
    assert [node.kind for node in found.added] == ["ioNode"]
    assert [node.kind for node in found.removed] == ["stageNode"]


def test_true_is_not_one() -> None:
    one, true = (workflow([stage(metadata={"k": value})]) for value in (1, True))
    assert [f.field for f in compare(one, true).changed[0].fields] == ["metadata.k"]


# ---- contracts ------------------------------------------------------------------------------------------------


def test_the_contract_of_a_model_is_that_of_its_boundaries_together() -> None:
    assert input_contract(finished()) == contract("rows")
    assert input_contract(workflow([])) == {"type": "object", "properties": {}, "required": []}
    first = {**contract("rows", n={"type": "integer"}), "$defs": {"a": TEXT}}
    second = contract("more", n={"minimum": 3})
    both = workflow([entry(fields=first), entry("z", fields=second), exit_(), exit_("end", fields={"type": "object"})])
    found = input_contract(both)
    assert sorted(found["properties"]) == ["more", "n", "rows"]
    assert found["properties"]["n"] == {"allOf": [{"type": "integer"}, {"minimum": 3}]}
    assert found["required"] == ["rows", "more"]
    assert found["$defs"] == {"a": TEXT}
    assert output_contract(both)["required"] == ["rows"]


def test_the_ports_of_a_nested_step_are_the_contracts_of_its_model() -> None:
    child = workflow([entry(fields=contract("rows", "limit", limit=LIMIT)), entry("more"), exit_()])
    inputs, outputs = ports_of_nested(child)
    assert [(port.name, port.required) for port in inputs] == [("rows", True), ("limit", False)]
    assert [(port.name, port.required) for port in outputs] == [("rows", True)]


PEOPLE = {"type": "array", "format": "table", "minItems": 1, "items": {"type": "object", "required": ["name"]}}


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        (contract("rows"), {"rows": []}, ()),
        (contract("rows"), {}, (("", "the field 'rows' is missing"),)),
        (contract("rows"), {"rows": [1]}, (("rows[0]", "1 is not an object"),)),
        (contract(**{"a b": TEXT}), {"a b": None}, (("['a b']", "nothing is not text"),)),
        ({"properties": {"a": {"items": TEXT}}}, {"a": ["x", True]}, (("a[1]", "true is not text"),)),
        ({"type": ["string", "integer"]}, [], (("", "a list is not text or a whole number"),)),
        ({"enum": ["x", {}]}, "y", (("", "'y' is none of 'x', an object"),)),
        ({"properties": {"a": {"properties": {"b": TEXT}}}}, {"a": {"b": 3}}, (("a.b", "3 is not text"),)),
        ({"minLength": 5}, "abc", (("", "'abc' is too short"),)),
        (True, object(), ()),
        (False, 1, (("", "False schema does not allow 1"),)),
    ],
)
def test_what_keeps_a_value_from_meeting_a_schema(schema: Any, value: Any, found: Any) -> None:
    assert problems(schema, value) == found


def test_problems_are_few_and_short() -> None:
    assert len(problems({"items": TEXT}, list(range(100)))) == MAX_PROBLEMS
    assert len(problems({"maxLength": 1}, "x" * 10_000)[0][1]) < 300


@pytest.mark.parametrize(
    "schema", [{"type": "tabel"}, {"pattern": "("}, {"$ref": "https://example.org/x"}, {"$ref": "#/no"}]
)
def test_a_schema_that_cannot_be_applied_is_a_problem_and_fetches_nothing(schema: Any) -> None:
    assert "can't be applied" in problems(schema, "x")[0][1]


def test_a_value_that_nests_too_deeply_is_a_problem() -> None:
    value: Any = []
    for _ in range(50_000):
        value = [value]
    schema = {"$defs": {"x": {"items": {"$ref": "#/$defs/x"}}}, "$ref": "#/$defs/x"}
    assert problems(schema, value) == (("", "it nests too deeply to be checked"),)
    while value:  # taken apart by hand: letting go of it whole would recurse as well
        value = value.pop()


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame], ids=["pyarrow", "pandas"])
def test_a_table_is_an_array_of_objects_and_is_not_expanded(make: Any) -> None:
    people = make({"name": ["Ann"], "age": [3]})
    assert is_table(people)
    assert problems(contract(rows=PEOPLE), {"rows": people}) == ()
    assert problems(PEOPLE, make({"name": []}))[0][1].endswith("should be non-empty")
    assert ("", "the column 'name' is missing") in problems(PEOPLE, make({"age": [3]}))
    assert problems({"items": TEXT}, people)[0][1].startswith("a table holds rows")
    assert problems(TEXT, people) == (("", "a table is not text"),)
    assert problems({"type": "array", "enum": [[]], "uniqueItems": True}, people) == ()


def test_defaults_fill_what_is_missing() -> None:
    schema = contract("rows", limit=LIMIT, deep={"type": "object", "properties": {"n": LIMIT}})
    assert with_defaults(schema, {"rows": [], "deep": {}}) == {"rows": [], "limit": 10, "deep": {"n": 10}}
    assert with_defaults(schema, {"limit": 3}) == {"limit": 3}
    assert with_defaults(schema, "text") == "text"
    assert with_defaults(True, {}) == {}


def test_a_schema_that_is_none_is_told_from_one() -> None:
    assert why_not_schema(TABLE) is None
    assert why_not_schema({"oneOf": [TEXT]}) is None
    assert "type" in (why_not_schema({"properties": {"a": {"type": "tabel"}}}) or "")
    assert "not of type" in (why_not_schema([]) or "")
    deep: Any = {}
    for _ in range(300):
        deep = {"items": deep}
    assert "deeper" in (why_not_schema(deep) or "")


# ---- schemas --------------------------------------------------------------------------------------------------

OBJECT = {"type": "object"}


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        (TABLE, "table"),
        ({"format": "chart"}, "chart"),
        (TEXT, "text"),
        ({"type": "number"}, "number"),
        ({"type": ["integer", "null"]}, "integer"),
        ({"type": "array"}, "list"),
        ({"const": {}}, "object"),
        ({"enum": [True]}, "boolean"),
        ({"enum": [1.5, 2]}, "number"),
        ({"anyOf": [TEXT, OBJECT]}, "any"),
        ({"allOf": [TEXT, {"type": ["string", "null"]}]}, "text"),
        ({"type": "tabel"}, "any"),
        ({"type": 3}, "any"),
        (True, "any"),
    ],
)
def test_a_port_shows_one_word(schema: Any, word: str) -> None:
    assert short_name(schema) == word
    assert types_of(False) == frozenset()


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (TEXT, TEXT, None),
        (TEXT, {"type": "integer"}, "text can never be a whole number"),
        ({"const": 1.5}, {"type": "integer"}, "a number that is not whole can never be a whole number"),
        (False, TEXT, "nothing at all can never be text"),
        (TABLE, {"type": "array", "items": TEXT}, "the items differ: an object can never be text"),
        ({"enum": ["a", "b"]}, {"enum": ["c"]}, "none of its values ('a', 'b') is allowed there"),
        ({"enum": ["a"]}, {"const": "a"}, None),
        ({"type": "integer", "minimum": 5}, {"type": "number", "maximum": 4}, "the allowed ranges don't meet"),
        ({"type": "array", "maxItems": 1}, {"type": "array", "minItems": 2}, "the allowed ranges don't meet"),
        ({"type": "string", "minLength": 5}, {"type": ["string", "null"], "maxLength": 4}, "ranges don't meet"),
        ({**OBJECT, "properties": {"a": TEXT}}, {**OBJECT, "properties": {"a": TABLE}}, None),
        (
            {**OBJECT, "properties": {"a": TEXT}},
            {**OBJECT, "properties": {"a": TABLE}, "required": ["a"]},
            "in the field 'a', text can never be a list",
        ),
        ({**OBJECT, "additionalProperties": False}, {**OBJECT, "required": ["a"]}, "'a' is needed and never there"),
        ({"type": ["object", "null"]}, {"type": ["string", "null"]}, None),
    ],
)
def test_a_wire_is_refused_with_the_reason(source: Any, target: Any, reason: str | None) -> None:
    found = why_not(source, target)
    assert found is None if reason is None else reason in (found or "")


@pytest.mark.parametrize(
    ("old", "new", "inward", "outward"),
    [
        (TEXT, TEXT, None, None),
        (TEXT, {}, None, "may now give"),
        ({}, TEXT, "no longer takes", None),
        (TEXT, {"type": "string", "pattern": "x"}, "another 'pattern'", None),
        ({"enum": [1, 2]}, {"enum": [1]}, "fewer values", None),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 2}, "fewer values", None),
        ({"type": "integer", "maximum": 1}, {"type": "integer", "maximum": 2}, None, "other values"),
        (TEXT, {"anyOf": [TEXT, {"type": "null"}]}, None, "may now give nothing"),
        ({"anyOf": [TEXT, TABLE]}, {"anyOf": [TABLE, TEXT]}, None, None),
        ({"anyOf": [TABLE, TEXT]}, {"anyOf": [{"type": "array", "maxItems": 1}, TEXT]}, "fewer values", "may now"),
        ({"type": "array", "items": TEXT}, {"type": "array"}, None, "has items that differ"),
        ({**OBJECT, "properties": {"a": TEXT}}, {**OBJECT, "properties": {"a": TABLE}}, "'a' no longer", "'a' may now"),
        ({**OBJECT, "properties": {"a": TEXT}}, OBJECT, None, "no longer gives 'a'"),
        (OBJECT, {**OBJECT, "properties": {"a": TEXT}}, None, None),
        (OBJECT, {**OBJECT, "required": ["a"]}, "now needs 'a'", None),
        (OBJECT, {**OBJECT, "required": ["a"], "properties": {"a": LIMIT}}, None, None),
        (
            {**OBJECT, "additionalProperties": False, "properties": {"a": TEXT}},
            {**OBJECT, "additionalProperties": False},
            "no longer takes 'a'",
            "no longer gives 'a'",
        ),
        (
            {"$defs": {"t": TEXT}, "$ref": "#/$defs/t"},
            {"$defs": {"t": TABLE}, "$ref": "#/$defs/t"},
            "'t' no longer takes text",
            "'t' may now give a list",
        ),
    ],
)
def test_a_contract_is_narrower_or_not(old: Any, new: Any, inward: str | None, outward: str | None) -> None:
    for direction, told in (("in", inward), ("out", outward)):
        found = narrowed(old, new, direction=direction)  # type: ignore[arg-type]
        assert found is None if told is None else told in (found or ""), direction


def test_what_lies_too_deep_counts_as_narrower() -> None:
    old, new = dict(TEXT), dict(TABLE)
    for _ in range(30):
        old, new = {"type": "array", "items": old}, {"type": "array", "items": new}
    assert "too deep" in (narrowed(old, new, direction="in") or "")
    assert why_not(old, new) is None
    branching, other = dict(TEXT), dict(TEXT, minLength=3)
    for _ in range(8):
        branching, other = {"anyOf": [branching, TABLE]}, {"anyOf": [other, TABLE]}
    assert narrowed(branching, other, direction="in") is not None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            {"type": "object", "properties": {"a": TEXT}, "additionalProperties": {"type": "integer"}},
            {"a": "x", "b": 1},
        ),
        ({"type": "object", "required": ["a"]}, {"a": None}),
        ({"type": "integer", "minimum": 1, "maximum": 3, "title": "how many", "readOnly": True, "examples": [2]}, 2),
        ({"type": "number", "default": 1}, 1.5),
        ({"enum": ["a", "b"], "deprecated": False}, "a"),
        ({"type": "null"}, None),
        ({"items": TEXT, "minItems": 0}, ["x"]),
        ({"required": ["a", "b"], "type": "object", "const": {"a": 1, "b": 2}}, {"a": 1, "b": 2}),
    ],
)
def test_everyday_schemas_are_decided_quickly_and_rightly(schema: Any, value: Any) -> None:
    assert is_plainly_schema(schema)
    assert problems(schema, value) == ()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": TEXT}}, {"a": 1}),
        ({"type": "object", "additionalProperties": False}, {"a": 1}),
        ({"type": "object", "required": ["a"]}, {}),
        ({"type": "integer"}, True),
        ({"minimum": 1}, 0),
        ({"maximum": 1}, 2),
        ({"enum": ["a"]}, "b"),
        ({"type": "integer"}, 1.5),
        (False, 1),
    ],
)
def test_what_is_not_plainly_right_is_left_to_the_full_checker(schema: Any, value: Any) -> None:
    assert not plainly_meets(schema, value)
    assert problems(schema, value) != ()


@pytest.mark.parametrize(
    "schema",
    [
        3,
        {"type": ["string"]},
        {"required": ["a", "a"]},
        {"required": 3},
        {"minItems": -1},
        {"properties": {1: {}}},
        {"x": 1},
    ],
)
def test_what_is_not_plainly_a_schema_is_left_to_the_full_checker(schema: Any) -> None:
    assert not is_plainly_schema(schema)
    deep: Any = {}
    for _ in range(20):
        deep = {"items": deep}
    assert not is_plainly_schema(deep)
    assert why_not_schema(deep) is None
