"""Threads for steps that block, and one event loop for those that await."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class Workers:
    """Daemon threads that take calls as they come.

    A thread is added when none is idle; callers bound how many calls they have under way, so a step that never
    returns costs one thread and blocks nobody.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._soon: deque[Callable[[], object]] = deque()
        self._is_awake = False

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread. It must not raise."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name=f"treadle-worker-{self._threads}").start()
        self._calls.put(call)

    def on_loop(self, call: Callable[[], object]) -> None:
        """Run `call` on the event loop's thread, soon; several that come together wake it once. It must not raise."""
        self._soon.append(call)
        with self._lock:
            wakes = not self._is_awake
            self._is_awake = True
        if wakes:
            self._running_loop().call_soon_threadsafe(self._call_all)

    def close(self) -> None:
        """Let idle threads end. Those under way end with their call."""
        with self._lock:
            threads, self._threads = self._threads, 0
            loop, self._loop = self._loop, None
        for _ in range(threads):
            self._calls.put(None)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _call_all(self) -> None:
        with self._lock:
            self._is_awake = False
        while self._soon:
            self._soon.popleft()()

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            call()
            with self._lock:
                self._idle += 1

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), daemon=True, name="treadle-loop").start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, and let go of it."""
    try:
        loop.run_forever()
    finally:
        loop.close()


Result = tuple[Any, ...]
"""What a call hands to the run's thread."""
_MOST_HELD = 64


class Crew:
    """Up to `size` threads that work off the calls of one run, in order. Safe to use from any thread.

    Calls that are known to be quick are left to one thread, which hands over what came of many of them at once: to
    wake a thread costs more than such a call.
    """

    def __init__(self, workers: Workers, size: int, post: Callable[[list[Result]], None]) -> None:
        """Hand results to `post`, called on the threads."""
        self._workers, self._size, self._free, self._post = workers, size, size, post
        self._calls: deque[tuple[Callable[[], Result | None], bool]] = deque()
        self._lock = threading.Lock()

    @property
    def is_behind(self) -> bool:
        """True while calls wait although another thread could make them."""
        return bool(self._calls) and self._free > 0

    def submit(self, call: Callable[[], Result | None], *, quick: bool) -> None:
        """Make a call on a thread when its turn comes. It must not raise."""
        with self._lock:
            self._calls.append((call, quick))
            starts = self._free > 0 and (not quick or self._free == self._size)
            if starts:
                self._free -= 1
        if starts:
            self._workers.submit(self._work)

    def hurry(self) -> None:
        """Use one more thread, if there is one and a call waits: one that was taken for quick is not."""
        with self._lock:
            if not self.is_behind:
                return
            self._free -= 1
        self._workers.submit(self._work)

    def grow(self) -> None:
        """Allow for one more thread, because a call will not come back."""
        with self._lock:
            self._free += 1
            self._size += 1
        self.hurry()

    def shrink(self) -> None:
        """Allow for one thread less: a call that was given up has come back after all."""
        with self._lock:
            self._free -= 1
            self._size -= 1

    def _work(self) -> None:
        held: list[Result] = []
        while True:
            with self._lock:
                leaving = not self._calls or self._free < 0
                call, quick = (None, False) if leaving else self._calls.popleft()
                self._free += leaving
            if held and (leaving or not quick or len(held) >= _MOST_HELD):
                self._post(held)
                held = []
            if call is None:
                return
            result = call()
            if result is not None:
                held.append(result)
