"""Evaluates one expression in a process of its own, with two seconds of CPU time and memory of its own.

Run as a program it reads one request from standard input and writes one answer to standard output, both JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_CPU_S = 2
_WALL_S = 10.0
_MEMORY_BYTES = 2 << 30
_START = "import sys; sys.path.insert(0, sys.argv[1]); from engine.expressions.apart import answer; answer()"


def evaluate_apart(text: str, data: dict[str, Any]) -> Any:
    """Return the value of `text`; raise ValueError, worded as a reason, if it fails or does not end in time."""
    request = json.dumps({"text": text, "data": data})
    root = str(Path(__file__).resolve().parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _START, root],
            input=request.encode(),
            capture_output=True,
            timeout=_WALL_S,
            check=False,
            env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},
        )
    except (subprocess.TimeoutExpired, MemoryError):
        message = "it takes too long; do that in a SQL step"
        raise ValueError(message) from None
    if done.returncode != 0:
        message = "it takes too long or too much memory; do that in a SQL step"
        raise ValueError(message)
    reply = json.loads(done.stdout)
    if "failed" in reply:
        raise ValueError(reply["failed"])
    return reply["value"]


def answer() -> None:
    """Answer one request."""
    _limit()
    from engine.expressions.cel import compiled_with, evaluate_here

    request = json.loads(sys.stdin.buffer.read())
    try:
        reply = {"value": evaluate_here(compiled_with(request["text"], frozenset(request["data"])), request["data"])}
    except (ValueError, RuntimeError) as error:
        reply = {"failed": str(error)}
    sys.stdout.write(json.dumps(reply))
    sys.stdout.flush()


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows: the wall time alone limits it
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S + 1))
