"""The graph as docs/neo4j.md draws it: its queries, read from the page, and the same questions in Python."""

import re
from pathlib import Path

import pytest

from engine.domain.entities import Decision, End, Link, Monitor, Option
from engine.domain.model import Wire
from engine.domain.nodes import NestedModel, Stage, Tether
from engine.domain.queries import EdgeQuery, NodeQuery
from engine.domain.runs import Attempt
from engine.domain.values import Semver
from engine.domain.writes import (
    InsertBatch,
    InsertModel,
    InsertVersion,
    PutEntity,
    PutRun,
    PutSteps,
    Record,
    RemoveEntity,
    UpdateModel,
)
from engine.storage.neo4j import Graph, open_neo4j
from tests.contract.samples import at, batch, draft, model, run, step, version

PAGE = (Path(__file__).parents[2] / "docs" / "neo4j.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"^### (\d+)\..*?```cypher\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
ASKED = {"organization": "local", "model": "m1", "node": "read", "run": "r1", "step": "sub[0]/inner"}


def wires(*pairs):
    ends = [pair.split("-") for pair in pairs]
    return {
        f"{source}-{target}": Wire(id=f"{source}-{target}", source=source, source_port="o", target=target,
                                   target_port="i")
        for source, target in ends
    }  # fmt: skip


def flow(number=1, *pairs, **fields):
    names = {"stage", *(end for pair in pairs for end in pair.split("-"))}
    actions = {name: Tether(id=name, name=name.title(), parent="stage", reference="a.b") for name in names - {"stage"}}
    nodes = {"stage": Stage(id="stage", name="Stage"), **actions}
    return model(number, nodes=nodes, wires=wires(*pairs), **fields)


def nesting(number, reference):
    inner = NestedModel(id="sub", name="Sub", parent="stage", reference=reference)
    return model(number, nodes={"stage": Stage(id="stage", name="Stage"), "sub": inner})


def ended(path, number, status="succeeded", **fields):
    return step(path, status=status, attempts=(Attempt(number=1, started_at=at(number), ended_at=at(number + 1)),),
                **fields)  # fmt: skip


def decision(**fields):
    options = (Option(id="n", name="No"), Option(id="y", name="Yes"))
    return Decision(run="r1", path="ask", question="Go on?", options=options, opened_at=at(1), **fields)


def link(number, source, target, base):
    ends = [End(feature="function-model", entity=one) for one in (source, target)]
    return Link(id=f"l{number}", source=ends[0], target=ends[1], type="supports", base=base, created_at=at(1),
                created_by="you")  # fmt: skip


@pytest.fixture
def catalog(neo4j_url):
    opened = open_neo4j(neo4j_url)
    yield opened
    opened.close()


def write_all(catalog):
    """Write a little of everything, now before and now after what it belongs to."""
    steps = (
        ended("read", 1), ended("ask", 2, node="clean"), ended("clean", 3, "failed"), ended("sub[0]", 4, node="sub"),
        ended("sub[0]/inner", 5, node="inner"),
    )  # fmt: skip
    catalog.commit(
        InsertVersion(version=version("1.10.0", author="ada")), InsertVersion(version=version("1.0.0")),
        InsertBatch(batch=batch(1), revision=1), PutEntity(entity=decision(chosen="y", chosen_by="ada")),
        PutEntity(entity=Monitor(run="r1", path="ask", watched="read", ts=at(1))), PutSteps(steps=steps),
        PutRun(run=run(1, version=Semver.parse("1.9.0"))), PutEntity(entity=link(1, "m1", "m2", 0.25)),
        Record(draft=draft(1)), Record(draft=draft(2, action="model.published", actor="ada")),
    )  # fmt: skip
    nested = NestedModel(id="sub", name="Sub", parent="stage", reference="m2")
    whole = flow(1, "read-clean", "clean-write", "write-read")
    catalog.commit(InsertModel(model=whole.changed(nodes={**whole.nodes, "sub": nested})), Record(draft=draft(3)))
    catalog.commit(
        InsertModel(model=flow(2, "inner-last")), InsertModel(model=nesting(3, "m1")),
        InsertVersion(version=version("1.9.0")), InsertBatch(batch=batch(2, actor="ada"), revision=2),
        InsertBatch(batch=batch(3), revision=3), PutEntity(entity=link(2, "m2", "m3", 0.5)), PutSteps(steps=steps),
    )  # fmt: skip


EXPECTED = {
    "1": [
        ("read", None, "succeeded"), ("ask", None, "succeeded"), ("clean", None, "failed"),
        ("sub[0]", None, "succeeded"), ("sub[0]/inner", "sub[0]", "succeeded"),
    ],
    "2": [(["sub[0]/inner", "sub[0]"],)],
    "3": [("clean", "Clean"), ("read", "Read"), ("write", "Write")],
    "4": [(["clean", "write", "read", "clean"],)],
    "5": [("Go on?", ["No", "Yes"], "Yes", "ada")],
    "6": [("ask", "read", "succeeded")],
    "7": [(["1.0.0", "1.9.0", "1.10.0"],)],
    "8": [("you", "Model 1", 2, 2), ("ada", "Model 1", 1, 1)],
    "9": [("Model 1", "Clean", 1, 2)],
    "10": [("m2", "supports", "m3", 0.5), ("m1", "supports", "m2", 0.25)],
    "11": [("m3", "Model 3")],
    "12": [
        (1, "2026-01-01T12:01:00.123456Z", "you", "model.edited"),
        (2, "2026-01-01T12:02:00.123456Z", "ada", "model.published"),
        (3, "2026-01-01T12:03:00.123456Z", "you", "model.edited"),
    ],
}  # fmt: skip


def ask(catalog, query, **parameters):
    rows = catalog.database.read(lambda cypher: cypher.rows(query, **parameters))
    return [tuple(row.values()) for row in rows]


def test_the_page_has_a_query_for_each_answer():
    assert QUERIES.keys() == EXPECTED.keys()


def test_the_queries_of_the_page_give_what_was_written(catalog):
    write_all(catalog)
    given = {name: value for name, value in ASKED.items() if name != "organization"}
    assert {number: ask(catalog, query, **given) for number, query in QUERIES.items()} == EXPECTED


def test_the_same_questions_in_python(catalog):
    write_all(catalog)
    graph = Graph(catalog.database)
    assert [(branch.depth, branch.path) for branch in graph.tree("r1")] == [
        (0, "read"), (0, "ask"), (0, "clean"), (0, "sub[0]"), (1, "sub[0]/inner"),
    ]  # fmt: skip
    assert graph.path_to_root("m2") == ["m2", "m1", "m3"]
    assert graph.path_to_root("nobody") == ["nobody"]
    assert graph.impact("m1", "read") == {"clean": 1, "write": 2}
    assert graph.impact("m1", "nobody") == {}
    assert graph.cycles("m1") == [["clean", "write", "read"]]
    assert graph.cycles() == []
    assert graph.strongest("function-model", "m1") == pytest.approx({
        "function-model\nm2\n": 0.25, "function-model\nm3\n": 0.125,
    })  # fmt: skip
    assert graph.decisions("r1") == [("ask", "Go on?", ("n", "y"), "y", "ada")]
    assert graph.monitors("r1") == [("ask", "read")]
    assert graph.version_chain("m1") == ["1.0.0", "1.9.0", "1.10.0"]


def test_relations_follow_what_is_replaced_and_removed(catalog):
    write_all(catalog)
    catalog.commit(
        PutEntity(entity=decision(chosen="n", revision=1)), PutEntity(entity=link(1, "m3", "m1", 1.0)),
        RemoveEntity(kind="monitor", key="r1 ask read"),
    )  # fmt: skip
    asked = {"run": "r1"}
    assert ask(catalog, QUERIES["5"], **asked) == [("Go on?", ["No", "Yes"], "No", None)]
    assert ask(catalog, QUERIES["6"], **asked) == []
    assert ask(catalog, QUERIES["10"]) == [("m3", "supports", "m1", 1.0), ("m2", "supports", "m3", 0.5)]
    catalog.commit(RemoveEntity(kind="link", key="l1"), RemoveEntity(kind="link", key="l2"))
    assert ask(catalog, "MATCH (e:End {organization: $organization}) RETURN e.uid") == []
    catalog.commit(UpdateModel(model=nesting(3, "nobody").changed(revision=1), expected_revision=0))
    assert Graph(catalog.database).path_to_root("m2") == ["m2", "m1"]


def test_a_move_of_one_node_writes_that_node_and_no_other(catalog):
    whole = flow(1, *(f"n{number}-n{number + 1}" for number in range(30)))
    catalog.commit(InsertModel(model=whole))
    marked = "MATCH (n:Node {organization: $organization})-[e:WIRE]->() SET n.mark = 1, e.mark = 1"
    catalog.database.write(lambda cypher: cypher.do(marked))
    moved = whole.nodes["n3"].model_copy(update={"description": "moved"})
    catalog.commit(
        UpdateModel(model=whole.changed(nodes={**whole.nodes, "n3": moved}, revision=1), expected_revision=0)
    )
    unmarked = "WHERE n.mark IS NULL OR e.mark IS NULL RETURN n.id"
    assert ask(catalog, f"MATCH (n:Node {{organization: $organization}})-[e:WIRE]->() {unmarked}") == [("n3",)]
    assert catalog.model("m1").nodes["n3"].description == "moved"


def test_wires_that_have_lost_an_end_are_kept(catalog):
    broken = flow(1, "read-clean").changed(wires=wires("read-gone", "gone-clean"))
    catalog.commit(InsertModel(model=broken))
    assert catalog.model("m1") == broken
    assert "gone" not in [row.node for row in catalog.nodes()]
    assert [row.edge for row in catalog.edges()] == ["gone-clean", "read-gone"]
    assert [row.edge for row in catalog.edges(EdgeQuery(text="read"))] == ["read-gone"]
    mended = broken.changed(nodes={**broken.nodes, "gone": Stage(id="gone", name="Back")}, revision=1)
    catalog.commit(UpdateModel(model=mended, expected_revision=0))
    assert catalog.model("m1") == mended
    assert [row.node for row in catalog.nodes(NodeQuery(text="back"))] == ["gone"]
    assert [row.edge for row in catalog.edges(EdgeQuery(text="back"))] == ["gone-clean", "read-gone"]
    catalog.commit(UpdateModel(model=broken.changed(revision=2), expected_revision=1))
    assert catalog.model("m1") == broken.changed(revision=2)
    assert "gone" not in [row.node for row in catalog.nodes()]


def test_entries_are_chained_in_the_graph_too(catalog):
    for number in range(0, 9, 3):
        catalog.commit(*(Record(draft=draft(number + each)) for each in range(3)))
    chained = (
        "MATCH (e:Entry {organization: $organization})-[:PREVIOUS]->(p) RETURN e.sequence AS n, p.sequence ORDER BY n"
    )
    assert ask(catalog, chained) == [(number + 1, number) for number in range(1, 9)]


# ---- deep and wide ------------------------------------------------------------------------------------------------

FAR = 10_000


@pytest.mark.ci
def test_a_model_of_ten_thousand_nodes_in_a_row_is_kept_and_asked(catalog):
    row = flow(1, *(f"n{number:05}-n{number + 1:05}" for number in range(FAR)))
    catalog.commit(InsertModel(model=row))
    assert catalog.model("m1") == row
    graph = Graph(catalog.database)
    reached = graph.impact("m1", "n00000")
    assert (len(reached), reached[f"n{FAR:05}"]) == (FAR, FAR)
    assert graph.cycles("m1") == []
    round_again = row.changed(wires={**row.wires, **wires(f"n{FAR:05}-n00000")}, revision=1)
    catalog.commit(UpdateModel(model=round_again, expected_revision=0))
    (cycle,) = graph.cycles("m1")
    assert len(cycle) == FAR + 1


@pytest.mark.ci
def test_a_run_of_ten_thousand_steps_side_by_side_and_within_each_other(catalog):
    catalog.commit(PutRun(run=run(1)), PutSteps(steps=tuple(step(f"all[{number}]") for number in range(FAR))))
    graph = Graph(catalog.database)
    assert [branch.depth for branch in graph.tree("r1")] == [0] * FAR
    within = """
        MATCH (:Run {organization: $organization, id: 'r1'})-[:HAS_STEP]->(s:Step) WITH s ORDER BY s.path
        WITH collect(s) AS steps UNWIND range(1, size(steps) - 1) AS place
        WITH steps[place] AS inner, steps[place - 1] AS outer CREATE (inner)-[:PART_OF]->(outer)
    """
    catalog.database.write(lambda cypher: cypher.do(within))
    assert [branch.depth for branch in graph.tree("r1")] == list(range(FAR))


@pytest.mark.ci
def test_a_way_of_ten_thousand_models_to_the_root(catalog):
    nested = """
        UNWIND range(0, $far - 1) AS number
        CREATE (m:Model {organization: $organization, id: 'deep' + number})
            -[:HAS_NODE]->(:Node {organization: $organization, model: 'deep' + number, id: 'sub',
                nests: 'deep' + (number - 1)})
    """
    joined = """
        UNWIND range(1, $far - 1) AS number
        MATCH (n:Node {organization: $organization, model: 'deep' + number, id: 'sub'})
        MATCH (m:Model {organization: $organization, id: 'deep' + (number - 1)}) CREATE (n)-[:NESTS]->(m)
    """
    for statement in (nested, joined):
        catalog.database.write(lambda cypher, statement=statement: cypher.do(statement, far=FAR))
    path = Graph(catalog.database).path_to_root("deep0")
    assert (len(path), path[-1]) == (FAR, f"deep{FAR - 1}")
