"""Any sequence of commits, good and bad, leaves DuckDB as it leaves memory."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.domain.entities import KnowledgeDocument
from engine.domain.nodes import Stage
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
from engine.ledger.verification import verify
from engine.storage.memory import MemoryCatalog
from engine.storage.sql.duckdb import open_duckdb
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


class Catalogs(RuleBasedStateMachine):
    """Do the same to both and compare."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "store.duckdb"
        self.memory, self.duckdb = MemoryCatalog(), open_duckdb(self.path)

    def both(self, work):
        return self.outcome(work, self.memory), self.outcome(work, self.duckdb)

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

    @rule()
    def open_again(self):
        self.duckdb.close()
        self.duckdb = open_duckdb(self.path)

    @invariant()
    def are_equal(self):
        right, found = self.both(self.everything)
        assert found == right

    def everything(self, catalog):
        known = [f"m{number}" for number in (1, 2, 3)]
        with catalog.ledger() as (head, rows):
            verified = verify(rows, head)
        return (
            [catalog.model(each) for each in known],
            [catalog.batches(each) for each in known],
            [catalog.versions(each) for each in known],
            [catalog.steps(f"r{number}") for number in (1, 2, 3)],
            [catalog.version("m1", Semver(major=1, minor=number)) for number in (1, 2)],
            catalog.models(),
            catalog.nodes(),
            catalog.edges(),
            catalog.entities(EntityQuery(kind="knowledge")),
            catalog.runs(),
            catalog.entries(),
            catalog.head(),
            verified,
        )

    def teardown(self):
        self.duckdb.close()
        shutil.rmtree(self.directory)


Catalogs.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCatalogs = Catalogs.TestCase
