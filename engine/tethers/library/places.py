"""Files that the library reads and writes: found or named in one sentence, written whole or not at all.

Relative paths are resolved before, by `engine.tethers.folders`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from engine.errors import TetherFailed


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the file or folder to read; raise `TetherFailed` if it is not there."""
    found = _named(path)
    if not found.exists():
        raise TetherFailed(kind="File missing", reason=f"There is no file {path}. Check the path.")
    return found


def resolve_file(path: str | os.PathLike[str]) -> Path:
    """Return the file to read; raise `TetherFailed` if it is nowhere or a folder."""
    found = resolve(path)
    if found.is_dir():
        reason = f"{path} is a folder, not a file. Give the path of a file, or list the folder with files.list_files."
        raise TetherFailed(kind="Not a file", reason=reason)
    if not os.access(found, os.R_OK):
        raise TetherFailed(kind="Not readable", reason=f"{path} may not be read. Mend its permissions.")
    return found


def replace(path: str | os.PathLike[str], write: Callable[[Path], object]) -> str:
    """Let `write` fill a temporary file beside `path`, then put it in place at once; return the path as text.

    A reader sees the old file or the new one, never half of it. Folders that are missing are made.
    """
    target = _named(path)
    if target.is_dir():
        raise TetherFailed(kind="Not a file", reason=f"{path} is a folder. Give the path of a file to write.")
    draft = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(target)
    except OSError as error:
        reason = f"{path} can't be written: {error.strerror or error}. Choose another place, or mend its permissions."
        raise TetherFailed(kind="Not written", reason=reason) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return str(target)


def _named(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not text.strip() or "\x00" in text:
        raise TetherFailed(kind="File missing", reason="The path is empty. Give the path of a file.")
    return Path(text).expanduser()
