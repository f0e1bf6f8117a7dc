"""Which process this is and whether another one still lives: a process id alone is used again sooner or later."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_FIELD = 19
"""Of /proc/PID/stat after the name in brackets: starttime is field 22 of proc(5), the first after it is field 3."""


class Owner(NamedTuple):
    """A process: its id, when it began (opaque text, only compared) and its host's name."""

    pid: int
    started: str
    host: str


def this_process() -> Owner:
    """Return the process we are in."""
    return Owner(os.getpid(), _started(os.getpid()) or "", socket.gethostname())


def is_alive(owner: Owner) -> bool:
    """Tell whether `owner` still runs.

    One on another host counts as dead: the files that name owners can't be shared between machines (SQLite's WAL
    needs shared memory), so it was this place under an earlier name: a container started anew.
    """
    return owner.host == socket.gethostname() and _started(owner.pid) == owner.started


def _started(pid: int) -> str | None:
    """Return when a process began, or None if there is none of this id (or only what is left of a dead one)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{_BOOT_ID.read_text(encoding='ascii').strip()}:{fields[_START_FIELD]}"
    except OSError:
        return None if _BOOT_ID.exists() else _started_elsewhere(pid)


def _started_elsewhere(pid: int) -> str | None:
    """Ask psutil where there is no /proc; it takes 40 ms to import, which Linux need not pay."""
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return None
