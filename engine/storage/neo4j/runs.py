"""Writing runs, their steps and attempts."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence

from engine.domain.runs import Run, Step
from engine.storage import columns
from engine.storage.documents import json_text, run_json, step_json
from engine.storage.folding import shown
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
_JOINED = "MATCH (r:Run {organization: $organization, id: $run}) RETURN r.joined AS joined"
_BY_UID = "USING INDEX s:Step(organization, uid)"
"""Told to the planner: while there are few relationships yet, it would rather read all of them, for each row."""
_REMOVE_ATTEMPTS = f"""
    UNWIND $rows AS row MATCH (s:Step {{organization: $organization, uid: row.uid}})-[:ATTEMPT]->(a) {_BY_UID}
    DETACH DELETE a
"""
_PUT_STEPS = """
    UNWIND $rows AS row MERGE (s:Step {organization: $organization, uid: row.uid})
    SET s = row.properties, s.organization = $organization
    FOREACH (attempt IN row.attempts |
        CREATE (s)-[:ATTEMPT]->(a:Attempt) SET a = attempt, a.organization = $organization)
"""
_JOIN_STEPS = (
    """UNWIND $rows AS row MATCH (s:Step {organization: $organization, uid: row.uid})
    MATCH (r:Run {organization: $organization, id: row.run}) MERGE (r)-[:HAS_STEP]->(s)""",
    """UNWIND $rows AS row WITH row WHERE row.part_of IS NOT NULL
    MATCH (s:Step {organization: $organization, uid: row.uid})
    MATCH (p:Step {organization: $organization, uid: row.part_of}) MERGE (s)-[:PART_OF]->(p)""",
)
_RUNS_AT_TOP = """
    UNWIND $rows AS row MATCH (s:Step {organization: $organization, uid: row.uid})
    MATCH (r:Run {organization: $organization, id: row.run})
    MATCH (n:Node {organization: $organization, model: r.model, id: row.node}) MERGE (s)-[:RUNS]->(n)
"""
_RUNS_INSIDE = f"""
    UNWIND $rows AS row MATCH (s:Step {{organization: $organization, uid: row.uid}})-[:PART_OF]->(p:Step) {_BY_UID}
    MATCH (p)-[:RUNS]->(:Node)-[:NESTS]->(m:Model)
    MATCH (n:Node {{organization: $organization, model: m.id, id: row.node}}) MERGE (s)-[:RUNS]->(n)
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
    found = cypher.first(_JOINED, run=run.id)
    properties = {
        **columns.of_run(run),
        "duration_s": run.duration_s,
        "error": None if run.error is None else shown(run.error),
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
    last = {step_uid(step.run, step.path): step for step in steps}
    rows = [
        {"uid": uid, "properties": _properties(uid, step), "attempts": _attempts(step)} for uid, step in last.items()
    ]
    for page in _pages(rows):
        cypher.do(_REMOVE_ATTEMPTS, rows=[{"uid": row["uid"]} for row in page])
        cypher.do(_PUT_STEPS, rows=page)
    places = [_place(uid, step, last) for uid, step in last.items()]
    for page in _pages(places):
        for statement in _JOIN_STEPS:
            cypher.do(statement, rows=page)
    by_depth: dict[int, list[Found]] = {}
    for place in places:
        by_depth.setdefault(place["depth"], []).append(place)
    for depth in sorted(by_depth):
        for page in _pages(by_depth[depth]):
            cypher.do(_RUNS_INSIDE if depth else _RUNS_AT_TOP, rows=page)
    runs = sorted({step.run for step in steps})
    for statement in JOIN_WATCHERS if runs else ():
        cypher.do(statement, runs=runs)


def step_uid(run: str, path: str) -> str:
    """Return the key of a step."""
    return uid_of(run, path)


def _properties(uid: str, step: Step) -> Found:
    own = {"uid": uid, "duration_s": step.duration_s, "body": json_text(step_json(step))}
    return columns.of_step(step) | own


def _attempts(step: Step) -> list[Found]:
    return [
        {
            "number": attempt.number,
            "status": attempt.status,
            "started_at": attempt.started_at,
            "ended_at": attempt.ended_at,
            "error": None if attempt.error is None else shown(attempt.error),
            "idempotency_key": attempt.idempotency_key,
        }
        for attempt in step.attempts
    ]


def _place(uid: str, step: Step, known: Container[str]) -> Found:
    """Say what a step is joined to: run, node, and the step around it, as far as that is told by its path."""
    around = step.path.rpartition("/")[0]
    first_try = _OF_ATTEMPT.sub("", around)
    wanted = [step_uid(step.run, path) for path in (around, first_try, _OF_ITEM.sub("", first_try)) if path]
    part_of = next((each for each in wanted if each in known), wanted[0] if wanted else None)
    return {"uid": uid, "run": step.run, "node": step.node, "part_of": part_of, "depth": step.path.count("/")}


def _pages(rows: list[Found]) -> Iterator[list[Found]]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
