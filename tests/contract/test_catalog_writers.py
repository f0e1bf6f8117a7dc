"""Eight people write at once, to the same model and to models of their own: nothing is lost, torn or hidden."""

import pytest

from engine.domain.edits import AddNode, Change, Configure, Describe, Move
from engine.domain.nodes import Stage
from engine.domain.values import Position
from engine.errors import EditConflict, StaleRevision
from engine.expressions import Cel
from engine.models import Models
from engine.system import SystemClock
from engine.tethers import Registry
from tests.contract.laws import verified
from tests.threads import together

WRITERS = 8


@pytest.fixture(params=[10, pytest.param(1_250, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])])
def each(request):
    """How often each of the eight writes; 10,000 operations in all in the slow program."""
    return request.param


def people(catalog):
    registry, cel, clock = Registry(), Cel(), SystemClock()
    return [Models(catalog, clock, registry, cel, actor=f"p{number}") for number in range(WRITERS)]


def is_whole(catalog, model):
    """Check that a model is the fold of its edits and that the ledger verifies."""
    models = people(catalog)[0]
    assert models.at_revision(model, models.get(model).revision) == models.get(model)
    revisions = [revision for revision, _ in catalog.batches(model)]
    assert revisions == list(range(1, models.get(model).revision + 1))
    assert verified(catalog).ok


def shared_model(writer):
    made = writer.create("Shared")
    stages = (AddNode(node=Stage(id=f"s{number}", name=f"Stage {number}")) for number in range(WRITERS))
    return writer.save(made.id, tuple(stages), base_revision=0)


def test_edits_of_different_nodes_of_one_model_all_arrive(catalog, each):
    writers = people(catalog)
    model = shared_model(writers[0])

    def move(number):
        base = model.revision
        for step in range(1, each + 1):
            edit = Move(id=f"s{number}", to=Position(x=float(step), y=float(number)))
            base = writers[number].save(model.id, (edit,), base_revision=base).revision

    together(*(lambda number=number: move(number) for number in range(WRITERS)))
    found = catalog.model(model.id)
    assert found.revision == model.revision + WRITERS * each
    for number in range(WRITERS):
        assert found.nodes[f"s{number}"].position == Position(x=float(each), y=float(number))
    is_whole(catalog, model.id)


def test_models_of_their_own_are_all_as_their_writers_left_them(catalog, each):
    writers = people(catalog)

    def work(number):
        mine = writers[number].create(f"Model of {number}")
        for step in range(1, each + 1):
            edit = Describe(changes=(Change(path=("description",), value=f"{number} {step}"),))
            mine = writers[number].save(mine.id, (edit,), base_revision=mine.revision)

    together(*(lambda number=number: work(number) for number in range(WRITERS)))
    for number in range(WRITERS):
        found = catalog.model_named(f"model of {number}")
        assert (found.description, found.revision) == (f"{number} {each}", each)
        is_whole(catalog, found.id)


def test_of_edits_of_the_same_field_one_arrives_and_the_others_are_told(catalog, each):
    writers = people(catalog)
    model = shared_model(writers[0])
    arrived, refused = [], []

    def rename(number):
        for step in range(each):
            name = f"Named {step} by {number}"
            edit = Configure(id="s0", changes=(Change(path=("name",), value=name),))
            try:
                writers[number].save(model.id, (edit,), base_revision=model.revision)
                arrived.append(name)
            except (EditConflict, StaleRevision) as error:
                refused.append(error)

    together(*(lambda number=number: rename(number) for number in range(WRITERS)))
    found = catalog.model(model.id)
    assert len(arrived) == 1
    assert found.nodes["s0"].name == arrived[0]
    assert len(refused) == WRITERS * each - 1
    assert found.revision == model.revision + 1
    is_whole(catalog, model.id)
