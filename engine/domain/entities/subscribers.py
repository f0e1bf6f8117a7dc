"""Followers of the ledger: how far each has read, and what it could not take. And the ledger's signed checkpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.domain.entities.entity import Entity
from engine.domain.values import Identifier, Text, Timestamp


class Subscription(Entity):
    """A subscriber's place in the ledger: everything up to `position` was taken or is a dead letter."""

    kind: Literal["subscription"] = "subscription"
    name: Identifier
    position: Annotated[int, Field(ge=0)] = 0
    updated_at: Timestamp

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


class DeadLetter(Entity):
    """An entry that a subscriber failed to take so often that it was put aside."""

    kind: Literal["dead-letter"] = "dead-letter"
    subscription: Identifier
    sequence: Annotated[int, Field(ge=1)]
    attempts: Annotated[int, Field(ge=1)]
    error: Text
    ts: Timestamp

    @property
    def key(self) -> str:
        """Subscription and sequence, which sort as they came."""
        return f"{self.subscription} {self.sequence:020}"

    @property
    def about(self) -> tuple[str, ...]:
        """Its subscription."""
        return (self.subscription,)

    @property
    def words(self) -> tuple[str, ...]:
        """The error."""
        return (self.error,)


class Checkpoint(Entity):
    """That the ledger's entry `sequence` had this `hash` at `ts`, signed."""

    kind: Literal["checkpoint"] = "checkpoint"
    sequence: Annotated[int, Field(ge=0)]
    hash: str
    ts: Timestamp
    signature: str
    """HMAC-SHA256 (hex) over sequence, hash, time and the signature of the checkpoint before."""

    @property
    def key(self) -> str:
        """The sequence, which sorts as they came."""
        return f"{self.sequence:020}"
