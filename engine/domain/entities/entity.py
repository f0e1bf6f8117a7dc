"""What every entity has: a key, a revision, and what stores find it by. Each class adds its `kind`."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from engine.domain.values import Frozen, Identifier, NodeName

Kind: TypeAlias = Literal[
    "link",
    "agent",
    "knowledge",
    "decision",
    "monitor",
    "subscription",
    "dead-letter",
    "schedule",
    "key",
    "checkpoint",
]


class Entity(Frozen):
    """A value that a store keeps by its kind and key, replaces as a whole and finds by what it is about."""

    revision: Annotated[int, Field(ge=0)] = 0
    """Counted up by whoever saves: what optimistic writers compare."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What it is kept by, unique within its kind."""

    @property
    def title(self) -> str:
        """What lists show."""
        return self.key

    @property
    def about(self) -> tuple[str, ...]:
        """The ids of what it belongs to or joins: it is found by each of them."""
        return ()

    @property
    def words(self) -> tuple[str, ...]:
        """The texts that a search looks at."""
        return (self.title,)

    @property
    def due_at(self) -> datetime | None:
        """When something has to be done about it."""
        return None


class NamedEntity(Entity):
    """An entity that is kept by its id and shown by its name."""

    id: Identifier
    name: NodeName

    @property
    def key(self) -> str:
        """Its id."""
        return self.id

    @property
    def title(self) -> str:
        """Its name."""
        return self.name
