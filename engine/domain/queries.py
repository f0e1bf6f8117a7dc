"""What a catalog's lists are asked for, as values: whoever passes a question on needs not know what is in it.

Texts are looked for without case. None and an empty text ask for nothing in particular.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.domain.entities import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list: at most `limit` rows after the first `offset`. Less than 0 is taken for 0."""

    limit: int = 100
    offset: int = 0

    def __post_init__(self) -> None:
        """Mend what is less than nothing."""
        object.__setattr__(self, "limit", max(0, self.limit))
        object.__setattr__(self, "offset", max(0, self.offset))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuery(Page):
    """Models, the last changed first, whose name, description or a node's name holds `text`."""

    text: str = ""
    tag: str | None = None
    deleted: bool = False
    """Those that are deleted, instead of those that are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeQuery(Page):
    """Nodes of models that are not deleted, by model and node id; `text` is in the name."""

    model: str | None = None
    kind: str | None = None
    text: str = ""
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeQuery(NodeQuery):
    """Edges of models that are not deleted, by model and edge id; `text` and `tag` as of a node at an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery(Page):
    """Runs, newest first; `text` is looked for in model name, id and error."""

    model: str | None = None
    status: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery:
    """Ledger entries with after < sequence < before, oldest first unless asked otherwise."""

    after: int = 0
    before: int | None = None
    action: str | None = None
    entity: str | None = None
    actor: str | None = None
    text: str = ""
    newest_first: bool = False
    limit: int = 1_000
    """Less than 0 is taken for 0."""

    def __post_init__(self) -> None:
        """Mend what is less than nothing."""
        object.__setattr__(self, "limit", max(0, self.limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityQuery(Page):
    """Entities of a kind by key; with `due_before` those due earlier than that, the first due first."""

    kind: Kind
    about: str | None = None
    """The id of something it belongs to or joins."""
    text: str = ""
    due_before: datetime | None = None
