"""Odd texts in every name, key and text of every verb: kept exactly, or refused in one sentence with nothing lost."""

import random
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from engine.domain.nodes import Stage, Tether
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
from engine.domain.values import Port, Semver
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
from engine.errors import NotCanonical
from engine.ledger.verification import verify
from tests.contract.samples import at, batch, draft, entities, model, run, step, value, version

MEGABYTE = 1_000_000
NOISE = random.Random(7).randbytes(MEGABYTE // 2).hex()
"""What no compression makes small enough for an index."""
ODD = {
    "quotes": "a'b''c\"d\"\"e`f``g",
    "signs": "$1 ${x} $$ $tag$ %s %(a)s %% :name ::text ? \\ \\' \\x00 \\u0000 {0} \\",
    "SQL": "a'; DROP TABLE models;-- /* */ //",
    "Cypher": "a'}) DETACH DELETE n // `n`) {x}",
    "NUL": "a\x00b",
    "only NUL": "\x00",
    "controls": "a\x01\t\r\n\x1b[31m\x7f\x85b",
    "half a surrogate pair": "a\ud800b",
    "prototype": "__proto__",
    "right to left": "\ufeffabc\u202ecba\u2066\u2069\ufffe\uffff",
    "many alphabets": "e\u0301 é ﬁ İ ß ẞ 🧵\U0010ffff",
    "blank": "   ",
    "nothing": "",
    "a thousand": "é'" * 500,
    "a megabyte": NOISE,
}
MAY_BE_REFUSED = ("NUL", "only NUL", "half a surrogate pair", "a megabyte")
"""What Postgres or UTF-8 can't hold, and keys that are too long for an index."""


def filled(base, **choices):
    """Return `base` with all odd values that its class lets be, and one value for each of them alone."""
    alone = {name: each for name, odd in choices.items() if (each := _with(base, {name: odd})) is not None}
    return _with(base, {name: choices[name] for name in alone}) or base, list(alone.values())


def _with(base, changes):
    try:
        return type(base).model_validate({**dict(base), **changes})
    except ValidationError:
        return None


class Texts:
    """Puts one odd text everywhere, and asks whether it is there."""

    def __init__(self, catalog, odd, name):
        self.catalog, self.odd, self._name = catalog, odd, name
        self._number = 0
        self.refused = []

    def new(self):
        """Return an id that nothing else has."""
        self._number += 1
        return f"{self._name} {self._number}"

    def keep(self, whole, singles, writes, is_kept):
        """Keep a value odd in all places at once; if that is refused, odd in one place after the other."""
        if not self._try(writes(whole), lambda: is_kept(whole)):
            for each in singles:
                if not self._try(writes(each), lambda each=each: is_kept(each)):
                    self.refused.append(type(each).__name__)

    def _try(self, writes, is_kept):
        """Commit with something else; say whether it was kept. What is refused takes nothing with it or away."""
        mark, before = self.new(), self.catalog.head()
        try:
            self.catalog.commit(PutSetting(key=mark, value=1), Record(draft=draft()), *writes)
        except NotCanonical:
            assert self.catalog.setting(mark) is None
            assert self.catalog.head() == before
            return False
        assert self.catalog.setting(mark) == 1
        assert is_kept()
        return True

    def settings(self):
        key, name = self.odd, self.new()
        self.keep(key, [key], lambda key: [PutSetting(key=key, value=key)], self._is_set)
        nested = {self.odd: [self.odd, {self.odd: None}]}
        self.keep(
            nested,
            [nested],
            lambda kept: [PutSetting(key=name, value=kept)],
            lambda kept: self.catalog.setting(name) == kept,
        )

    def _is_set(self, key):
        return self.catalog.setting(key) == self.catalog.settings()[key] == key

    def models(self):
        odd, name = self.odd, self.new()
        base = model().changed(id=name, name=name)
        stage = Stage(id="s", name="Stage")
        stage, stages = filled(stage, name=odd, description=odd, tags=(odd,), goals=(odd,))
        tether, tethers = filled(
            Tether(id="t", name="T", parent="s", reference="a.b"),
            name=odd,
            description=odd,
            tags=(odd,),
            parameters={odd: [odd, {odd: odd}]},
            headers={"a": odd},
            metadata={odd: odd},
            inputs=(Port(name="p", schema={odd: odd}, description=odd if odd.isprintable() else ""),),
        )
        plain, named = filled(base, name=odd, description=odd, tags=(odd,), owner=odd)
        whole = plain.changed(nodes={"s": stage, "t": tether})
        singles = [*named, *(base.changed(nodes={"s": each}) for each in stages)]
        singles += [base.changed(nodes={"s": Stage(id="s", name="S"), "t": each}) for each in tethers]
        if other := _with(base, {"id": odd}):
            singles.append(other)
            self.keep(other, [other], lambda kept: [InsertModel(model=kept)], self._is_listed)
            self._delete(odd)
        self.keep(whole, singles, self._inserted_and_saved, self._is_listed_and_deleted)

    def _inserted_and_saved(self, kept):
        fresh = self.new()
        first = model().changed(id=kept.id, name=fresh)
        if self.catalog.model(kept.id) is None:
            return [InsertModel(model=first), UpdateModel(model=kept, expected_revision=0)]
        return [UpdateModel(model=kept.changed(deleted_at=None), expected_revision=0)]

    def _is_listed(self, kept):
        rows = [row for row in self.catalog.models(ModelQuery(text=kept.name[:20], limit=1_000)) if row.id == kept.id]
        assert [(row.name, row.tags) for row in rows] == [(kept.name, kept.tags)]
        assert all(kept.id in {row.id for row in self.catalog.models(ModelQuery(tag=tag))} for tag in kept.tags)
        nodes = {row.node: (row.name, row.tags) for row in self.catalog.nodes(NodeQuery(model=kept.id))}
        assert nodes == {key: (node.name, node.tags) for key, node in kept.nodes.items()}
        return self.catalog.model(kept.id) == self.catalog.model_named(kept.name) == kept

    def _is_listed_and_deleted(self, kept):
        found = self._is_listed(kept)
        self._delete(kept.id)
        return found

    def _delete(self, key):
        """Let its name be free for the next one."""
        kept = self.catalog.model(key)
        if kept is not None:
            gone = kept.changed(deleted_at=at(1), name=self.new(), revision=0)
            self.catalog.commit(UpdateModel(model=gone, expected_revision=kept.revision))

    def edits_and_versions(self):
        odd, of = self.odd, self.new()
        whole, singles = filled(batch(of=of), id=odd, name=odd, actor=odd)
        self.keep(
            whole,
            singles,
            lambda kept: [InsertBatch(batch=kept, revision=1)],
            lambda kept: self.catalog.batches(of) == [(1, kept)],
        )
        whole, singles = filled(version(of=of), author=odd, message=odd)
        self.keep(
            whole,
            singles,
            lambda kept: [InsertVersion(version=kept)],
            lambda kept: self.catalog.versions(of) == [self.catalog.version(of, kept.number)] == [kept],
        )

    def runs_and_steps(self):
        odd = self.odd
        stored = value().model_copy(update={"summary": odd})
        fields = dict.fromkeys(("id", "model", "model_name", "actor", "error", "merkle_root", "content_hash"), odd)
        values = {"inputs": {odd: value()}, "outputs": {"a": stored}, "options": {odd: odd}, "model_file": {odd: odd}}
        whole, singles = filled(run(id=self.new()), **fields, **values)
        self.keep(whole, singles, lambda kept: [PutRun(run=kept)], self._is_run)
        fields = dict.fromkeys(("run", "path", "node", "name", "kind", "error", "reason"), odd)
        whole, singles = filled(step(of=self.new()), **fields, logs=(odd,), outputs={odd: stored})
        self.keep(
            whole,
            singles,
            lambda kept: [PutSteps(steps=(kept,))],
            lambda kept: kept in self.catalog.steps(kept.run),
        )

    def _is_run(self, kept):
        found = self.catalog.runs(RunQuery(model=kept.model, text=kept.model_name[:20], limit=1_000))
        assert kept.id in {each.id for each in found}
        return self.catalog.run(kept.id) == kept

    def entities(self):
        odd = self.odd
        for base in entities()[: 1 if odd == NOISE else None]:  # a megabyte in one kind will do: all are kept alike
            choices = {}
            for name, was in dict(base).items():
                if isinstance(was, str) and name != "kind":
                    choices[name] = odd
                elif isinstance(was, tuple) and was and isinstance(was[0], str):
                    choices[name] = (odd,)
                elif name in {"metadata", "tools", "inputs", "told"}:
                    choices[name] = {odd: {odd: odd}}
            whole, singles = filled(base, **choices)
            self.keep(whole, singles, lambda kept: [PutEntity(entity=kept)], self._is_found_and_removed)

    def _is_found_and_removed(self, kept):
        for asked in (*({"about": one} for one in kept.about[:2]), *({"text": word[:20]} for word in kept.words[:2])):
            assert self.catalog.entities(EntityQuery(kind=kept.kind, **asked)) == [kept], asked
        assert self.catalog.entity(kept.kind, kept.key) == kept
        self.catalog.commit(RemoveEntity(kind=kept.kind, key=kept.key, expected_revision=kept.revision))
        return self.catalog.entities(EntityQuery(kind=kept.kind)) == []

    def ledger(self):
        fields = dict.fromkeys(("actor", "entity_kind", "entity", "run", "request", "patch"), self.odd)
        whole, singles = filled(draft(), **fields)
        self.keep(whole, singles, lambda kept: [Record(draft=kept)], self._is_chained)

    def _is_chained(self, kept):
        (entry,) = self.catalog.entries(EntryQuery(newest_first=True, limit=1))
        assert {name: getattr(entry, name) for name in type(kept).model_fields} == dict(kept)
        return entry in self.catalog.entries(EntryQuery(actor=kept.actor, entity=kept.entity, limit=10_000))


ON_EACH = pytest.mark.parametrize(
    "catalog",
    ["memory", "duckdb", *(pytest.param(each, marks=pytest.mark.ci) for each in ("shared", "neo4j")), "postgres"],
    indirect=True,
)


@ON_EACH
@pytest.mark.parametrize("verb", ["settings", "models", "edits_and_versions", "runs_and_steps", "entities", "ledger"])
def test_an_odd_text_is_kept_exactly_or_refused_and_nothing_is_lost(catalog, verb):
    trouble = {}
    for name, odd in ODD.items():
        texts = Texts(catalog, odd, name)
        try:
            getattr(texts, verb)()
        except Exception as error:
            trouble[name] = f"{type(error).__name__}: {str(error)[:300]}"
        if texts.refused and name not in MAY_BE_REFUSED:
            trouble.setdefault(name, f"refused: {texts.refused}")
    assert trouble == {}
    with catalog.ledger() as (head, rows):
        assert verify(rows, head).ok


@ON_EACH
def test_an_odd_text_can_be_asked_for_in_every_read(catalog):
    catalog.commit(InsertModel(model=model(nodes={"s": Stage(id="s", name="Stage")})), Record(draft=draft()))
    trouble = {}
    for name, odd in ODD.items():
        for verb, ask in ways_to_ask(catalog, odd).items():
            try:
                found = ask()
            except NotCanonical:
                found = name not in MAY_BE_REFUSED
            except Exception as error:
                trouble[name, verb] = f"{type(error).__name__}: {str(error)[:200]}"
            else:
                if found and verb.rpartition(" ")[2] != "text":
                    trouble[name, verb] = f"found {found}"
    assert trouble == {}


def ways_to_ask(catalog, odd):
    """Return what asks for `odd` in every name and key of every read."""
    soon = datetime(2026, 1, 1, tzinfo=UTC)
    ways = {
        "model": lambda: catalog.model(odd),
        "model_named": lambda: catalog.model_named(odd),
        "batches": lambda: catalog.batches(odd),
        "version": lambda: catalog.version(odd, Semver.parse("1.0.0")),
        "versions": lambda: catalog.versions(odd),
        "run": lambda: catalog.run(odd),
        "steps": lambda: catalog.steps(odd),
        "setting": lambda: catalog.setting(odd),
        "entity": lambda: catalog.entity("agent", odd),
        "entities of a kind": lambda: catalog.entities(EntityQuery(kind=odd)),
    }
    listed = {
        "models": (ModelQuery, ("text", "tag")),
        "nodes": (NodeQuery, ("model", "kind", "text", "tag")),
        "edges": (EdgeQuery, ("model", "kind", "text", "tag")),
        "runs": (RunQuery, ("model", "status", "text")),
        "entries": (EntryQuery, ("action", "entity", "actor", "text")),
    }
    for verb, (kind, names) in listed.items():
        ways |= {
            f"{verb} by {name}": lambda v=verb, k=kind, n=name: getattr(catalog, v)(k(**{n: odd})) for name in names
        }
    for name in ("about", "text"):
        ways[f"entities by {name}"] = lambda n=name: catalog.entities(
            EntityQuery(kind="agent", due_before=soon, **{n: odd})
        )
    return ways
