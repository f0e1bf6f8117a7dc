"""Large values as files named by their SHA-256, two levels deep so that no directory grows large."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from engine.errors import StoreCorrupted, StoreUnreachable
from engine.storage.disk import why

_NAME = re.compile(r"[0-9a-f]{64}")


class FileBlobs:
    """Blobs below a directory. A blob is whole or not there: written aside, synced, then renamed. Any thread."""

    def __init__(self, directory: str | Path) -> None:
        """Use `directory`, made when the first blob comes."""
        self._directory = Path(directory)

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its SHA-256 in hex; `StoreUnreachable` says why it can't be kept."""
        name = hashlib.sha256(data).hexdigest()
        place = self._place(name)
        try:
            if not _is_kept(place, data):
                _write(place, data)
        except OSError as error:
            raise StoreUnreachable(path=place, reason=why(error)) from None
        return name

    def get(self, sha256: str) -> bytes:
        """Return the bytes, checked against their name; `StoreCorrupted` if they are damaged or missing."""
        if not _NAME.fullmatch(sha256):
            raise StoreCorrupted(path=self._directory, reason=f"{sha256!r} does not name a value")
        place = self._place(sha256)
        try:
            data = place.read_bytes()
        except FileNotFoundError:
            raise StoreCorrupted(path=place, reason="the value is missing") from None
        except OSError as error:
            raise StoreUnreachable(path=place, reason=why(error)) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreCorrupted(path=place, reason="its bytes are not those it is named after")
        return data

    def names(self) -> list[str]:
        """Return the names of all values, in order."""
        return sorted(found.name for found in self._directory.glob("??/??/*") if _NAME.fullmatch(found.name))

    def _place(self, name: str) -> Path:
        return self._directory / name[:2] / name[2:4] / name


def _is_kept(place: Path, data: bytes) -> bool:
    """Tell whether the same bytes are there already; a damaged file is written again."""
    try:
        return place.stat().st_size == len(data) and place.read_bytes() == data
    except FileNotFoundError:
        return False


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".", suffix=".new", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(place)
    except BaseException:
        with suppress(OSError):
            Path(draft).unlink()
        raise
    for directory in (place.parent, place.parent.parent, place.parent.parent.parent):
        _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    """Make a rename durable. Windows has no such call and does it by itself."""
    if sys.platform == "win32":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
