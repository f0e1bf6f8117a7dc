"""The nodes of a model while its body is being traced: what is known of each so far, without ids."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from pydantic import ValidationError

from engine.authoring.refusals import BodyRefused
from engine.domain.nodes import (
    NODE,
    ActionFields,
    AgentTask,
    Boundary,
    Knowledge,
    NestedModel,
    NodeFields,
    Stage,
    Tether,
)
from engine.domain.values import Fallback, Port

KINDS: dict[str, type[NodeFields]] = {
    "ioNode": Boundary,
    "stageNode": Stage,
    "tetherNode": Tether,
    "kbNode": Knowledge,
    "functionModelContainer": NestedModel,
    "agentNode": AgentTask,
}
_FIXED = frozenset({"kind", "id", "parent", "reference", "boundary"})
IdOf: TypeAlias = "Callable[[Draft], str]"


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A wire to be: from an output of a draft to a port of the draft that keeps it."""

    source: Draft
    source_port: str
    port: str


@dataclass(slots=True, eq=False)
class Draft:
    """One node to be. It grows while the body runs; `node` makes the value of it."""

    kind: str
    stem: str
    """What its id is made from."""
    title: str = ""
    """What people call it unless its options say otherwise; made unique in the end."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    inputs: list[Port] = field(default_factory=list[Port])
    outputs: list[Port] = field(default_factory=list[Port])
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    links: list[Link] = field(default_factory=list[Link])
    stage: Draft | None = None
    order: int = 0
    id: str | None = None
    wire_ids: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])
    """Ids of the wires into a port, where they are not to be made from the ends."""
    open_outputs: bool = False
    """True: an output is there as soon as it is asked for."""

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.fields.get("name", self.title))

    @property
    def is_action(self) -> bool:
        """Whether it does work, and so lives in a stage."""
        return issubclass(KINDS[self.kind], ActionFields)

    def configure(self, fields: Mapping[str, Any]) -> None:
        """Set fields of the node; raise `BodyRefused` for one that there is not, or a value that it can't have."""
        known = KINDS[self.kind].model_fields.keys() - _FIXED
        for name, value in fields.items():
            if name not in known:
                close = difflib.get_close_matches(name, known, n=2)
                mend = f"Did you mean {' or '.join(close)}" if close else f"There are {', '.join(sorted(known))}"
                raise BodyRefused(what=f"{self.name!r} has no option {name!r}", mend=mend)
            if name in ("inputs", "outputs"):
                setattr(self, name, _ports(self, value))
            elif name == "parameters":
                self.parameters = dict(value)
            else:
                self.fields[name] = value
        self.node(lambda _: "x")

    def node(self, id_of: IdOf) -> NodeFields:
        """Return the node; raise `BodyRefused` naming the field that is wrong."""
        plain: dict[str, Any] = {"kind": self.kind, "id": id_of(self), "name": self.title, **self.fields}
        if self.is_action:
            plain["parent"] = id_of(self.stage) if self.stage is not None else "x"
            plain["inputs"], plain["outputs"] = tuple(self.inputs), tuple(self.outputs)
            plain["parameters"] = self.parameters
            plain.setdefault("order", self.order)
            for name in ("fallback", "compensation"):
                if isinstance(plain.get(name), Draft):
                    action = id_of(plain[name])
                    plain[name] = Fallback(use="action", action=action) if name == "fallback" else action
        try:
            return cast("NodeFields", NODE.validate_python(plain))
        except ValidationError as error:
            raise _refused(self, error) from None

    def output(self, name: str) -> Port | None:
        """Return an output port, or None."""
        found = next((port for port in self.outputs if port.name == name), None)
        if found is None and self.open_outputs:
            found = Port(name=name)
            self.outputs.append(found)
        return found


def named(items: list[str]) -> str:
    """Return 'a, b and c'."""
    *others, last = items or ["nothing"]
    return f"{', '.join(others)} and {last}" if others else last


def _ports(draft: Draft, value: Any) -> list[Port]:
    try:
        return [Port(name=port) if isinstance(port, str) else Port.model_validate(port) for port in value]
    except ValidationError as error:
        raise _refused(draft, error) from None


def _refused(draft: Draft, error: ValidationError) -> BodyRefused:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != draft.kind) or "it"
    reason = first["msg"].removeprefix("Value error, ")
    return BodyRefused(what=f"{draft.name!r} can't be so: {where}: {reason}", mend="Change that value")
