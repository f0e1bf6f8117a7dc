"""Threads for steps that block, and one event loop for those that await."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
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

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread. It must not raise."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name=f"treadle-worker-{self._threads}").start()
        self._calls.put(call)

    def schedule(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> Callable[[], None]:
        """Run a coroutine on the loop, hand its future to `done`, and return a function that cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        future.add_done_callback(done)

        def cancel() -> None:
            future.cancel()

        return cancel

    def close(self) -> None:
        """Let idle threads end. Those under way end with their call."""
        with self._lock:
            threads, self._threads = self._threads, 0
            loop, self._loop = self._loop, None
        for _ in range(threads):
            self._calls.put(None)
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

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
                threading.Thread(target=self._loop.run_forever, daemon=True, name="treadle-loop").start()
            return self._loop
