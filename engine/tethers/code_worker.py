"""The process that runs the code of one node: it reads one request, runs it once, writes one answer and ends.

Started as `python -I code_worker.py REQUEST_FD ANSWER_FD`; it imports the standard library only, and pyarrow when a
table arrives or leaves. The engine imports this file for the wire format alone: a message is its length and frames;
a frame is the lengths of a media type and of the bytes, then both. The first frame of a message is a JSON object that
says what the others are.

This is no sandbox: the code may do whatever the user of the engine may do. It is kept apart so that it can be
limited and killed, and so that it finds no secrets in its environment and no state of the engine.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys

TYPE_CHECKING = False  # importing typing would make each start slower
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType, TracebackType
    from typing import Any

JSON = "application/json"
TEXT = "text/plain"
BYTES = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"
OUTPUT_LIMIT_BYTES = 256 << 20
LENGTH = struct.Struct(">Q")
_FRAME = struct.Struct(">BQ")
_FILE = "<code>"
_FILE_LIMIT_BYTES = 1 << 30
_OPEN_FILES_LIMIT = 256
_PROCESSES_LIMIT = 4_096
_TRACEBACK_LIMIT_CHARS = 4_000
_GRACE_S = 5
_CHUNK_BYTES = 1 << 20


class Unfit(Exception):
    """A value that can't be sent: its kind and the port it was meant for."""


def message(frames: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """Return the pieces of a message, to be written one after the other."""
    total = sum(_FRAME.size + len(media_type) + len(data) for media_type, data in frames)
    pieces = [LENGTH.pack(total)]
    for media_type, data in frames:
        pieces += [_FRAME.pack(len(media_type), len(data)) + media_type.encode("ascii"), data]
    return pieces


def frames_of(body: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Return the frames of a message without its length; raise ValueError if it is cut short."""
    at = 0
    while at < len(body):
        if len(body) - at < _FRAME.size:
            raise ValueError("a frame is cut short")
        named, length = _FRAME.unpack_from(body, at)
        at += _FRAME.size + named
        if length > len(body) - at:
            raise ValueError("a frame is cut short")
        yield bytes(body[at - named : at]).decode("ascii"), body[at : at + length]
        at += length


def main(request_fd: int, answer_fd: int) -> None:
    """Serve one request and end the process, whatever the code started or left behind."""
    process = os.getpid()
    for descriptor in (request_fd, answer_fd):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes it by position only
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
    try:
        answer = _answer(request_fd)
    except MemoryError:
        answer = [_failure("MemoryError: its inputs need more memory than it may use")]
    except BaseException as error:  # noqa: BLE001 - whatever the code raised is what its answer tells
        answer = [_failure(_told(error))]
    if os.getpid() != process:
        os._exit(0)  # a child that the code forked came back through here: only its parent answers
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue  # the code closed it
    for piece in message(answer):
        _write(answer_fd, piece)
    os._exit(0)


def _answer(request_fd: int) -> list[tuple[str, bytes]]:
    (total,) = LENGTH.unpack(_read(request_fd, LENGTH.size))
    # The limits come first in the request, so that reading the values is under them already.
    named, length = _FRAME.unpack(_read(request_fd, _FRAME.size))
    _read(request_fd, named)
    header: dict[str, Any] = json.loads(_read(request_fd, length))
    _limit(header["cpu_s"], header["memory_bytes"], header["timeout_s"])
    frames = list(frames_of(memoryview(_read(request_fd, total - _FRAME.size - named - length))))
    _end_with_the_engine(request_fd)
    source = bytes(frames[0][1]).decode()
    values = {
        name: _decoded(media_type, data, header["kinds"].get(name, ""))
        for name, (media_type, data) in zip(header["names"], frames[1:], strict=True)
    }
    del frames
    try:
        value = _run(source, header["entry"], values)
    except BaseException as error:  # noqa: BLE001 - as above: sys.exit and KeyboardInterrupt included
        return [_failure_of(error, source, header["memory_bytes"])]
    return _sent(value, header["memory_bytes"])


def _limit(cpu_s: float, memory_bytes: int, timeout_s: float) -> None:
    """Set the limits of this process and of each that it starts."""
    import resource
    import signal

    def at_most(kind: int, soft: int, hard: int) -> None:
        _, allowed = resource.getrlimit(kind)
        if allowed != resource.RLIM_INFINITY:
            soft, hard = min(soft, allowed), min(hard, allowed)
        resource.setrlimit(kind, (soft, hard))

    seconds = max(1, int(cpu_s + 0.999))
    at_most(resource.RLIMIT_CPU, seconds, seconds + 1)
    at_most(resource.RLIMIT_AS, memory_bytes, memory_bytes)
    at_most(resource.RLIMIT_FSIZE, _FILE_LIMIT_BYTES, _FILE_LIMIT_BYTES)
    at_most(resource.RLIMIT_NOFILE, _OPEN_FILES_LIMIT, _OPEN_FILES_LIMIT)
    at_most(resource.RLIMIT_CORE, 0, 0)
    at_most(resource.RLIMIT_NPROC, _PROCESSES_LIMIT, _PROCESSES_LIMIT)
    signal.setitimer(signal.ITIMER_REAL, timeout_s + _GRACE_S)  # should the engine be gone by then


def _end_with_the_engine(request_fd: int) -> None:
    """Ask for a signal that ends this process group when the engine, which holds the other end, is gone."""
    import fcntl

    if hasattr(os, "O_ASYNC"):
        fcntl.fcntl(request_fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(request_fd, fcntl.F_SETFL, fcntl.fcntl(request_fd, fcntl.F_GETFL) | os.O_ASYNC)


def _run(source: str, entry: str, values: dict[str, Any]) -> Any:
    module: ModuleType = type(sys)("node")
    sys.modules["node"] = module  # dataclasses look their module up
    program = compile(source, _FILE, "exec", dont_inherit=True)
    exec(program, module.__dict__)  # noqa: S102 - running the node's code is what this process is for
    function: Callable[..., Any] | None = getattr(module, entry, None)
    if function is None:
        raise NameError(f"the function {entry} is gone")
    return function(**values)


def _decoded(media_type: str, data: memoryview, kind: str) -> Any:
    if media_type == JSON:
        return json.loads(bytes(data))
    if media_type == TEXT:
        return bytes(data).decode()
    if media_type != ARROW:
        return bytes(data)
    pa: Any = importlib.import_module("pyarrow")
    table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    if kind == "rows":
        return table.to_pylist()
    return table.to_pandas() if kind == "pandas" else table


def _sent(value: Any, memory_bytes: int) -> list[tuple[str, bytes]]:
    """Return the frames of an answer: one value, or one for each field of an object."""
    try:
        fields = _fields(value)
        frames = [_encoded(field, name) for name, field in (fields or {"result": value}).items()]
        size = sum(len(data) for _, data in frames)
        if size > OUTPUT_LIMIT_BYTES:
            return [_failure(too_large(size))]
        header = {"outcome": "done", "names": list(fields) if fields else None}
        return [(JSON, json.dumps(header).encode()), *frames]
    except Unfit as error:
        return [_header(outcome="unfit", kind=_cut(str(error.args[0])), port=_cut(str(error.args[1])))]
    except MemoryError as error:
        return [_failure_of(error, "", memory_bytes)]


def _fields(value: Any) -> dict[str, Any] | None:
    kind = value.__class__
    names: list[Any] = list(value) if kind is dict else []
    return value if names and all(type(name) is str for name in names) else None


def too_large(size: int) -> str:
    """Return why a result of this many bytes is refused."""
    return (
        f"it returned {size / (1 << 20):,.0f} MiB, and {OUTPUT_LIMIT_BYTES >> 20} MiB is the most; "
        "return less, or write a file and return its path"
    )


def _encoded(value: Any, port: str) -> tuple[str, bytes]:
    """Return a value as bytes, as `engine.execution.values.encode` does."""
    try:
        if isinstance(value, str):
            return TEXT, value.encode()
        if isinstance(value, bytes | bytearray):
            return BYTES, bytes(value)
        if _is_table(value):
            return ARROW, _table(value)
        encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
        return JSON, encoder.encode(value).encode()
    except UnicodeEncodeError:
        raise Unfit("a text with half of a surrogate pair", port) from None
    except RecursionError:
        raise Unfit("a value that nests too deep", port) from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - objects of the code are asked here, and may raise anything
        kind = f"a {type(value).__name__}"
        raise Unfit(f"{kind} ({_told(error)})" if isinstance(value, dict | list | tuple) else kind, port) from None


def _is_table(value: object) -> bool:
    kind: type[object] = type(value)
    return (kind.__name__, kind.__module__.partition(".")[0]) in {("Table", "pyarrow"), ("DataFrame", "pandas")}


def _table(value: Any) -> bytes:
    pa: Any = importlib.import_module("pyarrow")
    table = value if isinstance(value, pa.Table) else pa.Table.from_pandas(value, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a value: kept in step with `engine.execution.values`."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__name__ == "Decimal":
        return float(value)
    if type(value) in {set, frozenset}:
        return sorted(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    if _is_table(value):
        return value.to_pylist() if hasattr(value, "to_pylist") else value.to_dict("records")
    raise TypeError(f"a {type(value).__name__} inside it")


def _header(**facts: Any) -> tuple[str, bytes]:
    return JSON, json.dumps(facts).encode()


def _failure(reason: str, details: str = "") -> tuple[str, bytes]:
    return _header(outcome="failed", reason=reason, details=details)


def _failure_of(error: BaseException, source: str, memory_bytes: int) -> tuple[str, bytes]:
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename != _FILE:
        first = first.tb_next
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == _FILE else _line(first)
    where = f" (line {line})" if line else ""
    if isinstance(error, SystemExit):
        return _failure(f"it called sys.exit({_cut(repr(error.code))}){where}; return a value instead")
    if isinstance(error, MemoryError):
        return _failure(f"MemoryError: it needs more than the {memory_bytes >> 20} MiB it may use{where}")
    return _failure(_told(error) + where, _details(error, first, source))


def _line(first: TracebackType | None) -> int:
    line = 0
    while first is not None:
        if first.tb_frame.f_code.co_filename == _FILE:
            line = first.tb_lineno
        first = first.tb_next
    return line


def _told(error: BaseException) -> str:
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # noqa: BLE001 - an exception of the code may fail to tell its message
        text = ""
    text = _cut(text.strip().split("\n")[0])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _details(error: BaseException, first: TracebackType | None, source: str) -> str:
    """Return the traceback from the first line of the code on, for the step's log."""
    import linecache
    import traceback

    try:
        linecache.cache[_FILE] = (len(source), None, source.splitlines(keepends=True), _FILE)
        lines = traceback.format_exception(type(error), error, first)
        return "".join(lines)[-_TRACEBACK_LIMIT_CHARS:].encode(errors="replace").decode()
    except Exception:  # noqa: BLE001 - as above
        return ""


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + " …"


def _read(descriptor: int, length: int) -> bytearray:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        got = os.readv(descriptor, [rest[:_CHUNK_BYTES]])
        if not got:
            os._exit(1)  # the engine is gone
        rest = rest[got:]
    return data


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[:_CHUNK_BYTES]) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
