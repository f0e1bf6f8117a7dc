"""The contexts of one run: what each node read, wrote and logged, asked for by the rules of `engine.domain.contexts`.

Values are kept as JSON text, so that nobody holds a piece of another's value. Each change is handed to `note` before
anybody can see it: with a journal behind it, whatever depends on a value is recorded after the value itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, NoReturn

from engine.domain.canonical import Json
from engine.domain.contexts import Access, Grant, Place, Relation, Scope, Sharing, Verdict, combined, decide
from engine.domain.contexts import relation_of as relation
from engine.domain.model import FunctionModel
from engine.domain.runs import StepStatus
from engine.errors import AccessRefused
from engine.execution.context_places import Places
from engine.execution.context_values import (
    PROPERTIES_LIMIT,
    RUN_LIMIT_BYTES,
    Change,
    Completion,
    Context,
    EmergencyRead,
    Trace,
    as_text,
    short_text,
    values_of,
)
from engine.ports import ModelSource

_NOTHING = Context()
_DONE = frozenset({"succeeded", "cached", "skipped"})
_TELLING = ("failed", "cancelled", "waiting")
"""What one action tells of its whole container, the first that is found."""


PARTS = ("own", "siblings", "inside", "around", "everywhere", "granted")
"""What a node sees, in parts; see `RunContexts.visible`."""


class View(Mapping[str, Json]):
    """What one node sees, by part; only a part that is looked at is worked out."""

    def __init__(self, contexts: RunContexts, path: str) -> None:
        self._contexts, self._path = contexts, path

    def __getitem__(self, name: str) -> Json:
        if name not in PARTS:
            raise KeyError(name)
        return self._contexts.part(self._path, name)

    def __contains__(self, name: object) -> bool:
        return name in PARTS

    def __iter__(self) -> Iterator[str]:
        return iter(PARTS)

    def __len__(self) -> int:
        return len(PARTS)


class RunContexts:
    """The contexts of one run. Safe to call from any thread; paths are those of steps and containers in the run."""

    def __init__(
        self,
        model: FunctionModel,
        models: ModelSource | None = None,
        *,
        now: Callable[[], datetime],
        grants: Iterable[Grant] = (),
        note: Callable[[Change], object] | None = None,
        emergency: Callable[[EmergencyRead], object] | None = None,
    ) -> None:
        """Begin with empty ones. `note` and `emergency` are called while others wait: they return soon.

        What either raises refuses the access: nothing is written unrecorded, no emergency read goes unseen. Without
        `emergency` emergency grants allow nothing.
        """
        self._places, self._now = Places(model, models), now
        self._grants, self._note, self._emergency = list(grants), note, emergency
        self._lock = threading.RLock()
        self._contexts: dict[str, Context] = {}
        self._ended: dict[str, tuple[StepStatus, dict[str, str]]] = {}
        """Status, and results as JSON text, by path."""
        self._global: dict[tuple[str, str], None] = {}
        self._bytes = 0
        self._version = 0

    @property
    def version(self) -> int:
        """How many changes there were: with the first so many of a journal's, the contexts are as they were then."""
        return self._version

    # ---- what a node may ask for ------------------------------------------------------------------------------

    def read(self, reader: str, owner: str, name: str) -> Json:
        """Return a property of the context of `owner`, None if it has none; `AccessRefused` if no rule allows it."""
        with self._lock:
            self._checked(reader, owner, Access.READ, name)
            text = self._of(owner).texts.get(name)
            mine = self._made(reader)
            if len(mine.read) < PROPERTIES_LIMIT:
                mine.read[owner, name] = None
            return None if text is None else json.loads(text)

    def write(self, writer: str, owner: str, name: str, value: Json, *, scope: Scope | None = None) -> None:
        """Write a property into the context of `owner`; `scope` None: as it was, at first that of the execution.

        Raises `AccessRefused` if no rule allows it or it is too much, `NotCanonical` for what is no JSON.
        """
        with self._lock:
            self._checked(writer, owner, Access.WRITE, name)
            text = as_text(value)
            self._check_room(writer, owner, name, text)
            scope = scope or self._of(owner).scopes.get(name, Scope.EXECUTION)
            self._change(Change(owner, name, writer, text=text, scope=scope))

    def share(self, path: str, name: str, sharing: Sharing | None = Sharing.INHERIT) -> None:
        """Hand a property of the node at `path` down to all below it; with None no more."""
        with self._lock:
            self._checked(path, path, Access.WRITE, name)
            self._check_room(path, path, name, "")
            self._change(Change(path, name, path, sharing=sharing))

    def status_of(self, reader: str, owner: str) -> Completion:
        """Return how `owner` stands and its results; `AccessRefused` if no rule allows it."""
        with self._lock:
            self._checked(reader, owner, Access.STATUS, None)
            return self._completion(owner)

    def trace_of(self, reader: str, owner: str) -> Trace:
        """Return the whole context of `owner`, without what is isolated; `AccessRefused` if no rule allows it."""
        with self._lock:
            self._checked(reader, owner, Access.READ, None)
            found, own = self._of(owner), reader == owner
            hidden = set[str]() if own else {name for name, scope in found.scopes.items() if scope is Scope.ISOLATED}
            written = {name: text for name, text in found.texts.items() if name not in hidden}
            return Trace(tuple(found.read), values_of(written), tuple(found.logged))

    def visible(self, path: str) -> dict[str, Json]:
        """Return everything that an expression of the node at `path` may see.

        own: its properties and what ancestors share, put together. siblings: by name. inside: of all below it, by
        path. around: status and results of its parent's siblings, by name, as far as anything is known of them.
        everywhere: global properties; where two have one name, the outer one's (then the first by path). granted: by
        path. Emergency grants show nothing here: each such read is asked for, and recorded.
        """
        with self._lock:
            return {part: self._part(path, part) for part in PARTS}

    def view(self, path: str) -> View:
        """Return what `visible` does, each part worked out when it is looked at: what expressions see as `context`."""
        return View(self, path)

    def part(self, path: str, name: str) -> dict[str, Json]:
        """Return one part of what `visible` returns."""
        with self._lock:
            return self._part(path, name)

    # ---- what the driver notes --------------------------------------------------------------------------------

    def log(self, path: str, line: str) -> None:
        """Add a line to what a node logged; 64 Ki characters are kept."""
        with self._lock:
            self._made(path).log(line)

    def ended(self, path: str, status: StepStatus, results: Mapping[str, Any] | None = None) -> None:
        """Note how a node stands, and what it gave. Of a result that is large or no JSON the summary is kept."""
        with self._lock:
            self._places.touch(path)
            before = self._ended.get(path)
            self._bytes -= sum(map(len, before[1].values())) if before is not None else 0
            texts: dict[str, str] = {}
            for name, value in (results or {}).items():
                texts[name] = short_text(value, RUN_LIMIT_BYTES - self._bytes)
                self._bytes += len(texts[name])
            self._ended[path] = (status, texts)

    def grant(self, grant: Grant) -> None:
        """Let a grant hold from now on (within its time)."""
        with self._lock:
            self._grants.append(grant)

    def take(self, change: Change) -> None:
        """Take in a change that a journal has: nothing is checked, nothing noted."""
        with self._lock:
            found = self._made(change.owner)
            self._version += 1
            if change.text is not None:
                self._bytes += len(change.text) - len(found.texts.get(change.name, ""))
                found.texts[change.name] = change.text
                scope = found.scopes[change.name] = change.scope or Scope.EXECUTION
                if scope is Scope.GLOBAL:
                    self._global[change.owner, change.name] = None
                else:
                    self._global.pop((change.owner, change.name), None)
            elif change.sharing is not None:
                found.shares[change.name] = change.sharing
            else:
                found.shares.pop(change.name, None)

    def snapshot(self, *scopes: Scope) -> dict[str, Json]:
        """Return everything as JSON; with `scopes` only the properties of these: what later runs begin with."""
        with self._lock:
            found = {path: each.to_json(scopes) for path, each in self._contexts.items()}
            plain: dict[str, Json] = {"contexts": {path: each for path, each in found.items() if each}}
            if not scopes:
                plain["version"] = self._version
                plain["ended"] = {path: [status, values_of(texts)] for path, (status, texts) in self._ended.items()}
                plain["grants"] = [grant.model_dump(mode="json") for grant in self._grants]
            return plain

    def restore(self, snapshot: Mapping[str, Json]) -> None:
        """Take in what `snapshot` returned."""
        with self._lock:
            for path, plain in snapshot["contexts"].items():
                for name, (value, scope) in plain.get("written", {}).items():
                    self.take(Change(path, name, path, text=as_text(value), scope=Scope(scope)))
                found = self._made(path)
                found.shares.update({name: Sharing(mode) for name, mode in plain.get("shares", {}).items()})
                found.read.update(dict.fromkeys(map(tuple, plain.get("read", ()))))
                for line in plain.get("logged", ()):
                    found.log(line)
            for path, (status, results) in snapshot.get("ended", {}).items():
                self.ended(path, status, results)
            self._grants += map(Grant.model_validate, snapshot.get("grants", ()))
            self._version = snapshot.get("version", 0)

    # ---- deciding ---------------------------------------------------------------------------------------------

    def _checked(self, reader: str, owner: str, verb: Access, name: str | None) -> None:
        here, there = (self._place(path, reader, owner, verb, name) for path in (reader, owner))
        usable = (grant for grant in self._grants if self._emergency is not None or not grant.emergency)
        verdict = self._verdict(here, there, verb, name, usable)
        if not verdict.allowed:
            _refuse(reader, owner, verb, name, verdict)
        if verdict.grant is not None and verdict.is_emergency and self._emergency is not None:
            self._emergency(EmergencyRead(reader, owner, name, verb, verdict.grant, self._now()))

    def _place(self, path: str, reader: str, owner: str, verb: Access, name: str | None) -> Place:
        """Return where `path` is, which is the reader or the owner; refuse when no node is there."""
        found = self._places.at(path)
        if found is None:
            reason, mend = f"There is no node at {_shown(path)}.", "'treadle show' lists the steps of a run."
            _refuse(reader, owner, verb, name, _no(Relation.OTHER, "no such node", reason, mend))
        return found

    def _verdict(self, reader: Place, owner: Place, verb: Access, name: str | None, grants: Iterable[Grant]) -> Verdict:
        scope, sharing = Scope.EXECUTION, None
        if name is not None:
            found = self._of(owner.path)
            scope, sharing = found.scopes.get(name, scope), found.shares.get(name)
        return decide(reader, owner, verb, name, now=self._now(), scope=scope, sharing=sharing, grants=grants)

    def _check_room(self, writer: str, owner: str, name: str, text: str) -> None:
        """Refuse a value that is too large, or one property too many."""
        found = self._of(owner)
        total = self._bytes + len(text) - len(found.texts.get(name, ""))
        why = found.why_not(name, text, total)
        if why is not None:
            here, there = (self._place(path, writer, owner, Access.WRITE, name) for path in (writer, owner))
            _refuse(writer, owner, Access.WRITE, name, _no(relation(here, there), *why))

    def _change(self, change: Change) -> None:
        if self._note is not None:
            self._note(change)
        self.take(change)

    def _of(self, path: str) -> Context:
        return self._contexts.get(path, _NOTHING)

    def _made(self, path: str) -> Context:
        """Return a context to write into."""
        found = self._contexts.get(path)
        if found is None:
            self._places.touch(path)
            found = self._contexts[path] = Context()
        return found

    # ---- what is seen -----------------------------------------------------------------------------------------

    def _part(self, path: str, name: str) -> dict[str, Json]:
        place = self._place(path, path, path, Access.READ, None)
        if name == "siblings":
            return self._seen(place, self._beside(place), attrgetter("name"))
        if name == "inside":
            return self._seen(place, self._all_below(place), attrgetter("path"))
        parts = {"own": self._merged, "around": self._around, "granted": self._granted}
        return parts[name](place) if name in parts else self._everywhere()

    def _merged(self, place: Place) -> dict[str, Json]:
        """Return what a node wrote, put together with what its ancestors share: nearest first, the outermost last."""
        values = values_of(self._of(place.path).texts)
        for depth in range(place.depth - 1, -1, -1):
            ancestor = Place(place.chain[:depth])
            found = self._of(ancestor.path)
            for name, sharing in found.shares.items():
                if name in found.texts and self._verdict(place, ancestor, Access.READ, name, ()).allowed:
                    outer = json.loads(found.texts[name])
                    values[name] = combined(sharing, outer, values[name]) if name in values else outer
        return values

    def _seen(self, reader: Place, owners: Iterable[Place], key: Callable[[Place], str]) -> dict[str, Json]:
        """Return the properties that the relation lets a node read, by owner; owners that have none are left out."""
        found: dict[str, Json] = {}
        for owner in owners:
            texts = self._of(owner.path).texts
            allowed = {each: self._verdict(reader, owner, Access.READ, each, ()).allowed for each in texts}
            if any(allowed.values()):
                found[key(owner)] = values_of({each: text for each, text in texts.items() if allowed[each]})
        return found

    def _beside(self, place: Place) -> Iterable[Place]:
        beside = self._places.below(Place(place.chain[:-1]).path) if place.depth else ()
        return (each for each in beside if each.path != place.path)

    def _all_below(self, place: Place) -> Iterator[Place]:
        left = [place]
        while left:
            for each in self._places.below(left.pop().path):
                left.append(each)
                yield each

    def _around(self, place: Place) -> dict[str, Json]:
        if place.depth < 2:
            return {}
        found: dict[str, Json] = {}
        for each in self._places.below(Place(place.chain[:-2]).path):
            if self._verdict(place, each, Access.STATUS, None, ()).allowed:
                completion = self._completion(each.path)
                found[each.name] = {"status": completion.status, "results": dict(completion.results)}
        return found

    def _everywhere(self) -> dict[str, Json]:
        """Return the global properties; the last to be put in is the outermost, then the first by path."""
        owners = {owner: self._places.at(owner) or Place() for owner, _ in self._global}
        order = sorted(self._global, key=lambda each: (owners[each[0]].depth, each[0]), reverse=True)
        return {name: json.loads(self._of(owner).texts[name]) for owner, name in order}

    def _granted(self, place: Place) -> dict[str, Json]:
        mine = [grant for grant in self._grants if grant.who == place.path]
        found: dict[str, Json] = {}
        for whose in {grant.whose: None for grant in mine}:
            owner, texts = self._places.at(whose), self._of(whose).texts
            if owner is not None:
                rules = {name: self._verdict(place, owner, Access.READ, name, mine) for name in texts}
                given = values_of({name: text for name, text in texts.items() if rules[name].rule == "grant"})
                found.update({whose: given} if given else {})
        return found

    # ---- completions ------------------------------------------------------------------------------------------

    def _completion(self, path: str) -> Completion:
        """Return what was noted of a node; of a container of which nothing was, what its actions add up to."""
        noted = self._ended.get(path)
        if noted is not None:
            return Completion(noted[0], values_of(noted[1]))
        members = self._places.members(path, self._ended)
        known = {name: self._ended[each] for name, each in members.items() if each in self._ended}
        if not known:
            return Completion()
        states = {status for status, _ in known.values()}
        told: Any = next((status for status in _TELLING if status in states), None)
        ended = len(known) == len(members) and states <= _DONE
        return Completion(
            told or ("succeeded" if ended else "running"),
            {name: values_of(texts) for name, (_, texts) in known.items()},
        )


def _refuse(reader: str, owner: str, verb: Access, name: str | None, verdict: Verdict) -> NoReturn:
    """Raise `AccessRefused`; another attempt does not help."""
    is_status = verb is Access.STATUS
    raise AccessRefused(
        reader=_shown(reader),
        verb="read" if is_status else verb.value,
        what="the status" if is_status else "the context" if name is None else repr(name),
        owner=_shown(owner),
        relation=verdict.relation.value,
        rule=verdict.rule,
        reason=verdict.reason,
        mend=verdict.mend,
        permanent=True,
    )


def _no(found: Relation, rule: str, reason: str, mend: str) -> Verdict:
    return Verdict(allowed=False, relation=found, rule=rule, reason=reason, mend=mend)


def _shown(path: str) -> str:
    return repr(path) if path else "the model"
