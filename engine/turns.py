"""Turns of the threads of this process: one at a time for each name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock


class Turns:
    """A lock for each name that somebody uses, and none for the others. Safe to use from any thread."""

    def __init__(self) -> None:
        """Begin with everybody free to go on."""
        self._guard = Lock()
        self._locks: dict[str, Lock] = {}
        self._users: Counter[str] = Counter()

    @contextmanager
    def at(self, name: str) -> Generator[None]:
        """Wait until nobody else is at `name`, and keep others waiting meanwhile."""
        with self._guard:
            lock = self._locks.setdefault(name, Lock())
            self._users[name] += 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name], self._locks[name]
