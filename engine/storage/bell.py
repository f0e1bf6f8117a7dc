"""Who waits for a commit in this process, and how they are woken."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from threading import Condition


class Bell:
    """Rung after each commit. Safe to use from any thread."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._rung = 0
        self._changed = Condition()

    def ring(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._rung += 1
            self._changed.notify_all()

    def wait(self, is_news: Callable[[], bool], timeout_s: float, *, look_every_s: float = inf) -> bool:
        """Ask `is_news` now, after each ring and every so often; True when it says so, False after `timeout_s`.

        Nobody is kept waiting while it is asked.
        """
        until = time.monotonic() + timeout_s
        while True:
            heard = self._rung
            if is_news():
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait_for(lambda seen=heard: self._rung != seen, min(left, look_every_s))
