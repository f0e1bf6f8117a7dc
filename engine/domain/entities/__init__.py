"""What a store keeps besides models, versions and runs: each kind a frozen value with a key of its own.

Entity
├── Link                what joins two entities of different features, or two nodes
├── Agent               who can do a task
├── KnowledgeDocument   what knowledge nodes yield
├── Decision            a choice within a run: its options, and the one that was chosen
├── Monitor             that a step watched another branch
├── Subscription        how far a subscriber has read the ledger
├── DeadLetter          an entry that a subscriber could not take
├── Schedule            when a model is to run
├── AccessKey           what a program authenticates with, as a digest
└── Checkpoint          the signed head of the ledger at a time
"""

from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter

from engine.domain.entities.agents import Agent, AgentMetrics, Capability
from engine.domain.entities.decisions import Decision, Monitor, Option
from engine.domain.entities.entity import Entity, Kind
from engine.domain.entities.keys import AccessKey
from engine.domain.entities.knowledge import KnowledgeDocument
from engine.domain.entities.links import End, Feature, Link, LinkType, why_not_link
from engine.domain.entities.schedules import Schedule
from engine.domain.entities.subscribers import Checkpoint, DeadLetter, Subscription
from engine.domain.values import DEFERRED

AnyEntity: TypeAlias = (
    Link
    | Agent
    | KnowledgeDocument
    | Decision
    | Monitor
    | Subscription
    | DeadLetter
    | Schedule
    | AccessKey
    | Checkpoint
)
ENTITY: TypeAdapter[AnyEntity] = TypeAdapter(Annotated[AnyEntity, Field(discriminator="kind")], config=DEFERRED)
"""Reads an entity from its JSON by `kind`."""

__all__ = [
    "ENTITY",
    "AccessKey",
    "Agent",
    "AgentMetrics",
    "AnyEntity",
    "Capability",
    "Checkpoint",
    "DeadLetter",
    "Decision",
    "End",
    "Entity",
    "Feature",
    "Kind",
    "KnowledgeDocument",
    "Link",
    "LinkType",
    "Monitor",
    "Option",
    "Schedule",
    "Subscription",
    "why_not_link",
]
