"""What happened between the branches of a run: decisions that were made, and branches that were watched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from engine.domain.canonical import Json
from engine.domain.entities.entity import Entity
from engine.domain.values import Frozen, FrozenMap, Identifier, Keyword, NodeName, Text, Timestamp


class Option(Frozen):
    """One way that a decision can go."""

    id: Identifier
    name: NodeName
    description: Text = ""


class Decision(Entity):
    """A choice within a run. The options stay beside the chosen one."""

    kind: Literal["decision"] = "decision"
    run: Identifier
    path: str
    """The step that asked, as in `Step.path`."""
    awaits: Literal["choice", "signal", "time", "failure"] = "choice"
    """A choice of somebody, a signal from outside, a time, or what becomes of a step that failed."""
    signal: str = ""
    """The signal's name."""
    value: Json = None
    """What came with the answer: a signal's content."""
    question: Text = ""
    options: tuple[Option, ...] = Field(min_length=1)
    choosers: tuple[Keyword, ...] = ()
    """People, roles or agents that may choose; nobody named: whoever may operate the run."""
    opened_at: Timestamp
    deadline: Timestamp | None = None
    default: Identifier | None = None
    """The option taken at the deadline."""
    chosen: Identifier | None = None
    chosen_by: Identifier | None = None
    chosen_at: Timestamp | None = None
    reason: Text = ""

    @model_validator(mode="after")
    def _options_exist(self) -> Decision:
        known = [option.id for option in self.options]
        if len(set(known)) < len(known):
            message = "two options have the same id"
            raise ValueError(message)
        for name in (self.default, self.chosen):
            if name is not None and name not in known:
                message = f"there is no option {name!r}"
                raise ValueError(message)
        return self

    @property
    def key(self) -> str:
        """Run and path."""
        return f"{self.run} {self.path}"

    @property
    def title(self) -> str:
        """The question, or where it was asked."""
        return self.question[:200] or self.path

    @property
    def about(self) -> tuple[str, ...]:
        """Its run."""
        return (self.run,)

    @property
    def due_at(self) -> Timestamp | None:
        """The deadline, while nothing is chosen."""
        return self.deadline if self.chosen is None else None


class Monitor(Entity):
    """That a step watches another branch of its run, and what it was told of it last."""

    kind: Literal["monitor"] = "monitor"
    run: Identifier
    path: str
    """The step that watches."""
    watched: str
    """The path of the step or the id of the container that it watches."""
    told: FrozenMap[str, Json] = Field(default_factory=dict, validate_default=True)
    """Status, results and decisions of the branch."""
    ts: Timestamp

    @property
    def key(self) -> str:
        """Run, path and what is watched."""
        return f"{self.run} {self.path} {self.watched}"

    @property
    def about(self) -> tuple[str, ...]:
        """Its run."""
        return (self.run,)
