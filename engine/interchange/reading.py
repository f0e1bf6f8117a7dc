"""Bytes of a file to be imported: read whole up to a limit, and unpacked when they are gzip."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

from engine.errors import FileMissing, ImportRefused

LIMIT_BYTES = 256 * 1024 * 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


_GZIP = b"\x1f\x8b"


def read(path: Path) -> bytes:
    """Return the bytes of a file, unpacked; raise `FileMissing` or `ImportRefused`."""
    try:
        with path.open("rb") as file:
            return read_stream(file, source=path.name)
    except OSError:
        raise FileMissing(path=path) from None


def read_stream(file: IO[bytes], *, source: str) -> bytes:
    """Return what a stream holds, unpacked; raise `ImportRefused` if it is too long or its gzip is damaged."""
    data = _bounded(file, source)
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.open(BytesIO(data)) as packed:
            return _bounded(packed, source)
    except (OSError, EOFError, zlib.error):
        mend = "Fetch it again, or unpack it first."
        raise ImportRefused(source=source, reason="its gzip data is damaged or cut off", mend=mend) from None


def _bounded(file: _Readable, source: str) -> bytes:
    data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        reason = f"it is longer than {LIMIT_BYTES // 1024**2} MiB unpacked"
        raise ImportRefused(source=source, reason=reason, mend="Split it, or leave out what is not needed.")
    return data
