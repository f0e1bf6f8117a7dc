"""Small frozen values that models are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_serializer,
    model_validator,
)
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.functional_serializers import WrapSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, SerializerFunctionWrapHandler

from engine.domain.canonical import Json

_K = TypeVar("_K")
_V = TypeVar("_V")


DEFERRED = ConfigDict(defer_build=True)
"""Readers are made when they are first used: a program that runs one step needs few of them."""


class Frozen(BaseModel):
    """Base of all domain values: immutable, no unknown fields, no coercion between types that surprises."""

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null"
    )


def _as_dict(value: Mapping[Any, Any], handler: SerializerFunctionWrapHandler) -> Any:
    return handler(dict(value))


FrozenMap = Annotated[Mapping[_K, _V], AfterValidator(MappingProxyType), WrapSerializer(_as_dict)]
"""A mapping that can't be changed in place; equal to any mapping with the same items."""

_SEMVER = r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _no_controls(text: str) -> str:
    if _CONTROL.search(text):
        message = "must not contain control characters"
        raise ValueError(message)
    return text


def _encodable(text: str) -> str:
    if not text.isascii() and any("\ud800" <= ch <= "\udfff" for ch in text):
        message = "must not contain half of a surrogate pair"
        raise ValueError(message)
    return text


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        message = "must say its time zone"
        raise ValueError(message)
    return moment.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_in_utc)]
"""A moment in UTC, to the microsecond."""
Text = Annotated[str, StringConstraints(max_length=1_000_000), AfterValidator(_encodable)]
NodeName = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_no_controls), AfterValidator(_encodable)
]
ModelName = Annotated[
    str, StringConstraints(min_length=3, max_length=100), AfterValidator(_no_controls), AfterValidator(_encodable)
]
Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_encodable)
]
NodeId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\[\]#]+$"),
    AfterValidator(_encodable),
]
"""Without / [ ] and #, which paths of steps are made of."""
PortName = Identifier
Keyword = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_no_controls)]
JsonObject = dict[str, Json]
Schema = dict[str, Json]
"""A JSON Schema (draft 2020-12). A table is an array of objects with `"format": "table"`."""


class Position(Frozen):
    """A place on the canvas in pixels; relative to the container for an action."""

    x: float = 0.0
    y: float = 0.0


class Port(Frozen):
    """A typed opening of a node. `many` accepts several wires, whose values arrive as a list."""

    name: PortName
    port_schema: Schema = Field(default_factory=dict, alias="schema", serialization_alias="schema")
    required: bool = True
    many: bool = False
    description: Text = ""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Expression(Frozen):
    """A CEL expression, written `{"$cel": "rows.size() > 0"}` where a value may stand."""

    cel: Annotated[str, StringConstraints(min_length=1, max_length=10_000)] = Field(alias="$cel")

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class RetryPolicy(Frozen):
    """How often and when a failed attempt is repeated. Times in seconds; jitter is a share of the delay."""

    max_attempts: Annotated[int, Field(ge=1, le=10)] = 1
    backoff: Literal["immediate", "linear", "exponential"] = "exponential"
    base_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 1.0
    cap_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    failure_threshold: Annotated[int, Field(ge=1, le=10)] | None = None
    """Failures after which the step is marked permanently failed, if fewer than `max_attempts`."""

    def attempts(self) -> int:
        """Return the number of attempts that may be made in all."""
        return min(self.max_attempts, self.failure_threshold or self.max_attempts)

    def delay_s(self, attempt: int, *, noise: float = 0.0) -> float:
        """Return the wait in seconds after failed attempt number `attempt` (from 1); `noise` in [-1, 1]."""
        if self.backoff == "immediate":
            return 0.0
        plain = self.base_delay_s * (attempt if self.backoff == "linear" else 2.0 ** (attempt - 1))
        return max(0.0, min(plain, self.cap_s) * (1 + self.jitter * noise))


class Raci(Frozen):
    """Who is responsible, accountable, consulted and informed: people or roles."""

    responsible: tuple[Keyword, ...] = ()
    accountable: Keyword | None = None
    consulted: tuple[Keyword, ...] = ()
    informed: tuple[Keyword, ...] = ()


class Resources(Frozen):
    """What a step may use, or a stage needs."""

    cpu_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    memory_mib: Annotated[int, Field(ge=16, le=1_048_576)] | None = None


class Fallback(Frozen):
    """What stands in for a step that failed for good: another action, a constant, or the last good result."""

    use: Literal["action", "constant", "cached"]
    action: Identifier | None = None
    constant: Json = None

    @model_validator(mode="after")
    def _action_is_named(self) -> Fallback:
        if (self.use == "action") != (self.action is not None):
            message = "a fallback names an action exactly when it uses one"
            raise ValueError(message)
        return self


class Permission(Frozen):
    """What a person or role may do with a model."""

    subject: Keyword
    role: Literal["viewer", "editor", "operator", "admin"]


class Nature(IntEnum):
    """How far a change reaches, as in semantic versioning."""

    PATCH = 0
    MINOR = 1
    MAJOR = 2


class Semver(Frozen):
    """A version number, written major.minor.patch."""

    major: Annotated[int, Field(ge=0)]
    minor: Annotated[int, Field(ge=0)] = 0
    patch: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return cls._numbers(value) if isinstance(value, str) else value

    @model_serializer
    def _to_text(self) -> str:
        return str(self)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del core_schema, handler
        return {"type": "string", "pattern": f"^{_SEMVER}$", "title": "Semver", "description": cls.__doc__ or ""}

    @classmethod
    def parse(cls, text: str) -> Semver:
        """Read '1.2.3'; raise ValueError for anything else."""
        return cls(**cls._numbers(text))

    @staticmethod
    def _numbers(text: str) -> dict[str, int]:
        match = re.fullmatch(_SEMVER, text)
        if match is None:
            message = f"{text[:40]!r} is not a version like 1.2.3"
            raise ValueError(message)
        return dict(zip(("major", "minor", "patch"), map(int, match.groups()), strict=True))

    def bumped(self, nature: Nature) -> Semver:
        """Return the next number for a change of this nature."""
        if nature is Nature.MAJOR:
            return Semver(major=self.major + 1)
        if nature is Nature.MINOR:
            return Semver(major=self.major, minor=self.minor + 1)
        return Semver(major=self.major, minor=self.minor, patch=self.patch + 1)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def __lt__(self, other: Semver) -> bool:
        return (self.major, self.minor, self.patch) < (other.major, other.minor, other.patch)
