"""A crash at any event of any run loses nothing, repeats nothing that was done and changes nothing."""

from __future__ import annotations

import pytest

from tests.simulation.models import ALL, make_case
from tests.simulation.simulate import problem, report, search_all
from tests.simulation.stories import Blow, Stage


def test_three_thousand_crashes_change_nothing():
    crash(3_000, seed=1)


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_ten_thousand_more_crashes_change_nothing():
    crash(10_000, seed=100_000)


@pytest.mark.slow
@pytest.mark.timeout(6 * 3_600)
def test_a_million_crashes_change_nothing():
    crash(1_000_000, seed=1_000_000)


def crash(points: int, seed: int) -> None:
    tallies = search_all(points, seed, processes=2)
    print(*tallies, sep="\n")
    assert sum(tally.points for tally in tallies) >= points


def test_a_seed_is_always_the_same_story():
    for seed in range(20):
        first, second = (Stage(make_case(seed, ALL)).play() for _ in range(2))
        assert first.outcome == second.outcome
        assert first.store.records == second.store.records
        assert first.events == second.events


def test_a_failure_is_told_small_with_the_command_that_repeats_it(monkeypatch):
    """A journal that forgets what it has synced is found out, and the report is of use."""
    from tests.simulation import world

    def forgetful(self, ticket):
        self._life.event("sync")
        self._life.event("synced")

    monkeypatch.setattr(world.FaultyJournal, "sync", forgetful)
    seed = next(seed for seed in range(1, 50) if problem(make_case(seed), ()))
    case = make_case(seed)
    told = report(case, (), problem(case, ()), number=0)
    assert "before its intent is on disk" in told
    assert f"--seed {seed} --crash 0" in told
    assert '"nodes"' in told


def test_a_disk_that_lies_ends_one_life_and_no_run():
    case = make_case(3)
    theatre = Stage(case)
    whole = theatre.play()
    for event in range(1, whole.events[0] + 1):
        assert theatre.play((Blow(0, event, 0.0, lies=True),)).outcome.status == whole.outcome.status
