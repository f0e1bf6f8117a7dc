"""The queries behind lists: built from what is asked for.

A query is put together from phrases of ours; what users ask for goes in as parameters.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from engine.domain.events import Row
from engine.domain.queries import EdgeQuery, EntityQuery, EntryQuery, ModelQuery, NodeQuery, Page, RunQuery
from engine.storage.folding import fold
from engine.storage.neo4j.database import Found


class Asked(NamedTuple):
    """A query and its parameters."""

    query: str
    parameters: Found


_MODEL_ROW = """
    RETURN m.id AS id, m.name AS name, m.description AS description, m.status AS status, m.revision AS revision,
        m.version AS version, m.tags AS tags, m.nodes AS nodes, m.updated_at AS updated_at, m.deleted_at AS deleted_at
    ORDER BY m.updated_at DESC, m.id DESC SKIP $offset LIMIT $limit
"""


_WITH_TEXT = """
    MATCH (t:SearchText {organization: $organization}) WHERE t.model IS NOT NULL AND t.text CONTAINS $text
    WITH t MATCH (t)-[:FINDS]->(m) WITH m
"""


def list_models(query: ModelQuery) -> Asked:
    """Return the query for a list of models."""
    wanted = ["m.id IS NOT NULL", "m.deleted_at IS NOT NULL" if query.deleted else "m.deleted_at IS NULL"]
    if query.tag is not None:
        wanted.append("$tag IN m.tag_keys")
    found = _WITH_TEXT if query.text else ""
    cypher = f"{found} MATCH (m:Model {{organization: $organization}}) WHERE {_all(wanted)} {_MODEL_ROW}"
    return Asked(cypher, _parameters(query))


def list_nodes(query: NodeQuery) -> Asked:
    """Return the query for a list of nodes of models that are not deleted."""
    wanted = [
        "m.id IS NOT NULL",
        "m.deleted_at IS NULL",
        "NOT n:Missing",
        *_equal(("n.kind", "kind", query.kind)),
        *_named("n", query),
    ]
    cypher = (
        f"MATCH (m:Model {_of(query.model)})-[:HAS_NODE]->(n:Node) WHERE {_all(wanted)} "
        "RETURN m.id AS model, n.id AS node, n.kind AS kind, n.name AS name, n.tags AS tags "
        "ORDER BY model, node SKIP $offset LIMIT $limit"
    )
    return Asked(cypher, _parameters(query))


def list_edges(query: EdgeQuery) -> Asked:
    """Return the query for a list of wires and dependencies of models that are not deleted."""
    types = {None: "WIRE|PRECEDES", "wire": "WIRE", "dependency": "PRECEDES"}
    wanted = ["m.id IS NOT NULL", "m.deleted_at IS NULL"]
    if query.text or query.tag is not None:
        ends = [_all([f"NOT {end}:Missing", *_named(end, query)]) for end in ("s", "t")]
        wanted.append(f"(({ends[0]}) OR ({ends[1]}))")
    if query.kind not in types:
        wanted.append("false")
    cypher = (
        f"MATCH (m:Model {_of(query.model)})-[:HAS_NODE]->(s:Node)-[e:{types.get(query.kind, 'WIRE')}]->(t:Node) "
        f"WHERE {_all(wanted)} RETURN m.id AS model, e.id AS edge, "
        "CASE type(e) WHEN 'WIRE' THEN 'wire' ELSE 'dependency' END AS kind, s.id AS source, "
        "e.source_port AS source_port, t.id AS target, e.target_port AS target_port "
        "ORDER BY model, edge, kind SKIP $offset LIMIT $limit"
    )
    return Asked(cypher, _parameters(query))


def list_runs(query: RunQuery) -> Asked:
    """Return the query for a list of runs."""
    wanted = [
        "r.created_at IS NOT NULL",
        *_equal(("r.model", "model", query.model), ("r.status", "status", query.status)),
    ]
    if query.text:
        wanted.append("r.search CONTAINS $text")
    cypher = (
        f"MATCH (r:Run {{organization: $organization}}) WHERE {_all(wanted)} "
        "RETURN r.body AS body ORDER BY r.created_at DESC, r.id DESC SKIP $offset LIMIT $limit"
    )
    return Asked(cypher, _parameters(query))


_ENTRY = ", ".join(f"e.{name}" for name in Row._fields)


def list_entries(query: EntryQuery) -> Asked:
    """Return the query for ledger entries, with the mark of the head and how many of the last commit's are seen."""
    asked = {"action": query.action, "entity": query.entity, "actor": query.actor}
    wanted = ["e.sequence > $after", "e.sequence <= last"]
    if query.before is not None:
        wanted.append("e.sequence < $before")
    wanted += _equal(*((f"e.{name}", name, value) for name, value in asked.items()))
    if query.text:
        wanted.append("e.search CONTAINS $text")
    cypher = f"""
        MATCH (h:LedgerHead {{organization: $organization}})
        WITH h.mark AS mark, [each IN split(h.mark, ' ') | toInteger(each)] AS parts
        OPTIONAL MATCH (e:Entry {{organization: $organization}})
        WHERE e.sequence > parts[2] AND e.sequence <= parts[0]
        WITH mark, parts[0] AS last, count(e) AS seen
        CALL {{
            WITH last MATCH (e:Entry {{organization: $organization}}) WHERE {_all(wanted)}
            WITH e ORDER BY e.sequence {"DESC" if query.newest_first else ""} LIMIT $limit
            RETURN collect([{_ENTRY}]) AS rows
        }}
        RETURN mark, seen, rows
    """
    return Asked(cypher, {**asdict(query), "text": query.text.lower()})


LEDGER = f"""
    MATCH (e:Entry {{organization: $organization}}) WHERE e.sequence > $after AND e.sequence <= $last
    RETURN [{_ENTRY}] AS row ORDER BY e.sequence LIMIT $limit
"""


def list_entities(query: EntityQuery) -> Asked:
    """Return the query for a list of entities."""
    wanted = ["e.uid IS NOT NULL"]
    order = "e.key"
    if query.about is not None:
        wanted.append("$about IN e.about")
    if query.text:
        wanted.append("e.search CONTAINS $text")
    if query.due_before is not None:
        wanted.append("e.due_at < $due_before")
        order = "e.due_at, e.key"
    cypher = (
        f"MATCH (e:Entity {{organization: $organization, kind: $kind}}) WHERE {_all(wanted)} "
        f"RETURN e.body AS body ORDER BY {order} SKIP $offset LIMIT $limit"
    )
    return Asked(cypher, _parameters(query))


def _of(model: str | None) -> str:
    return "{organization: $organization}" if model is None else "{organization: $organization, id: $model}"


def _named(name: str, query: NodeQuery) -> list[str]:
    wanted: list[str] = []
    if query.text:
        wanted.append(f"{name}.search CONTAINS $text")
    if query.tag is not None:
        wanted.append(f"$tag IN {name}.tag_keys")
    return wanted


def _equal(*pairs: tuple[str, str, Any]) -> list[str]:
    return [f"{place} = ${name}" for place, name, value in pairs if value is not None]


def _all(wanted: list[str]) -> str:
    return " AND ".join(wanted)


def _parameters(query: Page) -> Found:
    """Return what is asked for by name, texts folded."""
    asked = asdict(query)
    return asked | {name: fold(asked[name]) for name in ("text", "tag") if asked.get(name) is not None}
