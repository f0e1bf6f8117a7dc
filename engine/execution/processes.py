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
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from engine.errors import StepCancelled, TetherFailed, TreadleError
from engine.execution import process_wire as wire
from engine.execution.process_handle import Child, Ended, Entry, ProcessCall, ending
from engine.execution.values import encode
from engine.execution.waits import StepWaits

__all__ = ["Ended", "ProcessCall", "ProcessFigures", "Processes"]
_logger = logging.getLogger(__name__)
_CHUNK_S = 0.005
"""What a chunk of quick calls takes."""
_QUICK_S = 0.001
"""A call that takes longer goes alone."""
_OVERHEAD_S = 1e-5
"""What a process needs for a call beside the call itself."""
_S_PER_BYTE = 1e-8
_LEAST_SHARE = 32
"""So few calls are not spread over several processes."""
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
        self._queue: deque[Entry] = deque()
        self._children: list[Child] = []
        self._costs: dict[str, float] = {}
        """Seconds that a call of each function takes, as of late."""
        self._numbers = count(1)
        self._calls = self._restarts = 0
        self._not_before_s = 0.0

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
        children = self._children.copy()
        busy = sum(bool(child.given) for child in children)
        queued = sum(not entry.ended for entry in self._queue.copy())
        return ProcessFigures(len(children), busy, queued, self._calls, self._restarts)

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
            self._queue.append(entry)
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
        self._again(child.take_back(child.running))
        child.alone = bool(child.given)

    def _again(self, entries: Sequence[Entry]) -> None:
        """Queue calls before all others: they were not made, or nobody knows."""
        for entry in reversed(entries):
            if not entry.ended:
                entry.child = None
                self._queue.appendleft(entry)

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
            self._learn(child, entry, facts[0])
            if what == "done":
                self._end(entry, wire.joined(facts[1], facts[2], rest) if facts[2] else facts[1], None)
            else:
                self._end(entry, None, wire.failure_of(facts[1]))
            if facts[0] > _CHUNK_S and child.given:
                self._share_out(child)

    def _learn(self, child: Child, entry: Entry, took_s: float) -> None:
        reference = entry.call.reference
        cost_s = took_s + entry.size_bytes * _S_PER_BYTE
        known_s = self._costs.get(reference, cost_s)
        self._costs[reference] = (cost_s + known_s) / 2
        child.expected_s = max(0.0, child.expected_s - known_s - _OVERHEAD_S)

    def _end(self, entry: Entry, values: dict[str, Any] | None, failure: TreadleError | StepWaits | None) -> None:
        if entry.ended:
            return
        entry.ended = True
        self._calls += 1
        try:
            entry.done(Ended(values, failure))
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
        self._again(given)

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
            self._end(self._queue.popleft(), None, TetherFailed(kind="No process", reason=reason))

    # ---- handing out --------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        while self._queue:
            if self._queue[0].ended:
                self._queue.popleft()
                continue
            child = self._free()
            if child is None:
                self._grow()
                return
            self._give(child, self._chunk())

    def _free(self) -> Child | None:
        """Return a process that can take what is first in the queue."""
        alone = self._is_alone(self._queue[0])
        for child in self._children:
            if child.is_ready and not child.given and not child.is_killed:
                return child
        for child in () if alone else self._children:
            if child.is_ready and not child.alone and not child.is_killed and child.expected_s < _CHUNK_S / 2:
                return child
        return None

    def _is_alone(self, entry: Entry) -> bool:
        call = entry.call
        return entry.alone or self._costs.get(call.reference, _QUICK_S) >= _QUICK_S or not wire.is_inline(call.inputs)

    def _chunk(self) -> list[Entry]:
        first = self._queue.popleft()
        if self._is_alone(first):
            first.alone = True
            return [first]
        chunk, cost_s = [first], self._costs[first.call.reference] + _OVERHEAD_S
        idle = sum(child.is_ready and not child.given for child in self._children)
        most = max(_LEAST_SHARE, -(-len(self._queue) // max(1, idle)))
        while self._queue and len(chunk) < most and cost_s < _CHUNK_S:
            if self._queue[0].ended:
                self._queue.popleft()
                continue
            if self._is_alone(self._queue[0]):
                break
            entry = self._queue.popleft()
            cost_s += self._costs[entry.call.reference] + _OVERHEAD_S
            chunk.append(entry)
        return chunk

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
            items, parts = self._packed(chunk)
        except TreadleError as error:
            self._give_singly(child, chunk, error)
            return
        size = (len(items) + sum(map(len, parts))) / len(chunk)
        cost_s = 0.0
        for entry in chunk:
            entry.size_bytes = size
            cost_s += self._costs.get(entry.call.reference, _QUICK_S) + _OVERHEAD_S
        child.give(chunk, wire.message(items, parts), cost_s)
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

    def _packed(self, chunk: list[Entry]) -> tuple[bytes, list[bytes]]:
        """Return the JSON of a message, and the bytes that follow it. Raises `NotSerializable`, `TetherFailed`."""
        items: list[Any] = []
        bodies: list[bytes] = []
        for entry in chunk:
            call = entry.call
            inline, parts = wire.split(call.inputs, "was given")
            entry.number = next(self._numbers)
            told = wire.described(parts)
            head = (entry.number, call.reference, call.run, call.path, call.attempt, call.context.answers)
            items.append((*head, inline, call.settings, told))
            bodies += [encoded.data for _, encoded in parts]
        data = encode(items).data
        wire.fits(len(data), "was given")
        return data, bodies

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
        for entry in (*entries, *self._queue):
            self._end(entry, None, failure)
        self._queue.clear()
        self._selector.close()
        os.close(self._woken)
        os.close(self._wake)

    def _await_ends(self, until_s: float) -> None:
        while time.monotonic() < until_s and not all(child.has_ended() for child in self._children):
            time.sleep(0.005)
