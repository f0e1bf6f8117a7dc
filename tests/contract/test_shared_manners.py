"""Who has just committed is told last, so that everybody gets a turn."""

from threading import Event, Thread

import pytest

from engine.storage.shared.manners import Manners


def test_who_is_alone_waits_for_nobody():
    assert Manners().commit(lambda: "done") == "done"


def test_the_winner_is_told_after_those_who_were_waiting():
    manners, told, waiting, may_end = Manners(), [], Event(), Event()

    def wins():
        waiting.wait()
        may_end.set()
        return "won"

    def loses():
        waiting.set()
        may_end.wait()
        raise ValueError

    def lose():
        with pytest.raises(ValueError):
            manners.commit(loses)
        told.append("lost")

    winner = Thread(target=lambda: told.append(manners.commit(wins)))
    loser = Thread(target=lose)
    winner.start()
    loser.start()
    winner.join()
    loser.join()
    assert sorted(told) == ["lost", "won"]
    assert not manners._under_way


def test_nobody_is_waited_for_too_long():
    manners, under_way, end = Manners(), Event(), Event()

    def takes_long():
        under_way.set()
        end.wait()

    slow = Thread(target=lambda: manners.commit(takes_long))
    slow.start()
    under_way.wait()
    assert manners.commit(lambda: "done") == "done"
    assert slow.is_alive()
    end.set()
    slow.join()
