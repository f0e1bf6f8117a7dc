"""Schedules: when a model is to run by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.domain.entities.entity import NamedEntity
from engine.domain.values import Identifier, JsonObject, Timestamp


class Schedule(NamedEntity):
    """A trigger of a model. `spec` says when: a cron line, seconds, a path, an event's action or a model's id."""

    kind: Literal["schedule"] = "schedule"
    model: Identifier
    trigger: Literal["cron", "interval", "file", "webhook", "event", "after-run"]
    spec: str
    inputs: JsonObject = Field(default_factory=dict)
    enabled: bool = True
    overlap: Literal["skip", "queue", "parallel"] = "skip"
    """What happens while the run before is still going on."""
    catch_up: Literal["none", "latest", "all"] = "latest"
    """What happens about times that passed while nothing was running."""
    next_at: Timestamp | None = None
    last_at: Timestamp | None = None
    updated_at: Timestamp

    @property
    def about(self) -> tuple[str, ...]:
        """Its model."""
        return (self.model,)

    @property
    def due_at(self) -> Timestamp | None:
        """When it runs next, unless it is disabled."""
        return self.next_at if self.enabled else None
