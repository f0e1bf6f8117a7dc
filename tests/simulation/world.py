"""A world that is made up: its time, its threads, its disk and the people who answer follow from a seed alone.

The core, the driver, the scribe and the recovery are the real ones. A `Store` is what outlives a crash; a `Life` is one
process that runs or resumes the run, until it ends, parks or is struck down at one of its events.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Empty
from typing import Any

from engine.domain.entities import Decision
from engine.errors import JournalBroken
from engine.execution.waits import Answer
from engine.ports import JournalRecord

_EPOCH = datetime(2031, 1, 1, tzinfo=UTC)
IGNORED = "ignored"
"""Nobody answers: the deadline decides."""


class Crash(BaseException):
    """The end of a process, in the middle of whatever it does."""


class FakeClock:
    """Time that passes when the world says so; the time of day sometimes jumps, backwards too."""

    def __init__(self, dice: random.Random, seconds: float) -> None:
        self._dice, self._seconds, self._skew_s = dice, seconds, 0.0

    def now(self) -> datetime:
        return _EPOCH + timedelta(seconds=self._seconds + self._skew_s)

    def monotonic(self) -> float:
        self._seconds += 1e-6
        return self._seconds

    def new_id(self) -> str:
        return "0" * 32

    def noise(self) -> float:
        return self._dice.uniform(-1, 1)

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    def jump(self) -> None:
        """Set the time of day, as an administrator or a time server does."""
        self._skew_s = self._dice.choice([0.0, -30.0, 2.5, -0.5])


class Store:
    """What outlives a crash: records on disk, decisions, and a witness outside of the engine."""

    def __init__(self) -> None:
        self.records: list[JournalRecord] = []
        self.volatile: list[JournalRecord] = []
        """Appended and not on disk yet."""
        self.decisions: dict[str, Decision] = {}
        self.seconds = 0.0
        self.effects: Counter[str] = Counter()
        """How often each effect was begun, by idempotency key."""
        self.keys: dict[tuple[str, int], set[str]] = {}
        self.ended: set[str] = set()
        """Paths of effects whose end is on disk: they must never be begun again."""
        self.undone: list[str] = []
        """Idempotency keys of effects that undo something, in order."""
        self.wrongs: list[str] = []
        """What must never happen and did."""

    def persist(self, count: int) -> None:
        """Let the first records of those that are volatile reach the disk."""
        for record in self.volatile[:count]:
            if record.kind == "done":
                if record.path in self.ended:
                    self.wrongs.append(f"{record.path} was recorded as done twice")
                self.ended.add(record.path)
        self.records += self.volatile[:count]
        del self.volatile[:count]

    def crash(self, share: float) -> None:
        """Lose what is volatile, but for a share of it that reached the disk first."""
        self.persist(round(share * len(self.volatile)))
        self.volatile.clear()


class Life:
    """One process: counts its events and ends at the one it is told."""

    def __init__(self, store: Store, dice: random.Random, *, dies_at: int | None, lies: bool = False) -> None:
        self.store, self.dice, self.dies_at, self.lies = store, dice, dies_at, lies
        self.events = 0
        self.dead = self.broken = False
        self.clock = FakeClock(dice, store.seconds)
        self.jumps = dice.random() < 0.2

    def event(self, kind: str) -> None:
        """Come to a moment at which a crash makes a difference."""
        del kind
        self.events += 1
        if self.events == self.dies_at:
            self.dead = True
        self.check()

    def check(self) -> None:
        """End, if this process is dead."""
        if self.dead:
            raise Crash

    @property
    def lies_now(self) -> bool:
        """Whether the commit under way is done and told as failed, which ends this life too."""
        return self.lies and self.events + 1 == self.dies_at

    # ---- effects ----------------------------------------------------------------------------------------------

    def begin_effect(self, path: str, attempt: int, key: str, *, undoes: bool) -> None:
        """Do something outside, which the witness sees."""
        self.event("effect begins")
        store = self.store
        store.effects[key] += 1
        store.keys.setdefault((path, attempt), set()).add(key)
        if path in store.ended:
            store.wrongs.append(f"{path} was done, and is begun again")
        if not any(r.kind == "intent" and r.path == path and r.attempt == attempt for r in store.records):
            store.wrongs.append(f"{path} begins its attempt {attempt} before its intent is on disk")
        if undoes:
            store.undone.append(key)

    def end_effect(self) -> None:
        """Return from an effect."""
        self.clock.advance(self.dice.uniform(0.001, 0.1))
        self.event("effect ended")


class FaultyJournal:
    """A journal whose records are lost by a crash unless they were synced."""

    def __init__(self, life: Life) -> None:
        self._life, self._store = life, life.store
        self._ticket = len(self._store.records) + len(self._store.volatile)

    def append(self, record: JournalRecord) -> int:
        self._life.event("append")
        if self._life.broken:
            raise JournalBroken(path="fake:", reason="a write failed before")
        self._store.volatile.append(record)
        self._ticket += 1
        return self._ticket

    def sync(self, ticket: int) -> None:
        """Let all reach the disk up to the ticket and no more: the least that is promised."""
        if self._life.lies_now:
            self._store.persist(len(self._store.volatile))
            self._life.broken = True
            raise JournalBroken(path="fake:", reason="the disk says that it failed, although it did not")
        self._life.event("sync")
        self._store.persist(max(0, ticket - len(self._store.records)))
        self._life.event("synced")

    def read(self, run: str) -> list[JournalRecord]:
        del run
        return [*self._store.records, *self._store.volatile]


class FakeDecisions:
    """The decisions of the store, and the people who answer them: what they choose follows from the path alone."""

    def __init__(self, life: Life) -> None:
        self._life, self._kept = life, life.store.decisions

    def open(self, decision: Decision) -> Decision:
        lies = self._life.lies_now
        self._life.event("a decision opens") if not lies else None
        kept = self._kept.setdefault(decision.path, decision)
        if lies:
            self._life.broken = True
            raise JournalBroken(path="fake:", reason="the store says that it failed, although it did not")
        return kept

    def settle(self, decision: Decision) -> Decision:
        kept = self._kept[decision.path]
        if kept.chosen is None and kept.default is not None:
            kept = self._kept[decision.path] = kept.model_copy(update={"chosen": kept.default})
        return kept


def answer_to(decision: Decision) -> str:
    """Return what is chosen for a decision: always the same for the same path."""
    number = zlib.crc32(decision.path.encode())
    if decision.awaits == "failure":
        attempt = int(decision.path.rpartition("-")[2])
        return "retry" if attempt < 3 and number % 3 else ("skip", "fail")[number % 2]
    if decision.deadline is not None and (number % 2 or decision.deadline - decision.opened_at < timedelta(minutes=1)):
        return IGNORED
    return decision.options[number % len(decision.options)].id


def answer(store: Store, decision: Decision) -> Answer:
    """Let somebody choose."""
    chosen = answer_to(decision)
    kept = store.decisions[decision.path] = decision.model_copy(update={"chosen": chosen, "chosen_by": "ann"})
    return Answer(chosen, kept.chosen_by, kept.value)


def unanswered(store: Store) -> list[Decision]:
    """Return the decisions that somebody may answer."""
    return [each for each in store.decisions.values() if each.chosen is None and answer_to(each) != IGNORED]


class FakeCrew:
    """Workers without threads: the world chooses which call is made next, and when its result arrives."""

    is_behind = False

    def __init__(self, life: Life) -> None:
        self._life = life
        self.calls: list[Callable[[], Any]] = []
        self.results: list[Any] = []
        self.hangs = False
        """Set by a function that never returns."""

    def submit(self, call: Callable[[], Any], *, quick: bool) -> None:
        del quick
        self.calls.append(call)

    def step(self) -> list[Any]:
        """Make a call or hand over results; return those."""
        dice = self._life.dice
        if self.calls and (not self.results or dice.random() < 0.6):
            self.hangs = False
            result = self.calls.pop(dice.randrange(len(self.calls)))()
            if result is not None and not self.hangs:
                self.results.append(result)
            return []
        if dice.random() < 0.5:
            return [self.results.pop(dice.randrange(len(self.results)))]
        arrived, self.results = self.results, []
        return arrived

    def grow(self) -> None: ...

    def shrink(self) -> None: ...

    def hurry(self) -> None: ...


class FakeInbox:
    """The inbox of a run: asking it lets the world go on by one step."""

    def __init__(self, life: Life, crew: FakeCrew, begun: Callable[[str, Answer], None]) -> None:
        self._life, self._crew, self._answer = life, crew, begun
        self._messages: list[tuple[Any, ...]] = []

    def put(self, message: tuple[Any, ...]) -> None:
        self._messages.append(message)

    def empty(self) -> bool:
        return not self._messages

    def get_nowait(self) -> tuple[Any, ...]:
        if not self._messages:
            raise Empty
        return self._messages.pop(0)

    def get(self, timeout: float | None = None) -> tuple[Any, ...]:
        """Return the next message; with none, make calls, answer, and at last let time pass."""
        life = self._life
        while True:
            life.check()
            if self._messages:
                return self._messages.pop(0)
            if self._crew.calls or self._crew.results:
                if arrived := self._crew.step():
                    return "all ended", arrived
                continue
            if life.jumps:
                life.clock.jump()
            open_ones = unanswered(life.store)
            if open_ones:
                decision = life.dice.choice(open_ones)
                self._answer(decision.path, answer(life.store, decision))
                continue
            assert timeout is not None, "the run waits for nothing: it would hang"
            life.clock.advance(timeout + 1e-6)
            raise Empty


def between_lives(store: Store, dice: random.Random) -> None:
    """A run was parked: let its process end, and then somebody answer or time pass."""
    store.crash(dice.choice([1.0, 1.0, dice.random()]))
    open_ones = unanswered(store)
    for decision in dice.sample(open_ones, dice.randint(1, len(open_ones))) if open_ones else ():
        answer(store, decision)
    if not open_ones:
        store.seconds += 40_000
