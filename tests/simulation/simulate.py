"""Crash points without end: cases from seeds, each crashed at every one of its events."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.models import ALL, Case, Features, make_case
from tests.simulation.stories import Blow, Stage, Story, shrunk, wrongs


@dataclass(slots=True)
class Tally:
    """How much was tried."""

    cases: int = 0
    points: int = 0
    crashes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.points:,} crash points of {self.cases:,} models, {self.crashes:,} crashes, {self.seconds:.1f} s"


def points(case: Case, whole: Story) -> Iterator[tuple[Blow, ...]]:
    """Yield each way to crash a case: at every event, some of them with more crashes on the way back."""
    dice = random.Random(f"points {case.seed}")
    for life, events in enumerate(whole.events):
        for event in range(1, events + 1):
            first = Blow(life, event, dice.choice([0.0, 0.0, 1.0, dice.random()]), dice.random() < 0.15)
            more = [
                Blow(life + 1 + number, dice.randint(1, max(2, events)), dice.random())
                for number in range(dice.choice([0, 0, 0, 0, 1, 1, 2, 3]))
            ]
            yield (first, *more)


def problem(case: Case, blows: tuple[Blow, ...], *, whole: Story | None = None, stage: Stage | None = None) -> str:
    """Return what is wrong with a case that is crashed so, or an empty text."""
    try:
        stage = stage or Stage(case)
        whole = whole or stage.play()
        found = wrongs(stage, whole, whole) if not blows else wrongs(stage, whole, stage.play(blows))
    except Exception as error:  # the engine, or the world, gave way
        return f"{type(error).__name__}: {error}"
    return "\n".join(found)


def search(budget: int, seed: int, *, features: Features = ALL, stride: int = 1, loud: bool = False) -> Tally:
    """Crash cases from `seed` on, every `stride`-th, until so many points were tried; fail with the first wrong."""
    tally, began, told = Tally(), time.monotonic(), 0.0
    while tally.points < budget:
        case = make_case(seed + tally.cases * stride, features)
        _crash_everywhere(case, tally, budget)
        tally.cases += 1
        tally.seconds = time.monotonic() - began
        if loud and tally.seconds - told > 10:
            told = tally.seconds
            print(tally, flush=True)
    return tally


def search_all(budget: int, seed: int, processes: int) -> list[Tally]:
    """Search in several processes, which share the seeds."""
    share = -(-budget // processes)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.starmap(_search, [(share, seed + number, processes) for number in range(processes)])


def _search(budget: int, seed: int, stride: int) -> Tally:
    return search(budget, seed, stride=stride, loud=True)


def _crash_everywhere(case: Case, tally: Tally, budget: int) -> None:
    said = problem(case, ())
    assert not said, report(case, (), said)
    stage = Stage(case)
    whole = stage.play()
    for number, blows in enumerate(points(case, whole)):
        if tally.points >= budget:
            return
        said = problem(case, blows, whole=whole, stage=stage)
        assert not said, report(case, blows, said, number=number)
        tally.points += 1
        tally.crashes += len(blows)


def report(case: Case, blows: tuple[Blow, ...], said: str, *, number: int | None = None) -> str:
    """Return a failure in words, made as small as it goes, with the command that repeats it."""

    def fails(smaller: Case, tried: tuple[Blow, ...]) -> bool:
        """Say whether a case fails as this one does, and only when it crashes, if this one does so only then."""
        again = problem(smaller, tried)
        return bool(again) and _kind(again) == _kind(said) and not (tried and problem(smaller, ()))

    small, few = shrunk(case, blows, fails)
    again = f"python -m tests.simulation --seed {case.seed}" + ("" if number is None else f" --crash {number}")
    return f"{said}\n\nmade small: {problem(small, few)}\n{small.told()}\ncrashes: {few}\nrepeat it: {again}"


def _kind(said: str) -> list[str]:
    return said.split("\n", 1)[0].split(" ")[1:2]
