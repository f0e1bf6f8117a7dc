"""Writing entities: each a node of its kind, joined to what it is about."""

from __future__ import annotations

from engine.domain.entities import Agent, AnyEntity, Decision, End, Kind, KnowledgeDocument, Link, Monitor
from engine.domain.writes import PutEntity, RemoveEntity
from engine.errors import StaleRevision
from engine.storage.documents import entity_json, json_text
from engine.storage.folding import entity_search, shown
from engine.storage.neo4j.database import Cypher, Found
from engine.storage.neo4j.runs import JOIN_WATCHERS, step_uid
from engine.storage.neo4j.schema import uid_of

LABELS: dict[Kind, str] = {
    "link": "Link",
    "agent": "Agent",
    "knowledge": "Knowledge",
    "decision": "Decision",
    "monitor": "Monitor",
    "subscription": "Subscription",
    "dead-letter": "DeadLetter",
    "schedule": "Schedule",
    "key": "Key",
    "checkpoint": "Checkpoint",
}
_REVISION = "MATCH (e:Entity {organization: $organization, kind: $kind, uid: $uid}) RETURN e.revision AS revision"
_PUT = {
    kind: "MERGE (e:Entity {organization: $organization, kind: $kind, uid: $uid}) "
    f"SET e:{label}, e = $properties, e.organization = $organization, e.kind = $kind, e.uid = $uid"
    for kind, label in LABELS.items()
}
_REMOVE = "MATCH (e:Entity {organization: $organization, kind: $kind, uid: $uid}) DETACH DELETE e"

_DROP_LINK = """
    MATCH (l:Entity {organization: $organization, kind: 'link', uid: $uid})
    MATCH (l)-[:FROM]->(a:End) MATCH (l)-[:TO]->(b:End)
    OPTIONAL MATCH (a)-[old:LINKED {key: l.key}]->(b) DELETE old
    WITH DISTINCT l, a, b OPTIONAL MATCH (l)-[end:FROM|TO]->() DELETE end
    WITH DISTINCT a, b UNWIND [a, b] AS one WITH DISTINCT one WHERE NOT (one)<-[:FROM|TO]-() DETACH DELETE one
"""
_JOIN_LINK = """
    MATCH (l:Entity {organization: $organization, kind: 'link', uid: $uid})
    MERGE (a:End {organization: $organization, uid: $source.uid}) ON CREATE SET a += $source
    MERGE (b:End {organization: $organization, uid: $target.uid}) ON CREATE SET b += $target
    CREATE (l)-[:FROM]->(a) CREATE (l)-[:TO]->(b) CREATE (a)-[e:LINKED]->(b) SET e = $properties
"""
_JOIN_ENDS = (
    """UNWIND $uids AS uid MATCH (e:End {organization: $organization, uid: uid})
    WITH e WHERE e.feature = 'function-model' AND e.node IS NULL
    MATCH (m:Model {organization: $organization, id: e.entity}) MERGE (e)-[:IS]->(m)""",
    """UNWIND $uids AS uid MATCH (e:End {organization: $organization, uid: uid})
    WITH e WHERE e.feature = 'function-model' AND e.node IS NOT NULL
    MATCH (n:Node {organization: $organization, model: e.entity, id: e.node}) MERGE (e)-[:IS]->(n)""",
    """UNWIND $uids AS uid MATCH (e:End {organization: $organization, uid: uid})
    WITH e, {`ai-agent`: 'agent', `knowledge-base`: 'knowledge'}[e.feature] AS kind WHERE kind IS NOT NULL
    MATCH (k:Entity {organization: $organization, kind: kind, uid: e.entity}) MERGE (e)-[:IS]->(k)""",
)
_JOIN_ENTITY = """
    MATCH (k:Entity {organization: $organization, kind: $kind, uid: $uid})
    MATCH (e:End {organization: $organization, entity: $uid})
    WHERE e.feature = {agent: 'ai-agent', knowledge: 'knowledge-base'}[$kind] MERGE (e)-[:IS]->(k)
"""
_DROP_OPTIONS = """
    MATCH (:Entity {organization: $organization, kind: 'decision', uid: $uid})-[:OFFERED]->(o:Option) DETACH DELETE o
"""
_JOIN_DECISION = (
    """MATCH (d:Entity {organization: $organization, kind: 'decision', uid: $uid})
    UNWIND $options AS option CREATE (d)-[:OFFERED]->(o:Option) SET o = option, o.organization = $organization
    FOREACH (_ IN CASE WHEN option.id = d.chosen THEN [1] ELSE [] END | CREATE (d)-[:CHOSE]->(o))""",
    """MATCH (d:Entity {organization: $organization, kind: 'decision', uid: $uid})
    MATCH (r:Run {organization: $organization, id: d.run}) MERGE (r)-[:DECIDED]->(d)""",
)
_DROP_MONITOR = """
    MATCH (w:Entity {organization: $organization, kind: 'monitor', uid: $uid})
    MATCH (s:Step {organization: $organization, uid: w.step})-[e:MONITORS]->() WHERE e.key = w.key DELETE e
"""


def keep(cypher: Cypher, write: PutEntity | RemoveEntity) -> None:
    """Put or remove an entity. Nobody else does meanwhile: the turn was taken."""
    kind, key = (write.entity.kind, write.entity.key) if isinstance(write, PutEntity) else (write.kind, write.key)
    where = {"kind": kind, "uid": uid_of(key)}
    found = cypher.first(_REVISION, **where)
    current = 0 if found is None else found["revision"]
    if write.expected_revision not in {None, current}:
        raise StaleRevision(current=current, based_on=write.expected_revision)
    if found is not None:
        _part(cypher, kind, where["uid"])
    if isinstance(write, PutEntity):
        cypher.do(_PUT[kind], **where, properties={**_properties(write.entity), **_facts(write.entity)})
        _join(cypher, write.entity, where["uid"])
    elif found is not None:
        cypher.do(_REMOVE, **where)


def _properties(entity: AnyEntity) -> Found:
    return {
        "key": entity.key,
        "revision": entity.revision,
        "title": shown(entity.title),
        "about": [shown(one) for one in entity.about],
        "search": entity_search(entity),
        "due_at": entity.due_at,
        "body": json_text(entity_json(entity)),
    }


def _facts(entity: AnyEntity) -> Found:
    """Return what people and other statements ask for besides."""
    match entity:
        case Link():
            return {"type": entity.type, "strength": entity.strength}
        case Agent():
            return {"name": entity.name, "enabled": entity.enabled, "capabilities": list(entity.capabilities)}
        case KnowledgeDocument():
            return {"name": entity.name, "tags": list(entity.tags)}
        case Decision():
            facts = {"question": shown(entity.question), "chosen": entity.chosen, "chosen_by": entity.chosen_by}
            return {**facts, "run": entity.run, "path": entity.path, "step": step_uid(entity.run, entity.path)}
        case Monitor():
            steps = {"step": step_uid(entity.run, entity.path), "watched_step": step_uid(entity.run, entity.watched)}
            return {"run": entity.run, "path": entity.path, "watched": entity.watched, **steps}
        case _:
            return {}


def _part(cypher: Cypher, kind: Kind, uid: str) -> None:
    """Take an entity that is there out of its relations, before it is replaced or removed."""
    drops = {"link": _DROP_LINK, "decision": _DROP_OPTIONS, "monitor": _DROP_MONITOR}
    if kind in drops:
        cypher.do(drops[kind], uid=uid)


def _join(cypher: Cypher, entity: AnyEntity, uid: str) -> None:
    match entity:
        case Link():
            source, target = _end(entity.source), _end(entity.target)
            properties = {"key": entity.key, "type": entity.type, "strength": entity.strength}
            cypher.do(_JOIN_LINK, uid=uid, source=source, target=target, properties=properties)
            for statement in _JOIN_ENDS:
                cypher.do(statement, uids=[source["uid"], target["uid"]])
        case Decision():
            options = [option.model_dump(mode="json") for option in entity.options]
            for statement in _JOIN_DECISION:
                cypher.do(statement, uid=uid, options=options)
        case Agent() | KnowledgeDocument():
            cypher.do(_JOIN_ENTITY, kind=entity.kind, uid=uid)
        case _:
            pass
    if isinstance(entity, Decision | Monitor):
        for statement in JOIN_WATCHERS:
            cypher.do(statement, runs=[entity.run])


def _end(end: End) -> Found:
    known = {"feature": end.feature, "entity": end.entity, "node": end.node}
    return {"uid": uid_of(end.feature, end.entity, end.node or ""), **known}
