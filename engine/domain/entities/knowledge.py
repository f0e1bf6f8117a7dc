"""Knowledge: documents that nodes yield or search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.domain.entities.entity import NamedEntity
from engine.domain.values import Identifier, Keyword, Text, Timestamp


class KnowledgeDocument(NamedEntity):
    """A text with keywords, and who may see and change it: whoever may change it may see it."""

    kind: Literal["knowledge"] = "knowledge"
    summary: Text = ""
    content: Text = ""
    media_type: str = "text/markdown"
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=20)] = ()
    tags: tuple[Keyword, ...] = ()
    viewers: tuple[Keyword, ...] = ()
    """People or roles; nobody named: everybody."""
    editors: tuple[Keyword, ...] = ()
    embedding: tuple[float, ...] | None = None
    updated_at: Timestamp
    updated_by: Identifier

    @model_validator(mode="after")
    def _editors_see_it(self) -> KnowledgeDocument:
        blind = set(self.editors) - set(self.viewers) if self.viewers else set[str]()
        if blind:
            message = f"{min(blind)} may change it but not see it"
            raise ValueError(message)
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """Name, summary, keywords, tags and content."""
        return (self.name, self.summary, *self.keywords, *self.tags, self.content)
