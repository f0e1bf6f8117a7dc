"""Who has just committed lets those answer first who were waiting meanwhile.

Writers of one model compare revisions. When one commits, those in the queue behind it are refused, one after the
other, while the winner reads the new state at once and is the first with its next edit: again and again, until the
others give up. So the winner is told last, and the others begin before it does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from threading import Condition
from typing import TypeVar

_T = TypeVar("_T")
_LONGEST_S = 0.05


class Manners:
    """The commits that are under way. Safe to use from any thread."""

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers = count()
        self._under_way: set[int] = set()
        self._changed = Condition()

    def commit(self, work: Callable[[], _T]) -> _T:
        """Do `work`; when it succeeds, return after those that came while it was under way, at most 50 ms later."""
        with self._changed:
            mine = next(self._numbers)
            self._under_way.add(mine)
        try:
            done = work()
        finally:
            with self._changed:
                self._under_way.discard(mine)
                others = set(self._under_way)
                self._changed.notify_all()
        if others:
            with self._changed:
                self._changed.wait_for(lambda: not (others & self._under_way), _LONGEST_S)
        return done
