"""The same work on every kind of store, through the engine as its users hold it; and copies from each to the next."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import engine
from engine import maintenance
from engine.domain.edits import Change, Describe
from engine.domain.model import FunctionModel
from engine.domain.writes import PutEntity
from engine.errors import TreadleError
from engine.settings import Settings
from engine.storage.transfer import Whole, summary_of
from engine.wiring import open_stores
from tests.contract.samples import entities

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture
def settings(tmp_path):
    return replace(Settings.from_environment({}), home=tmp_path / "home")


def address(kind, request, tmp_path):
    if kind in ("postgres", "neo4j"):
        return request.getfixturevalue(f"{kind}_url")
    return "memory:" if kind == "memory" else f"duckdb:///{tmp_path / f'{kind}.duckdb'}"


def work(opened):
    """Make, edit, publish, run, look: return what a person would see in the end."""
    made = opened.models.add(FunctionModel.load(ASSETS / "demos" / "penguins.json"))
    edit = Describe(changes=(Change(path=("tags",), value=["birds"]),))
    saved = opened.models.save(made.id, (edit,), base_revision=made.revision)
    opened.models.publish(made.id, message="first")
    run = opened.run(made.id, {}).wait()
    opened.models.delete(opened.models.create("Gone").id)
    verified = opened.ledger.verify()
    return {
        "run": (run.status, sorted(run.outputs), sorted(step.name for step in opened.runs.steps(run.id))),
        "model": (saved.revision, [row.name for row in opened.models.list(tag="BIRDS")]),
        "found": [row.name for row in opened.models.list(text="group by species")],
        "versions": [str(version.number) for version in opened.models.versions(made.id)],
        "ledger": (verified.ok, [entry.action for entry in opened.ledger.entries()]),
        "unfinished": opened.runs.interrupted(),
        "described": opened.describe()["models"],
    }


@pytest.fixture(scope="module")
def right():
    with engine.open("memory:", roots=[ASSETS]) as opened:
        found = work(opened)
    assert found["run"][0] == "succeeded"
    assert found["ledger"][0]
    return found


@pytest.mark.parametrize("kind", ["duckdb", "postgres", "neo4j"])
def test_a_workflow_is_made_run_and_proved_alike_on_every_store(kind, right, settings, request, tmp_path):
    url = address(kind, request, tmp_path)
    with engine.open(url, settings=settings, roots=[ASSETS]) as opened:
        assert work(opened) == right
        shown = f"{opened.url} {opened.describe()}"
    assert ":postgres@" not in shown
    assert "password" not in shown
    with engine.open(url, settings=settings) as again:
        assert again.ledger.verify().ok
        assert len(again.runs.list()) == 1


def test_a_store_goes_through_all_kinds_and_comes_back_the_same(settings, request, tmp_path):
    first = address("first", request, tmp_path)
    with engine.open(first, settings=settings, roots=[ASSETS]) as opened:
        work(opened)
    stores = open_stores(first, settings)
    stores.catalog.commit(*(PutEntity(entity=entity) for entity in entities()))
    stores.blobs.put(b"\x00\xff" * 100_000)
    digest = summary_of(Whole(stores.catalog, stores.journal, stores.blobs))
    stores.close()
    way = [first, *(address(kind, request, tmp_path) for kind in ("postgres", "neo4j", "last"))]
    for source, target in pairwise(way):
        assert maintenance.copy(source, target, settings=settings) == digest
    with engine.open(way[-1], settings=settings) as opened:
        assert opened.ledger.verify().ok
        assert opened.models.get("Penguin field report").tags == ("birds",)


@pytest.mark.parametrize("kind", ["duckdb", "postgres", "neo4j"])
def test_two_engines_on_one_store_see_each_others_work(kind, settings, request, tmp_path):
    url = address(kind, request, tmp_path)
    with engine.open(url, settings=settings) as one, engine.open(url, settings=settings, actor="they") as two:
        made = one.models.create("Shared")
        assert two.models.get("shared").id == made.id
        edit = Describe(changes=(Change(path=("description",), value="Theirs"),))
        two.models.save(made.id, (edit,), base_revision=0)
        mine = Describe(changes=(Change(path=("name",), value="Renamed"),))
        merged = one.models.save(made.id, (mine,), base_revision=0)
        assert (merged.name, merged.description, merged.revision) == ("Renamed", "Theirs", 2)
        with pytest.raises(TreadleError, match="Both changed the same field"):
            two.models.save(made.id, (Describe(changes=(Change(path=("name",), value="Other"),)),), base_revision=1)
