"""Runs code in a process of its own: hands it values, listens to it, limits it, and ends it with all it started.

Nothing is shared with the engine but three pipes: the request, the answer, and what the code prints. Needs POSIX;
processes that left the process group are found on Linux only (by /proc).
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from engine.errors import CodeFailed, NotSerializable, StepCancelled, StepTimedOut
from engine.execution.values import ARROW, decode, encode
from engine.ports import StepContext
from engine.tethers import code_worker as wire

_WORKER = str(Path(wire.__file__).resolve())
_POLL_S = 0.05
_CROWD_EVERY_S = 1.0
_CROWD_LIMIT = 32
_PRINTED_LIMIT_BYTES = 60_000
_ANSWER_LIMIT_BYTES = wire.OUTPUT_LIMIT_BYTES + (1 << 20)
_CHUNK_BYTES = 1 << 20
_SIGNALS = {
    signal.SIGKILL: "by itself, by another program, or because the machine ran out of memory",
    signal.SIGSEGV: "a library in it crashed, or it recursed too deep",
    signal.SIGABRT: "it or a library in it gave up, often for lack of memory",
}


class Code(NamedTuple):
    """What to run: the source, the function to call, and how each parameter wants a table ('rows', 'pandas')."""

    source: str
    entry: str
    kinds: Mapping[str, str]


class Limits(NamedTuple):
    """What the process may use."""

    cpu_s: float
    memory_mib: int
    timeout_s: float


def run_apart(code: Code, values: Mapping[str, Any], limits: Limits, context: StepContext) -> Any:
    """Return what the function returned; an object comes back as a dict of its fields.

    Raises `CodeFailed`, `NotSerializable`, `StepTimedOut` or `StepCancelled`; the process is gone in every case.
    """
    request = _request(code, values, limits)
    with tempfile.TemporaryDirectory(prefix="treadle-code-", ignore_cleanup_errors=True) as home:
        process = _Process(home, request, limits, context)
        try:
            answer = process.converse()
        finally:
            status = process.end()
    return _value_of(answer, status, limits, context)


def _request(code: Code, values: Mapping[str, Any], limits: Limits) -> list[memoryview]:
    encoded = {name: encode(value, port=name) for name, value in values.items()}
    header = {
        "entry": code.entry,
        "names": list(encoded),
        "kinds": dict(code.kinds),
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_mib << 20,
        "timeout_s": limits.timeout_s,
    }
    frames = [(wire.JSON, json.dumps(header).encode()), ("text/x-python", code.source.encode(errors="replace"))]
    frames += [(value.media_type, value.data) for value in encoded.values()]
    return [memoryview(piece) for piece in wire.message(frames) if piece]


class _Process:
    """One worker process with its pipes."""

    def __init__(self, home: str, request: list[memoryview], limits: Limits, context: StepContext) -> None:
        self._home, self._limits, self._context, self._pieces = home, limits, context, request
        self._printed = _Printed(context)
        self._answer = bytearray()
        request_read, self._request = os.pipe()
        self._answers, answer_write = os.pipe()
        self._output, output_write = os.pipe()
        self._deadline = time.monotonic() + limits.timeout_s
        self._next_census = time.monotonic() + _CROWD_EVERY_S
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", _WORKER, str(request_read), str(answer_write)],
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                cwd=home,
                env=_environment(home),
                pass_fds=(request_read, answer_write),
                start_new_session=True,
            )
        except OSError as error:
            self._close()
            raise CodeFailed(reason=f"its process can't be started ({error.strerror})") from None
        finally:
            for descriptor in (request_read, answer_write, output_write):
                os.close(descriptor)
        for descriptor in (self._request, self._answers, self._output):
            os.set_blocking(descriptor, False)

    def converse(self) -> bytes | None:
        """Write the request and return the answer; None if the process ended without one."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ, self._hear)
            selector.register(self._output, selectors.EVENT_READ, self._listen)
            selector.register(self._request, selectors.EVENT_WRITE, self._tell)
            while not self._is_answered():
                self._check()
                ended = _has_ended(self._process)
                for key, _ in selector.select(0 if ended else _POLL_S):
                    if not key.data():
                        selector.unregister(key.fd)
                if ended:
                    while self._hear() and not self._is_answered():
                        pass
                    break
        return bytes(memoryview(self._answer)[wire.LENGTH.size :]) if self._is_answered() else None

    def end(self) -> int:
        """Kill the process and all that it started; return how it ended (negative: the signal)."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for _ in range(10):
            others = _members(self._process.pid, self._home)
            for pid in others:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not others:
                break
        status = self._process.wait()
        for _ in range(64):
            if not self._listen():
                break
        self._printed.finish()
        self._close()
        return status

    def _check(self) -> None:
        now = time.monotonic()
        if self._context.cancelled:
            raise StepCancelled
        if now >= self._deadline:
            raise StepTimedOut(timeout_s=f"{self._limits.timeout_s:g}")
        if now >= self._next_census:
            self._next_census = now + _CROWD_EVERY_S
            if len(_members(self._process.pid, self._home)) > _CROWD_LIMIT:
                raise CodeFailed(reason=f"it started more than {_CROWD_LIMIT} processes")

    def _is_answered(self) -> bool:
        if len(self._answer) < wire.LENGTH.size:
            return False
        (total,) = wire.LENGTH.unpack_from(self._answer)
        if total > _ANSWER_LIMIT_BYTES:
            raise CodeFailed(reason=wire.too_large(total))
        return len(self._answer) >= wire.LENGTH.size + total

    def _tell(self) -> bool:
        """Write some of the request; False: nothing more to write. The pipe stays open as a sign of life."""
        try:
            written = os.write(self._request, self._pieces[0][:_CHUNK_BYTES])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        self._pieces[0] = self._pieces[0][written:]
        if not self._pieces[0]:
            self._pieces.pop(0)
        return bool(self._pieces)

    def _hear(self) -> bool:
        data = _read(self._answers)
        self._answer += data or b""
        return bool(data)

    def _listen(self) -> bool:
        data = _read(self._output)
        self._printed.take(data or b"")
        return bool(data)

    def _close(self) -> None:
        for descriptor in (self._request, self._answers, self._output):
            os.close(descriptor)


class _Printed:
    """Hands what the code prints to the step's log, line by line, up to a limit."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._room = _PRINTED_LIMIT_BYTES
        self._dropped = 0

    def take(self, data: bytes) -> None:
        """Take what was printed."""
        kept = data[: self._room]
        self._room -= len(kept)
        self._dropped += len(data) - len(kept)
        *lines, self._line = (self._line + self._decoder.decode(kept)).split("\n")
        for line in lines:
            self._context.log(line.rstrip("\r"))

    def finish(self) -> None:
        """Tell the line that was begun, and how much was left out."""
        if self._line:
            self._context.log(self._line)
        if self._dropped:
            self._context.log(f"… at least {self._dropped:,} more bytes were printed and left out")


def _value_of(answer: bytes | None, status: int, limits: Limits, context: StepContext) -> Any:
    if answer is None:
        raise CodeFailed(reason=_ending(status, limits))
    try:
        frames = list(wire.frames_of(memoryview(answer)))
        header: dict[str, Any] = json.loads(bytes(frames[0][1]))
        outcome, names = header["outcome"], header.get("names")
        values = [_decoded(media_type, data) for media_type, data in frames[1:]]
        result = values[0] if names is None and values else dict(zip(names or (), values, strict=True))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError):
        raise CodeFailed(reason="its process gave an answer that can't be read") from None
    if outcome == "unfit":
        raise NotSerializable(kind=header.get("kind"), port=header.get("port"))
    if outcome == "done":
        return result
    for line in str(header.get("details") or "").splitlines():
        context.log(line)
    raise CodeFailed(reason=header.get("reason"))


def _decoded(media_type: str, data: memoryview) -> Any:
    value = decode(media_type, bytes(data))
    if media_type == ARROW:
        value.validate(full=True)  # the bytes come from a process that is not trusted
    return value


def _ending(status: int, limits: Limits) -> str:
    """Return why a process that gave no answer ended."""
    if -status == signal.SIGXCPU:
        return f"it used more than {limits.cpu_s:g} s of CPU time"
    if status < 0:
        why = _SIGNALS.get(cast("signal.Signals", -status), "")
        return f"its process was killed (signal {-status}{': ' if why else ''}{why})"
    return f"its process ended (status {status}) before it gave a result"


def _environment(home: str) -> dict[str, str]:
    path, zone = os.environ.get("PATH", os.defpath), os.environ.get("TZ", "UTC")
    return {"PATH": path, "LANG": "C.UTF-8", "TZ": zone, "HOME": home}


def _read(descriptor: int) -> bytes | None:
    """Return what there is to read; empty at the end, None if there is nothing now."""
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except BlockingIOError:
        return None


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Say whether a process has ended, without reaping it: its id, and so its group's, stays its own."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Seen(NamedTuple):
    pid: int
    parent: int
    session: int
    began: int
    is_alive: bool


def _members(leader: int, home: str) -> list[int]:
    """Return the processes that `leader` started: by session, by descent, by the home they have or work in."""
    seen = {found.pid: found for found in map(_seen, _process_ids()) if found is not None}
    if leader not in seen:
        return []
    began, mark = seen[leader].began, b"HOME=" + os.fsencode(home)
    found: set[int] = {leader}
    for process in sorted(seen.values(), key=lambda process: (process.began, process.pid)):
        if process.pid == leader or process.began < began or not process.is_alive:
            continue
        if process.session == leader or process.parent in found or _bears(process.pid, mark, home):
            found.add(process.pid)
    return sorted(found - {leader})


def _process_ids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - ten times as fast
    except FileNotFoundError:
        return []


def _seen(pid: int) -> _Seen | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - as above
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return _Seen(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] not in {b"Z", b"X"})


def _bears(pid: int, mark: bytes, home: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123 - as above
            marked = mark in environ.read(65_536).split(b"\0")
        return marked or os.readlink(f"/proc/{pid}/cwd").startswith(home)  # noqa: PTH115 - as above
    except OSError:
        return False
