"""Processes made to be killed, forked from one that has imported everything, so that a kill costs milliseconds."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_SILENCE_S = 120


class Nursery:
    """A module that ends in `serve`, running in a process of its own; it has one child at a time."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        self._unread = b""
        self._child: int | None = None
        self._code: int | None = None
        self.lines: list[str] = []
        """What the child has said."""

    def begin(self, order: str) -> None:
        """Fork a child for `order`, one line of text."""
        assert self._process.stdin is not None
        self._child, self._code, self.lines = None, None, []
        self._process.stdin.write(order.encode() + b"\n")
        self._process.stdin.flush()
        while self._child is None:
            self._hear(_SILENCE_S)

    def wait_for(self, word: str) -> None:
        """Return once the child has said a line that begins so, or has ended."""
        while self._code is None and not any(line.startswith(word) for line in self.lines):
            self._hear(_SILENCE_S)

    def kill_after(self, patience_s: float) -> int:
        """Listen for so long, kill the child unless it has ended, hear the last of it; return its exit code."""
        until = time.monotonic() + patience_s
        while self._code is None and (left_s := until - time.monotonic()) > 0:
            self._hear(left_s, may_be_silent=True)
        if self._code is None:
            assert self._child is not None
            os.kill(self._child, signal.SIGKILL)
        return self.end()

    def end(self) -> int:
        """Hear the child until it has ended, and return its exit code."""
        while self._code is None:
            self._hear(_SILENCE_S)
        return self._code

    def close(self) -> None:
        """End the process that forks."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _hear(self, patience_s: float, *, may_be_silent: bool = False) -> None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience_s)[0]:
            assert may_be_silent, f"the nursery is silent after {self.lines[-3:]}"
            return
        data = os.read(self._process.stdout.fileno(), 65_536)
        assert data, f"the nursery is gone: {self._process.wait(10)}"
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._take(line.decode())

    def _take(self, line: str) -> None:
        first, _, rest = line.partition(" ")
        if first == "child":
            self._child = int(rest)
        elif first == "ended":
            self._code = int(rest)
        else:
            self.lines.append(line)


def say(line: str) -> None:
    """Tell the parent of the nursery: whole lines, whichever thread and however soon after comes the end."""
    os.write(1, line.encode() + b"\n")


def serve(work: Callable[[str], None]) -> None:
    """Fork a process for each line of stdin, which does `work` with it, and say how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(line.strip())
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        say(f"child {child}")
        _, status = os.waitpid(child, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")
