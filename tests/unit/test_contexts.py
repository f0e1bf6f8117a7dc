"""Hierarchical context: who may see what of whom, by relation, share and grant; and the contexts of one run."""

from __future__ import annotations

import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.domain.contexts import (
    ALLOWED,
    OUTERMOST,
    Access,
    Grant,
    Place,
    Relation,
    Scope,
    Sharing,
    combined,
    decide,
    place_of,
    relation_of,
)
from engine.domain.model import FunctionModel
from engine.domain.values import Expression, Fallback
from engine.errors import AccessRefused, NotCanonical
from engine.execution.context_values import PROPERTIES_LIMIT, Change, EmergencyRead
from engine.execution.contexts import RunContexts
from engine.execution.invocation import is_retryable
from engine.expressions import Cel
from tests.building import Nested, entrance, leave, model, nested, stage, step
from tests.strategies import json_objects, json_values

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
READ, WRITE, STATUS = Access.READ, Access.WRITE, Access.STATUS
EXECUTION, SESSION, GLOBAL, ISOLATED = Scope
law = settings(max_examples=200, deadline=None)

INNERMOST = model(stage("deep"), step("leaf", "add", parent="deep"), name="Innermost")
INNER = model(
    stage("t"),
    stage("u"),
    step("clean", "add", parent="t"),
    step("check", "add", parent="t"),
    step("sum", "add", parent="u"),
    nested("more", "innermost", parent="t", inheritance="inherited"),
    name="Inner",
)
OUTER = model(
    entrance("a"),
    leave("b"),
    stage("s"),
    stage("r"),
    step("x", "add"),
    step("y", "add"),
    step("undo", "add"),
    step("z", "add", parent="r"),
    nested("open", "inner", inheritance="inherited"),
    nested("open2", "inner", inheritance="shared"),
    nested("shut", "inner", for_each="a"),
)
MODELS = Nested(inner=INNER, innermost=INNERMOST)


def place(path: str) -> Place:
    found = place_of(OUTER, path, lambda node: MODELS.nested(node.reference, node.version))
    assert found is not None, path
    return found


def contexts(**options: Any) -> RunContexts:
    return RunContexts(OUTER, MODELS, now=options.pop("now", lambda: NOW), **options)


def allowed(reader: str, owner: str, verb: Access, **options: Any) -> bool:
    return decide(place(reader), place(owner), verb, "p", now=NOW, **options).allowed


# ---- places and relations -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "chain", "floor"),
    [
        ("", (), 0),
        ("s", ("s",), 0),
        ("in", ("in",), 0),
        ("x", ("s", "x"), 0),
        ("x[3]", ("s", "x", "x[3]"), 0),
        ("undo#x", ("s", "undo#x"), 0),
        ("open/t", ("s", "open", "open/t"), 0),
        ("open/clean", ("s", "open", "open/t", "open/clean"), 0),
        ("open#2/clean", ("s", "open", "open#2/t", "open#2/clean"), 0),
        ("shut[3]/clean", ("s", "shut", "shut[3]", "shut[3]/t", "shut[3]/clean"), 3),
        ("shut[3]#2/clean", ("s", "shut", "shut[3]", "shut[3]#2/t", "shut[3]#2/clean"), 3),
        ("open/more/leaf", ("s", "open", "open/t", "open/more", "open/more/deep", "open/more/leaf"), 0),
        ("shut/more/leaf", ("s", "shut", "shut/t", "shut/more", "shut/more/deep", "shut/more/leaf"), 2),
    ],
)
def test_a_path_has_its_place(path: str, chain: tuple[str, ...], floor: int) -> None:
    assert place(path) == Place(chain, floor)
    assert place(path).path == path


@pytest.mark.parametrize(
    "path", ["nobody", "x/clean", "s/x", "s[1]", "open/nobody", "x[01]", "x[a]", "x//y", "/", "open/", "x[3", "s#x"]
)
def test_a_path_where_no_node_can_be_has_no_place(path: str) -> None:
    assert place_of(OUTER, path, lambda node: MODELS.nested(node.reference, node.version)) is None


def test_without_its_model_a_nested_step_has_no_inside() -> None:
    assert place_of(OUTER, "open") is not None
    assert place_of(OUTER, "open/clean") is None


OWN, DESCENDANT, SIBLING, ANCESTOR, UNCLE, OTHER = Relation


@pytest.mark.parametrize(
    ("reader", "owner", "relation"),
    [
        ("x", "x", OWN),
        ("", "", OWN),
        ("s", "x", DESCENDANT),
        ("", "open/more/leaf", DESCENDANT),
        ("open", "open/clean", DESCENDANT),
        ("open", "open#2/clean", DESCENDANT),
        ("shut", "shut[3]", DESCENDANT),
        ("shut[3]", "shut[3]/more/leaf", DESCENDANT),
        ("x", "s", ANCESTOR),
        ("x", "", ANCESTOR),
        ("open/more/leaf", "open", ANCESTOR),
        ("x", "y", SIBLING),
        ("x", "open", SIBLING),
        ("open", "open2", SIBLING),
        ("s", "r", SIBLING),
        ("in", "s", SIBLING),
        ("undo#x", "x", SIBLING),
        ("shut[3]", "shut[4]", SIBLING),
        ("open/clean", "open/check", SIBLING),
        ("open/t", "open/u", SIBLING),
        ("open/clean", "open/more", SIBLING),
        ("x", "r", UNCLE),
        ("z", "in", UNCLE),
        ("open/t", "x", UNCLE),
        ("open/clean", "open/u", UNCLE),
        ("open/more/deep", "open/clean", UNCLE),
        ("shut[3]", "x", UNCLE),
        ("shut[3]/t", "shut[4]", UNCLE),
        ("x", "z", OTHER),
        ("x", "open/clean", OTHER),
        ("r", "x", OTHER),
        ("open/clean", "x", OTHER),
        ("open/clean", "open2/clean", OTHER),
        ("open/clean", "open#2/clean", OTHER),
        ("shut[3]/clean", "shut[4]/clean", OTHER),
        ("shut[3]/clean", "shut[4]", OTHER),
        ("open/more/leaf", "open/u", OTHER),
    ],
)
def test_two_places_have_one_relation(reader: str, owner: str, relation: Relation) -> None:
    assert relation_of(place(reader), place(owner)) is relation


# ---- the table ------------------------------------------------------------------------------------------------

PAIRS = {
    OWN: ("x", "x"),
    DESCENDANT: ("s", "x"),
    SIBLING: ("x", "y"),
    ANCESTOR: ("x", "s"),
    UNCLE: ("x", "r"),
    OTHER: ("x", "z"),
}
YES, NO = True, False
TABLE = [
    # relation, scope, read, write, status; of a property that nobody shares or grants
    (OWN, EXECUTION, YES, YES, YES),
    (OWN, SESSION, YES, YES, YES),
    (OWN, GLOBAL, YES, YES, YES),
    (OWN, ISOLATED, YES, YES, YES),
    (DESCENDANT, EXECUTION, YES, YES, YES),
    (DESCENDANT, SESSION, YES, YES, YES),
    (DESCENDANT, GLOBAL, YES, YES, YES),
    (DESCENDANT, ISOLATED, NO, NO, NO),
    (SIBLING, EXECUTION, YES, NO, YES),
    (SIBLING, SESSION, YES, NO, YES),
    (SIBLING, GLOBAL, YES, NO, YES),
    (SIBLING, ISOLATED, NO, NO, NO),
    (ANCESTOR, EXECUTION, NO, NO, NO),
    (ANCESTOR, SESSION, NO, NO, NO),
    (ANCESTOR, GLOBAL, YES, NO, NO),
    (ANCESTOR, ISOLATED, NO, NO, NO),
    (UNCLE, EXECUTION, NO, NO, YES),
    (UNCLE, SESSION, NO, NO, YES),
    (UNCLE, GLOBAL, YES, NO, YES),
    (UNCLE, ISOLATED, NO, NO, NO),
    (OTHER, EXECUTION, NO, NO, NO),
    (OTHER, SESSION, NO, NO, NO),
    (OTHER, GLOBAL, YES, NO, NO),
    (OTHER, ISOLATED, NO, NO, NO),
]


@pytest.mark.parametrize(("relation", "scope", "read", "write", "status"), TABLE)
def test_the_relation_table(relation: Relation, scope: Scope, read: bool, write: bool, status: bool) -> None:
    reader, owner = PAIRS[relation]
    for verb, answer in ((READ, read), (WRITE, write), (STATUS, status)):
        verdict = decide(place(reader), place(owner), verb, "p", now=NOW, scope=scope)
        assert (verdict.allowed, verdict.relation) == (answer, relation), verb
        assert verdict.reason.endswith(".")
        assert verdict.rule
        assert answer or verdict.mend.endswith("."), "a refusal says what would help"


def test_the_table_has_every_row() -> None:
    assert {(row[0], row[1]) for row in TABLE} == {(relation, scope) for relation in Relation for scope in Scope}
    assert set(ALLOWED) == set(Relation)


@pytest.mark.parametrize("sharing", Sharing)
@pytest.mark.parametrize(("scope", "read"), [(EXECUTION, YES), (SESSION, YES), (GLOBAL, YES), (ISOLATED, NO)])
def test_what_an_ancestor_shares_is_read_and_never_written(sharing: Sharing, scope: Scope, read: bool) -> None:
    for ancestor in ("s", ""):
        assert allowed("x", ancestor, READ, scope=scope, sharing=sharing) is read
        assert not allowed("x", ancestor, WRITE, scope=scope, sharing=sharing)
        assert not allowed("x", ancestor, STATUS, scope=scope, sharing=sharing)


def test_sharing_reaches_only_those_below() -> None:
    assert not allowed("x", "r", READ, sharing=Sharing.INHERIT)
    assert not allowed("x", "z", READ, sharing=Sharing.INHERIT)


def test_an_isolated_nested_model_sees_nothing_of_what_stands_around_it() -> None:
    share = {"sharing": Sharing.INHERIT}
    assert allowed("open/clean", "s", READ, **share)
    assert allowed("open2/clean", "", READ, **share)
    assert not allowed("shut[3]/clean", "s", READ, **share)
    assert not allowed("shut[3]/clean", "shut", READ, **share)
    assert not allowed("shut/more/leaf", "s", READ, **share), "however deep"
    assert allowed("shut[3]/clean", "shut[3]", READ, **share), "the step stands for the model inside"
    assert allowed("shut[3]/clean", "shut[3]/t", READ, **share)
    assert allowed("open/t", "x", STATUS)
    assert not allowed("shut/t", "x", STATUS)
    assert allowed("shut/clean", "shut/u", STATUS)
    verdict = decide(place("shut/clean"), place("s"), READ, "p", now=NOW, sharing=Sharing.INHERIT)
    assert verdict.rule == "isolated model"


def test_who_stands_around_an_isolated_model_reaches_in() -> None:
    for verb in Access:
        assert allowed("s", "shut[3]/more/leaf", verb)


def test_every_refusal_has_a_rule_of_its_own() -> None:
    def rule(reader: str, owner: str, verb: Access, **options: Any) -> str:
        return decide(place(reader), place(owner), verb, "p", now=NOW, **options).rule

    assert rule("x", "s", READ) == "not shared"
    assert rule("x", "y", WRITE) == rule("x", "s", WRITE) == "read only"
    assert rule("x", "r", READ) == rule("x", "r", WRITE) == "status only"
    assert rule("x", "z", READ) == "nothing allows it"
    assert rule("s", "x", READ, scope=ISOLATED) == "isolated"


# ---- grants ---------------------------------------------------------------------------------------------------


def grant(who: str = "x", whose: str = "z", **fields: Any) -> Grant:
    return Grant(who=who, whose=whose, **fields)


def test_a_grant_allows_what_it_names_and_nothing_else() -> None:
    named = grant(properties=("p",))

    def may(reader: str, owner: str, verb: Access, name: str | None) -> bool:
        return decide(place(reader), place(owner), verb, name, now=NOW, grants=[named]).allowed

    assert may("x", "z", READ, "p")
    assert not may("x", "z", READ, "q")
    assert not may("x", "z", READ, None), "the whole context"
    assert not may("x", "z", WRITE, "p")
    assert not may("x", "z", STATUS, None)
    assert not may("y", "z", READ, "p")
    assert not may("x[1]", "z", READ, "p"), "not even an item of it"
    assert not may("z", "x", READ, "p"), "not the other way"


def test_a_grant_without_properties_is_for_all_and_for_its_verbs() -> None:
    whole = grant(verbs=(READ, STATUS))
    for name in ("p", "q", None):
        assert decide(place("x"), place("z"), READ, name, now=NOW, grants=[whole]).rule == "grant"
        assert not decide(place("x"), place("z"), WRITE, name, now=NOW, grants=[whole]).allowed
    assert decide(place("x"), place("z"), STATUS, now=NOW, grants=[whole]).allowed


@pytest.mark.parametrize(
    ("now", "holds"), [(NOW - HOUR, NO), (NOW, YES), (NOW + HOUR / 2, YES), (NOW + HOUR, NO), (NOW + 2 * HOUR, NO)]
)
def test_a_grant_holds_from_its_start_until_before_its_end(now: datetime, holds: bool) -> None:
    window = grant(starts_at=NOW, ends_at=NOW + HOUR, reason="A check.")
    verdict = decide(place("x"), place("z"), READ, "p", now=now, grants=[window])
    assert verdict.allowed is holds
    if holds:
        assert verdict.reason == "A grant allows it: A check."


def test_no_grant_reaches_what_is_isolated() -> None:
    for each in (grant(), grant(emergency=True, reason="Fire.", ends_at=NOW + HOUR)):
        assert not allowed("x", "z", READ, scope=ISOLATED, grants=[each])


def test_a_grant_reaches_through_an_isolated_model() -> None:
    assert allowed("shut/clean", "s", READ, grants=[grant("shut/clean", "s")])


def test_an_emergency_is_the_last_resort() -> None:
    fire = grant(emergency=True, reason="Fire", ends_at=NOW + HOUR)
    verdict = decide(place("x"), place("z"), READ, "p", now=NOW, grants=[fire])
    assert verdict.is_emergency
    assert verdict.reason == "An emergency grant allows it: Fire."
    assert not decide(place("x"), place("z"), READ, "p", now=NOW, grants=[fire, grant()]).is_emergency
    assert not decide(place("x"), place("z"), READ, "p", now=NOW, scope=GLOBAL, grants=[fire]).is_emergency


@pytest.mark.parametrize(
    "fields",
    [
        {"emergency": True, "ends_at": NOW},
        {"emergency": True, "reason": " ", "ends_at": NOW},
        {"emergency": True, "reason": "Fire."},
        {"emergency": True, "reason": "Fire.", "ends_at": NOW, "verbs": (READ, WRITE)},
        {"starts_at": NOW, "ends_at": NOW},
        {"verbs": ()},
        {"properties": ()},
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        grant(**fields)


# ---- laws -----------------------------------------------------------------------------------------------------

places = st.builds(
    lambda parts: Place(tuple("/".join(parts[: depth + 1]) for depth in range(len(parts)))),
    st.lists(st.sampled_from("abc"), max_size=5),
)
grants_of_all_kinds = st.builds(
    lambda who, whose, verbs, names, start, length, emergency: Grant(
        who=who.path,
        whose=whose.path,
        verbs=(READ,) if emergency else tuple(verbs),
        properties=tuple(names) or None,
        starts_at=NOW + start * HOUR,
        ends_at=NOW + (start + length) * HOUR,
        reason="Because.",
        emergency=emergency,
    ),
    places,
    places,
    st.lists(st.sampled_from(Access), min_size=1, unique=True),
    st.lists(st.sampled_from("pq"), unique=True),
    st.integers(-2, 2),
    st.integers(1, 3),
    st.booleans(),
)
REVERSED = {OWN: {OWN}, DESCENDANT: {ANCESTOR}, ANCESTOR: {DESCENDANT}, SIBLING: {SIBLING}, UNCLE: {OTHER}}


@law
@given(places, places)
def test_each_pair_has_one_relation_and_it_turns_round(reader: Place, owner: Place) -> None:
    mine, theirs = reader.chain, owner.chain
    common = next(
        (n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs))
    )
    up, down = len(mine) - common, len(theirs) - common
    by_steps = {(0, 0): OWN, (1, 1): SIBLING, (2, 1): UNCLE}
    wanted = by_steps.get((up, down)) or (DESCENDANT if up == 0 else ANCESTOR if down == 0 else OTHER)
    assert relation_of(reader, owner) is wanted
    assert relation_of(owner, reader) in REVERSED.get(wanted, {OTHER, UNCLE})


@law
@given(places, places, st.sampled_from(Access), st.sampled_from(Scope), st.lists(grants_of_all_kinds, max_size=4))
def test_own_and_descendants_are_always_open(
    reader: Place, below: Place, verb: Access, scope: Scope, grants: list[Grant]
) -> None:
    assert decide(reader, reader, verb, "p", now=NOW, scope=scope, grants=grants).rule == "own"
    child = Place((*reader.chain, *(f"{reader.path}>{each}" for each in below.chain)))
    if scope is not ISOLATED:
        assert decide(reader, child, verb, "p", now=NOW, scope=scope, grants=grants).allowed


@law
@given(
    places,
    places,
    st.sampled_from(Access),
    st.sampled_from(["p", "q", None]),
    st.sampled_from(Scope),
    st.none() | st.sampled_from(Sharing),
    st.lists(grants_of_all_kinds, max_size=6),
)
def test_grants_add_exactly_what_they_name(
    reader: Place,
    owner: Place,
    verb: Access,
    name: str | None,
    scope: Scope,
    sharing: Sharing | None,
    grants: list[Grant],
) -> None:
    facts: dict[str, Any] = {"now": NOW, "scope": scope, "sharing": sharing}
    plain = decide(reader, owner, verb, name, **facts)
    found = decide(reader, owner, verb, name, grants=grants, **facts)
    named = [
        each
        for each in grants
        if (each.who, each.whose) == (reader.path, owner.path)
        and verb in each.verbs
        and (each.properties is None or name in each.properties)
        and each.starts_at <= NOW < each.ends_at  # type: ignore[operator]
    ]
    opened = bool(named) and (scope is not ISOLATED or reader == owner)
    assert found.allowed == (plain.allowed or opened)
    assert found.is_emergency == (found.allowed and not plain.allowed and all(each.emergency for each in named))
    if relation_of(reader, owner) is OTHER and scope is not GLOBAL and not named:
        assert not found.allowed


@law
@given(places, places, st.sampled_from(Access), st.sampled_from(Scope), st.integers(0, 6))
def test_a_wall_never_opens_anything(reader: Place, owner: Place, verb: Access, scope: Scope, floor: int) -> None:
    facts: dict[str, Any] = {"now": NOW, "scope": scope, "sharing": Sharing.INHERIT}
    walled = decide(Place(reader.chain, min(floor, reader.depth)), owner, verb, "p", **facts)
    assert not walled.allowed or decide(reader, owner, verb, "p", **facts).allowed


@law
@given(json_objects, json_objects, json_objects)
def test_merging_objects_is_associative_and_the_outer_wins(one: Any, two: Any, three: Any) -> None:
    def merge(outer: Any, inner: Any) -> Any:
        return combined(Sharing.MERGE, outer, inner)

    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == merge(one, {}) == merge({}, one) == one
    assert all(merge(one, two)[key] == one[key] for key in one)
    assert merge(one, two).keys() == one.keys() | two.keys()


@law
@given(json_values, json_values, json_values)
def test_inherit_keeps_the_outer_and_override_the_inner(one: Any, two: Any, three: Any) -> None:
    assert combined(Sharing.INHERIT, one, two) == one
    assert combined(Sharing.OVERRIDE, one, two) == two
    for mode in (Sharing.INHERIT, Sharing.OVERRIDE):
        assert combined(mode, combined(mode, one, two), three) == combined(mode, one, combined(mode, two, three))
    if not isinstance(one, dict) or not isinstance(two, dict):
        assert combined(Sharing.MERGE, one, two) == one


# ---- the contexts of a run ------------------------------------------------------------------------------------


def test_a_node_writes_its_own_and_its_siblings_read() -> None:
    run = contexts()
    run.write("x", "x", "total", 4.0)
    assert run.read("x", "x", "total") == 4.0
    assert isinstance(run.read("y", "x", "total"), float), "a whole float stays one"
    assert run.read("y", "x", "unheard of") is None
    run.write("s", "x", "total", 5)
    assert run.read("x", "x", "total") == 5
    assert run.trace_of("s", "y").read == (("x", "total"), ("x", "unheard of"))


def test_a_refusal_names_relation_rule_and_mend() -> None:
    run = contexts()
    with pytest.raises(AccessRefused) as refused:
        run.read("x", "z", "total")
    assert str(refused.value) == (
        "'x' may not read 'total' of 'z' (relation: other; rule: nothing allows it). "
        "The relation is other, and no rule or grant allows it. Bring the value by a wire, or ask for a grant."
    )
    assert refused.value.facts["permanent"] is True
    assert not is_retryable(refused.value)
    for call, words in [
        (lambda: run.write("x", "y", "p", 1), "write 'p' of 'y'"),
        (lambda: run.read("x", "r", "p"), "rule: status only"),
        (lambda: run.read("x", "", "p"), "of the model"),
        (lambda: run.status_of("x", "z"), "read the status of 'z'"),
        (lambda: run.trace_of("x", "z"), "read the context of 'z'"),
        (lambda: run.read("x", "nobody", "p"), "There is no node at 'nobody'"),
        (lambda: run.visible("nobody"), "There is no node at 'nobody'"),
    ]:
        with pytest.raises(AccessRefused) as refused:
            call()
        assert words in str(refused.value)


def test_nobody_holds_a_piece_of_anothers_value() -> None:
    run, value = contexts(), {"rows": [1]}
    run.write("x", "x", "p", value)
    value["rows"].append(2)
    run.read("y", "x", "p")["rows"].append(3)
    run.visible("y")["siblings"]["x"]["p"]["rows"].append(4)
    assert run.read("x", "x", "p") == {"rows": [1]}


def test_values_are_json_of_bounded_size() -> None:
    run = contexts()
    for value in (object(), float("nan"), {1, 2}):
        with pytest.raises(NotCanonical):
            run.write("x", "x", "p", value)
    with pytest.raises(AccessRefused, match=r"at most 65,536 bytes of JSON, this has 70,002"):
        run.write("x", "x", "p", "a" * 70_000)
    for name in ("", "a" * 201, "a\nb"):
        with pytest.raises(AccessRefused, match="rule: name"):
            run.write("x", "x", name, 1)
    for number in range(PROPERTIES_LIMIT):
        run.write("x", "x", f"p{number}", number)
    with pytest.raises(AccessRefused, match="rule: count"):
        run.write("x", "x", "one more", 1)
    run.write("x", "x", "p0", "it may still change")
    run.share("x", "p0")


def test_a_run_has_a_limit_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.execution.context_values.RUN_LIMIT_BYTES", 100)
    monkeypatch.setattr("engine.execution.contexts.RUN_LIMIT_BYTES", 100)
    run = contexts()
    run.write("x", "x", "p", "a" * 60)
    run.write("x", "x", "p", "b" * 80)
    with pytest.raises(AccessRefused, match="in all"):
        run.write("y", "y", "p", "a" * 60)
    run.ended("y", "succeeded", {"result": ["a" * 60]})
    assert run.status_of("x", "y").results == {"result": "1 item"}


def test_a_result_that_is_noted_anew_takes_the_place_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.execution.contexts.RUN_LIMIT_BYTES", 100)
    run = contexts()
    for number in range(5):
        run.ended("x", "running", {"result": [str(number) * 60]})
    assert run.status_of("s", "x").results == {"result": ["4" * 60]}


def test_isolated_properties_are_the_nodes_alone() -> None:
    run = contexts(grants=[grant("y", "x")])
    run.write("x", "x", "secret", 1, scope=ISOLATED)
    run.write("x", "x", "open", 2)
    run.write("x", "x", "secret", 3)
    run.share("x", "secret")
    assert run.read("x", "x", "secret") == 3, "it stays isolated when written again"
    for reader in ("s", "y", "", "x[1]"):
        with pytest.raises(AccessRefused, match="rule: isolated"):
            run.read(reader, "x", "secret")
    with pytest.raises(AccessRefused, match="rule: isolated"):
        run.write("s", "x", "secret", 4)
    assert run.visible("y")["siblings"] == {"x": {"open": 2}}
    assert run.trace_of("s", "x").written == {"open": 2}
    assert run.trace_of("x", "x").written == {"open": 2, "secret": 3}
    assert run.visible("x[1]")["own"] == {}


def test_global_properties_are_read_from_everywhere() -> None:
    run = contexts()
    run.write("z", "z", "region", "north", scope=GLOBAL)
    run.write("shut[1]/clean", "shut[1]/clean", "region", "inner", scope=GLOBAL)
    assert run.read("shut[3]/clean", "z", "region") == "north"
    assert run.visible("x")["everywhere"] == {"region": "north"}
    with pytest.raises(AccessRefused):
        run.write("x", "z", "region", "south")
    run.write("z", "z", "region", "north", scope=EXECUTION)
    assert run.visible("x")["everywhere"] == {"region": "inner"}


SHARED = [
    # mode, the stage's value, the step's own value, what the step sees
    (Sharing.INHERIT, 1, None, 1),
    (Sharing.INHERIT, 1, 2, 1),
    (Sharing.INHERIT, {"a": 1}, {"b": 2}, {"a": 1}),
    (Sharing.OVERRIDE, 1, None, 1),
    (Sharing.OVERRIDE, 1, 2, 2),
    (Sharing.OVERRIDE, {"a": 1}, {"b": 2}, {"b": 2}),
    (Sharing.MERGE, {"a": 1}, None, {"a": 1}),
    (Sharing.MERGE, {"a": 1}, {"a": 2, "b": 3}, {"a": 1, "b": 3}),
    (Sharing.MERGE, {"a": 1}, 2, {"a": 1}),
    (Sharing.MERGE, 1, {"a": 2}, 1),
    (None, 1, None, None),
    (None, 1, 2, 2),
]


@pytest.mark.parametrize(("mode", "outer", "own", "seen"), SHARED)
def test_what_is_shared_meets_what_is_the_nodes_own(mode: Sharing | None, outer: Any, own: Any, seen: Any) -> None:
    run = contexts()
    run.write("s", "s", "p", outer)
    run.share("s", "p", Sharing.INHERIT)
    run.share("s", "p", mode)
    if own is not None:
        run.write("x", "x", "p", own)
    assert run.visible("x")["own"].get("p") == seen
    assert run.read("x", "x", "p") == own
    assert run.visible("z")["own"] == {}


def test_shares_come_down_level_by_level() -> None:
    run = contexts()
    run.write("", "", "p", {"model": 1, "all": "model"})
    run.share("", "p", Sharing.MERGE)
    run.write("s", "s", "p", {"stage": 2, "all": "stage"})
    run.share("s", "p", Sharing.OVERRIDE)
    assert run.visible("x")["own"]["p"] == {"model": 1, "stage": 2, "all": "model"}
    run.write("x", "x", "p", {"own": 3, "all": "own"})
    assert run.visible("x")["own"]["p"] == {"model": 1, "own": 3, "all": "model"}
    assert run.visible("open/more/leaf")["own"]["p"] == {"model": 1, "stage": 2, "all": "model"}
    assert run.visible("shut[1]/clean")["own"] == {}
    assert run.read("x", "s", "p") == {"stage": 2, "all": "stage"}
    with pytest.raises(AccessRefused, match="rule: isolated model"):
        run.read("shut[1]/clean", "s", "p")


def test_the_view_of_an_expression() -> None:
    run = contexts(
        grants=[
            grant("x", "z", properties=("p",)),
            grant("x", "open/clean", emergency=True, reason="Fire.", ends_at=NOW + HOUR),
        ]
    )
    for path in ("x", "y", "z", "s", "open", "open/clean", "x[1]"):
        run.write(path, path, "p", path)
        run.write(path, path, "q", 1)
    run.ended("z", "failed")
    run.ended("in", "succeeded", {"a": 3})
    both = {"p": "y", "q": 1}
    assert run.visible("x") == {
        "own": {"p": "x", "q": 1},
        "siblings": {"y": both, "open": {"p": "open", "q": 1}},
        "inside": {"x[1]": {"p": "x[1]", "q": 1}},
        "around": {
            "r": {"status": "failed", "results": {"z": {}}},
            "in": {"status": "succeeded", "results": {"a": 3}},
        },
        "everywhere": {},
        "granted": {"z": {"p": "z"}},
    }
    whole = run.visible("")
    assert set(whole["inside"]) == {"x", "y", "z", "s", "open", "open/clean", "x[1]"}
    assert whole["siblings"] == whole["around"] == {}
    assert set(run.visible("s")["inside"]) == {"x", "y", "open", "open/clean", "x[1]"}
    assert run.visible("shut/t")["around"] == {}


def test_an_expression_sees_the_view_and_only_what_it_names_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = contexts()
    run.write("y", "y", "total", 4)
    run.write("s", "s", "rate", 1.5)
    run.share("s", "rate")
    asked: list[str] = []
    part = run.part
    monkeypatch.setattr(run, "part", lambda path, name: asked.append(name) or part(path, name))
    seen = run.view("x")
    assert Cel().evaluate("context.siblings.y.total + 1", {"context": seen}) == 5
    assert asked == ["siblings"]
    assert Cel().evaluate("context.own.rate > 1.0 && !has(context.own.total)", {"context": seen}) is True
    assert "siblings" not in asked[1:]
    assert dict(seen) == run.visible("x")
    assert len(seen) == 6
    assert "nothing" not in seen
    with pytest.raises(KeyError):
        seen["nothing"]
    assert set(run.visible("x")) == {"own", "siblings", "inside", "around", "everywhere", "granted"}


def test_the_status_of_a_container_is_what_its_actions_add_up_to() -> None:
    kept = step("kept", "add", fallback=Fallback(use="action", action="spare"), compensation="undo")
    found = model(stage(), stage("r"), kept, step("spare", "add"), step("undo", "add"), step("b", "add"),
                  step("z", "add", parent="r", condition=Expression.model_validate({"$cel": "true"})))  # fmt: skip
    run = RunContexts(found, now=lambda: NOW)

    def told() -> tuple[str, dict[str, Any]]:
        completion = run.status_of("z", "s")
        return completion.status, dict(completion.results)

    assert told() == ("pending", {})
    run.ended("kept", "running")
    assert told() == ("running", {"kept": {}})
    run.ended("kept", "succeeded", {"result": 1})
    assert told() == ("running", {"kept": {"result": 1}})
    run.ended("b", "waiting")
    assert told()[0] == "waiting"
    run.ended("b", "skipped")
    assert told() == ("succeeded", {"kept": {"result": 1}, "b": {}}), "what only stands in is not waited for"
    run.ended("spare", "failed")
    assert told()[0] == "failed"
    run.ended("s", "cancelled")
    assert told() == ("cancelled", {})


def test_the_status_of_a_container_inside_a_nested_model() -> None:
    run = contexts()
    run.ended("shut[3]#2/sum", "succeeded", {"result": {1, 2}})
    completion = run.status_of("shut[3]#2/clean", "shut[3]#2/u")
    assert completion.status == "succeeded"
    assert completion.results == {"sum": {"result": "{1, 2}"}}, "what is no JSON is told in words"
    assert run.status_of("s", "x").status == "pending"


def test_an_emergency_read_is_recorded_before_anything_is_seen() -> None:
    fire = grant(emergency=True, reason="Fire.", ends_at=NOW + HOUR, by="ada")
    seen: list[EmergencyRead] = []
    run = contexts(grants=[fire], emergency=seen.append)
    run.write("z", "z", "p", 1)
    assert run.read("x", "z", "p") == 1
    assert seen == [EmergencyRead("x", "z", "p", READ, fire, NOW)]
    assert run.trace_of("x", "z").written == {"p": 1}
    assert [each.name for each in seen] == ["p", None]
    run.read("y", "x", "p")
    assert len(seen) == 2


def test_an_emergency_that_nobody_records_allows_nothing() -> None:
    fire = grant(emergency=True, reason="Fire.", ends_at=NOW + HOUR)

    def full(read: EmergencyRead) -> None:
        raise OSError("the ledger is full")

    with pytest.raises(OSError, match="full"):
        contexts(grants=[fire], emergency=full).read("x", "z", "p")
    with pytest.raises(AccessRefused):
        contexts(grants=[fire]).read("x", "z", "p")


def test_a_grant_ends_while_the_run_goes_on() -> None:
    times = [NOW]
    run = contexts(now=lambda: times[0])
    run.write("z", "z", "p", 1)
    run.grant(grant(ends_at=NOW + HOUR))
    assert run.read("x", "z", "p") == 1
    times[0] += HOUR
    with pytest.raises(AccessRefused):
        run.read("x", "z", "p")
    assert run.visible("x")["granted"] == {}


def test_changes_are_noted_before_they_are_seen_and_make_the_same_contexts() -> None:
    noted: list[Change] = []
    run = contexts(note=noted.append)
    run.write("x", "x", "p", {"a": 1.5})
    run.share("x", "p", Sharing.MERGE)
    run.write("s", "x", "p", [2], scope=GLOBAL)
    run.share("s", "p")
    run.share("s", "p", None)
    with pytest.raises(AccessRefused):
        run.write("x", "z", "p", 1)
    assert run.version == len(noted) == 5
    again = contexts()
    for change in json.loads(json.dumps([each.to_json() for each in noted])):
        again.take(Change.from_json(change))
    assert again.snapshot() == run.snapshot()
    assert [each.by for each in noted] == ["x", "x", "s", "s", "s"]


def test_what_cannot_be_noted_is_not_written() -> None:
    def broken(change: Change) -> None:
        raise OSError("the disk is full")

    run = contexts(note=broken)
    with pytest.raises(OSError, match="disk"):
        run.write("x", "x", "p", 1)
    assert run.read("x", "x", "p") is None
    assert run.version == 0


def test_a_snapshot_is_json_and_brings_everything_back() -> None:
    run = contexts(grants=[grant(ends_at=NOW + HOUR)])
    run.write("x", "x", "p", {"a": [1, None]}, scope=SESSION)
    run.write("z", "z", "g", "é", scope=GLOBAL)
    run.write("y", "y", "e", 1)
    run.share("x", "p", Sharing.MERGE)
    run.read("y", "x", "p")
    run.log("y", "a line")
    run.ended("z", "failed", {"r": 1})
    plain = json.loads(json.dumps(run.snapshot()))
    again = contexts()
    again.restore(plain)
    assert again.snapshot() == plain
    assert again.version == run.version
    for path in ("", "x", "y", "z", "s"):
        assert again.visible(path) == run.visible(path)
    assert again.trace_of("x", "y").logged == ("a line",)


def test_later_runs_begin_with_what_the_session_and_the_world_keep() -> None:
    run = contexts()
    run.write("x", "x", "kept", 1, scope=SESSION)
    run.write("z", "z", "known", 2, scope=GLOBAL)
    run.write("x", "x", "gone", 3)
    run.write("x", "x", "alone", 4, scope=ISOLATED)
    later = contexts()
    later.restore(run.snapshot(SESSION, GLOBAL))
    assert later.visible("x")["own"] == {"kept": 1}
    assert later.visible("x")["everywhere"] == {"known": 2}
    assert later.version == 0


def test_a_log_is_bounded() -> None:
    run = contexts()
    for _ in range(70):
        run.log("x", "a" * 1_000)
    assert len(run.trace_of("x", "x").logged) == 65


def test_threads_write_at_once_and_nothing_is_lost() -> None:
    noted: list[Change] = []
    run = contexts(note=noted.append)

    def work(number: int) -> None:
        path = f"x[{number}]"
        for value in range(50):
            run.write(path, path, f"p{value}", value)
            run.read(path, f"x[{(number + 1) % 8}]", f"p{value}")
            run.visible(path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.version == len(noted) == 400
    assert all(len(run.trace_of("x", f"x[{number}]").written) == 50 for number in range(8))


def test_ten_thousand_places_answer_in_no_time() -> None:
    stages = [stage(f"s{number}") for number in range(100)]
    steps = [step(f"a{number}", "add", parent=f"s{number % 100}") for number in range(10_000)]
    big: FunctionModel = model(*stages, *steps)
    run = RunContexts(big, now=lambda: NOW)
    chance = random.Random(1)
    paths = [each.id for each in steps]
    began = time.process_time()
    found = [place_of(big, path) for path in paths]
    for here in found:
        assert here is not None
        other = found[chance.randrange(len(found))]
        assert other is not None
        decide(here, other, READ, "p", now=NOW, sharing=Sharing.INHERIT)
    placed_s = time.process_time() - began
    began = time.process_time()
    for path in paths:
        run.write(path, path, "p", 1)
    written_s = time.process_time() - began
    began = time.process_time()
    seen = run.visible("a1234")
    whole = run.visible("")
    seen_s = time.process_time() - began
    assert len(seen["siblings"]) == 99
    assert len(whole["inside"]) == 10_000
    assert (placed_s, written_s, seen_s) < (0.5, 0.8, 0.5), (placed_s, written_s, seen_s)


def test_the_outermost_model_is_a_place_too() -> None:
    assert place("") == OUTERMOST
    run = contexts()
    run.write("", "", "region", "north")
    run.share("", "region")
    assert run.visible("open/more/leaf")["own"] == {"region": "north"}
    assert run.visible("shut/more/leaf")["own"] == {}
