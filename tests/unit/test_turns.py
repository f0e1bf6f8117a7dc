"""Turns: one at a time for each name, and nothing is left of those who are gone."""

from threading import Event, Thread

import pytest

from engine.turns import Turns
from tests.threads import together


def test_those_of_one_name_come_one_after_the_other() -> None:
    turns, inside, most = Turns(), [], []

    def work() -> None:
        for _ in range(200):
            with turns.at("model"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    together(*[work] * 4)
    assert (len(most), max(most)) == (800, 1)


def test_another_name_does_not_wait() -> None:
    turns, done = Turns(), Event()

    def other() -> None:
        with turns.at("other"):
            done.set()

    with turns.at("model"):
        Thread(target=other).start()
        assert done.wait(10)


def test_whoever_fails_lets_the_next_one_in_and_nothing_stays() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"), turns.at("model"):
        raise ValueError("broken")
    with turns.at("model"):
        pass
    assert (turns._locks, turns._users) == ({}, {})
