"""What the database must have: constraints and indexes, as numbered migrations that an opener applies.

Every constraint has the organization in front. Keys that can be long (paths of steps, keys of settings) are in `uid`,
see `uid_of`: an index of Neo4j takes 8 kB at most. A constraint over several properties leaves out nodes that lack one.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from engine.domain.events import GENESIS_HASH
from engine.errors import LedgerTampered, StoreConflict, StoreCorrupted, StoreNewer, StoreUnreachable
from engine.storage.neo4j.database import Cypher, Database

_LONGEST_KEY_BYTES = 1_000

_UNIQUE = (
    ("LedgerHead", ("organization",)),
    ("Model", ("organization", "id")),
    ("Model", ("organization", "taken_name")),
    ("Node", ("organization", "model", "id")),
    ("Batch", ("organization", "model", "revision")),
    ("Version", ("organization", "model", "number")),
    ("Actor", ("organization", "id")),
    ("Run", ("organization", "id")),
    ("Step", ("organization", "uid")),
    ("Entry", ("organization", "sequence")),
    ("Setting", ("organization", "uid")),
    ("Entity", ("organization", "kind", "uid")),
    ("End", ("organization", "uid")),
    ("Blob", ("organization", "sha256")),
    ("Journal", ("organization",)),
    ("JournalRun", ("organization", "uid")),
    ("JournalChunk", ("organization", "uid", "number")),
    ("JournalClaim", ("organization", "uid")),
    ("JournalOwner", ("organization", "id")),
)
_INDEXED = (
    ("Node", ("organization", "nests")),
    ("Run", ("organization", "model")),
    ("Run", ("organization", "created_at")),
    ("Step", ("organization", "run")),
    ("Entry", ("organization", "entity")),
    ("Entity", ("organization", "run")),
    ("End", ("organization", "entity")),
)
"""No index has the first properties of a constraint and no others: while there is little data yet, the planner takes it
for the better one, and a statement that runs for a thousand rows then reads all of them for each. Lists say of a key
that it is there instead, and so have the constraint's index.
"""


def _constraint(label: str, properties: tuple[str, ...]) -> str:
    name = f"treadle_{label}_{'_'.join(properties)}".lower()
    keys = ", ".join(f"n.{each}" for each in properties)
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE ({keys}) IS UNIQUE"


def _index(label: str, properties: tuple[str, ...]) -> str:
    name = f"treadle_{label}_{'_'.join(properties)}_index".lower()
    keys = ", ".join(f"n.{each}" for each in properties)
    return f"CREATE INDEX {name} IF NOT EXISTS FOR (n:{label}) ON ({keys})"


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (*(_constraint(*each) for each in _UNIQUE), *(_index(*each) for each in _INDEXED)),
    (
        _constraint("SearchText", ("organization", "model")),
        """
        MATCH (m:Model) WHERE m.id IS NOT NULL AND m.search IS NOT NULL
        MERGE (t:SearchText {organization: m.organization, model: m.id}) MERGE (t)-[:FINDS]->(m)
        SET t.text = m.search REMOVE m.search, m.node_search
        """,
    ),
)
"""The statements that lead from each version of the schema to the next; each may be done again."""
SCHEMA_VERSION = len(MIGRATIONS)

_LOCK_IS_ONE = "CREATE CONSTRAINT treadle_schema_id IF NOT EXISTS FOR (s:TreadleSchema) REQUIRE s.id IS UNIQUE"
_VERSION = "OPTIONAL MATCH (s:TreadleSchema {id: 'treadle'}) RETURN s.version AS version"
_TAKE_LOCK = """
    MERGE (s:TreadleSchema {id: 'treadle'}) ON CREATE SET s.version = 0
    SET s.turn = coalesce(s.turn, 0) + 1 RETURN s.version AS version
"""
_SET_VERSION = "MATCH (s:TreadleSchema {id: 'treadle'}) SET s.version = $version"
_AWAIT = "CALL db.awaitIndexes(60)"
"""Queries need not wait for indexes."""
_LACK_A_KEY = "CREATE (a:Model {organization: $probe}), (b:Model {organization: $probe}) DETACH DELETE a, b"
_HEADS = """
    OPTIONAL MATCH (h:LedgerHead {organization: $organization})
    RETURN h IS NOT NULL AS is_there,
        EXISTS { MATCH (e:Entry {organization: $organization}) WHERE e.sequence > 0 } AS has_entries
"""
_FIRST_HEAD = """
    MERGE (h:LedgerHead {organization: $organization})
    ON CREATE SET h.sequence = 0, h.hash = $hash, h.mark = $mark, h.turn = 0, h.tokens = []
"""


def prepare(database: Database) -> None:
    """Bring the schema up to date and begin the organization's ledger; raise `StoreNewer` for a later program's."""
    if _version(database) < SCHEMA_VERSION:
        database.change(_LOCK_IS_ONE)
        database.write(lambda cypher: _migrate(database, cypher))
    facts = database.read(lambda cypher: cypher.first(_HEADS)) or {}
    if not facts["is_there"]:
        if facts["has_entries"]:
            raise LedgerTampered(reason="its head is missing or was altered")
        mark = f"0 {GENESIS_HASH} 0"
        database.write(lambda cypher: cypher.do(_FIRST_HEAD, hash=GENESIS_HASH, mark=mark))


def uid_of(*parts: str) -> str:
    """Return one key for several texts, short enough for an index: the texts themselves, or their hash."""
    whole = "\n".join(parts)
    encoded = whole.encode(errors="surrogatepass")
    return whole if len(encoded) <= _LONGEST_KEY_BYTES else f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def _version(database: Database) -> int:
    found = database.read(lambda cypher: cypher.first(_VERSION)) or {}
    version = found["version"] or 0
    if not isinstance(version, int) or version < 0:
        raise StoreCorrupted(path=database.place, reason=f"the version of its schema is {version!r}")
    if version > SCHEMA_VERSION:
        raise StoreNewer(path=database.place, found=version, known=SCHEMA_VERSION)
    return version


def _refuse_strangers(database: Database) -> None:
    """Raise `StoreUnreachable` for a server that speaks Bolt and Cypher but has not the constraints of Neo4j."""
    try:
        database.write(lambda cypher: cypher.do(_LACK_A_KEY, probe="treadle probe"))
    except StoreConflict:
        reason = "what answers there speaks Bolt but is not Neo4j 5: check host and port in its URL"
        raise StoreUnreachable(path=database.place, reason=reason) from None


def _migrate(database: Database, cypher: Cypher) -> None:
    """Apply what is missing while the lock node is ours. A schema can't be changed where data is: another session."""
    found = cypher.first(_TAKE_LOCK) or {"version": 0}
    for statements in MIGRATIONS[found["version"] :]:
        database.change(*statements)
    _refuse_strangers(database)
    with suppress(StoreUnreachable):
        database.change(_AWAIT)
    cypher.do(_SET_VERSION, version=SCHEMA_VERSION)
