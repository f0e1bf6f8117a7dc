"""A process that makes calls, as the engine holds it: its pipes, what it has been given, how it ended.

Everything here is done on the one thread of `engine.execution.processes`.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine.errors import TreadleError
from engine.execution import process_wire as wire
from engine.execution.invocation import Context
from engine.execution.waits import StepWaits

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from engine.tethers.process_child import main; main(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
)
"""What the process runs. It names the registry of functions as text: this layer doesn't know it."""
_WRITE_BYTES = 1 << 20
_SIGNALS = {
    signal.SIGKILL: "by another program, or because the machine ran out of memory",
    signal.SIGSEGV: "a library in it crashed, or it recursed too deep",
    signal.SIGABRT: "it or a library in it gave up, often for lack of memory",
    signal.SIGTERM: "by itself or by another program",
}


class ProcessCall(NamedTuple):
    """A call to be made in another process."""

    reference: str
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any]
    run: str
    path: str
    attempt: int
    context: Context
    """Hears of progress and of the lines of the log as they come, and knows what was answered in earlier calls."""
    effect: bool = False
    """True: it is never made a second time."""
    begun: Callable[[], None] | None = None
    """Called when the call is given to a process."""


class Ended(NamedTuple):
    """What came of a call: values by port, or why there are none."""

    outputs: dict[str, Any] | None
    failure: TreadleError | StepWaits | None


class Entry:
    """A call that was submitted."""

    __slots__ = ("alone", "call", "child", "done", "ended", "number", "size_bytes", "stop_at_s")

    def __init__(self, call: ProcessCall, done: Callable[[Ended], None]) -> None:
        self.call, self.done = call, done
        self.child: Child | None = None
        self.number = 0
        """Its number on the way to a process; another one each time it is sent."""
        self.alone = call.effect
        """Never sent together with others."""
        self.ended = False
        self.stop_at_s: float | None = None
        """It was cancelled: its process is killed then, if it is still in it."""
        self.size_bytes = 0.0


class Child:
    """One process, started by making this."""

    def __init__(self, roots: Sequence[str], now_s: float) -> None:
        """Start it. Raises OSError."""
        self.given: dict[int, Entry] = {}
        """The calls that it has, in the order in which it makes them."""
        self.expected_s = 0.0
        """How long these will take together."""
        self.alone = self.is_ready = self.is_killed = False
        self.is_stopped = False
        """It was killed because a call in it was cancelled."""
        self.is_spoiled = False
        """It was killed because nothing can be heard of it any more."""
        self.silent_since_s: float | None = None
        """Its pipe of answers is at its end: it is about to end, or a step has closed the pipe."""
        self.since_s = now_s
        """When it was last heard of or given something while idle; before it is ready, when it was started."""
        self.sources: tuple[str, ...] = ()
        self._pieces: deque[memoryview] = deque()
        request, self._requests = os.pipe()
        self._answers, answer = os.pipe()
        lifeline, self._lifeline = os.pipe()
        with tempfile.TemporaryFile() as block:
            block.write(bytes(wire.BLOCK_BYTES))
            block.flush()
            self._block = mmap.mmap(block.fileno(), wire.BLOCK_BYTES)
            self.words = memoryview(self._block).cast("Q")
            arguments = [json.dumps(sys.path, default=str), str(request), str(block.fileno()), json.dumps(list(roots))]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _PROGRAM, *arguments],
                    stdin=lifeline,
                    stdout=answer,
                    pass_fds=(request, block.fileno()),
                    start_new_session=True,
                )
            except OSError:
                self._close()
                raise
            finally:
                for descriptor in (request, answer, lifeline):
                    os.close(descriptor)
        os.set_blocking(self._requests, False)
        os.set_blocking(self._answers, False)
        self._inbox = wire.Inbox(self._answers)
        self._death = os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else -1

    @property
    def tells_its_end(self) -> bool:
        """True if the selector sees the process end; otherwise it has to be asked for."""
        return self._death >= 0

    @property
    def running(self) -> int:
        """The number of the call that is being made, 0 between calls."""
        return self.words[wire.RUNNING]

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Be told by `selector` of answers and of the end."""
        selector.register(self._answers, selectors.EVENT_READ, (self, "answers"))
        if self.tells_its_end:
            selector.register(self._death, selectors.EVENT_READ, (self, "death"))

    def give(self, entries: Sequence[Entry], pieces: Sequence[memoryview], cost_s: float) -> None:
        """Take calls on; `pieces` says them."""
        for entry in entries:
            entry.child = self
            self.given[entry.number] = entry
        self.expected_s += cost_s
        self._pieces.extend(pieces)

    def say(self, item: Sequence[Any]) -> None:
        """Say something that is no call."""
        self._pieces.extend(wire.message(json.dumps([item]).encode()))

    def write(self, selector: selectors.BaseSelector) -> None:
        """Write as much as the pipe takes, and let the selector tell when it takes more."""
        waits = self._requests in selector.get_map()
        try:
            while self._pieces:
                piece = self._pieces[0]
                written = os.write(self._requests, piece[:_WRITE_BYTES])
                if written == len(piece):
                    self._pieces.popleft()
                else:
                    self._pieces[0] = piece[written:]
        except BlockingIOError:
            if not waits:
                selector.register(self._requests, selectors.EVENT_WRITE, (self, "room"))
            return
        except BrokenPipeError:
            self._pieces.clear()  # its end will be seen
        if waits:
            selector.unregister(self._requests)

    def read(self, selector: selectors.BaseSelector, now_s: float) -> Iterator[tuple[list[Any], memoryview]]:
        """Return the messages that are there. A pipe that gives rubbish is the end of the process."""
        try:
            while self._inbox.fill():
                yield from self._inbox.messages()
        except BlockingIOError:
            return
        except ValueError:
            self.is_spoiled = True
            self.kill()
        self.silent_since_s = now_s
        if self._answers in selector.get_map():
            selector.unregister(self._answers)

    def settle(self, number: int) -> Entry | None:
        """Take a call off, because it has ended; None if it isn't its any more."""
        entry = self.given.pop(number, None)
        if not self.given:
            self.expected_s, self.alone = 0.0, False
        return entry

    def take_back(self, keep: int | None) -> list[Entry]:
        """Take off all calls but `keep`, and tell the process not to begin them any more."""
        self.words[wire.SKIP] = max(self.given, default=0)
        back = [entry for number, entry in self.given.items() if number != keep]
        self.given = {number: entry for number, entry in self.given.items() if number == keep}
        return back

    def kill(self) -> None:
        """Kill it with all that it started, as far as that stayed in its group; its end is seen a little later."""
        self.is_killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Say whether it has ended, without reaping it: its id, and so its group's, stays its own."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def dismiss(self, selector: selectors.BaseSelector) -> None:
        """Let it end by itself: it has no more calls to come."""
        if self._requests in selector.get_map():
            selector.unregister(self._requests)
        os.close(self._requests)
        self._requests = -1

    def bury(self, selector: selectors.BaseSelector) -> int:
        """Kill what it left behind, and let go of it; return how it ended (negative: the signal)."""
        self.kill()
        for descriptor in (self._answers, self._death, self._requests):
            if descriptor >= 0 and descriptor in selector.get_map():
                selector.unregister(descriptor)
        if self._death >= 0:
            os.close(self._death)
        self._close()
        return self._process.wait()

    def _close(self) -> None:
        self.words.release()
        self._block.close()
        for descriptor in (self._requests, self._answers, self._lifeline):
            if descriptor >= 0:
                os.close(descriptor)


def ending(status: int, *, is_spoiled: bool = False) -> str:
    """Return how a process ended."""
    if is_spoiled or status == wire.PIPE_LOST:
        return "it closed or disturbed the pipe through which its process answers"
    if status >= 0:
        return f"it ended the process it ran in (exit code {status})"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    why = _SIGNALS.get(-status, "")  # type: ignore[call-overload]
    return f"the process it ran in was killed ({name}{': ' if why else ''}{why})"
