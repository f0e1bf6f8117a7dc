"""Links between features: which are allowed, and how strong they are."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from engine.domain.entities.entity import Entity
from engine.domain.values import Frozen, Identifier, JsonObject, NodeId, Text, Timestamp

Feature: TypeAlias = Literal["function-model", "knowledge-base", "spindle", "event-storm", "ai-agent"]
LinkType: TypeAlias = Literal[
    "documents", "implements", "references", "supports", "nested", "triggers", "consumes", "produces"
]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

_FLOWS: frozenset[LinkType] = frozenset({"triggers", "consumes", "produces"})
_ALLOWED: dict[frozenset[Feature], frozenset[LinkType]] = {
    frozenset({"function-model", "knowledge-base"}): frozenset({"documents", "references", "supports"}),
    frozenset({"function-model", "spindle"}): frozenset({"implements", *_FLOWS}),
    frozenset({"function-model", "event-storm"}): _FLOWS,
    frozenset({"knowledge-base", "spindle"}): frozenset({"documents", "supports"}),
    frozenset({"knowledge-base", "event-storm"}): frozenset({"documents", "references"}),
    frozenset({"spindle", "event-storm"}): _FLOWS,
}
"""The types by pair, in either direction. A pair that is not listed allows all."""
_PER_INTERACTION, _MOST_BY_INTERACTIONS = 0.002, 0.2
_BY_SIMILARITY, _BY_RELEVANCE = 0.3, 0.2


class End(Frozen):
    """One end of a link: an entity of a feature, or a node in it."""

    feature: Feature
    entity: Identifier
    node: NodeId | None = None


class Link(Entity):
    """What joins two entities of features, or two nodes. `why_not_link` tells which may be."""

    kind: Literal["link"] = "link"
    id: Identifier
    source: End
    target: End
    type: LinkType
    base: Share = 0.5
    """Strength to begin with: the computed one always starts from here."""
    interactions: Annotated[int, Field(ge=0)] = 0
    """How often real runs used it."""
    similarity: Share = 0.0
    """Of the two ends' embeddings."""
    relevance: Share = 0.0
    """Of the two ends' tags and neighbours."""
    description: Text = ""
    created_at: Timestamp
    created_by: Identifier
    metadata: JsonObject = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its id."""
        return self.id

    @property
    def strength(self) -> float:
        """How strong it is, from 0 to 1: base + at most 0.2 for use + 0.3 similarity + 0.2 relevance."""
        used = min(_PER_INTERACTION * self.interactions, _MOST_BY_INTERACTIONS)
        return min(1.0, self.base + used + _BY_SIMILARITY * self.similarity + _BY_RELEVANCE * self.relevance)

    @property
    def is_between_nodes(self) -> bool:
        """True for a node link, False for one between entities."""
        return self.source.node is not None

    @property
    def title(self) -> str:
        """Such as 'm1 documents k7'."""
        return f"{self.source.entity} {self.type} {self.target.entity}"

    @property
    def about(self) -> tuple[str, ...]:
        """Both ends' entities."""
        return (self.source.entity, self.target.entity)

    @property
    def words(self) -> tuple[str, ...]:
        """Title and description."""
        return (self.title, self.description)


def why_not_link(source: End, target: End, link_type: LinkType) -> str | None:
    """Return why these two can't be linked so; None if they can."""
    if source == target:
        return "it would link an entity with itself"
    if (source.node is None) != (target.node is None):
        return "it joins a node with a whole entity; link two nodes, or two entities"
    pair: frozenset[Feature] = frozenset({source.feature, target.feature})
    allowed = _ALLOWED.get(pair)
    if allowed is not None and link_type not in allowed:
        return f"{source.feature} and {target.feature} are linked by {', '.join(sorted(allowed))}, not by {link_type!r}"
    return None
