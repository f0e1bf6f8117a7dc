"""The journal of runs under way in a Neo4j database, beside the catalog: one writer thread with group commit.

What one group holds of a run is kept as one node, a chunk: a node a record would take fifty times as long. Chunks are
chained by checksums, and the run's node knows how many there are and the last checksum, so that damage shows.
A claim names the process that has it, and a process lives for as long as it tells the server so.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import ClassVar, NamedTuple, TypeVar
from zlib import crc32

from engine.errors import JournalBroken, StoreUnreachable, TreadleError
from engine.ports import JournalRecord
from engine.storage.journal_queue import JournalQueue, QueuedJournal
from engine.storage.neo4j.database import Cypher, Database, Found, is_in_doubt
from engine.storage.neo4j.schema import prepare, uid_of
from engine.storage.process import this_process

_T = TypeVar("_T")
_BATCH_RECORDS = 10_000
_LEASE_S = 30
_BEAT_S = 8.0
_IN_DOUBT_S = 20.0
_LENGTH = struct.Struct(">I")

_TAKE_RUNS = """
    UNWIND $runs AS row MERGE (r:JournalRun {organization: $organization, uid: row.uid})
    ON CREATE SET r.run = row.run, r.run_crc = row.run_crc, r.chunks = 0, r.records = 0, r.crc = 0
    SET r.turn = coalesce(r.turn, 0) + 1
    RETURN r.uid AS uid, r.chunks AS chunks, r.records AS records, r.crc AS crc, r.age AS age
"""
_NEW_AGES = """
    MERGE (j:Journal {organization: $organization}) SET j.ages = coalesce(j.ages, 0) + size($uids)
    WITH j.ages - size($uids) AS before UNWIND range(0, size($uids) - 1) AS place
    MATCH (r:JournalRun {organization: $organization, uid: $uids[place]}) SET r.age = before + place
"""
_ADD_CHUNKS = """
    UNWIND $rows AS row MATCH (r:JournalRun {organization: $organization, uid: row.uid})
    SET r.chunks = row.number, r.records = row.records, r.crc = row.crc
    CREATE (r)-[:HOLDS]->(c:JournalChunk)
    SET c.organization = $organization, c.uid = row.uid, c.number = row.number, c.data = row.data
"""
_CHUNKS = """
    MATCH (r:JournalRun {organization: $organization, uid: $uid})
    OPTIONAL MATCH (c:JournalChunk {organization: $organization, uid: $uid}) WHERE c.number > 0
    RETURN r.run AS run, r.chunks AS chunks, r.records AS records, r.crc AS crc, c.number AS number, c.data AS data
    ORDER BY number
"""
_RUNS = """
    MATCH (r:JournalRun {organization: $organization}) WHERE r.uid IS NOT NULL AND r.records > 0
    RETURN r.run AS run, r.run_crc AS run_crc ORDER BY r.age
"""
_STRAYS = """
    MATCH (c:JournalChunk {organization: $organization}) WHERE c.uid IS NOT NULL AND NOT (:JournalRun)-[:HOLDS]->(c)
    RETURN c.uid AS uid LIMIT 1
"""
_FORGET = (
    "MATCH (c:JournalChunk {organization: $organization, uid: $uid}) WHERE c.number > 0 DETACH DELETE c",
    "MATCH (r:JournalRun {organization: $organization, uid: $uid}) DETACH DELETE r",
    "MATCH (c:JournalClaim {organization: $organization, uid: $uid}) DETACH DELETE c",
)
_BEAT = "MERGE (o:JournalOwner {organization: $organization, id: $owner}) SET o.seen_at = datetime()"
_CLAIM = f"""
    MERGE (c:JournalClaim {{organization: $organization, uid: $uid}}) SET c.run = $run, c.turn = coalesce(c.turn, 0) + 1
    WITH c OPTIONAL MATCH (c)-[held:HELD_BY]->(o:JournalOwner)
    WITH c, held, o, o IS NULL OR o.id = $owner OR o.seen_at < datetime() - duration({{seconds: {_LEASE_S}}}) AS is_free
    WHERE is_free DELETE held
    WITH DISTINCT c MATCH (me:JournalOwner {{organization: $organization, id: $owner}}) MERGE (c)-[:HELD_BY]->(me)
    RETURN true AS is_ours
"""
_HELD = f"""
    MATCH (c:JournalClaim {{organization: $organization}})-[:HELD_BY]->(o:JournalOwner)
    WHERE c.uid IS NOT NULL AND o.seen_at >= datetime() - duration({{seconds: {_LEASE_S}}})
    RETURN c.run AS run, o.id AS owner
"""
_LEAVE = "MATCH (o:JournalOwner {organization: $organization, id: $owner}) DETACH DELETE o"


class _Tail(NamedTuple):
    """Where a run's chunks end."""

    chunks: int
    records: int
    crc: int


class Neo4jJournal(QueuedJournal):
    """A journal in a database, which several processes may have open. Safe to use from any thread."""

    _choosing: ClassVar[Lock] = Lock()
    """The journals of a process are one owner to the server: they take turns here."""

    def __init__(self, url: str, *, organization: str = "local") -> None:
        """Open the journal of an organization, and make the schema if there is none.

        Raises what `open_neo4j` raises.
        """
        self._database = Database(url, organization=organization)
        try:
            prepare(self._database)
        except BaseException:
            self._database.close()
            raise
        self._presence = _Presence(self._database)
        self._queue = JournalQueue(self._write, self._broken, _BATCH_RECORDS)

    def read(self, run: str) -> list[JournalRecord]:
        """Return the records of a run in order; `JournalBroken` naming the run if any is damaged."""
        self._queue.sync()
        with self._telling():
            rows = self._database.read(lambda cypher: cypher.rows(_CHUNKS, uid=uid_of(run)))
        return self._checked(run, rows)

    def unfinished(self) -> list[str]:
        """Return the runs that have records, the first begun first."""
        self._queue.sync()
        with self._telling():
            rows = self._database.read(lambda cypher: cypher.rows(_RUNS))
            stray = self._database.read(lambda cypher: cypher.first(_STRAYS))
        if stray is not None or any(crc32(row["run"].encode()) != row["run_crc"] for row in rows):
            raise self._broken("it holds records of a run whose name is lost or damaged")
        return [row["run"] for row in rows]

    def claim(self, run: str) -> bool:
        """Take a run for this process; False while another one that lives has it."""
        self._queue.sync()
        with self._telling():
            owner = self._presence.tell()
            facts = {"uid": uid_of(run), "run": run, "owner": owner}
            return self._database.write(lambda cypher: cypher.first(_CLAIM, **facts)) is not None

    def claim_next(self) -> str | None:
        """Take the oldest unfinished run that no live process has, and return it; None if there is none."""
        with self._choosing:
            taken = self._holders()
            return next((run for run in self.unfinished() if run not in taken and self.claim(run)), None)

    def held(self) -> set[str]:
        """Return the runs that another live process has."""
        return {run for run, owner in self._holders().items() if owner != self._presence.owner}

    def forget(self, run: str) -> None:
        """Drop the records and the claim of a sealed run."""
        self._queue.sync()

        def drop(cypher: Cypher) -> None:
            for statement in _FORGET:
                cypher.do(statement, uid=uid_of(run))

        with self._telling():
            self._database.write(drop)

    def close(self) -> None:
        """Write what is queued, let the claims go and close. Calling it twice is harmless."""
        self._queue.close()
        self._presence.end()
        self._database.close()

    def _holders(self) -> dict[str, str]:
        """Return who has which run, those left out that were not seen for a while."""
        with self._telling():
            rows = self._database.read(lambda cypher: cypher.rows(_HELD))
        return {row["run"]: row["owner"] for row in rows}

    def _write(self, batch: list[JournalRecord]) -> None:
        """Write a batch in one transaction. When its COMMIT gets no answer, what is there tells whether it was done."""
        by_run: dict[str, list[JournalRecord]] = {}
        for record in batch:
            by_run.setdefault(record.run, []).append(record)
        ends: dict[str, _Tail] = {}
        with self._telling():
            try:
                self._database.write(lambda cypher: _add(cypher, by_run, ends))
            except StoreUnreachable as error:
                if not is_in_doubt(error):
                    raise
                write = self._database.write
                self._database.settle(lambda: write(lambda cypher: _add_once(cypher, by_run, ends)), _IN_DOUBT_S)

    def _checked(self, run: str, rows: list[Found]) -> list[JournalRecord]:
        found: list[JournalRecord] = []
        crc, number = 0, 0
        for row in rows:
            if row["number"] is None:
                break
            number += 1
            data = row["data"]
            crc = crc32(data, crc) if isinstance(data, bytes) else -1
            try:
                if row["number"] == number:
                    found += _unpacked(run, data)
            except (ValueError, TypeError, struct.error):
                crc = -1
            if row["number"] != number or crc == -1:
                raise self._broken(f"records of run {run} after the first {len(found)} are damaged")
        as_kept = tuple(rows[0][key] for key in ("run", "chunks", "records", "crc")) if rows else None
        if as_kept not in {None, (run, number, len(found), crc)}:
            raise self._broken(f"of the {rows[0]['records']} records of run {run}, some are lost or damaged")
        return found

    @contextmanager
    def _telling(self) -> Generator[None]:
        try:
            yield
        except JournalBroken:
            raise
        except TreadleError as error:
            raise self._broken(str(error.facts.get("reason", error))) from None

    def _broken(self, reason: str) -> JournalBroken:
        return JournalBroken(path=self._database.place, reason=reason)


class _Presence:
    """This process at the server: seen again and again once it has claimed something, until it leaves."""

    _open: ClassVar[dict[tuple[str, str], int]] = {}
    """How many journals this process has open, by place and organization: all share its claims."""
    _guard: ClassVar[Lock] = Lock()

    def __init__(self, database: Database) -> None:
        self._database = database
        self._where = (database.place, database.organization)
        self.owner = " ".join(map(str, this_process()))
        self._leaving = Event()
        self._beats: Thread | None = None
        with self._guard:
            self._open[self._where] = self._open.get(self._where, 0) + 1

    def tell(self) -> str:
        """Tell the server that we live, and go on telling it; return who we are."""
        self._beat()
        with self._guard:
            if self._beats is None and not self._leaving.is_set():
                self._beats = Thread(target=self._go_on, name="treadle-journal-presence", daemon=True)
                self._beats.start()
        return self.owner

    def end(self) -> None:
        """Leave; the last journal of this process lets its claims go."""
        with self._guard:
            if self._leaving.is_set():
                return
            self._leaving.set()
            self._open[self._where] -= 1
            is_last = self._open[self._where] == 0
        if self._beats is not None:
            self._beats.join()
            if is_last:
                self._quietly(lambda: self._database.write(lambda cypher: cypher.do(_LEAVE, owner=self.owner)))

    def _beat(self) -> None:
        self._database.write(lambda cypher: cypher.do(_BEAT, owner=self.owner))

    def _go_on(self) -> None:
        while not self._leaving.wait(_BEAT_S):
            self._quietly(self._beat)

    def _quietly(self, work: Callable[[], _T]) -> _T | None:
        """Do what may fail: the next beat comes, and who can't be seen is taken for dead after a while."""
        try:
            return work()
        except TreadleError:
            return None


def _add(cypher: Cypher, by_run: dict[str, list[JournalRecord]], ends: dict[str, _Tail]) -> None:
    """Add a chunk to each run; `ends` is told where the runs end then."""
    rows: list[Found] = []
    ends.clear()
    tails = _tails(cypher, list(by_run))
    for run, records in by_run.items():
        tail, data = tails[run], _packed(records)
        ends[run] = _Tail(tail.chunks + 1, tail.records + len(records), crc32(data, tail.crc))
        facts = {"number": ends[run].chunks, "records": ends[run].records, "crc": ends[run].crc}
        rows.append({"uid": uid_of(run), "data": data, **facts})
    cypher.do(_ADD_CHUNKS, rows=rows)


def _add_once(cypher: Cypher, by_run: dict[str, list[JournalRecord]], ends: dict[str, _Tail]) -> bool:
    """Add what is not there yet, and return True: the runs end where the first attempt would have left them."""
    if _tails(cypher, list(by_run)) != ends:
        _add(cypher, by_run, ends)
    return True


def _tails(cypher: Cypher, runs: list[str]) -> dict[str, _Tail]:
    """Return where each run ends, and hold it so that nobody else appends; new ones begin in their order."""
    uids = {uid_of(run): run for run in runs}
    given = [{"uid": uid, "run": run, "run_crc": crc32(run.encode())} for uid, run in sorted(uids.items())]
    found = {uids[row["uid"]]: row for row in cypher.rows(_TAKE_RUNS, runs=given)}
    if new := [uid for uid, run in uids.items() if found[run]["age"] is None]:
        cypher.do(_NEW_AGES, uids=new)
    return {run: _Tail(row["chunks"], row["records"], row["crc"]) for run, row in found.items()}


def _packed(records: list[JournalRecord]) -> bytes:
    """Return records as bytes: the length of the heads, the heads as JSON, and the bodies one after the other."""
    heads = json.dumps([[*record[1:5], len(record.body)] for record in records], separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(heads)), heads, *(record.body for record in records)))


def _unpacked(run: str, data: bytes) -> Generator[JournalRecord]:
    (length,) = _LENGTH.unpack_from(data)
    place = _LENGTH.size + length
    for kind, path, attempt, ts_us, size in json.loads(data[_LENGTH.size : place]):
        yield JournalRecord(run, kind, path, attempt, ts_us, data[place : place + size])
        place += size
