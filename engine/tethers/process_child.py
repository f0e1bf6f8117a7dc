"""The program of a process that makes calls for the engine, one after the other; see `engine.execution.processes`.

It has one thread. It reads calls from one pipe and writes what came of them to another; the standard input is a pipe
that nothing is written to: when its other end closes, the engine is gone, and a signal ends this process with all that
its steps started. The standard output of a step goes to the step's log (from Python) or to the standard error.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import io
import json
import mmap
import os
import sys
from collections.abc import Awaitable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

from engine.errors import TetherSourceBroken, TetherUnknown, TreadleError
from engine.execution import process_wire as wire
from engine.execution.invocation import Context
from engine.execution.waits import Answer
from engine.tethers.registry import Registry

_FLUSH_S = 0.002
_PROGRESS_S = 0.03
_PIECE_BYTES = 1 << 20


class _CallContext(Context):
    """What a step in this process may ask for."""

    __slots__ = ("_child", "_number", "_reported", "_sent")

    def __init__(self, child: Child, number: int, run: str, path: str, attempt: int) -> None:
        super().__init__(run, path, attempt, None)
        self._child, self._number = child, number
        self._sent, self._reported = 0, 0.0

    @property
    def cancelled(self) -> bool:
        """True once the call was cancelled."""
        return self._child.words[wire.TOLD] == self._number

    def progress(self, share: float, text: str = "") -> None:
        """Report how much is done; what comes too fast is left out."""
        now = perf_counter()
        if now - self._reported < _PROGRESS_S and share < 1:
            return
        self._reported = now
        told = ("progress", self._number, min(1.0, max(0.0, float(share))), wire.clean(text)[:200])
        self._child.say(_json(told))

    def log(self, text: str) -> None:
        """Write a line into the step's log, and send it at once: this process may not live to the end of the step."""
        super().log(wire.clean(text))
        for line in self.lines[self._sent :]:
            self._child.say(_json(("log", self._number, line)))
        self._sent = len(self.lines)


class _Printed(io.TextIOBase):
    """Hands what a step prints to its log, line by line; what is printed between steps goes to the standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.context: Context | None = None
        self._line = ""

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take a text."""
        if self.context is None:
            return sys.stderr.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self.context.log(line)
        return len(text)

    def turn_to(self, context: Context | None) -> None:
        """Print for another step from now on."""
        if self._line and self.context is not None:
            self.context.log(self._line)
            self._line = ""
        self.context = context


class Child:
    """The loop of this process."""

    def __init__(self, requests: int, answers: int, block: int, roots: Iterable[str]) -> None:
        """Read from `requests`, write to `answers`, see `block`; all are descriptors."""
        self._pid = os.getpid()
        self._inbox, self._answers = wire.Inbox(requests), answers
        self.words = memoryview(mmap.mmap(block, wire.BLOCK_BYTES)).cast("Q")
        self._registry = Registry(roots=[Path(root) for root in roots])
        self._broken: dict[str, TetherSourceBroken] = {}
        self._printed = _Printed()
        self._out: list[bytes] = []
        self._flushed_at = 0.0

    def serve(self) -> None:
        """Make calls until there are none to come."""
        sys.stdout = self._printed  # type: ignore[assignment]
        self.say(b'["ready",0]')
        self._flush()
        while self._inbox.fill():
            for items, rest in self._inbox.messages():
                for item in items:
                    self._take(item, rest)
                self._flush()

    def say(self, item: bytes) -> None:
        """Send an item soon."""
        self._out.append(item)
        if perf_counter() - self._flushed_at > _FLUSH_S:
            self._flush()

    def _take(self, item: list[Any], rest: memoryview) -> None:
        if item[0] == "sources":
            self._load(item[1])
        elif item[0] == "reload":
            try:
                self._registry.reload()
            except TetherSourceBroken as error:
                print(error, file=sys.stderr)  # noqa: T201 - the former functions stay; the engine has told the person
        elif item[0] > self.words[wire.SKIP]:
            self.words[wire.RUNNING] = item[0]
            self._call(item, rest)
            self.words[wire.RUNNING] = 0

    def _load(self, sources: list[str]) -> None:
        for source in sources:
            try:
                self._registry.load_all([source])
                self._broken.pop(source, None)
            except TetherSourceBroken as error:
                self._broken[source] = error

    def _call(self, item: list[Any], rest: memoryview) -> None:
        number, reference, run, path, attempt, answers, inputs, settings, parts = item
        context = _CallContext(self, number, run, path, attempt)
        context.answers = [Answer(*answer) for answer in answers]
        began = perf_counter()
        try:
            given = wire.joined(inputs, parts, rest) if parts else inputs
            self._printed.turn_to(context)
            result = self._function(reference)(given, settings, context)
            if inspect.isawaitable(result):
                result = asyncio.run(_whole(result))
            self._end_copy()
            self._printed.turn_to(None)
            self._done(number, result, began)
        except BaseException as error:  # noqa: BLE001 - whatever a step raises is the step's failure
            self._end_copy()
            self._printed.turn_to(None)
            self.say(_json(("failed", number, perf_counter() - began, wire.failure(error))))

    def _function(self, reference: str) -> Any:
        try:
            return self._registry.function(reference)
        except TetherUnknown:
            broken: Iterable[TreadleError] = self._broken.values()
            for error in broken:
                raise error from None
            raise

    def _done(self, number: int, result: dict[str, Any], began: float) -> None:
        inline, parts = wire.split(result, "returned")
        data = wire.values_as_json(inline)
        wire.fits(len(data) + sum(len(encoded.data) for _, encoded in parts), "returned")
        told = _json(wire.described(parts)) if parts else b"[]"
        item = b'["done",%d,%.7f,%b,%b]' % (number, perf_counter() - began, data, told)
        if parts:
            self._flush()
            self._write(wire.message(b"[%b]" % item, [encoded.data for _, encoded in parts]))
        else:
            self.say(item)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out:
            self._write(wire.message(b"[%b]" % b",".join(out)))
        self._flushed_at = perf_counter()

    def _write(self, pieces: list[memoryview]) -> None:
        if os.getpid() != self._pid:
            return  # a copy that a step forked: only the original answers
        try:
            for piece in pieces:
                rest = piece
                while rest:
                    rest = rest[os.write(self._answers, rest[:_PIECE_BYTES]) :]
        except OSError:
            os._exit(wire.PIPE_LOST)  # a step closed it, or the engine is gone

    def _end_copy(self) -> None:
        """End a copy of this process that a step forked and that came back from the step."""
        if os.getpid() != self._pid:
            os._exit(0)


async def _whole(result: Awaitable[Any]) -> Any:
    return await result


def _json(told: Any) -> bytes:
    return json.dumps(told).encode()


def main(requests: int, block: int, roots: str) -> None:
    """Serve until the engine closes the pipe of calls."""
    lifeline, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    for descriptor in (requests, block):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes it by position only
    if hasattr(os, "O_ASYNC"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    Child(requests, answers, block, json.loads(roots)).serve()
