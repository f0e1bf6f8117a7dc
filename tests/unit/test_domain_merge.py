"""Merging: what is apart merges by itself, what is not is named with both values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from engine.domain.edits import (
    AddNode,
    Change,
    Configure,
    Connect,
    Depend,
    Describe,
    Disconnect,
    Edit,
    Move,
    RemoveNode,
    Reparent,
    Undepend,
    apply,
)
from engine.domain.gestures import edits_between, fresh_ids, removal
from engine.domain.merge import Conflict, attempt, merge, overlap, touched
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import NODE
from engine.domain.values import Position
from engine.errors import EditConflict
from tests.small_models import TABLE, action, contract, entry, exit_, port, stage, waits, wire, workflow

BASE = workflow(
    [
        entry(),
        entry("extra", fields=contract("more")),
        stage(),
        stage("later"),
        action(),
        action("tidy", order=1),
        action("gather", "later", inputs=[port("rows", TABLE, many=True)]),
        exit_(),
    ],
    ["in.rows > clean.rows", "clean.rows > out.rows"],
    [waits("work > later")],
)


def setting(node: str, *path: str, to: Any) -> Configure:
    return Configure(id=node, changes=(Change(path=path, value=to),))


def joining(path: str, key: str | None = None) -> Connect:
    return Connect(wire=Wire.model_validate({**wire(path), "id": key or path}))


def adding(fields: dict[str, Any]) -> AddNode:
    return AddNode(node=NODE.validate_python(fields))


def both(ours: Sequence[Edit], theirs: Sequence[Edit], base: FunctionModel = BASE) -> FunctionModel:
    """Merge both ways; the models must be the same."""
    one = apply(apply(base, theirs), merge(base, ours, theirs).edits)
    other = apply(apply(base, ours), merge(base, theirs, ours).edits)
    assert one == other
    return one


def conflicts(ours: Sequence[Edit], theirs: Sequence[Edit], base: FunctionModel = BASE) -> list[tuple[Any, ...]]:
    """Return (node, field, ours, theirs) of each conflict."""
    found = attempt(base, ours, theirs)
    assert found.edits == ()
    return [(one.node, one.field, one.ours, one.theirs) for one in found.conflicts]


def test_changes_of_different_nodes_merge() -> None:
    merged = both([setting("clean", "name", to="Wash")], [setting("tidy", "name", to="Sweep")])
    assert {node.name for node in merged.children("work")} == {"Wash", "Sweep"}


def test_changes_of_different_fields_of_one_node_merge() -> None:
    ours = [setting("clean", "name", to="Wash"), setting("clean", "parameters", "a", to=1)]
    theirs = [setting("clean", "parameters", "b", to=2), setting("clean", "retry", "max_attempts", to=3)]
    node = both(ours, [*theirs, Move(id="clean", to=Position(x=1))]).nodes["clean"]
    assert (node.name, node.parameters, node.position.x) == ("Wash", {"a": 1, "b": 2}, 1)  # type: ignore[union-attr]


def test_changes_of_the_model_itself_merge_by_field() -> None:
    ours, theirs = (
        Describe(changes=(Change(path=(field,), value=[field] if field == "tags" else field),))
        for field in ("description", "tags")
    )
    merged = both([ours], [theirs])
    assert (merged.description, merged.tags) == ("description", ("tags",))


def test_the_same_value_on_both_sides_is_no_conflict() -> None:
    same = [setting("clean", "name", to="Wash"), RemoveNode(id="tidy"), adding(stage("new"))]
    assert attempt(BASE, same, same) == ((), ())


def test_a_field_that_both_changed_is_named_with_both_values() -> None:
    found = attempt(BASE, [setting("clean", "name", to="Wash")], [setting("clean", "name", to="Scrub")])
    assert found.conflicts == (Conflict("clean", "Clean", "name", "Clean", "Wash", "Scrub"),)
    with pytest.raises(EditConflict, match="name of 'Clean'") as caught:
        merge(BASE, [setting("clean", "name", to="Wash")], [setting("clean", "name", to="Scrub")])
    assert caught.value.facts["conflicts"] == found.conflicts


def test_many_conflicts_are_told_in_short() -> None:
    keys = ("clean", "tidy", "work", "later", "in")
    with pytest.raises(EditConflict, match="and 2 more"):
        merge(BASE, [setting(key, "name", to="a") for key in keys], [setting(key, "name", to="b") for key in keys])


@pytest.mark.parametrize(
    ("ours", "theirs", "node", "field"),
    [
        ([Move(id="work", to=Position(x=1))], [Move(id="work", to=Position(x=2))], "work", "position"),
        (
            [setting("clean", "parameters", "a", to=1)],
            [setting("clean", "parameters", "a", to=True)],
            "clean",
            "parameters.a",
        ),
        ([adding(stage("new"))], [adding(stage("new", mode="sequential"))], "new", "mode"),
        ([adding(stage("new"))], [adding(entry("new"))], "new", "kind"),
        (
            [Describe(changes=(Change(path=("name",), value="one"),))],
            [Describe(changes=(Change(path=("name",), value="two"),))],
            None,
            "name",
        ),
        ([joining("in.rows > tidy.rows", "w")], [joining("extra.more > tidy.rows", "w")], "tidy", "wire w"),
        (
            [Depend(dependency=Dependency(id="d", source="in", target="work"))],
            [Depend(dependency=Dependency(id="d", source="in", target="later"))],
            "later",
            "wire d",
        ),
        ([joining("in.rows > tidy.rows")], [joining("extra.more > tidy.rows")], "tidy", "input rows"),
    ],
)
def test_what_both_changed_differently_is_a_conflict(
    ours: list[Edit], theirs: list[Edit], node: str, field: str
) -> None:
    found = conflicts(ours, theirs)
    assert (node, field) in [one[:2] for one in found]
    assert sorted(map(repr, [(n, f, t, o) for n, f, o, t in found])) == sorted(map(repr, conflicts(theirs, ours)))


GONE = removal(BASE, ["tidy"])


@pytest.mark.parametrize(
    ("removed", "used", "node", "told"),
    [
        (GONE, [setting("tidy", "name", to="Sweep")], "tidy", "changed: name"),
        (GONE, [joining("in.rows > tidy.rows")], "tidy", "connected by in.rows > tidy.rows"),
        (GONE, [setting("clean", "compensation", to="tidy")], "tidy", "named by 'Clean'"),
        (removal(BASE, ["later"]), [adding(action("new", "later"))], "later", "given 'New'"),
        (removal(BASE, ["later"]), [Reparent(id="tidy", parent="later", to=Position())], "later", "given 'Tidy'"),
        (
            removal(BASE, ["later"]),
            [Depend(dependency=Dependency(id="d", source="in", target="later"))],
            "later",
            "connected by d",
        ),
    ],
)
def test_removing_what_the_other_side_uses_is_a_conflict(
    removed: list[Edit], used: list[Edit], node: str, told: str
) -> None:
    assert (node, "removed", "removed", told) in conflicts(removed, used)
    assert (node, "removed", told, "removed") in conflicts(used, removed)


def test_removing_what_the_other_side_made_anew_is_a_conflict() -> None:
    anew = [RemoveNode(id="tidy"), adding(entry("tidy"))]
    assert ("tidy", "removed", "removed", "made anew") in conflicts(GONE, anew)


def test_connecting_a_port_that_the_other_side_took_away_is_a_conflict() -> None:
    taken = [setting("tidy", "inputs", to=[])]
    assert conflicts([joining("in.rows > tidy.rows")], taken) == [("tidy", "input rows", "connected", "taken away")]
    assert conflicts(taken, [joining("in.rows > tidy.rows")]) == [("tidy", "input rows", "taken away", "connected")]


def test_the_same_connection_made_by_both_stays_one() -> None:
    merged = both([joining("in.rows > tidy.rows", "w1")], [joining("in.rows > tidy.rows", "w2")])
    assert set(merged.wires) == {*BASE.wires, "w1"}
    edge = Dependency(id="d1", source="in", target="work")
    again = edge.model_copy(update={"id": "d2"})
    assert set(both([Depend(dependency=edge)], [Depend(dependency=again)]).dependencies) == {"work > later", "d1"}


def test_a_port_for_many_takes_the_wires_of_both() -> None:
    merged = both([joining("in.rows > gather.rows")], [joining("extra.more > gather.rows")])
    assert len(merged.wires_into("gather")) == 2


def test_wires_and_dependencies_that_one_side_took_out_stay_out() -> None:
    merged = both([Disconnect(id="in.rows > clean.rows")], [Undepend(id="work > later")])
    assert (set(merged.wires), set(merged.dependencies)) == ({"clean.rows > out.rows"}, set())


def test_two_actions_put_at_one_place_get_a_place_each() -> None:
    merged = both([adding(action("a", order=2))], [adding(action("b", order=2))])
    assert [(node.id, node.order) for node in merged.children("work")] == [
        ("clean", 0),
        ("tidy", 1),
        ("a", 2),
        ("b", 3),
    ]


def test_two_wires_that_together_close_a_circle_are_a_conflict() -> None:
    base = workflow([stage(), action("a", order=0), action("b", order=1)])
    found = conflicts([joining("a.rows > b.rows")], [joining("b.rows > a.rows")], base)
    assert found == [("a", "order", "A → B → A", "A → B → A")]


def test_fields_that_are_right_alone_and_wrong_together_are_a_conflict() -> None:
    doc = {"kind": "kbNode", "id": "doc", "name": "Doc", "parent": "work", "reference": "k", "view": ["ann", "bob"]}
    base = workflow([stage(), doc])
    ours, theirs = [setting("doc", "edit", to=["bob"])], [setting("doc", "view", to=["ann"])]
    assert conflicts(ours, theirs, base) == [("doc", "edit", "edit", "view")]


def test_what_was_broken_before_is_nobody_s_conflict() -> None:
    base = workflow([stage(), action(compensation="tidy"), action("tidy", order=1)])
    removed = [RemoveNode(id="tidy")]
    assert "tidy" not in both(removed, [setting("work", "name", to="Labour")], base).nodes


def test_what_edits_touch() -> None:
    edits: list[Edit] = [
        adding(action("new")),
        Move(id="new", to=Position()),
        setting("new", "parameters", "a", to=1),
        joining("in.rows > new.rows"),
        joining("in.rows > gather.rows"),
        Disconnect(id="in.rows > new.rows"),
        Reparent(id="new", parent="later", to=Position()),
        RemoveNode(id="new"),
        Undepend(id="work > later"),
        Depend(dependency=Dependency(id="d", source="in", target="work")),
        Describe(changes=(Change(path=("tags",), value=[]),)),
    ]
    found = touched(edits, BASE)
    assert ("nodes", "new") in found
    assert ("nodes", "work", "holds", "new") in found
    assert ("nodes", "later", "holds", "new") in found
    assert ("nodes", "new", "parameters", "a") in found
    assert ("nodes", "gather", "inputs", "rows", "in.rows > gather.rows") in found
    assert ("nodes", "in", "input_contract", "in.rows > new.rows") in found
    assert ("dependencies", "work > later") in found
    assert ("model", "tags") in found


def test_what_is_below_a_field_overlaps_it() -> None:
    assert overlap({("nodes", "a")}, {("nodes", "a", "name")})
    assert overlap({("nodes", "a", "name")}, {("nodes", "a")})
    assert not overlap({("nodes", "a", "name")}, {("nodes", "a", "tags"), ("nodes", "b")})


def test_a_node_of_another_kind_takes_its_place_with_all_that_hangs_on_it() -> None:
    other = workflow(
        [
            entry(),
            entry("extra", fields=contract("more")),
            entry("work"),
            stage("later"),
            action("clean", "later"),
            exit_(),
        ],
        BASE.wires,
        [waits("work > later")],
    )
    for old, new in ((BASE, other), (other, BASE)):
        assert apply(old, edits_between(old, new)).content_hash == new.content_hash
    assert fresh_ids(BASE)("clean") == "clean-2"
