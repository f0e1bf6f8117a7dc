"""Reads that have to fit together although another one's commit becomes visible piece by piece."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from engine.domain.events import Head, Row
from engine.domain.model import FunctionModel
from engine.domain.queries import EntryQuery
from engine.errors import StoreCorrupted
from engine.storage.neo4j.database import Cypher, Database, Found
from engine.storage.neo4j.elements import check_of, model_of
from engine.storage.neo4j.lists import LEDGER, list_entries
from engine.storage.neo4j.writing import Mark, take_turn

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_TRIES = 40
_WAIT_S = 0.003
_PAGE_ROWS = 5_000
_WHOLE = """
    RETURN m.body AS body, m.check AS check,
        [(m)-[:HAS_NODE]->(n) WHERE n.body IS NOT NULL | n.body] AS nodes,
        [(m)-[:HAS_NODE]->()-[w:WIRE]->() | w.body] AS wires,
        [(m)-[:HAS_NODE]->()-[d:PRECEDES]->() | d.body] AS dependencies
"""
_MODEL = f"MATCH (m:Model {{organization: $organization, id: $id}}) {_WHOLE}"
_MODEL_NAMED = f"MATCH (m:Model {{organization: $organization, taken_name: $name}}) {_WHOLE}"
_MARK = "MATCH (h:LedgerHead {organization: $organization}) RETURN h.mark AS mark"
_LAST = "MATCH (e:Entry {organization: $organization}) WHERE e.sequence > 0 RETURN max(e.sequence) AS last"


def read_model(database: Database, *, model: str | None = None, name: str = "") -> FunctionModel | None:
    """Return a model by id or by name, as one commit left it; `StoreCorrupted` if its parts don't fit together."""
    query, parameters = (_MODEL_NAMED, {"name": name}) if model is None else (_MODEL, {"id": model})

    def whole(cypher: Cypher, *, alone: bool) -> Found | None:
        found = cypher.first(query, **parameters)
        if found is None or found["check"] == _check(found):
            return found
        if alone:
            raise StoreCorrupted(path=database.place, reason=f"parts of the model {model or name} are lost or altered")
        raise _Torn

    found = _settled(database, whole)
    if found is None:
        return None
    try:
        return model_of(found["body"], found["nodes"], found["wires"], found["dependencies"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it holds what no program of ours wrote: {str(error)[:200]}"
        raise StoreCorrupted(path=database.place, reason=reason) from None


def read_mark(cypher: Cypher) -> Mark:
    """Return the ledger's head."""
    found = cypher.first(_MARK)
    return Mark.read(None if found is None else found["mark"])


def read_entries(database: Database, query: EntryQuery) -> list[Row]:
    """Return entries as stored; none is left out that a commit made which is seen otherwise."""
    wanted = list_entries(query)

    def page(cypher: Cypher, *, alone: bool) -> list[list[Any]]:
        found = cypher.first(wanted.query, **wanted.parameters) or {"mark": None, "seen": 0, "rows": []}
        mark = Mark.read(found["mark"])
        if not alone and found["seen"] < mark.head.sequence - mark.before:
            raise _Torn
        return found["rows"]

    return [Row(*row) for row in _settled(database, page)]


@contextmanager
def read_ledger(database: Database) -> Generator[tuple[Head, Iterator[Row]]]:
    """Give head and entries as they were while nobody committed."""

    def ends(cypher: Cypher) -> tuple[Head, int]:
        head = take_turn(cypher, "").head
        found = cypher.first(_LAST)
        return head, (found["last"] or 0) if found else 0

    head, last = database.write(ends)
    yield head, _rows(database, last)


def _rows(database: Database, last: int) -> Iterator[Row]:
    after = 0
    while True:
        after_page = after
        rows = database.read(lambda cypher: cypher.rows(LEDGER, after=after_page, last=last, limit=_PAGE_ROWS))  # noqa: B023
        yield from (Row(*each["row"]) for each in rows)
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1]["row"][0]


class _Torn(Exception):
    """What was read is of two commits."""


class _Read(Protocol[_T_co]):
    def __call__(self, cypher: Cypher, *, alone: bool) -> _T_co: ...


def _settled(database: Database, read: _Read[_T]) -> _T:
    """Read until what is read is of one commit: in the end while nobody commits."""
    for _ in range(_TRIES):
        try:
            return database.read(lambda cypher: read(cypher, alone=False))
        except _Torn:
            time.sleep(_WAIT_S)

    def alone(cypher: Cypher) -> _T:
        take_turn(cypher, "")
        return read(cypher, alone=True)

    return database.write(alone)


def _check(found: Found) -> str:
    return check_of(found["body"], found["nodes"], [*found["wires"], *found["dependencies"]])
