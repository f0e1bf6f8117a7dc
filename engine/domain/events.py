"""Ledger entries: what changed, who did it, when, and the hashes that chain them."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field

from engine.domain.values import Frozen, Identifier, Timestamp

Action: TypeAlias = Literal[
    "model.created",
    "model.edited",
    "model.published",
    "model.archived",
    "model.deleted",
    "model.recovered",
    "run.started",
    "run.resumed",
    "run.paused",
    "run.waiting",
    "run.ended",
    "decision.opened",
    "decision.made",
    "setting.changed",
]
GENESIS_HASH = "0" * 64
"""The previous hash of the first entry."""


class Draft(Frozen):
    """An entry before the chain gives it a sequence and hashes."""

    ts: Timestamp
    actor: Identifier
    action: Action
    entity_kind: Identifier
    entity: Identifier
    run: str | None = None
    request: str | None = None
    patch: str = "[]"
    """Canonical JSON: a list of RFC 6902 operations, each with the value before under `was`."""


class Entry(Draft):
    """One link of the ledger. `hash` covers every other field as it is stored."""

    sequence: Annotated[int, Field(ge=1)]
    previous_hash: str
    hash: str


class Head(Frozen):
    """The last link: how many entries there are and the hash of the last one."""

    sequence: Annotated[int, Field(ge=0)] = 0
    hash: str = GENESIS_HASH


class Row(NamedTuple):
    """An entry exactly as a store keeps it: the fields in the order in which they are hashed, and the hash."""

    sequence: int
    ts: str
    """UTC, ISO 8601 with microseconds and Z."""
    actor: str
    action: str
    entity_kind: str
    entity: str
    run: str | None
    request: str | None
    patch: str
    previous_hash: str
    hash: str
