"""What `engine.execution.contexts` keeps and tells: changes, completions, traces, emergency reads, and their limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from engine.domain.canonical import Json
from engine.domain.contexts import Access, Grant, Scope, Sharing
from engine.domain.runs import INLINE_LIMIT_BYTES, StepStatus
from engine.errors import NotCanonical
from engine.execution.values import summary

RUN_LIMIT_BYTES = 64 * 1024 * 1024
"""What the values and results of one run may take in all."""
PROPERTIES_LIMIT = 1_000
"""How many properties a context may have, and how many reads of others it remembers."""
LOG_LIMIT_CHARS = 65_536
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")


class Change(NamedTuple):
    """A property that was written (`text`, `scope`) or whose sharing was set (`sharing`, None: no more)."""

    owner: str
    name: str
    by: str
    """The path of the node that did it."""
    text: str | None = None
    """The value as JSON."""
    scope: Scope | None = None
    sharing: Sharing | None = None

    def to_json(self) -> list[Json]:
        """Return it as a list; `from_json` reads it back."""
        return [self.owner, self.name, self.by, self.text, self.scope, self.sharing]

    @classmethod
    def from_json(cls, row: Json) -> Change:
        """Read back what `to_json` returned."""
        owner, name, by, text, scope, sharing = row
        return cls(owner, name, by, text, scope and Scope(scope), sharing and Sharing(sharing))


@dataclass(frozen=True, slots=True)
class EmergencyRead:
    """That only an emergency grant allowed a read: for the ledger."""

    reader: str
    owner: str
    name: str | None
    """None: its status, or the whole context."""
    verb: Access
    grant: Grant
    ts: datetime


@dataclass(frozen=True, slots=True)
class Completion:
    """How a node stands or ended, and its results by port (of a container: those of its actions, by id)."""

    status: StepStatus = "pending"
    results: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole context: (path, property) of what was read, what was written, the lines that were logged."""

    read: tuple[tuple[str, str], ...]
    written: Mapping[str, Json]
    logged: tuple[str, ...]


class Context:
    """What one node wrote (as JSON text), hands down, read and logged."""

    __slots__ = ("length", "logged", "read", "scopes", "shares", "texts")

    def __init__(self) -> None:
        """Begin empty."""
        self.texts: dict[str, str] = {}
        self.scopes: dict[str, Scope] = {}
        self.shares: dict[str, Sharing] = {}
        self.read: dict[tuple[str, str], None] = {}
        self.logged: list[str] = []
        self.length = 0

    def log(self, line: str) -> None:
        """Add a line; `LOG_LIMIT_CHARS` are kept."""
        self.length += len(line) + 1
        if self.length <= LOG_LIMIT_CHARS:
            self.logged.append(line)

    def to_json(self, scopes: tuple[Scope, ...]) -> dict[str, Json]:
        """Return it as JSON; with `scopes` only the properties of these."""
        wanted = scopes or tuple(Scope)
        plain: dict[str, Json] = {
            "written": {
                name: [json.loads(text), self.scopes[name].value]
                for name, text in self.texts.items()
                if self.scopes[name] in wanted
            }
        }
        if not scopes:
            plain["shares"] = {name: mode.value for name, mode in self.shares.items()}
            plain["read"] = [list(each) for each in self.read]
            plain["logged"] = list(self.logged)
        return {key: each for key, each in plain.items() if each}

    def why_not(self, name: str, text: str, total_bytes: int) -> tuple[str, str, str] | None:
        """Return (rule, reason, mend) when a property of this text is too much; `total_bytes`: of the run, with it."""
        mend = "Keep it as an output of the step, and write here where it is."
        if _NAME.fullmatch(name) is None:
            return "name", "A name has 1 to 200 characters, none of them a control.", "Choose another name."
        if len(text) > INLINE_LIMIT_BYTES:
            return "size", f"A value has at most {INLINE_LIMIT_BYTES:,} bytes of JSON, this has {len(text):,}.", mend
        known = self.texts.keys() | self.shares.keys() if len(self.texts) + len(self.shares) >= PROPERTIES_LIMIT else ()
        if len(known) >= PROPERTIES_LIMIT and name not in known:
            return "count", f"A context has at most {PROPERTIES_LIMIT:,} properties.", "Put several into one object."
        if total_bytes > RUN_LIMIT_BYTES:
            return "size", f"The contexts of a run have at most {RUN_LIMIT_BYTES:,} bytes in all.", mend
        return None


def as_text(value: Json) -> str:
    """Return a value as JSON text in ASCII; `NotCanonical` for what is no JSON."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCanonical(reason=str(error)) from None


def values_of(texts: Mapping[str, str]) -> dict[str, Json]:
    """Return the values of JSON texts by name."""
    return {name: json.loads(text) for name, text in texts.items()}


def short_text(value: Any, room_bytes: int) -> str:
    """Return a result as JSON text; what is large or no JSON as the words that a person sees of it."""
    try:
        text = as_text(value)
    except NotCanonical:
        return as_text(summary(value))
    return text if len(text) <= min(INLINE_LIMIT_BYTES, room_bytes) else as_text(summary(value))
