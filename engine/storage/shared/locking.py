"""DuckDB's lock on the file, held once more.

DuckDB locks with fcntl on Linux and macOS. Such a lock belongs to the process and the file, and is gone as soon as the
process closes any descriptor of that file: the copy before an upgrade does that. Asked for again and kept, it lasts
until DuckDB has closed the file. Windows refuses a second opener by itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine.errors import StoreLocked


def hold(path: Path) -> int | None:
    """Return a descriptor that keeps the lock as long as it is open; `StoreLocked` if another program has it now."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        raise StoreLocked(path=path, owner="") from None
    return descriptor
