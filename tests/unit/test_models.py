"""Models in a store: saved, merged, published, archived, deleted, recovered; each change in the ledger."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

import engine
from engine.domain.edits import Change, Configure, Describe, Move
from engine.domain.model import FunctionModel
from engine.domain.values import Position
from engine.errors import (
    EditConflict,
    EditRefused,
    ModelArchived,
    ModelExists,
    ModelInvalid,
    ModelNotFound,
    StaleRevision,
    VersionNotFound,
    VersionTooLow,
)
from tests.building import entrance, leave, model, stage, step


@engine.tether(reference="tests.add")
def add(a: int, *, by: int = 1) -> int:
    """Add."""
    return a + by


def small(name: str = "Small model") -> FunctionModel:
    return model(
        entrance("a"),
        stage(),
        step("x", "tests.add"),
        leave("r"),
        wires=[("in", "a", "x", "a"), ("x", "result", "out", "r")],
        name=name,
    )


@pytest.fixture
def eng():
    with engine.open("memory:", tethers=[add]) as opened:
        yield opened


def renamed(name: str):
    return Configure(id="x", changes=(Change(path=("name",), value=name),))


def test_an_added_model_is_found_by_id_and_by_name_in_any_case(eng) -> None:
    added = eng.models.add(small())
    assert eng.models.get(added.id) == eng.models.get("sMALL MODEL") == added
    assert added.content_hash == small().content_hash
    assert [row.name for row in eng.models.list(text="small")] == ["Small model"]
    with pytest.raises(ModelExists):
        eng.models.create("small MODEL")
    with pytest.raises(ModelNotFound, match="Nobody"):
        eng.models.get("Nobody")


def test_a_save_is_a_revision_with_its_edits_and_a_ledger_entry(eng) -> None:
    added = eng.models.add(small())
    saved = eng.models.save(added.id, [renamed("Plus")], base_revision=added.revision, name="Rename")
    assert saved.revision == added.revision + 1
    assert saved.nodes["x"].name == "Plus"
    assert [batch.name for _, batch in eng.models.history(added.id)] == ["Import Small model", "Rename"]
    assert eng.models.at_revision(added.id, 1).nodes["x"].name == "x"
    assert eng.models.at_revision(added.id, 2).content_hash == saved.content_hash
    entry = eng.ledger.entries(newest_first=True)[0]
    assert entry.action == "model.edited"
    assert json.loads(entry.patch) == [{"op": "replace", "path": "/nodes/x/name", "value": "Plus", "was": "x"}]


def test_edits_of_different_fields_merge_and_of_the_same_field_conflict(eng) -> None:
    added = eng.models.add(small())
    eng.models.save(added.id, [renamed("Theirs")], base_revision=1)
    merged = eng.models.save(added.id, [Move(id="x", to=Position(x=9, y=9))], base_revision=1)
    assert (merged.nodes["x"].name, merged.nodes["x"].position.x) == ("Theirs", 9)
    with pytest.raises(EditConflict, match="name"):
        eng.models.save(added.id, [renamed("Ours")], base_revision=1)
    with pytest.raises(StaleRevision):
        eng.models.save(added.id, [renamed("Ours")], base_revision=99)
    assert eng.models.get(added.id).nodes["x"].name == "Theirs"


def test_publishing_numbers_versions_by_the_nature_of_the_change(eng) -> None:
    added = eng.models.add(small())
    assert str(eng.models.publish(added.id, message="first").number) == "1.0.0"
    with pytest.raises(EditRefused, match="nothing has changed"):
        eng.models.publish(added.id)
    now = eng.models.get(added.id)
    eng.models.save(added.id, [renamed("Plus")], base_revision=now.revision)
    assert str(eng.models.proposal(added.id).number) == "1.0.1"
    with pytest.raises(VersionTooLow):
        eng.models.publish(added.id, number="0.9.0")
    assert str(eng.models.publish(added.id, number="1.2.0").number) == "1.2.0"
    assert [str(version.number) for version in eng.models.versions(added.id)] == ["1.2.0", "1.0.0"]
    first, second = eng.models.version(added.id, "1.0.0"), eng.models.version(added.id, "1.2.0")
    assert eng.models.compare(first.snapshot, second.snapshot).lines()
    with pytest.raises(VersionNotFound, match=r"1\.2\.0"):
        eng.models.version(added.id, "3.0.0")


def test_only_valid_models_are_published(eng) -> None:
    broken = eng.models.add(model(stage(), step("x", "tests.nobody"), name="Broken"))
    with pytest.raises(ModelInvalid, match=r"can't be published: .+\. And \d more problems?\.$") as refused:
        eng.models.publish(broken.id)
    assert refused.value.facts["others"] == sum(one.severity == "error" for one in eng.validate(broken)) - 1
    assert "treadle" not in str(refused.value)
    assert eng.models.versions(broken.id) == []


def test_an_archived_model_stays_as_it_is(eng) -> None:
    added = eng.models.add(small())
    eng.models.publish(added.id)
    eng.models.archive(added.id)
    with pytest.raises(ModelArchived):
        eng.models.save(added.id, [renamed("Late")], base_revision=added.revision)


def test_a_deleted_model_frees_its_name_and_can_be_recovered_for_a_while(eng, monkeypatch) -> None:
    added = eng.models.add(small())
    eng.models.delete(added.id)
    assert eng.models.list() == []
    assert [row.name for row in eng.models.list(deleted=True)] == ["Small model"]
    with pytest.raises(ModelNotFound):
        eng.models.save(added.id, [renamed("Late")], base_revision=added.revision)
    again = eng.models.create("Small model")
    with pytest.raises(ModelExists):
        eng.models.recover(added.id)
    eng.models.delete(again.id)
    assert eng.models.recover(added.id).deleted_at is None
    with pytest.raises(ModelNotFound):
        eng.models.recover(added.id)
    eng.models.delete(added.id)
    monkeypatch.setattr("engine.models.RECOVERABLE_FOR", timedelta(seconds=-1))
    with pytest.raises(EditRefused, match="more than"):
        eng.models.recover(added.id)


def test_a_model_is_described_and_renamed(eng) -> None:
    made = eng.models.create("Empty one")
    change = Describe(changes=(Change(path=("name",), value="Full one"), Change(path=("tags",), value=["a"])))
    saved = eng.models.save(made.id, [change], base_revision=0)
    assert (saved.name, saved.tags) == ("Full one", ("a",))
    assert eng.models.list(tag="a")[0].id == made.id


def test_the_ledger_tells_everything_and_verifies(eng) -> None:
    added = eng.models.add(small())
    eng.models.publish(added.id)
    eng.models.delete(added.id)
    eng.models.recover(added.id)
    actions = [entry.action for entry in eng.ledger.entries()]
    assert actions == ["model.created", "model.published", "model.deleted", "model.recovered"]
    assert eng.ledger.verify().ok
    assert eng.ledger.head().sequence == 4
    assert eng.ledger.sign() is None
