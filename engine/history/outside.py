"""Keeps a replay from reaching the network or starting programs.

Python tells an audit hook of every such thing before it is done (PEP 578); ours refuses what a replayed function asks
for. The hook is there from the first replay on, and does nothing outside of one.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from engine.history.refusals import OutsideForbidden

_FORBIDDEN = {
    "socket.connect": "the network",
    "socket.sendto": "the network",
    "socket.sendmsg": "the network",
    "socket.getaddrinfo": "the network",
    "socket.gethostbyname": "the network",
    "socket.bind": "the network",
    "subprocess.Popen": "another program",
    "os.system": "another program",
    "os.exec": "another program",
    "os.posix_spawn": "another program",
}
_inside: ContextVar[bool] = ContextVar("inside a replay", default=False)
_lock = Lock()
_hooked = False


@contextmanager
def kept_inside() -> Generator[None]:
    """Refuse the network and other programs to what is called here, on this thread or in this task."""
    _hook()
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def _hook() -> None:
    global _hooked  # noqa: PLW0603 - an audit hook is there once for a process and can't be taken away
    with _lock:
        if not _hooked:
            sys.addaudithook(_refuse)
            _hooked = True


def _refuse(event: str, _: Any) -> None:
    what = _FORBIDDEN.get(event)
    if what is not None and _inside.get():
        raise OutsideForbidden(what=what)
