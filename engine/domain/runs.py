"""Runs, steps and attempts as they are kept; and the values that steps gave."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from engine.domain.canonical import Json
from engine.domain.values import Frozen, FrozenMap, Identifier, JsonObject, Semver, Timestamp

RunStatus: TypeAlias = Literal["pending", "running", "paused", "waiting", "succeeded", "failed", "cancelled"]
StepStatus: TypeAlias = Literal[
    "pending", "running", "retrying", "waiting", "succeeded", "cached", "failed", "skipped", "cancelled"
]
Durability: TypeAlias = Literal["off", "pipelined", "strict"]
INLINE_LIMIT_BYTES = 65_536
"""Values up to this size are kept with their step; larger ones as blobs."""


class StoredValue(Frozen):
    """A value as bytes of a media type: inline in `data`, or in the blob named by `sha256`."""

    media_type: str
    """application/json, application/vnd.apache.arrow.stream, text/plain or application/octet-stream."""
    sha256: str
    size_bytes: Annotated[int, Field(ge=0)]
    summary: str = ""
    """What a person sees on the node: '344 rows', '3 items', '12 kB'."""
    data: bytes | None = None


class Attempt(Frozen):
    """One try of a step; numbered from 1."""

    number: Annotated[int, Field(ge=1)]
    started_at: Timestamp
    ended_at: Timestamp | None = None
    status: StepStatus = "running"
    error: str | None = None
    idempotency_key: str = ""


class Step(Frozen):
    """One action in one run. `path` is the node's id, below a nested step its path: 'per-file[3]/clean'."""

    run: Identifier
    path: str
    node: Identifier
    name: str
    kind: str
    status: StepStatus
    attempts: tuple[Attempt, ...] = ()
    outputs: FrozenMap[str, StoredValue] = Field(default_factory=dict, validate_default=True)
    error: str | None = None
    reason: str | None = None
    """Why it was skipped, cached or cancelled."""
    logs: tuple[str, ...] = ()

    @property
    def started_at(self) -> Timestamp | None:
        """When the first attempt began."""
        return self.attempts[0].started_at if self.attempts else None

    @property
    def ended_at(self) -> Timestamp | None:
        """When the last attempt ended."""
        return self.attempts[-1].ended_at if self.attempts else None

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first attempt's start to the last one's end, waits between included."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class Run(Frozen):
    """One execution of a published version, or of a draft (a trial)."""

    id: Identifier
    model: Identifier
    model_name: str
    version: Semver | None = None
    revision: int = 0
    content_hash: str
    trial: bool = True
    status: RunStatus = "pending"
    actor: str = "you"
    durability: Durability = "pipelined"
    created_at: Timestamp
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    inputs: FrozenMap[str, StoredValue] = Field(default_factory=dict, validate_default=True)
    outputs: FrozenMap[str, StoredValue] = Field(default_factory=dict, validate_default=True)
    error: str | None = None
    steps_total: int = 0
    steps_done: int = 0
    resumed: int = 0
    """How many times the run was taken up again after an interruption."""
    merkle_root: str | None = None
    """Root over the journal's records, sealed into the ledger when the run ends."""
    journal: str | None = None
    """The blob with the journal's records, once the run has ended; see `engine.execution.records.packed`."""
    model_file: Json = None
    """The model as it ran, with nested models in `nested` by reference: what a resume needs."""
    options: JsonObject = Field(default_factory=dict)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()
