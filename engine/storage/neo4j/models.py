"""Writing models: the graph of a new one, and of an old one whatever differs."""

from __future__ import annotations

from datetime import datetime

from engine.domain.model import FunctionModel
from engine.errors import ModelExists, ModelNotFound, StaleRevision, StoreConflict
from engine.storage.folding import fold, model_search, shown
from engine.storage.neo4j.database import Cypher, Found
from engine.storage.neo4j.elements import Elements, Line, elements_of

_AT_ONCE = 5_000
"""How many rows one statement takes: the server keeps them all in memory."""

_BEFORE = """
    OPTIONAL MATCH (m:Model {organization: $organization, id: $model})
    OPTIONAL MATCH (taken:Model {organization: $organization, taken_name: $name})
    RETURN m.revision AS revision, m.points_key AS points_key, m.lines_key AS lines_key, taken.id AS taken
"""
_CREATE = """
    CREATE (t:SearchText)-[:FINDS]->(m:Model)
    SET m = $properties, t.organization = $organization, t.model = $model, t.text = $text
"""
"""The text that a search looks at has a node of its own: Neo4j reads a node's properties one after the other."""
_UPDATE = """
    MATCH (m:Model {organization: $organization, id: $model})
    MATCH (t:SearchText {organization: $organization, model: $model})
    SET m = $properties, t.text = $text
"""
_ADOPT = (
    """MATCH (m:Model {organization: $organization, id: $model})
    MATCH (v:Version {organization: $organization, model: $model}) WHERE v.number IS NOT NULL
    MERGE (m)-[:HAS_VERSION]->(v)""",
    """MATCH (m:Model {organization: $organization, id: $model})
    MATCH (b:Batch {organization: $organization, model: $model}) WHERE b.revision >= 0 MERGE (b)-[:EDITED]->(m)""",
    """MATCH (m:Model {organization: $organization, id: $model})
    MATCH (r:Run {organization: $organization, model: $model}) MERGE (r)-[:OF]->(m)""",
    """MATCH (m:Model {organization: $organization, id: $model})
    MATCH (n:Node {organization: $organization, nests: $model}) MERGE (n)-[:NESTS]->(m)""",
    """MATCH (m:Model {organization: $organization, id: $model})
    MATCH (e:End {organization: $organization, entity: $model}) WHERE e.feature = 'function-model' AND e.node IS NULL
    MERGE (e)-[:IS]->(m)""",
)
"""What was there before its model is joined to it."""
_BY_ID = "USING INDEX m:Model(organization, id)"
"""Told to the planner: while there are few relationships yet, it would rather read all of them."""
_POINTS = f"""
    MATCH (m:Model {{organization: $organization, id: $model}})-[:HAS_NODE]->(n) {_BY_ID}
    RETURN n.id AS id, n.digest AS digest
"""
_LINES = f"""
    MATCH (m:Model {{organization: $organization, id: $model}})-[:HAS_NODE]->(s)-[e:WIRE|PRECEDES|IN]->() {_BY_ID}
    RETURN type(e) AS type, e.id AS id, e.digest AS digest, s.id AS source
"""
_LABELS = """
    FOREACH (_ IN CASE row.tier WHEN 'action' THEN [1] ELSE [] END | SET n:Action)
    FOREACH (_ IN CASE row.tier WHEN 'container' THEN [1] ELSE [] END | SET n:Container)
    FOREACH (_ IN CASE row.tier WHEN 'missing' THEN [1] ELSE [] END | SET n:Missing)
"""
_ADD_POINTS = f"""
    MATCH (m:Model {{organization: $organization, id: $model}}) UNWIND $rows AS row
    CREATE (m)-[:HAS_NODE]->(n:Node) SET n = row {_LABELS}
"""
_CHANGE_POINTS = f"""
    UNWIND $rows AS row MATCH (n:Node {{organization: $organization, model: $model, id: row.id}})
    SET n = row REMOVE n:Action:Container:Missing {_LABELS}
    WITH n OPTIONAL MATCH (n)-[old:NESTS]->() DELETE old
"""
_REMOVE_POINTS = """
    UNWIND $ids AS id MATCH (n:Node {organization: $organization, model: $model, id: id}) DETACH DELETE n
"""
_JOIN_NESTED = """
    UNWIND $ids AS id MATCH (n:Node {organization: $organization, model: $model, id: id})
    MATCH (m:Model {organization: $organization, id: n.nests}) MERGE (n)-[:NESTS]->(m)
"""
_JOIN_ENDS = """
    MATCH (e:End {organization: $organization, entity: $model}) WHERE e.feature = 'function-model' AND e.node IN $ids
    MATCH (n:Node {organization: $organization, model: $model, id: e.node}) MERGE (e)-[:IS]->(n)
"""


def _ends(of: str) -> str:
    return f"{of}:Node {{organization: $organization, model: $model, id: row"


_ADD_LINES = {
    name: f"UNWIND $rows AS row MATCH ({_ends('s')}.source}}) MATCH ({_ends('t')}.target}}) "
    f"CREATE (s)-[e:{name}]->(t) SET e = row.properties"
    for name in ("WIRE", "PRECEDES", "IN")
}
_REMOVE_LINES = {
    name: f"UNWIND $rows AS row MATCH ({_ends('s')}.source}})-[e:{name}]->() "
    "USING INDEX s:Node(organization, model, id) WHERE e.id = row.id DELETE e"
    for name in ("WIRE", "PRECEDES", "IN")
}


def insert_model(cypher: Cypher, model: FunctionModel, updated_at: datetime) -> None:
    """Add a model and its graph; what was kept about it before is joined to it."""
    before = _before(cypher, model)
    if before["revision"] is not None:
        raise StoreConflict
    _refuse_namesake(before, model)
    elements = elements_of(model, model.organization)
    cypher.do(_CREATE, **_changed(model, elements, updated_at))
    _add_points(cypher, model.id, list(elements.points.values()))
    _add_lines(cypher, model.id, elements.lines)
    for statement in _ADOPT:
        cypher.do(statement, model=model.id)


def update_model(cypher: Cypher, model: FunctionModel, expected: int, updated_at: datetime) -> None:
    """Replace a model: its own properties, and of its graph what differs."""
    before = _before(cypher, model)
    if before["revision"] is None:
        raise ModelNotFound(name=model.id)
    if before["revision"] != expected:
        raise StaleRevision(current=before["revision"], based_on=expected)
    _refuse_namesake(before, model)
    elements = elements_of(model, model.organization)
    cypher.do(_UPDATE, **_changed(model, elements, updated_at))
    stored = _stored_lines(cypher, model.id) if before["lines_key"] != elements.lines_key else None
    if stored is not None:
        _remove_lines(cypher, model.id, elements, stored)
    if before["points_key"] != elements.points_key:
        _change_points(cypher, model.id, elements)
    if stored is not None:
        _add_lines(cypher, model.id, [line for line in elements.lines if line.key not in stored])


def _before(cypher: Cypher, model: FunctionModel) -> Found:
    found = cypher.first(_BEFORE, model=model.id, name=fold(model.name))
    assert found is not None
    return found


def _refuse_namesake(before: Found, model: FunctionModel) -> None:
    if model.deleted_at is None and before["taken"] not in {None, model.id}:
        raise ModelExists(name=model.name)


def _changed(model: FunctionModel, elements: Elements, updated_at: datetime) -> Found:
    properties = {
        "organization": model.organization,
        "id": model.id,
        "name": model.name,
        "taken_name": fold(model.name) if model.deleted_at is None else None,
        "description": shown(model.description),
        "status": model.status,
        "revision": model.revision,
        "version": None if model.version is None else str(model.version),
        "owner": model.owner,
        "tags": list(model.tags),
        "tag_keys": [fold(tag) for tag in model.tags],
        "nodes": len(model.nodes),
        "updated_at": updated_at,
        "deleted_at": model.deleted_at,
        "points_key": elements.points_key,
        "lines_key": elements.lines_key,
        "check": elements.check,
        "body": elements.body,
    }
    return {"model": model.id, "properties": properties, "text": model_search(model)}


def _change_points(cypher: Cypher, model: str, elements: Elements) -> None:
    stored = {row["id"]: row["digest"] for row in cypher.rows(_POINTS, model=model)}
    gone = [key for key in stored if key not in elements.points]
    new = [point for key, point in elements.points.items() if key not in stored]
    changed = [point for key, point in elements.points.items() if stored.get(key, point["digest"]) != point["digest"]]
    for start in range(0, len(gone), _AT_ONCE):
        cypher.do(_REMOVE_POINTS, model=model, ids=gone[start : start + _AT_ONCE])
    for start in range(0, len(changed), _AT_ONCE):
        cypher.do(_CHANGE_POINTS, model=model, rows=changed[start : start + _AT_ONCE])
    _join_nested(cypher, model, changed)
    _add_points(cypher, model, new)


def _add_points(cypher: Cypher, model: str, points: list[Found]) -> None:
    for start in range(0, len(points), _AT_ONCE):
        cypher.do(_ADD_POINTS, model=model, rows=points[start : start + _AT_ONCE])
    if points:
        _join_nested(cypher, model, points)
        cypher.do(_JOIN_ENDS, model=model, ids=[point["id"] for point in points])


def _join_nested(cypher: Cypher, model: str, points: list[Found]) -> None:
    """Join nodes that name another model to it."""
    nested = [point["id"] for point in points if "nests" in point]
    if nested:
        cypher.do(_JOIN_NESTED, model=model, ids=nested)


def _stored_lines(cypher: Cypher, model: str) -> dict[tuple[str, str, str], str]:
    """Return the source of each line by its key."""
    rows = cypher.rows(_LINES, model=model)
    return {(row["type"], row["id"], row["digest"]): row["source"] for row in rows}


def _remove_lines(cypher: Cypher, model: str, elements: Elements, stored: dict[tuple[str, str, str], str]) -> None:
    """Remove the lines that are gone, before the nodes at their ends are."""
    wanted = {line.key for line in elements.lines}
    by_type: dict[str, list[Found]] = {}
    for key, source in stored.items():
        if key not in wanted:
            by_type.setdefault(key[0], []).append({"id": key[1], "source": source})
    for name, rows in by_type.items():
        for start in range(0, len(rows), _AT_ONCE):
            cypher.do(_REMOVE_LINES[name], model=model, rows=rows[start : start + _AT_ONCE])


def _add_lines(cypher: Cypher, model: str, lines: tuple[Line, ...] | list[Line]) -> None:
    by_type: dict[str, list[Found]] = {}
    for line in lines:
        row = {"source": line.source, "target": line.target, "properties": line.properties}
        by_type.setdefault(line.type, []).append(row)
    for name, rows in by_type.items():
        for start in range(0, len(rows), _AT_ONCE):
            cypher.do(_ADD_LINES[name], model=model, rows=rows[start : start + _AT_ONCE])
