"""Calls in other processes: a few of them, kept warm, each making one call at a time.

One thread of ours talks to all of them; whatever is submitted, cancelled or answered passes through it. Calls that
are known to be quick are sent together, so many that they take about 5 ms; a call that is not known to be quick goes
alone to a process that is idle. A call that turns out to be slow loses what was sent with it to another process.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from engine.errors import StepCancelled, TetherFailed, TreadleError
from engine.execution import process_wire as wire
from engine.execution.process_handle import Child, Ended, Entry, ProcessCall, ending
from engine.execution.process_queue import CHUNK_S, Queue
from engine.execution.waits import StepWaits

__all__ = ["Ended", "ProcessCall", "ProcessFigures", "Processes"]
_logger = logging.getLogger(__name__)
_STALL_S = 0.1
"""A chunk that isn't heard of for so long gives back what it has not begun."""
_START_LIMIT_S = 60.0
_START_AGAIN_S = 1.0
_POLL_S = 0.2
_END_S = 0.5


class ProcessFigures(NamedTuple):
    """How it is doing."""

    children: int
    busy: int
    queued: int
    calls: int
    """Calls that came to an end."""
    restarts: int
    """Processes that ended before their time, or were killed because of a step."""


class Processes:
    """A pool of processes that call the functions of a registry. Safe to use from any thread."""

    def __init__(
        self,
        sources: Callable[[], tuple[str, ...]],
        *,
        size: int | None = None,
        roots: Iterable[str | os.PathLike[str]] = (),
        grace_s: float = 1.0,
    ) -> None:
        """Start nothing yet.

        Args:
            sources: gives the modules and files to load besides the built-in ones: `Tethers.sources`.
            size: so many processes at most; by default one for each core.
            roots: folders where relative paths of files are looked for, after the current one.
            grace_s: how long a call that is cancelled may go on before its process is killed.
        """
        self._sources, self._size, self._grace_s = sources, size or os.cpu_count() or 1, grace_s
        self._roots = [os.fspath(root) for root in roots]
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_awake = self._is_closed = False
        self._commands: deque[tuple[str, Any]] = deque()
        self._queue = Queue()
        self._children: list[Child] = []
        self._not_before_s, self._calls, self._restarts = 0.0, 0, 0

    def submit(self, call: ProcessCall, done: Callable[[Ended], None]) -> Callable[[], None]:
        """Make a call in a process soon; return what cancels it. Both may be used from any thread.

        `done` is called once, on a thread of ours (of the caller's, after `close`): it must be quick and not raise.
        A cancelled call that was begun is told so and may still end by itself within the grace; then its process is
        killed. What was sent with it is made elsewhere.
        """
        entry = Entry(call, done)
        self._tell("call", entry)
        return partial(self._tell, "cancel", entry)

    def reload(self) -> None:
        """Let the processes read files again that have changed, before the calls that are submitted from now on."""
        if self._thread is not None:
            self._tell("reload", None)

    def figures(self) -> ProcessFigures:
        """Return how it is doing."""
        busy = sum(bool(child.given) for child in self._children.copy())
        return ProcessFigures(len(self._children), busy, self._queue.waiting(), self._calls, self._restarts)

    def close(self) -> None:
        """End all processes; calls that have not ended are cancelled. Calling it twice is harmless."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            self._tell("close", None)
            if thread is not threading.current_thread():
                thread.join()

    def _tell(self, what: str, entry: Entry | None) -> None:
        """Hand something to the thread, which is started with the first call."""
        with self._lock:
            if self._is_closed and what != "close":
                thread = None
            else:
                thread = self._thread = self._thread or self._started()
                self._commands.append((what, entry))
            wakes, self._is_awake = not self._is_awake, True
            if thread is not None and wakes and thread.is_alive():
                os.write(self._wake, b"\0")
        if thread is None and what == "call" and entry is not None:
            self._end(entry, None, StepCancelled())

    def _started(self) -> threading.Thread:
        self._woken, self._wake = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ, (None, "wake"))
        thread = threading.Thread(target=self._serve, daemon=True, name="treadle-processes")
        thread.start()
        return thread

    # ---- the thread ---------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        failure: TreadleError = StepCancelled()
        try:
            while self._turn():
                pass
        except Exception as error:
            _logger.exception("The thread that talks to processes failed")
            failure = TetherFailed(kind="A mistake in the engine", reason=f"{type(error).__name__}: {error}")
        self._leave(failure)

    def _turn(self) -> bool:
        """See what happened, and do what follows from it; False once it is closed."""
        for key, _ in self._selector.select(self._patience_s()):
            child, what = key.data
            if what == "wake":
                os.read(self._woken, 64)
                with self._lock:
                    self._is_awake = False
            elif child in self._children:
                self._see(child, what)
        while self._commands:
            what, entry = self._commands.popleft()
            if what == "close":
                return False
            self._obey(what, entry)
        for child in self._children.copy():
            self._look_after(child, time.monotonic())
        self._hand_out()
        return True

    def _see(self, child: Child, what: str) -> None:
        if what == "room":
            child.write(self._selector)
        elif what == "answers":
            self._hear(child)
        else:
            self._bury(child)

    def _obey(self, what: str, entry: Entry) -> None:
        if what == "call":
            self._queue.add(entry)
        elif what == "cancel":
            self._cancel(entry)
        else:
            for child in self._children:
                child.say(["reload"])
                child.write(self._selector)

    def _cancel(self, entry: Entry) -> None:
        child = entry.child
        if entry.ended:
            return
        if child is None:
            self._end(entry, None, StepCancelled())
            return
        entry.stop_at_s = time.monotonic() + self._grace_s
        if child.alone or child.running == entry.number:
            child.words[wire.TOLD] = entry.number
        else:
            self._end(entry, None, StepCancelled())  # not begun yet, or ended already: nobody waits for it any more

    def _patience_s(self) -> float | None:
        """Return how long to wait for something to happen before the processes are looked after."""
        if self._queue and not self._children:
            return _POLL_S
        for child in self._children:
            is_odd = not child.is_ready or not child.tells_its_end or child.silent_since_s is not None
            if is_odd or len(child.given) > 1 or any(e.stop_at_s is not None for e in child.given.values()):
                return _STALL_S / 2
        return None

    def _look_after(self, child: Child, now_s: float) -> None:
        if not child.tells_its_end and child.has_ended():
            self._bury(child)
        elif child.is_killed:
            return
        elif not child.is_ready and now_s - child.since_s > _START_LIMIT_S:
            child.kill()
        elif child.silent_since_s is not None:
            if now_s - child.silent_since_s > _END_S:
                child.is_spoiled = True
                child.kill()
        else:
            self._look_at_calls(child, now_s)

    def _look_at_calls(self, child: Child, now_s: float) -> None:
        running = child.running
        begun = next(iter(child.given.values()), None) if child.alone else child.given.get(running)
        if begun is None:
            return
        if begun.stop_at_s is not None and now_s >= begun.stop_at_s:
            child.is_stopped = True
            child.kill()
        elif len(child.given) > 1 and now_s - child.since_s > _STALL_S:
            self._share_out(child)

    def _share_out(self, child: Child) -> None:
        """A quick call is slow this time: what was sent with it is made elsewhere."""
        self._queue.add_again(child.take_back(child.running))
        child.alone = bool(child.given)

    # ---- answers ------------------------------------------------------------------------------------------------

    def _hear(self, child: Child) -> None:
        now_s = time.monotonic()
        for items, rest in child.read(self._selector, now_s):
            child.since_s = now_s
            for what, number, *facts in items:
                if what == "ready":
                    child.is_ready = True
                    continue
                entry = child.given.get(number)
                if entry is not None:
                    self._take(child, entry, what, facts, rest)

    def _take(self, child: Child, entry: Entry, what: str, facts: list[Any], rest: memoryview) -> None:
        if what == "log":
            entry.call.context.log(facts[0])
        elif what == "progress":
            entry.call.context.progress(*facts)
        else:
            child.settle(entry.number)
            child.expected_s = max(0.0, child.expected_s - self._queue.learn(entry, facts[0]))
            if what == "done":
                self._end(entry, wire.joined(facts[1], facts[2], rest) if facts[2] else facts[1], None)
            else:
                self._end(entry, None, wire.failure_of(facts[1]))
            if facts[0] > CHUNK_S and child.given:
                self._share_out(child)

    def _end(self, entry: Entry, outputs: dict[str, Any] | None, failure: TreadleError | StepWaits | None) -> None:
        if entry.ended:
            return
        entry.ended = True
        self._calls += 1
        try:
            entry.done(Ended(outputs, failure))
        except Exception:
            _logger.exception("What was to be called at the end of a call raised")

    def _bury(self, child: Child) -> None:
        """A process has ended: one call is to blame, the others are made elsewhere."""
        running = child.running
        self._hear(child)
        self._children.remove(child)
        how = ending(child.bury(self._selector), is_spoiled=child.is_spoiled)
        self._restarts += 1
        given = list(child.given.values())
        if not child.is_ready:
            self._not_before_s = time.monotonic() + _START_AGAIN_S
            if not self._children:
                self._refuse_all(f"a process for it did not start: {how}; what it printed says why")
        for entry in given:
            if entry.stop_at_s is not None:
                self._end(entry, None, StepCancelled())
        if not child.is_stopped and given:
            self._blame(given, child.given.get(running), how)
        self._queue.add_again(given)

    def _blame(self, given: list[Entry], running: Entry | None, how: str) -> None:
        """Fail the call that was being made when its process ended."""
        blamed = running or (given[0] if len(given) == 1 else None)
        if blamed is not None:
            reason = f"{how}, before it gave a result"
            self._end(blamed, None, TetherFailed(kind="Its process is gone", reason=reason))
            return
        for entry in given:
            entry.alone = True  # nobody knows which of them it was

    def _refuse_all(self, reason: str) -> None:
        while self._queue:
            self._end(self._queue.pop(), None, TetherFailed(kind="No process", reason=reason))

    # ---- handing out --------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        while (first := self._queue.first()) is not None:
            child = self._free(first)
            if child is None:
                self._grow()
                return
            idle = sum(child.is_ready and not child.given for child in self._children)
            self._give(child, self._queue.chunk(idle))

    def _free(self, first: Entry) -> Child | None:
        """Return a process that can take what is first in the queue."""
        alone = self._queue.is_alone(first)
        for child in self._children:
            if child.is_ready and not child.given and not child.is_killed:
                return child
        for child in () if alone else self._children:
            if child.is_ready and not child.alone and not child.is_killed and child.expected_s < CHUNK_S / 2:
                return child
        return None

    def _give(self, child: Child, chunk: list[Entry]) -> None:
        sources = self._sources()
        if sources != child.sources:
            child.say(["sources", sources])
            child.sources = sources
        if not child.given:
            child.since_s = time.monotonic()
        if chunk[0].alone:
            child.alone = True
        try:
            items, parts = self._queue.packed(chunk)
        except TreadleError as error:
            self._give_singly(child, chunk, error)
            return
        child.give(chunk, wire.message(items, parts), sum(map(self._queue.cost_s, chunk)))
        child.write(self._selector)
        for entry in chunk:
            if entry.call.begun is not None:
                entry.call.begun()

    def _give_singly(self, child: Child, chunk: list[Entry], error: TreadleError) -> None:
        """One call of a chunk can't be sent: find it."""
        child.alone = child.alone and bool(child.given)
        if len(chunk) > 1:
            for entry in chunk:
                self._give(child, [entry])
            return
        told = error if isinstance(error, TetherFailed) else None
        reason = f"it was given {error.facts.get('kind')}, which can't be sent to a process"
        self._end(chunk[0], None, told or TetherFailed(kind="Not sent", reason=reason, permanent=True))

    def _grow(self) -> None:
        """Start processes for what waits, up to as many as there may be."""
        starting = sum(not child.is_ready for child in self._children)
        now_s = time.monotonic()
        while len(self._children) < self._size and starting < len(self._queue) and now_s >= self._not_before_s:
            try:
                child = Child(self._roots, now_s)
            except OSError as error:
                self._not_before_s = now_s + _START_AGAIN_S
                if not self._children:
                    self._refuse_all(f"a process for it can't be started ({error.strerror})")
                return
            child.watch(self._selector)
            self._children.append(child)
            starting += 1

    # ---- the end ------------------------------------------------------------------------------------------------

    def _leave(self, failure: TreadleError) -> None:
        """End all processes and all calls."""
        with self._lock:
            self._is_closed = True
            self._is_awake = True  # nobody wakes this thread any more
        entries = [entry for what, entry in self._commands if what == "call"]
        for child in self._children:
            entries += child.given.values()
            if child.given:
                child.kill()
            child.dismiss(self._selector)
        self._await_ends(time.monotonic() + _END_S)
        for child in self._children:
            child.bury(self._selector)
        self._children.clear()
        for entry in (*entries, *self._queue.take_all()):
            self._end(entry, None, failure)
        self._selector.close()
        os.close(self._woken)
        os.close(self._wake)

    def _await_ends(self, until_s: float) -> None:
        while time.monotonic() < until_s and not all(child.has_ended() for child in self._children):
            time.sleep(0.005)
