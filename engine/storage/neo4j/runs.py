"""Writing runs, their steps and attempts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from engine.domain.runs import Run, Step
from engine.storage.documents import json_text, run_json, step_json
from engine.storage.folding import run_search, shown
from engine.storage.neo4j.database import Cypher, Found
from engine.storage.neo4j.schema import uid_of

_AT_ONCE = 2_000
_OF_ITEM = re.compile(r"\[\d+\]$")
_OF_ATTEMPT = re.compile(r"#\d+$")

_PUT_RUN = "MERGE (r:Run {organization: $organization, id: $run}) SET r = $properties, r.organization = $organization"
_JOIN_RUN = (
    """MATCH (r:Run {organization: $organization, id: $run})-[old:OF]->(other)
    WHERE coalesce(other.model, other.id) <> r.model OR (other:Version AND other.number <> coalesce(r.version, ''))
    DELETE old""",
    """MATCH (r:Run {organization: $organization, id: $run})
    MATCH (m:Model {organization: $organization, id: r.model}) MERGE (r)-[:OF]->(m)""",
    """MATCH (r:Run {organization: $organization, id: $run})
    MATCH (v:Version {organization: $organization, model: r.model, number: r.version}) MERGE (r)-[:OF]->(v)""",
    """MATCH (r:Run {organization: $organization, id: $run})
    MATCH (s:Step {organization: $organization, run: $run}) MERGE (r)-[:HAS_STEP]->(s)""",
    """MATCH (r:Run {organization: $organization, id: $run})
    MATCH (d:Entity {organization: $organization, run: $run}) WHERE d:Decision MERGE (r)-[:DECIDED]->(d)""",
)
_HAS_RUN = "MATCH (r:Run {organization: $organization, id: $run}) RETURN r.model = $model AND r.joined AS joined"
_PUT_STEPS = """
    UNWIND $rows AS row MERGE (s:Step {organization: $organization, uid: row.uid})
    SET s = row.properties, s.organization = $organization
    WITH s, row
    OPTIONAL MATCH (s)-[:ATTEMPT]->(old:Attempt) DETACH DELETE old
    WITH DISTINCT s, row
    FOREACH (attempt IN row.attempts | CREATE (s)-[:ATTEMPT]->(a:Attempt) SET a = attempt)
"""
_JOIN_STEPS = (
    """UNWIND $rows AS row MATCH (s:Step {organization: $organization, uid: row.uid})
    MATCH (r:Run {organization: $organization, id: row.run}) MERGE (r)-[:HAS_STEP]->(s)""",
    """UNWIND $rows AS row MATCH (s:Step {organization: $organization, uid: row.uid})
    UNWIND row.parents AS parent MATCH (p:Step {organization: $organization, uid: parent}) MERGE (s)-[:PART_OF]->(p)""",
)
_RUNS_AT_TOP = """
    UNWIND $rows AS row MATCH (s:Step {organization: $organization, uid: row.uid})
    MATCH (r:Run {organization: $organization, id: row.run})
    MATCH (n:Node {organization: $organization, model: r.model, id: row.node}) MERGE (s)-[:RUNS]->(n)
"""
_RUNS_INSIDE = """
    UNWIND $rows AS row MATCH (s:Step {organization: $organization, uid: row.uid})-[:PART_OF]->(p:Step)
    MATCH (p)-[:RUNS]->(:Node)-[:NESTS]->(m:Model)
    MATCH (n:Node {organization: $organization, model: m.id, id: row.node}) MERGE (s)-[:RUNS]->(n)
"""
JOIN_WATCHERS = (
    """UNWIND $runs AS run MATCH (w:Entity {organization: $organization, run: run}) WHERE w:Monitor
    MATCH (s:Step {organization: $organization, uid: w.step})
    MATCH (t:Step {organization: $organization, uid: w.watched_step})
    MERGE (s)-[e:MONITORS]->(t) SET e.organization = $organization, e.key = w.key""",
    """UNWIND $runs AS run MATCH (d:Entity {organization: $organization, run: run}) WHERE d:Decision
    MATCH (s:Step {organization: $organization, uid: d.step}) MERGE (s)-[:ASKED]->(d)""",
)
"""Decisions and monitors are joined to the steps they name, whichever came first."""


def put_run(cypher: Cypher, run: Run) -> None:
    """Insert or replace a run, and join it to what it is of."""
    found = cypher.first(_HAS_RUN, run=run.id, model=run.model)
    properties = {
        "id": run.id,
        "model": run.model,
        "model_name": shown(run.model_name),
        "version": None if run.version is None else str(run.version),
        "trial": run.trial,
        "status": run.status,
        "actor": shown(run.actor),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "duration_s": run.duration_s,
        "steps_total": run.steps_total,
        "steps_done": run.steps_done,
        "error": None if run.error is None else shown(run.error),
        "search": run_search(run),
        "body": json_text(run_json(run)),
        "model_file": None if run.model_file is None else json_text(run.model_file),
        "joined": f"{run.model} {run.version}",
    }
    cypher.do(_PUT_RUN, run=run.id, properties=properties)
    if found is None or found["joined"] != properties["joined"]:
        for statement in _JOIN_RUN:
            cypher.do(statement, run=run.id)


def put_steps(cypher: Cypher, steps: Sequence[Step]) -> None:
    """Insert or replace steps with their attempts, and join them to run, node and the step they are part of."""
    rows = {(step.run, step.path): _row(step) for step in steps}
    given = list(rows.values())
    known = {row["uid"] for row in given}
    for start in range(0, len(given), _AT_ONCE):
        cypher.do(_PUT_STEPS, rows=given[start : start + _AT_ONCE])
    places = [{"uid": row["uid"], "run": row["run"], "node": row["node"], "parents": row["parents"]} for row in given]
    for start in range(0, len(places), _AT_ONCE):
        for statement in _JOIN_STEPS:
            cypher.do(statement, rows=places[start : start + _AT_ONCE])
    del known
    for depth, found in _by_depth(given).items():
        for start in range(0, len(found), _AT_ONCE):
            cypher.do(_RUNS_INSIDE if depth else _RUNS_AT_TOP, rows=found[start : start + _AT_ONCE])
    runs = sorted({step.run for step in steps})
    for statement in JOIN_WATCHERS if runs else ():
        cypher.do(statement, runs=runs)


def step_uid(run: str, path: str) -> str:
    """Return the key of a step."""
    return uid_of(run, path)
