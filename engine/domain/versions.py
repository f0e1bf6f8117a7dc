"""Versions: immutable snapshots, what differs between two models, and the number that a change asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from engine.domain.canonical import Json, as_list, as_object
from engine.domain.contracts import input_contract, output_contract
from engine.domain.differences import FieldChange, model_changes, node_changes
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import Boundary, Node
from engine.domain.schemas import narrowed
from engine.domain.values import Frozen, Identifier, Nature, Schema, Semver, Text, Timestamp
from engine.errors import VersionTooLow

FIRST = Semver(major=1)
_INSIDE = "Only how the model works inside has changed."
_SHOWN_CHARS = 80
_NATURES = {Nature.MAJOR: "major (it breaks what others rely on)", Nature.MINOR: "minor", Nature.PATCH: "a patch"}


class Version(Frozen):
    """A published snapshot of a whole model."""

    model: Identifier
    number: Semver
    snapshot: FunctionModel
    author: Identifier
    message: Text = ""
    ts: Timestamp
    content_hash: str


class Difference(Frozen):
    """One field: its path such as 'parameters.path', and its values; None where it has its default."""

    field: str
    old: Json = None
    new: Json = None


class NodeDifference(Frozen):
    """A node that is in both models and differs in more than its place."""

    id: str
    name: str
    """As it is called now."""
    fields: tuple[Difference, ...]


class Comparison(Frozen):
    """What leads from one model to another; ids in order."""

    added: tuple[Node, ...]
    removed: tuple[Node, ...]
    changed: tuple[NodeDifference, ...]
    moved: tuple[str, ...]
    """Nodes that only stand elsewhere on the canvas."""
    wires_added: tuple[Wire, ...]
    wires_removed: tuple[Wire, ...]
    dependencies_added: tuple[Dependency, ...]
    dependencies_removed: tuple[Dependency, ...]
    fields: tuple[Difference, ...]
    """Fields of the model itself: name, description, tags, permissions."""

    @property
    def is_empty(self) -> bool:
        """Whether the models are the same."""
        return not any(getattr(self, name) for name in type(self).model_fields)

    def lines(self) -> list[str]:
        """Return what differs, a line each: + for what is new, - for what is gone, ~ for what is not as it was."""
        return [
            *(f"~ {_told(field)}" for field in self.fields),
            *(f"- {node.name!r} ({node.kind})" for node in self.removed),
            *(f"+ {node.name!r} ({node.kind})" for node in self.added),
            *(f"~ {node.name!r}: {_told(field)}" for node in self.changed for field in node.fields),
            *(f"~ {key!r} stands elsewhere" for key in self.moved),
            *(f"- {_wire(wire)}" for wire in self.wires_removed),
            *(f"+ {_wire(wire)}" for wire in self.wires_added),
            *(f"- {edge.target!r} waits for {edge.source!r}" for edge in self.dependencies_removed),
            *(f"+ {edge.target!r} waits for {edge.source!r}" for edge in self.dependencies_added),
        ]


class Proposal(Frozen):
    """The number that a change asks for, and why."""

    nature: Nature | None
    """None: nothing changed."""
    number: Semver
    """The least number the next version can have; when nothing changed, the number there is."""
    reasons: tuple[str, ...]


def compare(old: FunctionModel, new: FunctionModel) -> Comparison:
    """Return what leads from `old` to `new`, field by field. Wires and dependencies that changed are in both lists."""
    both = sorted(old.nodes.keys() & new.nodes.keys())
    same_kind = [key for key in both if old.nodes[key].kind == new.nodes[key].kind]
    replaced = set(both).difference(same_kind)
    changed: list[NodeDifference] = []
    moved: list[str] = []
    for key in same_kind:
        fields = _differences(node_changes(old.nodes[key], new.nodes[key]))
        if any(field.field != "position" for field in fields):
            changed.append(NodeDifference(id=key, name=new.nodes[key].name, fields=fields))
        elif fields:
            moved.append(key)
    return Comparison(
        added=tuple(new.nodes[key] for key in sorted(new.nodes) if key not in old.nodes or key in replaced),
        removed=tuple(old.nodes[key] for key in sorted(old.nodes) if key not in new.nodes or key in replaced),
        changed=tuple(changed),
        moved=tuple(moved),
        wires_added=tuple(new.wires[key] for key in sorted(new.wires) if old.wires.get(key) != new.wires[key]),
        wires_removed=tuple(old.wires[key] for key in sorted(old.wires) if new.wires.get(key) != old.wires[key]),
        dependencies_added=_only_in(new.dependencies, old.dependencies),
        dependencies_removed=_only_in(old.dependencies, new.dependencies),
        fields=_differences(model_changes(old, new)),
    )


def propose(previous: FunctionModel | None, current: FunctionModel) -> Proposal:
    """Return the number that publishing `current` after the published snapshot `previous` asks for.

    A port or contract lost or narrowed is major; new nodes and wider contracts are minor; the rest is a patch.
    """
    if previous is None:
        return Proposal(nature=Nature.MAJOR, number=FIRST, reasons=("This is the first version.",))
    before = previous.version or FIRST
    if previous.content_hash == current.content_hash:
        return Proposal(nature=None, number=before, reasons=("Nothing changed.",))
    found = [*_interface(previous, current), *_nodes(previous, current)]
    nature = max((reach for reach, _ in found), default=Nature.PATCH)
    reasons = tuple(reason for reach, reason in found if reach is nature) or (_INSIDE,)
    return Proposal(nature=nature, number=before.bumped(nature), reasons=reasons)


def check_number(proposal: Proposal, wanted: Semver, *, name: str = "") -> None:
    """Raise `VersionTooLow` if `wanted` is less than what the change asks for; a higher number is fine.

    `name` is the model's, kept among the facts of the error.
    """
    least = proposal.number if proposal.nature is not None else proposal.number.bumped(Nature.PATCH)
    if wanted < least:
        told = "none, and the number must go up" if proposal.nature is None else _NATURES[proposal.nature]
        raise VersionTooLow(number=wanted, nature=told, least=least, name=name)


_Reason = tuple[Nature, str]


def _interface(previous: FunctionModel, current: FunctionModel) -> Iterator[_Reason]:
    yield from _ports(input_contract(previous), input_contract(current), "in")
    yield from _ports(output_contract(previous), output_contract(current), "out")
    yield from _rules(previous, current)


def _ports(old: Schema, new: Schema, direction: Literal["in", "out"]) -> Iterator[_Reason]:
    side = "input" if direction == "in" else "output"
    before, after = _fields(old), _fields(new)
    needed_before, needed_after = _required(old), _required(new)
    for name in sorted(before.keys() - after.keys()):
        yield Nature.MAJOR, f"The {side} {name!r} is gone."
    for name in sorted(after.keys() - before.keys()):
        if direction == "in" and name in needed_after and not _has_default(after[name]):
            yield Nature.MAJOR, f"The new input {name!r} must be given."
        else:
            yield Nature.MINOR, f"The {side} {name!r} is new."
    for name in sorted(before.keys() & after.keys()):
        yield from _port(name, before[name], after[name], direction)
        now, was = name in needed_after, name in needed_before
        if direction == "in" and now and not was and not _has_default(after[name]):
            yield Nature.MAJOR, f"The input {name!r} must now be given."
        elif direction == "out" and was and not now:
            yield Nature.MAJOR, f"The output {name!r} is no longer always given."
        elif now != was:
            yield Nature.MINOR, f"The {side} {name!r} is {'always given' if now else 'no longer needed'}."
    apart = ("properties", "required", "title", "description", "$comment", "examples", "default")
    rest_before, rest_after = ({k: v for k, v in whole.items() if k not in apart} for whole in (old, new))
    reason = narrowed(rest_before, rest_after, direction=direction)
    if reason:
        yield Nature.MAJOR, f"The {side} contract {reason}."
    elif rest_before != rest_after:
        yield Nature.MINOR, f"The {side} contract is wider."


def _port(name: str, before: Json, after: Json, direction: Literal["in", "out"]) -> Iterator[_Reason]:
    side = "input" if direction == "in" else "output"
    reason = narrowed(before, after, direction=direction)
    if reason:
        yield Nature.MAJOR, f"The {side} {name!r} {reason}."
    elif direction == "in" and _has_default(before) and not _has_default(after):
        yield Nature.MAJOR, f"The input {name!r} has lost its default."
    elif narrowed(after, before, direction=direction):
        yield Nature.MINOR, f"The {side} {name!r} {'takes more' if direction == 'in' else 'is more exact'}."


def _rules(previous: FunctionModel, current: FunctionModel) -> Iterator[_Reason]:
    """A new rule refuses inputs that were taken; a rule that is gone no longer vouches for outputs."""
    for side in ("input", "output"):
        before, after = (_expressions(model, side) for model in (previous, current))
        for cel in sorted(after - before):
            if side == "input":
                yield Nature.MAJOR, f"Inputs must now meet the rule {cel!r}."
            else:
                yield Nature.MINOR, f"Outputs now meet the rule {cel!r}."
        for cel in sorted(before - after):
            if side == "input":
                yield Nature.MINOR, f"Inputs need no longer meet the rule {cel!r}."
            else:
                yield Nature.MAJOR, f"Outputs may no longer meet the rule {cel!r}."


def _nodes(previous: FunctionModel, current: FunctionModel) -> Iterator[_Reason]:
    new = [current.nodes[key].name for key in sorted(current.nodes.keys() - previous.nodes.keys())]
    if new:
        more = f" and {len(new) - 3} more" if new[3:] else ""
        yield Nature.MINOR, f"New: {', '.join(map(repr, new[:3]))}{more}."


def _expressions(model: FunctionModel, side: str) -> set[str]:
    return {
        rule.expression.cel
        for node in model.nodes.values()
        if isinstance(node, Boundary) and side in node.boundary
        for rule in node.rules
    }


def _fields(contract: Schema) -> Mapping[str, Json]:
    return as_object(contract.get("properties"))


def _required(contract: Schema) -> set[str]:
    return {name for name in as_list(contract.get("required")) if isinstance(name, str)}


def _has_default(schema: Json) -> bool:
    return "default" in as_object(schema)


def _differences(changes: Iterable[FieldChange]) -> tuple[Difference, ...]:
    return tuple(Difference(field=".".join(one.path), old=one.old, new=one.new) for one in changes)


def _told(one: Difference) -> str:
    return f"{one.field}: {_shown(one.old)} → {_shown(one.new)}"


def _shown(value: Json) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + " …"


def _wire(wire: Wire) -> str:
    return f"{wire.source}.{wire.source_port} → {wire.target}.{wire.target_port}"


def _only_in(these: Mapping[str, Dependency], those: Mapping[str, Dependency]) -> tuple[Dependency, ...]:
    return tuple(these[key] for key in sorted(these) if those.get(key) != these[key])
