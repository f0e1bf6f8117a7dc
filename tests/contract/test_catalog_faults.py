"""What goes wrong before, during or after a commit: all of it is done or nothing, and asking again does no harm."""

import pytest

from engine.domain.edits import Change, Describe
from engine.domain.entities import End, Link
from engine.domain.queries import EntityQuery, EntryQuery
from engine.domain.values import Semver
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutEntity,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
)
from engine.errors import StaleRevision, StoreUnreachable, TreadleError
from engine.expressions import Cel
from engine.ledger.verification import verify
from engine.models import Models
from engine.system import SystemClock
from engine.tethers import Registry
from tests.contract.samples import at, batch, draft, entities, model, run, step, version


class Faulty:
    """A catalog whose next commit fails before or after it is done."""

    def __init__(self, catalog):
        self._catalog, self.fails = catalog, None

    def __getattr__(self, name):
        return getattr(self._catalog, name)

    def commit(self, *writes):
        fails, self.fails = self.fails, None
        if fails == "before":
            raise StoreUnreachable(path="x", reason="the line was cut before the commit")
        done = self._catalog.commit(*writes)
        if fails == "after":
            raise StoreUnreachable(path="x", reason="the line was cut after the commit")
        return done


def everything_in(catalog):
    known = [f"m{number}" for number in range(1, 5)]
    with catalog.ledger() as (head, rows):
        verified = verify(rows, head)
    assert verified.ok, verified.reason
    return (
        [catalog.model(key) for key in known],
        [catalog.batches(key) for key in known],
        [catalog.versions(key) for key in known],
        catalog.nodes(),
        catalog.edges(),
        catalog.runs(),
        catalog.steps("r1"),
        [catalog.entities(EntityQuery(kind=kind)) for kind in ("link", "agent", "knowledge")],
        catalog.settings(),
        catalog.head(),
    )


def publication():
    """Publish a model with its nested child, a link between them, and the ledger's entries, in one commit."""
    ends = (End(feature="function-model", entity="m1"), End(feature="function-model", entity="m2"))
    link = Link(id="l", source=ends[0], target=ends[1], type="nested", created_at=at(1), created_by="you")
    return (
        UpdateModel(model=model(2, status="published", version="1.0.0", revision=1), expected_revision=0),
        InsertVersion(version=version("1.0.0", of="m2")),
        UpdateModel(model=model(1, status="published", version="1.0.0", revision=1), expected_revision=0),
        InsertVersion(version=version("1.0.0", of="m1")),
        InsertBatch(batch=batch(1, of="m1"), revision=1),
        PutEntity(entity=link, expected_revision=0),
        PutRun(run=run(1)),
        PutSteps(steps=(step("a", started=1),)),
        PutSetting(key="published", value=["m1", "m2"]),
        Record(draft=draft(1, action="model.published", entity="m2")),
        Record(draft=draft(2, action="model.published", entity="m1")),
    )


REFUSED = (
    UpdateModel(model=model(1, revision=9), expected_revision=8),
    InsertModel(model=model(1)),
    InsertModel(model=model(4, name="MODEL 2")),
    InsertVersion(version=version("0.1.0", of="m3")),
    PutEntity(entity=entities()[0], expected_revision=3),
    RemoveEntity(kind="link", key="l1", expected_revision=3),
    PutSetting(key="bad", value="\ud800"),
)


@pytest.fixture
def catalog_of_three(catalog):
    catalog.commit(
        *(InsertModel(model=model(number)) for number in (1, 2, 3)),
        InsertVersion(version=version("0.1.0", of="m3")),
        Record(draft=draft()),
    )
    return catalog


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("refused", REFUSED, ids=lambda write: type(write).__name__)
def test_a_refused_write_anywhere_in_a_publication_leaves_nothing_of_it(catalog_of_three, refused, place):
    before = everything_in(catalog_of_three)
    writes = list(publication())
    writes.insert(place, refused)
    with pytest.raises(TreadleError):
        catalog_of_three.commit(*writes)
    assert everything_in(catalog_of_three) == before


def test_a_publication_of_several_models_is_done_as_a_whole(catalog_of_three):
    made = catalog_of_three.commit(*publication())
    assert [entry.sequence for entry in made] == [2, 3]
    assert [str(catalog_of_three.model(key).version) for key in ("m1", "m2")] == ["1.0.0", "1.0.0"]
    assert catalog_of_three.entities(EntityQuery(kind="link", about="m2"))[0].key == "l"
    assert catalog_of_three.version("m2", Semver(major=1)) is not None
    everything_in(catalog_of_three)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_asking_again_after_a_fault_does_everything_once(catalog_of_three, fails):
    faulty = Faulty(catalog_of_three)
    faulty.fails = fails
    with pytest.raises(StoreUnreachable):
        faulty.commit(*publication())
    if fails == "after":
        with pytest.raises(StaleRevision):  # the second time it is told that it was done
            faulty.commit(*publication())
    else:
        faulty.commit(*publication())
    assert [entry.action for entry in catalog_of_three.entries(EntryQuery(after=1))] == ["model.published"] * 2
    everything_in(catalog_of_three)


@pytest.mark.parametrize("fails", ["before", "after"])
def test_a_person_who_saves_again_after_a_fault_has_saved_once(catalog, fails):
    faulty = Faulty(catalog)
    writer = Models(faulty, SystemClock(), Registry(), Cel(), actor="you")
    made = writer.create("Mine")
    edits = (Describe(changes=(Change(path=("description",), value="Typed"),)),)
    faulty.fails = fails
    with pytest.raises(StoreUnreachable):
        writer.save(made.id, edits, base_revision=0)
    saved = writer.save(made.id, edits, base_revision=0)
    assert (saved.description, saved.revision) == ("Typed", 1)
    assert [revision for revision, _ in catalog.batches(made.id)] == [1]
    assert [entry.action for entry in catalog.entries()] == ["model.created", "model.edited"]
