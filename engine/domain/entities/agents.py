"""Agents: who can do a task, what they can do, and how they did so far."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from engine.domain.entities.entity import NamedEntity
from engine.domain.entities.links import Feature
from engine.domain.values import Frozen, Identifier, JsonObject, Keyword, NodeId, Text, Timestamp

Capability: TypeAlias = Literal["read", "write", "execute", "analyze", "orchestrate"]
Count: TypeAlias = Annotated[int, Field(ge=0)]


class AgentMetrics(Frozen):
    """How an agent did. Times in milliseconds, cost in US dollars."""

    executions: Count = 0
    successes: Count = 0
    failures: Count = 0
    mean_ms: Annotated[float, Field(ge=0)] = 0.0
    p95_ms: Annotated[float, Field(ge=0)] = 0.0
    tokens: Count = 0
    cost_usd: Annotated[float, Field(ge=0)] = 0.0
    last_run_at: Timestamp | None = None


class Agent(NamedEntity):
    """Someone or something that takes tasks. A disabled one is kept and never run."""

    kind: Literal["agent"] = "agent"
    feature: Feature
    entity: Identifier
    node: NodeId | None = None
    description: Text = ""
    instructions: Text = ""
    capabilities: tuple[Capability, ...] = ()
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 1
    data_types: tuple[Keyword, ...] = ()
    tags: tuple[Keyword, ...] = ()
    tools: JsonObject = Field(default_factory=dict)
    """Configuration by tool name."""
    enabled: bool = True
    embedding: tuple[float, ...] | None = None
    metrics: AgentMetrics = AgentMetrics()
    updated_at: Timestamp

    @property
    def about(self) -> tuple[str, ...]:
        """What it is attached to."""
        return (self.entity,)

    @property
    def words(self) -> tuple[str, ...]:
        """Name, description, instructions and tags."""
        return (self.name, self.description, self.instructions, *self.tags)
