"""Hierarchical context: where a node stands, what it may see of others, and why (DOMAIN.md, section 7).

A context is what a node read, wrote and logged. Whether one node may read or write another's is decided by how the
two stand to each other, by what an ancestor shares, and by grants; whatever no rule allows is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from engine.domain.canonical import Json, as_object
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, NestedModel
from engine.domain.values import Frozen, Identifier, Text, Timestamp

_SEGMENT = re.compile(r"(?P<node>[^/\[\]#]+)(?P<item>\[(?:0|[1-9][0-9]*)\])?(?P<mark>#[^/]+)?")
_TRY = re.compile(r"#[0-9]+$")

Inside: TypeAlias = Callable[[NestedModel], FunctionModel | None]
"""Gives the model that a nested step runs, None if there is none."""


class Relation(StrEnum):
    """How the owner of a context stands to the node that asks for it."""

    OWN = "own"
    DESCENDANT = "descendant"
    SIBLING = "sibling"
    ANCESTOR = "ancestor"
    PARENTS_SIBLING = "parent's sibling"
    OTHER = "other"


class Access(StrEnum):
    """What may be done with a context. `STATUS`: its status and completion results, nothing else."""

    READ = "read"
    WRITE = "write"
    STATUS = "status-only"


class Scope(StrEnum):
    """How far and how long a property of a context reaches.

    execution: for the run that wrote it, by relation. session: as execution, and the later runs of the same session
    find it at the same place; the word says how long it lives, not who may see it. global: every node of this and of
    later runs may read it, whatever its relation; writing stays by relation. isolated: the node itself and nobody
    else, in this run: neither its containers nor a share nor a grant reaches it, an emergency included.
    """

    EXECUTION = "execution"
    SESSION = "session"
    GLOBAL = "global"
    ISOLATED = "isolated"


class Sharing(StrEnum):
    """How an ancestor hands a property down.

    inherit: those below see its value as it is; if they have one of that name, the parent's wins. merge: objects are
    put together field by field; where both have a field, or one value is no object, the parent's wins. override: it
    is a default; a value that was written nearer stands in its place (no conflict: the parent says it may).
    """

    INHERIT = "inherit"
    OVERRIDE = "override"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands in a run.

    The chain names every place from the outermost container to the node itself, each by its full path: a container,
    a step, an item of a step, and so on into nested models. The empty chain is the outermost model.
    """

    chain: tuple[str, ...] = ()
    floor: int = 0
    """Ancestors with a shorter chain are out of reach, and what stands beside them: a nested step with isolated
    inheritance lies between. That step itself is in reach: it stands for the model inside it."""

    @property
    def path(self) -> str:
        """The path of the node, empty for the outermost model."""
        return self.chain[-1] if self.chain else ""

    @property
    def name(self) -> str:
        """The last part of the path: 'clean[3]' of 'per-file[1]/clean[3]'."""
        return self.path.rpartition("/")[2]

    @property
    def depth(self) -> int:
        """How many places stand around it, the outermost model included."""
        return len(self.chain)


OUTERMOST: Final = Place()
"""The model that is run."""

PropertyName = Identifier


class Grant(Frozen):
    """Lets one node do with the context of one other what the relation alone does not allow.

    It holds for exactly these two places, these verbs and properties, from `starts_at` until before `ends_at`.
    It never reaches an isolated property.
    """

    who: str
    """The path of the node that may."""
    whose: str
    """The path of the node whose context it is; empty: the outermost model's."""
    verbs: Annotated[tuple[Access, ...], Field(min_length=1)] = (Access.READ,)
    properties: Annotated[tuple[PropertyName, ...], Field(min_length=1, max_length=1_000)] | None = None
    """None: all of them, and the context as a whole."""
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None
    reason: Text = ""
    emergency: bool = False
    """Every use of it goes to the ledger. It only reads, and needs a reason and an end."""
    by: Annotated[str, StringConstraints(max_length=200)] = ""
    """Who gave it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Grant:
        message = ""
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            message = "a grant ends after it starts"
        elif self.emergency and not (self.reason.strip() and self.ends_at is not None):
            message = "an emergency grant needs a reason and an end"
        elif self.emergency and Access.WRITE in self.verbs:
            message = "an emergency grant only reads"
        if message:
            raise ValueError(message)
        return self

    def covers(self, reader: str, owner: str, verb: Access, name: str | None, now: datetime) -> bool:
        """Say whether it allows this, at this time; `name` None is the context as a whole."""
        return (
            self.who == reader
            and self.whose == owner
            and verb in self.verbs
            and (self.properties is None or name in self.properties)
            and (self.starts_at is None or self.starts_at <= now)
            and (self.ends_at is None or now < self.ends_at)
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an access is allowed, by which rule, and why in one sentence; if not, what would help."""

    allowed: bool
    relation: Relation
    rule: str
    """Of what allows: own, descendant, sibling, shared, parent's sibling, global, grant, emergency grant.
    Of what refuses: isolated, isolated model, not shared, read only, status only, nothing allows it."""
    reason: str
    mend: str = ""
    grant: Grant | None = None

    @property
    def is_emergency(self) -> bool:
        """True when only an emergency grant allows it, so that the ledger must have it."""
        return self.grant is not None and self.grant.emergency


ALLOWED: Final[dict[Relation, frozenset[Access]]] = {
    Relation.OWN: frozenset(Access),
    Relation.DESCENDANT: frozenset(Access),
    Relation.SIBLING: frozenset({Access.READ, Access.STATUS}),
    Relation.ANCESTOR: frozenset(),
    Relation.PARENTS_SIBLING: frozenset({Access.STATUS}),
    Relation.OTHER: frozenset(),
}
"""What the relation alone allows; who may read may see the status too. Ancestors: see `Sharing`."""


def place_of(model: FunctionModel, path: str, inside: Inside = lambda _: None) -> Place | None:
    """Return where the node at `path` of a run of `model` stands, None if no node can be there.

    `path` is that of a step ('per-file[3]/clean', 'undo#clean'), or a container's id below the path of its nested
    step ('per-file[3]/stage'). Items stand below their step; each further try of a nested step ('per-file#2/clean')
    has places of its own below it. The empty path is the model itself.
    """
    chain, floor, prefix = list[str](), 0, ""
    within: FunctionModel | None = model
    segments = path.split("/") if path else []
    for number, segment in enumerate(segments):
        match = _SEGMENT.fullmatch(segment)
        node = within.nodes.get(match["node"]) if match is not None and within is not None else None
        if match is None or node is None:
            return None
        is_last = number == len(segments) - 1
        item, mark = match["item"] or "", match["mark"] or ""
        if not isinstance(node, ActionFields):
            return Place((*chain, prefix + node.id), floor) if is_last and not item and not mark else None
        step = prefix + node.id + (mark if is_last else _TRY.sub("", mark))
        chain += [prefix + node.parent, step]
        if item:
            chain.append(prefix + node.id + item)
        if not is_last:
            if not isinstance(node, NestedModel):
                return None
            floor = len(chain) if node.inheritance == "isolated" else floor
            within = inside(node)
            prefix += segment + "/"
    return Place(tuple(chain), floor)


def relation_of(reader: Place, owner: Place) -> Relation:
    """Return how `owner` stands to `reader`: exactly one relation for each pair of one run."""
    mine, theirs = reader.chain, owner.chain
    if mine == theirs:
        return Relation.OWN
    if theirs[: len(mine)] == mine:
        return Relation.DESCENDANT
    if mine[: len(theirs)] == theirs:
        return Relation.ANCESTOR
    if mine[:-1] == theirs[:-1]:
        return Relation.SIBLING
    if len(mine) > 1 and mine[:-2] == theirs[:-1]:
        return Relation.PARENTS_SIBLING
    return Relation.OTHER


def decide(
    reader: Place,
    owner: Place,
    verb: Access,
    name: str | None = None,
    *,
    now: datetime,
    scope: Scope = Scope.EXECUTION,
    sharing: Sharing | None = None,
    grants: Iterable[Grant] = (),
) -> Verdict:
    """Return whether `reader` may do `verb` with the property `name` of `owner`; what no rule allows is refused.

    `name` None is the context as a whole (or its status). `scope` is the property's, `sharing` how its owner hands
    it down (None: it doesn't).
    """
    relation = relation_of(reader, owner)
    if relation is Relation.OWN:
        return _yes(relation, "own", "It is its own context.")
    if scope is Scope.ISOLATED:
        mend = "Let its owner write it in another scope."
        return _no(relation, "isolated", "It is isolated: nobody but the node itself may use it.", mend)
    return (
        _by_relation(reader, owner, relation, verb, sharing if name is not None else None)
        or _as_global(relation, verb, scope)
        or _by_grant(relation, [each for each in grants if each.covers(reader.path, owner.path, verb, name, now)])
        or _refused(reader, owner, relation, verb, sharing)
    )


def combined(sharing: Sharing, outer: Json, inner: Json) -> Json:
    """Return what those below see where an ancestor shares `outer` and `inner` was written, or came about, nearer."""
    if sharing is Sharing.OVERRIDE:
        return inner
    if sharing is not Sharing.MERGE or not _are_objects(outer, inner):
        return outer
    return {**as_object(inner), **as_object(outer)}


def _by_relation(
    reader: Place, owner: Place, relation: Relation, verb: Access, sharing: Sharing | None
) -> Verdict | None:
    if relation is Relation.ANCESTOR:
        if verb is Access.READ and sharing is not None and owner.depth >= reader.floor:
            return _yes(relation, "shared", f"An ancestor shares it ({sharing}).")
        return None
    if verb not in ALLOWED[relation] or _is_cut_off(reader, owner, relation):
        return None
    return _yes(relation, relation.value, f"The relation is {relation}, which allows {_listed(relation)}.")


def _is_cut_off(reader: Place, owner: Place, relation: Relation) -> bool:
    """Say whether an isolated nested model lies between; what stands beside an ancestor counts as its parent."""
    if relation is Relation.ANCESTOR:
        return owner.depth < reader.floor
    return relation is Relation.PARENTS_SIBLING and owner.depth - 1 < reader.floor


def _as_global(relation: Relation, verb: Access, scope: Scope) -> Verdict | None:
    if scope is Scope.GLOBAL and verb is Access.READ:
        return _yes(relation, "global", "It is global: every node may read it.")
    return None


def _by_grant(relation: Relation, found: list[Grant]) -> Verdict | None:
    """Return what the grants that cover an access make of it: a plain one comes before one for emergencies."""
    if not found:
        return None
    grant = min(found, key=lambda each: each.emergency)
    rule = "emergency grant" if grant.emergency else "grant"
    told = f": {grant.reason.strip().rstrip('.')}" if grant.reason.strip() else ""
    article = "An" if grant.emergency else "A"
    return Verdict(allowed=True, relation=relation, rule=rule, reason=f"{article} {rule} allows it{told}.", grant=grant)


def _refused(reader: Place, owner: Place, relation: Relation, verb: Access, sharing: Sharing | None) -> Verdict:
    grant = "or ask for a grant"
    if _is_cut_off(reader, owner, relation):
        reason = "A nested model with isolated inheritance lies between."
        return _no(relation, "isolated model", reason, f"Hand it in as an input, set its inheritance, {grant}.")
    if relation is Relation.ANCESTOR and verb is Access.READ and sharing is None:
        return _no(relation, "not shared", "An ancestor is read only where it shares.", f"Let it share this, {grant}.")
    if relation in (Relation.ANCESTOR, Relation.SIBLING) and verb is Access.WRITE:
        mend = f"Write it to its own context, {grant}."
        return _no(relation, "read only", f"The context of a node that is {_named(relation)} is never written.", mend)
    if relation is Relation.PARENTS_SIBLING:
        reason = "Of a parent's sibling only status and completion results may be read."
        return _no(relation, "status only", reason, f"Ask for its status, bring the value by a wire, {grant}.")
    mend = f"Bring the value by a wire, {grant}."
    return _no(relation, "nothing allows it", f"The relation is {relation}, and no rule or grant allows it.", mend)


def _are_objects(*values: Json) -> bool:
    return all(isinstance(each, dict) for each in values)


def _named(relation: Relation) -> str:
    return f"an {relation}" if relation is Relation.ANCESTOR else f"a {relation}"


def _listed(relation: Relation) -> str:
    return ", ".join(verb.value for verb in Access if verb in ALLOWED[relation])


def _yes(relation: Relation, rule: str, reason: str) -> Verdict:
    return Verdict(allowed=True, relation=relation, rule=rule, reason=reason)


def _no(relation: Relation, rule: str, reason: str, mend: str) -> Verdict:
    return Verdict(allowed=False, relation=relation, rule=rule, reason=reason, mend=mend)
