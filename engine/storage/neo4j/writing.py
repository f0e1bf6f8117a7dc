"""One commit: its writes, performed in order inside one transaction that takes the ledger's head first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from engine.domain.edits import EditBatch
from engine.domain.events import Draft, Entry, Head
from engine.domain.values import Semver
from engine.domain.versions import Version
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
    Write,
)
from engine.errors import LedgerTampered, StoreConflict
from engine.ledger.chain import link, row_of
from engine.storage import columns
from engine.storage.changes import change_times
from engine.storage.documents import batch_json, json_text, version_json
from engine.storage.folding import entry_search, shown
from engine.storage.neo4j.database import Cypher
from engine.storage.neo4j.entities import keep
from engine.storage.neo4j.models import insert_model, update_model
from engine.storage.neo4j.runs import put_run, put_steps
from engine.storage.neo4j.schema import uid_of

_TOKENS = 32
"""How many commits back it can be told whether one was done."""

_TAKE_TURN = f"""
    MATCH (h:LedgerHead {{organization: $organization}})
    SET h.turn = h.turn + 1, h.tokens = ($token + h.tokens)[..{_TOKENS}] RETURN h.mark AS mark
"""
"""Take the head's lock: commits come one after the other, whoever makes them, and none waits for another crosswise."""
_WAS_DONE = """
    MATCH (h:LedgerHead {organization: $organization}) SET h.turn = h.turn + 1 RETURN $token IN h.tokens AS was_done
"""
_RECORD = """
    MATCH (h:LedgerHead {organization: $organization}) SET h.sequence = $sequence, h.hash = $hash, h.mark = $mark
    WITH h UNWIND $rows AS row CREATE (e:Entry) SET e = row, e.organization = $organization
    WITH collect(e) AS made
    OPTIONAL MATCH (last:Entry {organization: $organization, sequence: $before})
    WITH CASE WHEN last IS NULL THEN made ELSE [last] + made END AS chain
    UNWIND range(1, size(chain) - 1) AS place
    WITH chain[place] AS e, chain[place - 1] AS p CREATE (e)-[:PREVIOUS]->(p)
"""
_INSERT_BATCH = """
    CREATE (b:Batch) SET b = $properties, b.organization = $organization
    MERGE (a:Actor {organization: $organization, id: $properties.actor}) CREATE (a)-[:MADE]->(b)
    WITH b MATCH (m:Model {organization: $organization, id: $properties.model}) CREATE (b)-[:EDITED]->(m)
"""
_NUMBERS = """
    MATCH (v:Version {organization: $organization, model: $model}) WHERE v.number IS NOT NULL RETURN v.number AS number
"""
_INSERT_VERSION = """
    CREATE (v:Version) SET v = $properties, v.organization = $organization
    MERGE (a:Actor {organization: $organization, id: $properties.author}) CREATE (a)-[:PUBLISHED]->(v)
    WITH v MATCH (m:Model {organization: $organization, id: $properties.model}) CREATE (m)-[:HAS_VERSION]->(v)
"""
_CHAIN_VERSION = (
    """MATCH (p:Version {organization: $organization, model: $model, number: $before})
    OPTIONAL MATCH (p)-[old:NEXT]->() DELETE old
    WITH p MATCH (v:Version {organization: $organization, model: $model, number: $number}) MERGE (p)-[:NEXT]->(v)""",
    """MATCH (n:Version {organization: $organization, model: $model, number: $after})
    MATCH (v:Version {organization: $organization, model: $model, number: $number}) MERGE (v)-[:NEXT]->(n)""",
    """MATCH (v:Version {organization: $organization, model: $model, number: $number})
    MATCH (r:Run {organization: $organization, model: $model}) WHERE r.version = $number MERGE (r)-[:OF]->(v)""",
)
_PUT_SETTING = """
    MERGE (s:Setting {organization: $organization, uid: $uid}) SET s.key = $key, s.value = $value
"""


class Mark(NamedTuple):
    """The ledger's head as one property: two could be read from different commits."""

    head: Head
    before: int
    """The head's sequence before the last commit: entries up to there are visible to everybody."""

    @property
    def text(self) -> str:
        """How it is kept."""
        return f"{self.head.sequence} {self.head.hash} {self.before}"

    @classmethod
    def read(cls, text: object) -> Mark:
        """Read back `text`; `LedgerTampered` if it isn't there or was altered."""
        try:
            sequence, own, before = str(text).split(" ")
            return cls(Head(sequence=int(sequence), hash=own), int(before))
        except ValueError:
            raise LedgerTampered(reason="its head is missing or was altered") from None


class Commit(NamedTuple):
    """Writes to be done once."""

    writes: Sequence[Write]
    now: datetime
    token: str
    """By which it is known whether it was done."""

    def perform(self, cypher: Cypher) -> tuple[Entry, ...]:
        """Do all writes in order and chain the entries; whatever raises leaves the transaction to be rolled back."""
        head = take_turn(cypher, self.token).head
        times = change_times(self.writes, self.now)
        drafts: list[Draft] = []
        for write in self.writes:
            match write:
                case InsertModel(model=model):
                    insert_model(cypher, model, times[model.id])
                case UpdateModel(model=model, expected_revision=expected):
                    update_model(cypher, model, expected, times[model.id])
                case PutEntity() | RemoveEntity():
                    keep(cypher, write)
                case Record(draft=draft):
                    drafts.append(draft)
                case _:
                    _put(cypher, write)
        return _record(cypher, head, drafts) if drafts else ()

    def was_done(self, cypher: Cypher) -> bool:
        """Tell whether this was done; waits for whoever has the turn."""
        found = cypher.first(_WAS_DONE, token=self.token)
        return found is not None and bool(found["was_done"])


def take_turn(cypher: Cypher, token: str) -> Mark:
    """Wait until nobody else commits; the turn is ours until the transaction ends."""
    found = cypher.first(_TAKE_TURN, token=token)
    return Mark.read(None if found is None else found["mark"])


def _put(cypher: Cypher, write: InsertBatch | InsertVersion | PutRun | PutSteps | PutSetting) -> None:
    match write:
        case InsertBatch(batch=batch, revision=revision):
            _insert_batch(cypher, batch, revision)
        case InsertVersion(version=version):
            _insert_version(cypher, version)
        case PutRun(run=run):
            put_run(cypher, run)
        case PutSteps(steps=steps):
            put_steps(cypher, steps)
        case PutSetting(key=key, value=value):
            cypher.do(_PUT_SETTING, uid=uid_of(key), key=key, value=json_text(value))


def _record(cypher: Cypher, head: Head, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
    entries = link(head, drafts)
    rows = [{**row_of(entry)._asdict(), "search": entry_search(entry)} for entry in entries]
    last = entries[-1]
    mark = Mark(Head(sequence=last.sequence, hash=last.hash), head.sequence)
    facts = {"sequence": last.sequence, "before": head.sequence, "hash": last.hash, "mark": mark.text}
    cypher.do(_RECORD, rows=rows, **facts)
    return entries


def _insert_batch(cypher: Cypher, batch: EditBatch, revision: int) -> None:
    """Keep a batch; one of this revision that is there already violates a constraint, which is a `StoreConflict`."""
    own = {"edits": len(batch.edits), "body": json_text(batch_json(batch))}
    cypher.do(_INSERT_BATCH, properties=columns.of_batch(batch, revision) | own)


def _insert_version(cypher: Cypher, version: Version) -> None:
    own = version.number
    numbers = [Semver.parse(row["number"]) for row in cypher.rows(_NUMBERS, model=version.model)]
    if own in numbers:
        raise StoreConflict
    besides = {"number": str(own), "message": shown(version.message), "body": json_text(version_json(version))}
    cypher.do(_INSERT_VERSION, properties=columns.of_version(version) | besides)
    neighbours = {
        "before": str(max((each for each in numbers if each < own), default="")),
        "after": str(min((each for each in numbers if own < each), default="")),
    }
    for statement in _CHAIN_VERSION:
        cypher.do(statement, model=version.model, number=str(own), **neighbours)
