"""Models, their edits and versions, as every catalog keeps them."""

import pytest

from engine.domain.nodes import Stage
from engine.domain.queries import ModelQuery
from engine.domain.values import Semver
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutRun,
    PutSetting,
    PutSteps,
    Record,
    UpdateModel,
)
from engine.errors import (
    ModelExists,
    ModelNotFound,
    NotCanonical,
    OrganizationForeign,
    StaleRevision,
    StoreConflict,
    StoreUnreachable,
)
from tests.contract.samples import ODD_TEXTS, at, batch, draft, everything, many_edits, model, run, step, version


def facts(catalog):
    return catalog.describe() | {"size_bytes": 0, "latency_ms": 0, "pool": None, "statements": None}


def named(catalog, **wanted):
    return [row.name for row in catalog.models(ModelQuery(**wanted))]


def test_a_model_is_read_as_it_was_written(catalog):
    catalog.commit(InsertModel(model=everything()))
    assert catalog.model("m-all") == everything()
    assert catalog.model("m-all").content_hash == everything().content_hash
    assert catalog.model("nobody") is None


def test_an_update_replaces_the_whole_model(catalog):
    catalog.commit(InsertModel(model=everything()))
    smaller = model(name="Smaller", revision=8).changed(id="m-all")
    catalog.commit(UpdateModel(model=smaller, expected_revision=7))
    assert catalog.model("m-all") == smaller


def test_an_id_is_given_once(catalog):
    catalog.commit(InsertModel(model=model()))
    with pytest.raises(StoreConflict):
        catalog.commit(InsertModel(model=model(name="Another name")))


@pytest.mark.parametrize(
    ("first", "second"), [("Straße", "STRASSE"), ("Café", "cafe\u0301"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("abc", "ABC")]
)
def test_a_name_is_taken_whatever_its_case(catalog, first, second):
    catalog.commit(InsertModel(model=model(1, name=first)))
    with pytest.raises(ModelExists, match=second):
        catalog.commit(InsertModel(model=model(2, name=second)))
    assert catalog.model_named(second).id == "m1"
    catalog.commit(InsertModel(model=model(3, name="Something else")))
    with pytest.raises(ModelExists):
        catalog.commit(UpdateModel(model=model(3, name=second), expected_revision=0))
    assert catalog.model("m3").name == "Something else"


def test_a_model_of_another_organization_is_refused(catalog):
    with pytest.raises(OrganizationForeign, match="belongs to the organization other"):
        catalog.commit(InsertModel(model=model(1)), InsertModel(model=model(2, organization="other")))
    assert catalog.model("m1") is None


def test_a_model_may_change_the_case_of_its_own_name(catalog):
    catalog.commit(InsertModel(model=model(1, name="Same")))
    catalog.commit(UpdateModel(model=model(1, name="SAME", revision=1), expected_revision=0))
    assert catalog.model_named("same").name == "SAME"


def test_a_deleted_model_frees_its_name_and_stays_readable(catalog):
    catalog.commit(InsertModel(model=model(1, name="Old")))
    gone = model(1, name="Old", revision=1, deleted_at=at(1), deleted_by="you")
    catalog.commit(UpdateModel(model=gone, expected_revision=0))
    catalog.commit(InsertModel(model=model(2, name="old")))
    assert catalog.model("m1") == gone
    assert catalog.model_named("OLD").id == "m2"
    assert named(catalog) == ["old"]
    assert [(row.name, row.deleted_at) for row in catalog.models(ModelQuery(deleted=True))] == [("Old", at(1))]


def test_a_deleted_model_comes_back_only_to_a_free_name(catalog):
    catalog.commit(InsertModel(model=model(1, name="Old", deleted_at=at(1))), InsertModel(model=model(2, name="Old")))
    back = model(1, name="Old", revision=1)
    with pytest.raises(ModelExists):
        catalog.commit(UpdateModel(model=back, expected_revision=0))
    catalog.commit(UpdateModel(model=model(2, name="New", revision=1), expected_revision=0))
    catalog.commit(UpdateModel(model=back, expected_revision=0))
    assert catalog.model_named("Old").id == "m1"


def test_a_stale_update_is_refused_and_told_both_revisions(catalog):
    catalog.commit(InsertModel(model=model(revision=4)))
    with pytest.raises(StaleRevision) as refused:
        catalog.commit(UpdateModel(model=model(revision=4), expected_revision=3))
    assert refused.value.facts == {"current": 4, "based_on": 3}


def test_updating_what_is_not_there_is_refused(catalog):
    with pytest.raises(ModelNotFound):
        catalog.commit(UpdateModel(model=model(), expected_revision=0))


@pytest.mark.parametrize(
    "fails",
    [
        UpdateModel(model=model(1, revision=9), expected_revision=8),
        UpdateModel(model=model(9), expected_revision=0),
        InsertModel(model=model(5, name="MODEL 0")),
        InsertModel(model=model(1, name="Another")),
        InsertBatch(batch=batch(), revision=1),
        InsertVersion(version=version()),
        PutSetting(key="bad", value=float("nan")),
        PutSetting(key="bad", value="\ud800"),
        Record(draft=draft(request="\ud800")),
        Record(draft=draft(request="\x00")),
    ],
    ids=lambda write: type(write).__name__,
)
def test_a_write_that_fails_takes_all_others_back(catalog, fails):
    catalog.commit(
        InsertModel(model=model(0)), InsertModel(model=model(1)), InsertBatch(batch=batch(), revision=1),
        InsertVersion(version=version()), PutSetting(key="k", value=1), Record(draft=draft(1)),
    )  # fmt: skip
    before = (catalog.head(), facts(catalog))
    good = [
        InsertModel(model=model(2)), UpdateModel(model=model(1, revision=1, name="Renamed"), expected_revision=0),
        InsertBatch(batch=batch(2), revision=2), InsertVersion(version=version("1.1.0")),
        PutSetting(key="k", value=2), PutSetting(key="new", value=3), Record(draft=draft(2)),
        PutRun(run=run()), PutSteps(steps=(step(),)),
    ]  # fmt: skip
    refusals = (StaleRevision, ModelNotFound, ModelExists, StoreConflict, NotCanonical)
    for place in (0, 4, len(good)):
        with pytest.raises(refusals):
            catalog.commit(*good[:place], fails, *good[place:])
    assert (catalog.head(), facts(catalog)) == before
    assert catalog.model("m1") == model(1)
    assert catalog.model_named("Renamed") is None
    assert (catalog.setting("k"), catalog.setting("new")) == (1, None)
    assert [revision for revision, _ in catalog.batches("m1")] == [1]
    assert named(catalog, text="renamed") == []


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_text_is_kept_and_found(catalog, text):
    name = text[:100]
    odd = model(1, name=name, description=text, tags=(name,), nodes={"s": Stage(id="s", name=text)})
    catalog.commit(InsertModel(model=odd), InsertModel(model=model(2, name="Plain")))
    assert catalog.model("m1") == odd
    assert catalog.model_named(name).id == "m1"
    assert [row.id for row in catalog.models(ModelQuery(text=text))] == ["m1"]
    (row,) = catalog.models(ModelQuery(tag=name))
    assert (row.name, row.description, row.tags, row.nodes) == (name, text, (name,), 1)


def test_search_looks_in_names_descriptions_and_names_of_nodes(catalog):
    node = Stage(id="s", name="Straßen zählen")
    catalog.commit(
        InsertModel(model=model(1, name="Needle work")),
        InsertModel(model=model(2, description="find the nEEdle")),
        InsertModel(model=model(3, nodes={"s": node})),
        InsertModel(model=model(4, tags=("needle",))),
    )
    assert set(named(catalog, text="NEEDLE")) == {"Needle work", "Model 2"}
    assert named(catalog, text="STRASSEN Z") == ["Model 3"]
    assert named(catalog, text="zahlen") == []
    assert named(catalog, tag="NEEDLE") == ["Model 4"]
    assert named(catalog, tag="need") == []


def test_search_follows_nodes_that_are_renamed_added_and_removed(catalog):
    stages = {key: Stage(id=key, name=f"Stage {key}") for key in ("a", "b", "c")}
    catalog.commit(InsertModel(model=model(nodes=stages)))
    changed = {"a": stages["a"], "b": Stage(id="b", name="Renamed"), "d": Stage(id="d", name="Added")}
    catalog.commit(UpdateModel(model=model(nodes=changed, revision=1), expected_revision=0))
    found = {
        text: bool(catalog.models(ModelQuery(text=text)))
        for text in ("stage a", "stage b", "stage c", "renamed", "added")
    }
    assert found == {"stage a": True, "stage b": False, "stage c": False, "renamed": True, "added": True}


def test_lists_are_newest_first_and_paged(catalog):
    for number in (3, 1, 2):
        entry = draft(number, entity=f"m{number}")
        catalog.commit(InsertModel(model=model(number)), Record(draft=entry))
    assert named(catalog) == ["Model 3", "Model 2", "Model 1"]
    catalog.commit(
        UpdateModel(model=model(1, revision=1), expected_revision=0), InsertBatch(batch=batch(9), revision=1)
    )
    assert named(catalog) == ["Model 1", "Model 3", "Model 2"]
    assert catalog.models()[0].updated_at == at(9)
    assert named(catalog, limit=2) == ["Model 1", "Model 3"]
    assert named(catalog, limit=2, offset=2) == ["Model 2"]
    assert named(catalog, limit=0) == []
    assert named(catalog, offset=10) == []


def test_a_row_shows_what_lists_need(catalog):
    whole = everything()
    catalog.commit(InsertModel(model=whole), Record(draft=draft(1, entity="m-all")))
    (row,) = catalog.models()
    assert row._asdict() == {
        "id": "m-all", "name": "Everything", "description": whole.description, "status": "published", "revision": 7,
        "version": "2.0.1", "tags": ("Ärger", "b c"), "nodes": 7, "updated_at": at(1), "deleted_at": None,
    }  # fmt: skip


def test_batches_come_oldest_first_after_a_revision(catalog):
    for revision in (2, 1, 3):
        catalog.commit(InsertBatch(batch=batch(revision), revision=revision))
    catalog.commit(InsertBatch(batch=many_edits(), revision=7), InsertBatch(batch=batch(1, of="m2"), revision=1))
    assert catalog.batches("m1") == [(revision, batch(revision)) for revision in (1, 2, 3)]
    assert catalog.batches("m1", after_revision=2) == [(3, batch(3))]
    assert catalog.batches("m-all") == [(7, many_edits())]
    assert catalog.batches("nobody") == []
    with pytest.raises(StoreConflict):
        catalog.commit(InsertBatch(batch=batch(5), revision=3))


def test_versions_come_highest_first_and_are_never_replaced(catalog):
    whole = version("1.10.0", snapshot=everything(), message="it's $1", content_hash=everything().content_hash)
    catalog.commit(InsertVersion(version=version("1.9.0")), InsertVersion(version=whole))
    catalog.commit(InsertVersion(version=version("1.0.0")), InsertVersion(version=version("1.0.0", of="m2")))
    assert [str(kept.number) for kept in catalog.versions("m1")] == ["1.10.0", "1.9.0", "1.0.0"]
    assert catalog.version("m1", Semver.parse("1.10.0")) == whole
    assert catalog.version("m1", Semver.parse("3.0.0")) is None
    with pytest.raises(StoreConflict):
        catalog.commit(InsertVersion(version=version("1.9.0", message="Another")))


def test_settings_are_replaced_by_key(catalog):
    for kept in ({"b": [1, None, "\u2028"], "a": {"__proto__": 1.5}}, None, "text", False):
        catalog.commit(PutSetting(key="it's", value=kept))
        assert catalog.setting("it's") == kept
    assert catalog.setting("nothing") is None


def test_a_closed_catalog_says_so(catalog):
    catalog.close()
    catalog.close()
    for use in (catalog.head, catalog.models, lambda: catalog.commit(PutSetting(key="k", value=1))):
        with pytest.raises(StoreUnreachable, match="closed"):
            use()


def test_facts_for_the_doctor(catalog):
    catalog.commit(InsertModel(model=model()), InsertVersion(version=version()), Record(draft=draft()))
    facts = catalog.describe()
    counts = {name: facts[name] for name in ("models", "versions", "runs", "steps", "entries")}
    assert counts == {"models": 1, "versions": 1, "runs": 0, "steps": 0, "entries": 1}
    assert facts["kind"] in ("memory", "duckdb", "postgres", "neo4j")
    assert isinstance(facts["size_bytes"], int)
