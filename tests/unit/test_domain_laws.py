"""Laws that hold for every model, edit, file and schema."""

from __future__ import annotations

import random
from typing import Any

import networkx as nx
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.domain import merge as merging
from engine.domain.canonical import canonical_bytes, content_hash, loads
from engine.domain.contracts import problems, why_not_schema
from engine.domain.edits import EDIT, apply, blank, edit_json, inverse
from engine.domain.gestures import edits_between, edits_for
from engine.domain.graph import Graph, cycle, order
from engine.domain.model import FunctionModel, json_schema
from engine.domain.nodes import Boundary, Stage
from engine.domain.plain_schemas import is_plainly_schema, plainly_meets
from engine.domain.rules import validate
from engine.domain.schemas import narrowed, why_not
from engine.domain.values import Nature
from engine.domain.versions import compare, propose
from tests.strategies import PORTS, batches, json_values, models, schemas, wild_models

_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
law = settings(max_examples=150, deadline=None, suppress_health_check=_SLOW)
cheap_law = settings(max_examples=300, deadline=None, suppress_health_check=_SLOW)
FILE_SCHEMA = Draft202012Validator(json_schema())


@law
@given(st.data())
def test_what_an_edit_did_its_inverse_undoes(data: st.DataObject) -> None:
    model = data.draw(models())
    batch = data.draw(batches(model))
    after = apply(model, batch)
    back = apply(after, inverse(model, batch))
    assert back == model
    assert back.content_hash == model.content_hash


@law
@given(models())
def test_a_model_is_the_fold_of_its_edits(model: FunctionModel) -> None:
    folded = apply(blank(model.id, model.name), edits_for(model))
    assert folded == model
    assert folded.content_hash == model.content_hash


@law
@given(st.data())
def test_the_edits_between_two_models_lead_from_one_to_the_other(data: st.DataObject) -> None:
    base = data.draw(models())
    one, other = apply(base, data.draw(batches(base))), data.draw(models())
    for old, new in ((base, one), (one, other)):
        led = apply(old, edits_between(old, new))
        assert led.content_hash == new.content_hash
        assert edits_between(new, new) == ()
        assert compare(old, new).is_empty == (old.content_hash == new.content_hash)


@law
@given(st.data())
def test_merging_gives_the_same_model_whoever_saved_first(data: st.DataObject) -> None:
    base = data.draw(models())
    ours, theirs = data.draw(batches(base)), data.draw(batches(base))
    one, other = merging.attempt(base, ours, theirs), merging.attempt(base, theirs, ours)
    swapped = [conflict._replace(ours=conflict.theirs, theirs=conflict.ours) for conflict in other.conflicts]
    assert sorted(map(repr, one.conflicts)) == sorted(map(repr, swapped))
    if not one.conflicts:
        merged = apply(apply(base, theirs), one.edits)
        assert merged == apply(apply(base, ours), other.edits)
        assert merged.content_hash == apply(apply(base, ours), other.edits).content_hash


@law
@given(st.data())
def test_edits_that_touch_nothing_in_common_merge_by_themselves(data: st.DataObject) -> None:
    base = data.draw(models())
    ours, theirs = data.draw(batches(base, steps=2)), data.draw(batches(base, steps=2))
    assume(not merging.overlap(merging.touched(ours, base), merging.touched(theirs, base)))
    found = merging.attempt(base, ours, theirs)
    assert [conflict for conflict in found.conflicts if conflict.field != "order"] == []


@law
@given(st.data())
def test_merging_with_nobody_changes_nothing(data: st.DataObject) -> None:
    base = data.draw(models())
    ours = data.draw(batches(base))
    assert apply(base, merging.merge(base, ours, ()).edits).content_hash == apply(base, ours).content_hash
    assert merging.merge(base, (), ours).edits == ()
    assert merging.merge(base, ours, ours).edits == ()


@cheap_law
@given(json_values)
def test_canonical_text_is_a_fixed_point(value: Any) -> None:
    text = canonical_bytes(value)
    assert loads(text) == value
    assert canonical_bytes(loads(text)) == text


@cheap_law
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_equal_numbers_have_equal_bytes(number: float) -> None:
    for other in (int(number), float(number) if abs(number) < 1e300 else number):
        if other == number:
            assert canonical_bytes(other) == canonical_bytes(number)


@law
@given(models())
def test_a_model_survives_its_file(model: FunctionModel) -> None:
    again = FunctionModel.loads(model.to_file())
    assert again == model
    assert again.content_hash == model.content_hash
    assert again.to_file() == model.to_file()
    assert FILE_SCHEMA.is_valid(loads(model.to_file()))


@law
@given(st.data())
def test_an_edit_survives_its_json(data: st.DataObject) -> None:
    model = data.draw(models())
    batch = data.draw(batches(model))
    for edit in (*batch, *inverse(model, batch)):
        assert EDIT.validate_python(loads(canonical_bytes(edit_json(edit)))) == edit


@law
@given(st.data())
def test_the_content_hash_does_not_depend_on_the_order_of_insertion(data: st.DataObject) -> None:
    model = data.draw(wild_models())
    shuffled = model.changed(
        **{field: _shuffled(getattr(model, field), data.draw(st.integers())) for field in ("nodes", "wires")}
    )
    assert shuffled.content_hash == model.content_hash
    assert validate(shuffled) == validate(model)


def _shuffled(elements: Any, seed: int) -> dict[str, Any]:
    items = list(elements.items())
    random.Random(seed).shuffle(items)
    return dict(items)


@settings(max_examples=250, deadline=None, suppress_health_check=_SLOW)
@given(wild_models())
def test_validation_never_raises(model: FunctionModel) -> None:
    found = validate(
        model,
        tethers=lambda reference: None if reference == "x" else "it is broken.",
        nested=lambda reference, _: None if reference == "nowhere" else model.changed(id=reference),
        check_expression=lambda text, names: None if text == "true" else "no.",
    )
    assert all(one.message.endswith(".") and one.mend[-1] in ".?" for one in found)
    assert list(found) == sorted(found, key=lambda one: ("ewh".index(one.severity[0]), one.subject or "", one.code))


@law
@given(wild_models())
def test_a_cycle_is_found_exactly_when_there_is_one(model: FunctionModel) -> None:
    graph, found = _as_networkx(model), cycle(model)
    assert (found is None) == nx.is_directed_acyclic_graph(graph)
    if found is None:
        assert sorted(order(model)) == sorted(model.nodes)
    else:
        assert set(found) <= set(model.nodes)
        assert len(set(found)) == len(found)
    for key in model.nodes:
        after = {point[0] for start in _points(graph, key) for point in nx.descendants(graph, start)}
        assert Graph(model).reachable([key]) <= after | {key}


def _points(graph: Any, key: str) -> list[tuple[str, str]]:
    return [point for point in graph if point[0] == key]


def _as_networkx(model: FunctionModel) -> Any:
    """Build the same graph in the plainest way: a beginning and an end for every node."""
    graph: Any = nx.DiGraph()
    apart = {node.id for node in model.containers() if isinstance(node, Boundary) and node.boundary == "input-output"}
    for key in model.nodes:
        graph.add_nodes_from([(key, "begin"), (key, "end")])
        if key not in apart:
            graph.add_edge((key, "begin"), (key, "end"))
    for node in model.actions():
        if isinstance(model.nodes.get(node.parent), Stage):
            graph.add_edge((node.parent, "begin"), (node.id, "begin"))
            graph.add_edge((node.id, "end"), (node.parent, "end"))
    for edge in (*model.wires.values(), *model.dependencies.values()):
        if edge.source in model.nodes and edge.target in model.nodes:
            graph.add_edge((edge.source, "end"), (edge.target, "begin"))
    return graph


CONTRACTS = st.dictionaries(st.sampled_from([*PORTS, "c"]), schemas(), min_size=1)


@law
@given(CONTRACTS, st.sampled_from(["input", "output"]), st.data())
def test_taking_a_port_away_is_always_major(ports: dict[str, Any], side: str, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(ports)))
    before = _with_contract(side, ports)
    after = _with_contract(side, {name: schema for name, schema in ports.items() if name != gone})
    proposal = propose(before, after)
    assert proposal.nature is Nature.MAJOR
    assert str(proposal.number) == "2.0.0"
    assert propose(after, before).nature is Nature.MINOR


@law
@given(CONTRACTS)
def test_the_same_contract_asks_for_no_new_number(ports: dict[str, Any]) -> None:
    assert propose(_with_contract("input", ports), _with_contract("input", ports)).nature is None


def _with_contract(side: str, ports: dict[str, Any]) -> FunctionModel:
    contract = {"type": "object", "properties": ports}
    node = {"kind": "ioNode", "id": "b", "name": "B", "boundary": side, f"{side}_contract": contract}
    fields: dict[str, Any] = {"id": "m", "name": "model", "version": "1.0.0", "nodes": {"b": node}}
    return FunctionModel.model_validate(fields)


@cheap_law
@given(schemas(), schemas(), json_values | st.sampled_from(["x", "yy", 3, 11, {"a": "x"}, ["x"], [{}]]))
def test_a_wire_is_only_refused_when_no_value_fits(source: Any, target: Any, value: Any) -> None:
    both = not problems(source, value) and not problems(target, value)
    if both and not _holds_empty_list(value):
        assert why_not(source, target) is None


@cheap_law
@given(schemas(), schemas(), json_values | st.sampled_from(["x", "yy", 3, 11, {"a": "x"}, ["x"], [{}]]))
def test_what_is_not_narrower_still_takes_what_it_took(old: Any, new: Any, value: Any) -> None:
    assert narrowed(old, old, direction="in") is None
    if narrowed(old, new, direction="in") is None and not problems(old, value) and not _holds_object(value):
        assert not problems(new, value)
    if narrowed(old, new, direction="out") is None and not problems(new, value) and not _holds_object(value):
        assert not problems(old, value)


def _holds_empty_list(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_empty_list, value.values()))
    return isinstance(value, list) and (not value or any(map(_holds_empty_list, value)))


def _holds_object(value: Any) -> bool:
    """A new optional field does not count as narrower, although values that had it by chance may now be refused."""
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_object, value)))


@cheap_law
@given(schemas(wild=True), schemas(wild=True), json_values)
def test_schemas_that_make_no_sense_break_nothing(one: Any, other: Any, value: Any) -> None:
    why_not(one, other)
    narrowed(one, other, direction="in")
    narrowed(one, other, direction="out")
    problems(one, value)
    if is_plainly_schema(one):
        Draft202012Validator.check_schema(one)
        if plainly_meets(one, value):
            assert Draft202012Validator(one).is_valid(value)
    elif why_not_schema(one) is None:
        Draft202012Validator.check_schema(one)


@cheap_law
@given(json_values)
def test_equal_values_have_equal_hashes(value: Any) -> None:
    assert content_hash(value) == content_hash(loads(canonical_bytes(value)))
