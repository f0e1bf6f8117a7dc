"""Stories: a case lived through to its end, with crashes on the way, and what must be true of each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from engine.domain.nodes import NestedModel, Tether
from engine.domain.runs import Run, Step
from engine.errors import JournalBroken
from engine.execution.breaker import Breakers
from engine.execution.compiling import compile_plan
from engine.execution.frames import Directions, Outcome
from engine.execution.local import LocalRun, Services
from engine.execution.plan import Plan
from engine.execution.records import fold, recover
from engine.execution.scribe import Scribe
from engine.expressions import Cel
from engine.storage.memory_journal import MemoryBlobs
from engine.system import EnvironmentSecrets
from tests.simulation.functions import Functions
from tests.simulation.models import INPUTS, Case
from tests.simulation.world import Crash, FakeCrew, FakeDecisions, FakeInbox, FaultyJournal, Life, Store, between_lives

MOST_LIVES = 100
_CEL, _SECRETS, _NOW = Cel(), EnvironmentSecrets(), datetime(2031, 1, 1, tzinfo=UTC)


class Blow(NamedTuple):
    """A crash: in which life, at which of its events, what share of the volatile records survives."""

    life: int
    event: int
    share: float
    lies: bool = False
    """The disk or the store does what it is told, says that it failed, and that ends the life."""


@dataclass(slots=True)
class Story:
    """What came of a case."""

    outcome: Outcome
    store: Store
    events: list[int]
    """How many events each life had."""
    steps: dict[str, Step]
    crashes: int

    @property
    def states(self) -> dict[str, str]:
        return {path: step.status for path, step in self.steps.items()}


class Stage:
    """Where the stories of one case are played: the model is compiled once."""

    def __init__(self, case: Case) -> None:
        self.case, self.functions = case, Functions()
        self.plan = compile_plan(case.model, self.functions, case.source)
        self._run = Run(
            id="run",
            model="m",
            model_name="m",
            content_hash="",
            durability=case.durability,  # type: ignore[arg-type]
            created_at=_NOW,
        )

    def play(self, blows: tuple[Blow, ...] = ()) -> Story:
        """Live through the case with these crashes."""
        store, events, passed, number = Store(), list[int](), set[str](), 0
        struck, crashes = {blow.life: blow for blow in blows}, 0
        while True:
            blow = struck.get(number)
            life = self._life(store, number, blow)
            try:
                outcome, at = self._live(life, passed)
            except (Crash, JournalBroken):
                assert blow is not None, "a life ended without a crash"
                outcome, at = None, None
                crashes += 1
                store.crash(1.0 if life.broken else blow.share)
            store.seconds = life.clock.monotonic()
            events.append(life.events)
            number += 1
            if outcome is not None:
                if outcome.status not in ("paused", "waiting"):
                    break
                passed |= {at} if at is not None else set()
                between_lives(store, life.dice)
            assert number < MOST_LIVES, "the run does not come to an end"
        steps = fold("run", store.records, self.plan)
        return Story(outcome, store, events, {step.path: step for step in steps}, crashes)

    def _life(self, store: Store, number: int, blow: Blow | None) -> Life:
        dice = random.Random(f"{self.case.seed}-{number}")
        return Life(store, dice, dies_at=blow.event if blow else None, lies=bool(blow and blow.lies))

    def _live(self, life: Life, passed: set[str]) -> tuple[Outcome, str | None]:
        """Run or resume in one process; return how it went and where it paused."""
        case, store = self.case, life.store
        blobs = MemoryBlobs()
        services = Services(_CEL, blobs, life.clock, None, _SECRETS, FakeDecisions(life), Breakers(life.clock))  # type: ignore[arg-type]
        scribe = Scribe("run", life.clock, blobs, FaultyJournal(life), strict=case.durability == "strict")  # type: ignore[arg-type]
        directions = Directions(
            capacity=case.capacity,
            breakpoints=frozenset(case.breakpoints),
            passed=frozenset(passed),
            most_steps=case.steps,
        )
        begun = bool(store.records)
        recovered = recover(store.records) if begun else None
        local = LocalRun(
            self._run, self.plan, INPUTS, services, scribe, recovered=recovered, directions=directions, last_good=_good
        )
        crew = FakeCrew(life)
        local.crew, local._inbox = crew, FakeInbox(life, crew, local.answer)  # type: ignore[assignment]
        self.functions.life, self.functions.crew = life, crew
        if not begun:
            scribe.sync(scribe.started(b"{}"))
        outcome = local.go()
        if outcome.status not in ("paused", "waiting"):
            scribe.sync(scribe.ended(b"{}"))
        return outcome, local.paused_at


def _good(path: str) -> dict[str, Any] | None:
    return {"result": len(path)} if len(path) % 2 else None


# ---- what must be true ------------------------------------------------------------------------------------------


def wrongs(stage: Stage, whole: Story, story: Story) -> list[str]:
    """Return what is wrong with a story, compared with the one without a crash."""
    found = [*story.store.wrongs]
    if story.outcome.status != whole.outcome.status:
        found.append(f"it {story.outcome.status} ({story.outcome.error}); whole, it {whole.outcome.status}")
    elif story.outcome.outputs != whole.outcome.outputs:
        found.append(f"outputs {story.outcome.outputs}; whole, they are {whole.outcome.outputs}")
    elif story.outcome.status == "succeeded" and _states(story, whole) != _states(whole, story):
        expected = _states(whole, story)
        differ = {path: state for path, state in _states(story, whole).items() if expected.get(path) != state}
        found.append(f"steps {differ}; whole, they are {expected}")
    if stage.case.serial and _undone(story) != _undone(whole):
        found.append(f"it undid {_undone(story)}; whole, {_undone(whole)}")
    return [*found, *_unkeyed(story), *unended(story), *_not_undone(stage, story)]


def _states(story: Story, other: Story) -> dict[str, str]:
    """Return the states of the steps without those in nested models that failed, of which more or less is done."""
    failed = {path for told in (story, other) for path, state in told.states.items() if state == "failed"}
    left_out = tuple(path[: path.rfind("/") + 1] for path in failed if "/" in path)
    return {path: state for path, state in story.states.items() if not path.startswith(left_out)}


def _undone(story: Story) -> list[str]:
    """Return what was undone, in order, each attempt once."""
    return list(dict.fromkeys(story.store.undone))


def _unkeyed(story: Story) -> Iterator[str]:
    for (path, attempt), keys in story.store.keys.items():
        if len(keys) > 1:
            yield f"{path}, attempt {attempt}, had the keys {sorted(keys)}"
    lives = len(story.events)
    for key, calls in story.store.effects.items():
        if calls > lives:
            yield f"{key} was begun {calls} times in {lives} lives"
    owners = Counter(key for keys in story.store.keys.values() for key in keys)
    yield from (f"{key} is the key of {count} effects" for key, count in owners.items() if count > 1)


def unended(story: Story) -> Iterator[str]:
    """An effect that was begun has an end on record."""
    ended = {(record.path, record.attempt) for record in story.store.records if record.kind in ("done", "failed")}
    for path, attempt in sorted(set(story.store.keys) - ended):
        yield f"{path} was begun in attempt {attempt}, and was neither ended nor tried again"


def _not_undone(stage: Stage, story: Story) -> Iterator[str]:
    """In a frame that compensates, all that is done and can be undone is, the last first; in others nothing is."""
    places = {record.path: place for place, record in enumerate(story.store.records) if record.kind == "done"}
    lost = {path for path, step in story.steps.items() if step.status == "failed"}
    for prefix, plan in _frames(stage.plan, story):
        undo_of = {node.id: f"{prefix}{node.compensation}#{node.id}" for node in _undoable(plan)}
        tried = {
            record.path: place
            for place, record in enumerate(story.store.records)
            if record.kind in ("done", "failed") and record.path in undo_of.values()
        }
        if not _compensates(plan, prefix, lost, set(places)):
            yield from (f"{path} was undone although its frame does not compensate" for path in tried)
            continue
        wanted = {node: _place(plan, prefix, node, places) for node in undo_of}
        order = [undo_of[node] for node in sorted(wanted, key=lambda node: -wanted[node]) if wanted[node] >= 0]
        if (got := sorted(tried, key=tried.__getitem__)) != order:
            yield f"{prefix or 'the run'} undid {got} instead of {order}"


def _frames(plan: Plan, story: Story) -> Iterator[tuple[str, Plan]]:
    """Yield each plan that was entered, with the beginning of its paths."""
    prefixes = {record.path[: record.path.rfind("/") + 1] for record in story.store.records if record.path}
    for prefix in prefixes:
        inside = plan
        for segment in prefix.split("/")[:-1]:
            name = segment.partition("#")[0].partition("[")[0]
            inside = inside.nested[inside.slots[name]]
        yield prefix, inside


def _undoable(plan: Plan) -> list[Any]:
    return [node for node in plan.model.nodes.values() if getattr(node, "compensation", None) and node.id in plan.slots]


def _stood_in(node: Any, prefix: str, places: set[str]) -> bool:
    if node.fallback is None or node.for_each is not None:
        return False
    if node.fallback.use == "action":
        return f"{prefix}{node.fallback.action}" in places
    return node.fallback.use == "constant" or _good(f"{prefix}{node.id}") is not None


def _compensates(plan: Plan, prefix: str, lost: set[str], places: set[str]) -> bool:
    """Say whether a step failed for good in a stage that asks for compensation."""
    for name in plan.slots:
        node = plan.model.nodes[name]
        if isinstance(node, Tether | NestedModel) and f"{prefix}{name}" in lost:
            home = plan.model.nodes[node.parent]
            if home.on_failure == "compensate" and not _stood_in(node, prefix, places):
                return True
    return False


def _place(plan: Plan, prefix: str, name: str, places: dict[str, int]) -> int:
    """Return when a step was done, itself or by what stands in for it; -1 if it was not."""
    node = plan.model.nodes[name]
    place = places.get(f"{prefix}{name}", -1)
    if place < 0 and node.fallback is not None and node.fallback.action is not None and node.for_each is None:
        place = places.get(f"{prefix}{node.fallback.action}", -1)
    return place


# ---- making a failure small -------------------------------------------------------------------------------------


def shrunk(
    case: Case, blows: tuple[Blow, ...], fails: Callable[[Case, tuple[Blow, ...]], bool]
) -> tuple[Case, tuple[Blow, ...]]:
    """Return a smaller case and fewer crashes that still fail."""
    for number in range(len(blows) - 1, -1, -1):
        fewer = blows[:number] + blows[number + 1 :]
        if fails(case, fewer):
            blows = fewer
    again = True
    while again:
        again = False
        for smaller in _smaller(case):
            found = next((tried for tried in _near(smaller, blows) if fails(smaller, tried)), None)
            if found is not None:
                case, blows, again = smaller, found, True
                break
    return case, blows


def _smaller(case: Case) -> Iterator[Case]:
    if case.breakpoints or case.steps:
        yield replace(case, breakpoints=(), steps=None)
    homes: list[tuple[str | None, Any]] = [(None, case.model), *case.nested.items()]
    for home, found in homes:
        for key in found.nodes:
            if key not in ("in", "out"):
                yield case.without(home, key)


def _near(case: Case, blows: tuple[Blow, ...]) -> Iterator[tuple[Blow, ...]]:
    """Yield crashes like these in a smaller case: the same, and one at any of its events."""
    yield blows
    if blows:
        try:
            events = Stage(case).play().events
        except Exception:  # what can't be played is no smaller case
            return
        for life, count in enumerate(events[:8]):
            for event in range(1, count + 1):
                yield (blows[0]._replace(life=life, event=event),)
