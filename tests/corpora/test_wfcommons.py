"""Every recorded workflow of the corpus gives the figures that were computed for it apart; small ones really run."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

import engine
from engine.interchange import Imported, read_model
from engine.interchange.reading import read

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
INSTANCES = CORPORA / "wfinstances"
EXPECTED = json.loads((INSTANCES / "expected.json").read_text()) if INSTANCES.is_dir() else {}
GENERATED = {"gen_SeismologyRecipe_1000.json.gz": (998, 997), "gen_BlastRecipe_10000.json.gz": (9_998, 29_985)}
SMALL = [name for name, facts in EXPECTED.items() if facts["tasks"] <= 60]

pytestmark = pytest.mark.skipif(
    not INSTANCES.is_dir(), reason="needs the WfInstances files in ../shared/corpora/wfinstances, beside the project"
)


def imported(path: Path, **options) -> Imported:
    return read_model(read(path), source=path.name, **options)


@pytest.fixture(scope="module")
def treadle():
    with engine.open("memory:") as opened:
        yield opened


@pytest.mark.parametrize("name", EXPECTED)
def test_an_instance_has_the_figures_that_were_computed_for_it(treadle, name) -> None:
    found, expected = imported(INSTANCES / f"{name}.gz"), EXPECTED[name]
    assert (found.format, found.tasks, found.edges, found.depth, found.width) == (
        "wfcommons",
        expected["tasks"],
        expected["edges"],
        expected["depth"],
        expected["max_width"],
    )
    assert found.critical_path_s == pytest.approx(expected["critical_path_s"], abs=1e-6)
    model = found.model
    assert sum(1 for _ in model.actions()) == expected["tasks"]
    assert len(model.wires) == expected["edges"]
    assert sum(not model.wires_into(step.id) for step in model.actions()) == expected["sources"]
    assert sum(not model.wires_out_of(step.id) for step in model.actions()) == expected["sinks"]
    assert sum(step.parameters["seconds"] for step in model.actions()) == pytest.approx(expected["total_work_s"])
    assert treadle.validate(model) == ()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_field_of_an_instance_is_in_the_model_or_in_the_report(name) -> None:
    path = INSTANCES / f"{name}.gz"
    source, found = json.loads(read(path)), imported(path)
    model = found.model
    assert all(loss.kept == "metadata" for loss in found.losses if loss.what != "repeated link")
    notes = model.nodes["tasks"].metadata["wfcommons"]
    files = source["workflow"]["specification"]["files"]
    assert notes["workflow"]["specification"]["files"] == files
    assert len(files) == EXPECTED[name]["files"]
    assert notes["workflow"]["execution"]["machines"] == source["workflow"]["execution"]["machines"]
    by_source_id = {step.metadata["wfcommons"]["id"]: step for step in model.actions()}
    for task in source["workflow"]["execution"]["tasks"]:
        step = by_source_id[task["id"]]
        assert {**step.metadata["wfcommons"]["execution"], "id": task["id"]} == {
            key: value for key, value in task.items() if key != "runtimeInSeconds"
        }
        assert step.parameters["seconds"] == task["runtimeInSeconds"]
    assert type(model).from_json(model.to_json()).content_hash == model.content_hash


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.ci if "10000" in name else ()) for name in GENERATED]
)
def test_a_generated_workflow_is_imported_whole(treadle, name) -> None:
    if not (CORPORA / "wfcommons-generated" / name).is_file():
        pytest.skip("needs ../shared/corpora/wfcommons-generated, beside the project")
    found = imported(CORPORA / "wfcommons-generated" / name)
    assert (found.tasks, found.edges) == GENERATED[name]
    assert not [finding for finding in treadle.validate(found.model) if finding.severity == "error"]


@pytest.mark.parametrize("name", SMALL)
def test_a_run_keeps_the_recorded_order(treadle, name) -> None:
    found = imported(INSTANCES / f"{name}.gz", factor=1e-6)
    seen: list[tuple[str, str]] = []
    levels: dict[str, int] = {}
    lock = threading.Lock()

    def watch(events) -> None:
        with lock:
            for event in events:
                seen.append((event.node, event.state))
                if event.state == "succeeded" and "done" in event.facts.get("outputs", {}):
                    levels[event.node] = event.facts["outputs"]["done"]["level"]

    run = treadle.run(found.model, watch=watch)
    assert run.status == "succeeded", run.error
    began = {node: place for place, (node, state) in enumerate(seen) if state == "running"}
    ended = {node: place for place, (node, state) in enumerate(seen) if state == "succeeded"}
    steps = {step.id for step in found.model.actions()}
    assert steps <= began.keys()
    assert all(ended[wire.source] < began[wire.target] for wire in found.model.wires.values())
    assert max(levels.values()) == found.depth
    assert max(list(levels.values()).count(level) for level in set(levels.values())) == found.width
