"""Any sequence of commits, good and bad, leaves DuckDB as it leaves memory."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.domain.edits import AddNode, Change, Configure, Describe
from engine.domain.entities import End, KnowledgeDocument, Link
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage
from engine.domain.queries import EntityQuery, EntryQuery, ModelQuery, NodeQuery, RunQuery
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
from engine.errors import TreadleError
from engine.expressions import Cel
from engine.ledger.verification import verify
from engine.models import Models
from engine.storage.memory import MemoryCatalog
from engine.storage.sql.duckdb import open_duckdb
from engine.tethers import Registry
from tests.contract.samples import ODD_TEXTS, at, batch, draft, model, run, step, version

names = st.sampled_from(["Straße", "STRASSE", "Plain", "plain ", *ODD_TEXTS[:4]])
numbers = st.integers(1, 3)
nodes = st.dictionaries(st.sampled_from(["a", "b", "c"]), names, max_size=3).map(
    lambda found: {key: Stage(id=key, name=name) for key, name in found.items()}
)
models = st.builds(
    lambda number, name, kept, revision, gone: model(
        number, name=name, nodes=kept, revision=revision, deleted_at=at(1) if gone else None
    ),
    numbers,
    names,
    nodes,
    st.integers(0, 3),
    st.booleans(),
)
writes = st.one_of(
    st.builds(lambda made: InsertModel(model=made), models),
    st.builds(lambda made, expected: UpdateModel(model=made, expected_revision=expected), models, st.integers(0, 3)),
    st.builds(lambda n, revision, m: InsertBatch(batch=batch(n, of=f"m{m}"), revision=revision), *[numbers] * 3),
    st.builds(lambda n, m: InsertVersion(version=version(f"1.{n}.0", of=f"m{m}")), numbers, numbers),
    st.builds(
        lambda n, name, status: PutRun(run=run(n, error=name, status=status)),
        numbers,
        names,
        st.sampled_from(["running", "failed"]),
    ),
    st.builds(
        lambda n, m, name: PutSteps(steps=(step(f"s{n}", of=f"r{m}", started=n, error=name),)), numbers, numbers, names
    ),
    st.builds(lambda key, name: PutSetting(key=key, value={"v": name}), names, names),
    st.builds(
        lambda n, name, text, expected: PutEntity(
            entity=KnowledgeDocument(
                id=f"k{n}", name=name, content=text, updated_at=at(n), updated_by="you", revision=n
            ),
            expected_revision=expected,
        ),
        numbers,
        names,
        names,
        st.none() | st.integers(0, 3),
    ),
    st.builds(
        lambda n, expected: RemoveEntity(kind="knowledge", key=f"k{n}", expected_revision=expected),
        numbers,
        st.none() | st.integers(0, 3),
    ),
    st.builds(lambda n, m, name: Record(draft=draft(n, entity=f"m{m}", actor=name)), numbers, numbers, names),
)


class Ticking:
    """A clock of its own for each store: the same times and ids as long as both are asked the same."""

    def __init__(self):
        self._count = 0

    def now(self):
        self._count += 1
        return at(self._count)

    def new_id(self):
        self._count += 1
        return f"id-{self._count}"

    def noise(self):
        return 0.0

    def monotonic(self):
        return 0.0


REGISTRY, CEL = Registry(), Cel()
CONTRACT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
VALID = FunctionModel(
    id="valid",
    name="Valid",
    nodes={
        "in": Boundary(id="in", name="In", boundary="input", input_contract=CONTRACT),
        "out": Boundary(id="out", name="Out", boundary="output", output_contract=CONTRACT),
    },
    wires={"w": Wire(id="w", source="in", source_port="x", target="out", target_port="x")},
)
"""What can be published as it is."""


class Catalogs(RuleBasedStateMachine):
    """Do the same to both and compare."""

    def __init__(self):
        super().__init__()
        self.memory, self.store = MemoryCatalog(), self.begin()
        self.clocks = Ticking(), Ticking()
        self.made = []

    def begin(self):
        """Open a new store and return its catalog."""
        self.directory = Path(tempfile.mkdtemp())
        return self.open()

    def open(self):
        """Open the store again."""
        return open_duckdb(self.directory / "store.duckdb")

    def end(self):
        """Clear away what was opened."""
        shutil.rmtree(self.directory)

    def both(self, work):
        return self.outcome(work, self.memory), self.outcome(work, self.store)

    def both_models(self, work):
        """Do something to the models of both, and compare; return what came out."""
        right, found = (
            self.outcome(lambda catalog, clock=clock: work(Models(catalog, clock, REGISTRY, CEL)), catalog)
            for catalog, clock in zip((self.memory, self.store), self.clocks, strict=True)
        )
        assert found == right
        return right

    def outcome(self, work, catalog):
        try:
            return work(catalog)
        except TreadleError as error:
            return type(error), error.facts

    @rule(given=st.lists(writes, min_size=1, max_size=4))
    def commit(self, given):
        # a record in each commit gives every change a time of its own
        marks = [Record(draft=draft(self.memory.head().sequence + 10, entity=f"m{number}")) for number in (1, 2, 3)]
        right, found = self.both(lambda catalog: catalog.commit(*given, *marks))
        assert found == right

    @rule(text=names | st.sampled_from(["", "a", "S", "%"]), deleted=st.booleans())
    def search(self, text, deleted):
        right, found = self.both(lambda catalog: catalog.models(ModelQuery(text=text, deleted=deleted)))
        assert found == right
        right, found = self.both(
            lambda catalog: (catalog.runs(RunQuery(text=text)), catalog.entries(EntryQuery(text=text)))
        )
        assert found == right
        right, found = self.both(
            lambda catalog: (
                catalog.nodes(NodeQuery(text=text)),
                catalog.entities(EntityQuery(kind="knowledge", text=text)),
            )
        )
        assert found == right

    @rule(name=names, valid=st.booleans())
    def create(self, name, valid):
        made = self.both_models(lambda models: models.add(VALID, name=name) if valid else models.create(name))
        self.made += [made.id] if isinstance(made, FunctionModel) else []

    @precondition(lambda self: self.made)
    @rule(data=st.data(), name=names, key=st.sampled_from(["a", "b"]), behind=st.integers(0, 1))
    def edit(self, data, name, key, behind):
        model = data.draw(st.sampled_from(self.made))
        current = self.memory.model(model)
        described = Describe(changes=(Change(path=("description",), value=name),))
        named = Configure(id=key, changes=(Change(path=("name",), value=name),))
        edits = (described, named if key in current.nodes else AddNode(node=Stage(id=key, name=name)))
        base = max(0, current.revision - behind)
        self.both_models(lambda models: models.save(model, edits, base_revision=base))

    @precondition(lambda self: self.made)
    @rule(data=st.data(), verb=st.sampled_from(["publish", "archive", "delete", "recover"]))
    def change(self, data, verb):
        model = data.draw(st.sampled_from(self.made))
        self.both_models(lambda models: getattr(models, verb)(model))

    @precondition(lambda self: self.made)
    @rule(data=st.data(), type_=st.sampled_from(["nested", "documents"]), expected=st.none() | st.just(0))
    def link(self, data, type_, expected):
        ends = [End(feature="function-model", entity=data.draw(st.sampled_from(self.made))) for _ in range(2)]
        made = Link(id="l", source=ends[0], target=ends[1], type=type_, created_at=at(1), created_by="you", revision=1)
        right, found = self.both(lambda catalog: catalog.commit(PutEntity(entity=made, expected_revision=expected)))
        assert found == right

    @rule()
    def open_again(self):
        self.store.close()
        self.store = self.open()

    @invariant()
    def are_equal(self):
        right, found = self.both(self.everything)
        assert found == right

    def everything(self, catalog):
        known = [f"m{number}" for number in (1, 2, 3)]
        with catalog.ledger() as (head, rows):
            verified = verify(rows, head)
        return (
            [catalog.model(each) for each in (*known, *self.made)],
            [catalog.batches(each) for each in (*known, *self.made)],
            [catalog.versions(each) for each in (*known, *self.made)],
            [catalog.steps(f"r{number}") for number in (1, 2, 3)],
            [catalog.version("m1", Semver(major=1, minor=number)) for number in (1, 2)],
            catalog.models(),
            catalog.nodes(),
            catalog.edges(),
            catalog.entities(EntityQuery(kind="knowledge")),
            [catalog.entities(EntityQuery(kind="link", about=each)) for each in self.made],
            catalog.runs(),
            catalog.entries(),
            catalog.head(),
            verified,
        )

    def teardown(self):
        self.store.close()
        self.end()


Catalogs.TestCase.settings = settings(
    max_examples=8, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCatalogs = Catalogs.TestCase
