"""Provenance: what made a value, as W3C PROV that other programs read."""

from __future__ import annotations

import json

import pytest
from prov.model import (
    ProvActivity,
    ProvAssociation,
    ProvAttribution,
    ProvDerivation,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvUsage,
)

from engine.domain.values import Fallback
from engine.history.prov_json import value_name
from engine.history.provenance import ValueId
from engine.history.refusals import ValueUnknown
from engine.run_reuse import Extent
from tests.building import entrance, leave, model, stage
from tests.histories import CALLS, WORLD, asking, at_desk, inner, run_rich, step

both = pytest.mark.parametrize("here", ["memory:", "duckdb"], indirect=True)


@pytest.fixture
def here(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    CALLS.clear()
    WORLD.clear()
    url = tmp_path / "store.duckdb" if getattr(request, "param", "") == "duckdb" else "memory:"
    with at_desk(url) as found:
        yield found


def read(found) -> ProvDocument:
    return ProvDocument.deserialize(content=json.dumps(found.to_prov_json()), format="json")


def pairs(document, kind):
    return {tuple(str(value) for _, value in record.formal_attributes[:2]) for record in document.get_records(kind)}


@both
def test_a_value_leads_back_to_inputs_steps_functions_and_the_model(here) -> None:
    run = run_rich(here)
    found = here.history.provenance(run, "maybe", "result")
    assert set(found.steps) == {"maybe", "wait", "deep", "deep/two", "deep/one"}
    assert found.inputs == (ValueId("in", "start"),)
    assert found.models == {"": here.engine.runs.get(run).content_hash, "deep": inner().content_hash}
    document = read(found)
    made, used = pairs(document, ProvGeneration), pairs(document, ProvUsage)
    maybe, wait = value_name(run, ValueId("maybe", "result")), value_name(run, ValueId("wait", "result"))
    assert (maybe, f"treadle:step/{run}/maybe") in made
    assert (f"treadle:step/{run}/maybe", wait) in used
    assert (maybe, wait) in pairs(document, ProvDerivation)
    agents = pairs(document, ProvAssociation)
    assert (f"treadle:step/{run}/maybe", "treadle:function/history.add") in agents
    assert (f"treadle:run/{run}", "treadle:person/you") in agents
    content_hash = here.engine.runs.get(run).content_hash
    plans = {
        str(dict(each.formal_attributes).get("x") or each.formal_attributes[2][1])
        for each in document.get_records(ProvAssociation)
    }
    assert f"treadle:model/{content_hash}" in plans
    assert len(list(document.get_records(ProvActivity))) == 6
    entity = next(each for each in document.get_records(ProvEntity) if str(each.identifier) == maybe)
    assert not str(entity.identifier).endswith("17")
    assert {str(value) for name, value in entity.attributes if str(name) == "treadle:summary"} == {"17"}


def test_items_lead_to_the_list_they_came_from(here) -> None:
    run = run_rich(here)
    found = here.history.provenance(run, "out", "sent")
    assert {"send", "sum", "each", "each[0]", "each[1]", "each[2]"} == set(found.steps)
    assert found.inputs == (ValueId("in", "numbers"),)
    assert found.steps["send"].attempts == 2
    assert len(read(found).get_records()) > 20


@both
def test_who_decided_is_told(here) -> None:
    run = here.run(asking(), {"a": 1}, status="waiting")
    here.engine.runs.decide(run, "approve", "yes", by="ann").wait(20)
    found = here.history.provenance(run, "approve", "result")
    assert found.people == ("ann",)
    document = read(found)
    assert (f"treadle:step/{run}/approve", "treadle:person/ann") in pairs(document, ProvAssociation)
    assert (f"treadle:decision/{run}/approve/0", "treadle:person/ann") in pairs(document, ProvAttribution)


def test_what_an_earlier_run_gave_leads_there(here) -> None:
    found = model(
        entrance("a"),
        stage("s"),
        step("x", "add"),
        step("y", "add"),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("y", "result", "out", "r")],
    )
    first = here.run(found, {"a": 1})
    again = here.engine.runs.again(first, from_nodes=["y"]).wait(20)
    told = here.history.provenance(again.id, "y", "result")
    assert told.steps["x"].earlier_run == first
    value = ValueId("x", "result")
    document = read(told)
    assert (value_name(again.id, value), value_name(first, value)) in pairs(document, ProvDerivation)
    assert (value_name(first, value), f"treadle:run/{first}") in pairs(document, ProvGeneration)
    forked = here.history.start_fork(first, -1).wait(20)
    assert here.history.provenance(forked.id, "y", "result").steps["y"].earlier_run == first
    pinned = here.engine.start(found, {"a": 1}, extent=Extent(pins={"x": {"result": 5}})).wait(20)
    told = here.history.provenance(pinned.id, "y", "result")
    assert told.steps["x"].pinned
    assert (value_name(pinned.id, value), "treadle:person/you") in pairs(read(told), ProvAttribution)


def test_what_stood_in_is_told_and_what_was_skipped_is_not(here) -> None:
    found = model(
        entrance("a"),
        stage("s"),
        step("x", "boom", fallback=Fallback(use="action", action="z")),
        step("z", "add"),
        step("y", "add"),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "y", "a"), ("y", "result", "out", "r")],
    )
    run = here.run(found, {"a": 1})
    told = here.history.provenance(run, "y", "result")
    assert set(told.steps) == {"y", "z"}
    assert told.inputs == (ValueId("in", "a"),)
    assert read(told)


def test_a_value_that_is_not_there_is_named(here) -> None:
    run = run_rich(here)
    with pytest.raises(ValueUnknown, match="It has: result"):
        here.history.provenance(run, "send", "sent")
    with pytest.raises(ValueUnknown, match="The step is skipped"):
        here.history.provenance(run, "never", "result")
    with pytest.raises(ValueUnknown, match="There is no such step"):
        here.history.provenance(run, "nowhere", "result")
