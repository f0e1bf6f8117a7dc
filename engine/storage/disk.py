"""Why a file can't be written, in words that say what to do: systems and libraries have many for a full disk."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

FULL = "the disk is full; make room there and try again"
_LEAST_BYTES = 100_000
_FULL = re.compile(
    r"no space left on device|disk is full|disk full|disk quota exceeded|not enough space on the disk", re.IGNORECASE
)


def why(error: OSError) -> str:
    """Return what the system says, or what to do if the disk or the user's share of it is full."""
    return FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)


def says_full(words: str) -> bool:
    """Say whether the words of a library or the system mean that the disk is full."""
    return _FULL.search(words) is not None


def has_room(folder: Path) -> bool:
    """Say whether the disk of a folder has room for the smallest file; True where nobody can tell."""
    try:
        return shutil.disk_usage(folder).free >= _LEAST_BYTES
    except OSError:
        return True


def can_be_named(path: Path) -> bool:
    """Say whether a name can be handed to the system at all."""
    try:
        return b"\x00" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False
