"""Entities, nodes and edges, and waiting for news, as every catalog keeps them."""

from threading import Thread
from typing import get_args

import pytest

from engine.domain.entities import DeadLetter, Decision, Kind, KnowledgeDocument, Option, Schedule, Subscription
from engine.domain.model import Dependency, Wire
from engine.domain.nodes import Boundary, Stage
from engine.domain.queries import EdgeQuery, EntityQuery, NodeQuery
from engine.domain.writes import InsertModel, PutEntity, Record, RemoveEntity, UpdateModel
from engine.errors import StaleRevision
from tests.contract.samples import ODD_TEXTS, at, draft, entities, everything, model


def put(catalog, *kept, **fields):
    catalog.commit(*(PutEntity(entity=entity, **fields) for entity in kept))


def keys(found):
    return [entity.key for entity in found]


def subscription(position, revision=0):
    return Subscription(name="mails", position=position, updated_at=at(position), revision=revision)


def document(name, **fields):
    return KnowledgeDocument(id=name, name=name, updated_at=at(1), updated_by="you", **fields)


def test_every_kind_is_among_the_samples():
    assert {entity.kind for entity in entities()} == set(get_args(Kind))


@pytest.mark.parametrize("entity", entities(), ids=lambda entity: entity.kind)
def test_an_entity_is_read_as_it_was_written(catalog, entity):
    put(catalog, entity)
    assert catalog.entity(entity.kind, entity.key) == entity
    assert catalog.entities(EntityQuery(kind=entity.kind)) == [entity]
    assert all(catalog.entities(EntityQuery(kind=entity.kind, about=one)) == [entity] for one in entity.about)
    catalog.commit(RemoveEntity(kind=entity.kind, key=entity.key))
    assert catalog.entity(entity.kind, entity.key) is None
    assert catalog.entities(EntityQuery(kind=entity.kind)) == []


def test_kinds_and_keys_are_apart(catalog):
    put(catalog, *entities(), document("mails"))
    assert catalog.entity("knowledge", "mails").name == "mails"
    assert catalog.entity("subscription", "mails").position == 42
    assert catalog.entity("subscription", "k1") is None
    assert catalog.describe()["entities"] == len(entities()) + 1


def test_an_entity_is_replaced_by_its_key(catalog):
    put(catalog, subscription(1), subscription(2))
    assert catalog.entities(EntityQuery(kind="subscription")) == [subscription(2)]


def test_a_stale_revision_is_refused_and_nothing_of_its_commit_is_done(catalog):
    put(catalog, subscription(1, revision=1), expected_revision=0)
    put(catalog, subscription(2, revision=2), expected_revision=1)
    for stale in (0, 1, 3):
        with pytest.raises(StaleRevision) as told:
            catalog.commit(
                PutEntity(entity=document("other")),
                PutEntity(entity=subscription(9), expected_revision=stale),
                Record(draft=draft()),
            )
        assert told.value.facts == {"current": 2, "based_on": stale}
    with pytest.raises(StaleRevision):
        catalog.commit(RemoveEntity(kind="subscription", key="mails", expected_revision=1))
    assert catalog.entity("subscription", "mails") == subscription(2, revision=2)
    assert catalog.entity("knowledge", "other") is None
    assert catalog.head().sequence == 0
    catalog.commit(RemoveEntity(kind="subscription", key="mails", expected_revision=2))
    catalog.commit(RemoveEntity(kind="subscription", key="mails", expected_revision=0))
    assert catalog.entities(EntityQuery(kind="subscription")) == []


def test_entities_are_listed_by_key_and_paged(catalog):
    put(catalog, *(document(name) for name in ("b", "Z", "ä", "a")))
    assert keys(catalog.entities(EntityQuery(kind="knowledge"))) == ["Z", "a", "b", "ä"]
    assert keys(catalog.entities(EntityQuery(kind="knowledge", limit=2, offset=1))) == ["a", "b"]


def test_entities_are_found_by_text_without_case_and_by_what_they_are_about(catalog):
    put(catalog, document("a", content="Die STRASSE"), document("b", keywords=("straße",)), document("c"))
    assert keys(catalog.entities(EntityQuery(kind="knowledge", text="Straße"))) == ["a", "b"]
    assert keys(catalog.entities(EntityQuery(kind="knowledge", text="%"))) == []
    put(catalog, *(DeadLetter(subscription=of, sequence=2, attempts=1, error="x", ts=at(1)) for of in ("s", "s s")))
    assert keys(catalog.entities(EntityQuery(kind="dead-letter", about="s"))) == [f"s {2:020}"]
    assert catalog.entities(EntityQuery(kind="dead-letter", about="")) == []


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_text_in_an_entity_is_kept_and_found(catalog, text):
    odd = document("k").model_copy(update={"content": text, "name": text, "id": text})
    put(catalog, odd, document("plain"))
    assert catalog.entity("knowledge", text) == odd
    assert catalog.entities(EntityQuery(kind="knowledge", text=text)) == [odd]


def test_what_is_due_comes_first_due_first(catalog):
    made = {"name": "x", "model": "m1", "trigger": "cron", "spec": "* * * * *", "updated_at": at(0)}
    put(
        catalog,
        Schedule(id="late", next_at=at(9), **made),
        Schedule(id="b", next_at=at(2), **made),
        Schedule(id="a", next_at=at(2), **made),
        Schedule(id="off", next_at=at(1), enabled=False, **made),
        Schedule(id="never", **made),
    )
    assert keys(catalog.entities(EntityQuery(kind="schedule", due_before=at(9)))) == ["a", "b"]
    assert keys(catalog.entities(EntityQuery(kind="schedule", due_before=at(10), about="m1", limit=2, offset=1))) == [
        "b",
        "late",
    ]
    asked = Decision(run="r", path="p", options=(Option(id="y", name="Yes"),), opened_at=at(0), deadline=at(1))
    put(catalog, asked)
    assert catalog.entities(EntityQuery(kind="decision", due_before=at(2))) == [asked]
    put(catalog, asked.model_copy(update={"chosen": "y"}))
    assert catalog.entities(EntityQuery(kind="decision", due_before=at(2))) == []


# ---- nodes and edges ------------------------------------------------------------------------------------------


def graph(number=1, *, tag="raw", wire="x", **fields):
    nodes = {
        "in": Boundary(id="in", name="Straße", boundary="input", tags=(tag,)),
        "work": Stage(id="work", name="Work"),
        "out": Boundary(id="out", name="Out", boundary="output"),
    }
    wires = {wire: Wire(id=wire, source="in", source_port="a", target="out", target_port="it's")}
    edges = {"d": Dependency(id="d", source="in", target="work")}
    return model(number, nodes=nodes, wires=wires, dependencies=edges, **fields)


def test_nodes_are_found_by_kind_text_and_tag_in_all_models(catalog):
    catalog.commit(InsertModel(model=graph(2)), InsertModel(model=graph(1)))
    catalog.commit(InsertModel(model=graph(3, deleted_at=at(1))))
    assert [row[:3] for row in catalog.nodes(NodeQuery(kind="ioNode"))] == [
        ("m1", "in", "ioNode"), ("m1", "out", "ioNode"), ("m2", "in", "ioNode"), ("m2", "out", "ioNode"),
    ]  # fmt: skip
    assert [(row.model, row.name, row.tags) for row in catalog.nodes(NodeQuery(text="STRASSE"))] == [
        ("m1", "Straße", ("raw",)), ("m2", "Straße", ("raw",)),
    ]  # fmt: skip
    assert [row.node for row in catalog.nodes(NodeQuery(tag="RAW", model="m2"))] == ["in"]
    assert catalog.nodes(NodeQuery(tag="ra")) == []
    assert len(catalog.nodes(NodeQuery(limit=4, offset=4))) == 2


def test_edges_are_found_by_kind_and_by_the_nodes_at_their_ends(catalog):
    catalog.commit(InsertModel(model=graph(1)), InsertModel(model=graph(2, deleted_at=at(1))))
    dependency, wire = catalog.edges()
    assert dependency == ("m1", "d", "dependency", "in", None, "work", None)
    assert wire == ("m1", "x", "wire", "in", "a", "out", "it's")
    assert catalog.edges(EdgeQuery(kind="wire")) == [wire]
    assert catalog.edges(EdgeQuery(text="wOrk")) == [dependency]
    assert catalog.edges(EdgeQuery(tag="raw")) == [dependency, wire]
    assert catalog.edges(EdgeQuery(model="m2")) == []
    assert catalog.edges(EdgeQuery(limit=1, offset=1)) == [wire]


def test_an_update_changes_nodes_and_edges_too(catalog):
    catalog.commit(InsertModel(model=graph(1)))
    changed = graph(1, tag="clean", wire="y", revision=1)
    catalog.commit(UpdateModel(model=changed, expected_revision=0))
    assert catalog.nodes(NodeQuery(tag="raw")) == []
    assert [row.node for row in catalog.nodes(NodeQuery(tag="clean"))] == ["in"]
    assert [row.edge for row in catalog.edges()] == ["d", "y"]
    turned = changed.changed(
        wires={"y": Wire(id="y", source="in", source_port="b", target="out", target_port="it's")}, revision=2
    )
    catalog.commit(UpdateModel(model=turned, expected_revision=1))
    assert [row.source_port for row in catalog.edges(EdgeQuery(kind="wire"))] == ["b"]
    catalog.commit(UpdateModel(model=model(1, revision=3), expected_revision=2))
    assert catalog.nodes() == []
    assert catalog.edges() == []


def test_a_model_with_everything_lists_all_its_nodes_and_edges(catalog):
    whole = everything()
    catalog.commit(InsertModel(model=whole))
    assert {row.node for row in catalog.nodes(NodeQuery(model=whole.id))} == set(whole.nodes)
    assert {row.edge for row in catalog.edges(EdgeQuery(model=whole.id))} == {*whole.wires, *whole.dependencies}


# ---- news -----------------------------------------------------------------------------------------------------


def test_waiting_ends_with_the_commit_that_was_waited_for(catalog):
    assert not catalog.news(0, 0.01)
    seen = []
    waiter = Thread(target=lambda: seen.extend(catalog.news(1, 20)))
    waiter.start()
    catalog.commit(Record(draft=draft(1)))
    assert catalog.news(0, 0)
    committed = catalog.commit(Record(draft=draft(2)))
    waiter.join(20)
    assert seen == [*committed]


def test_two_followers_see_every_entry_once_and_in_order_while_four_write(catalog):
    def write(actor):
        for number in range(10):
            catalog.commit(Record(draft=draft(number, actor=actor)))

    def follow(seen):
        while len(seen) < 40 and (found := catalog.news(len(seen), 20)):
            seen.extend(entry.sequence for entry in found[:7])

    followers = [[], []]
    threads = [Thread(target=write, args=(f"w{number}",)) for number in range(4)]
    threads += [Thread(target=follow, args=(seen,)) for seen in followers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert followers == [list(range(1, 41))] * 2
