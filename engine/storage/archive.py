"""Backups: one zip file with a manifest, the parts of a store line by line, and its blobs by name.

The file is written aside, synced and renamed, so a backup is whole or not there. Before anything is restored, the
whole file is read once and its digest compared with the manifest's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, get_args

from engine.domain.canonical import Json, as_object
from engine.errors import FileMissing, StoreUnreachable, TransferRefused
from engine.storage import documents, transfer
from engine.storage.disk import why
from engine.storage.transfer import Part, PartKind, Summary

FORMAT = "treadle-backup/1"
_MANIFEST, _LINES = "manifest.json", "contents.jsonl"
_NAME = re.compile(r"[0-9a-f]{64}")
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError, RuntimeError)
"""What zipfile and json raise for bytes that were changed, a method of compression that doesn't exist among them."""
_LONGEST_LINE_BYTES = 512 * 1024 * 1024


def write(path: Path, parts: Iterable[Part], about: dict[str, Json]) -> Summary:
    """Write a backup; `about` goes into its manifest."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    summaries: list[Summary] = []
    try:
        with draft.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                _write_parts(archive, transfer.summarized(parts, summaries))
                manifest = {"format": FORMAT, **summaries[0]._asdict(), **about}
                archive.writestr(_MANIFEST, documents.json_text(manifest))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StoreUnreachable(path=path, reason=why(error)) from None
    finally:
        with suppress(OSError):
            draft.unlink()
    return summaries[0]


def read(path: Path) -> Iterator[Part]:
    """Give the parts of a backup that was checked; `TransferRefused` says why it can't be trusted."""
    manifest = _manifest(path)
    summaries: list[Summary] = []
    try:
        for _ in transfer.summarized(_parts(path), summaries):
            pass
    except _DAMAGE as error:
        raise TransferRefused(reason=f"the backup {path} is damaged: {error}") from None
    if manifest.get("digest") != summaries[0].digest:
        raise TransferRefused(reason=f"the backup {path} is damaged: its contents are not those it was made with")
    return _parts(path)


def _write_parts(archive: zipfile.ZipFile, parts: Iterable[Part]) -> None:
    """Write the lines first and the blobs, which come last, after them: a zip file takes one member at a time."""
    lines: IO[bytes] | None = archive.open(_LINES, "w", force_zip64=True)
    for part in parts:
        if part.kind != "blob":
            assert lines is not None, "blobs come last"
            lines.write(transfer.line(part) + b"\n")
            continue
        if lines is not None:
            lines.close()
            lines = None
        archive.writestr(f"blobs/{hashlib.sha256(part.value).hexdigest()}", part.value)
    if lines is not None:
        lines.close()


def _manifest(path: Path) -> dict[str, Json]:
    try:
        with zipfile.ZipFile(path) as archive:
            found: Json = json.loads(archive.read(_MANIFEST))
    except FileNotFoundError:
        raise FileMissing(path=path) from None
    except _DAMAGE:
        raise TransferRefused(reason=f"{path} is not a backup of treadle") from None
    manifest = as_object(found)
    if manifest.get("format") != FORMAT:
        raise TransferRefused(reason=f"{path} has the format {manifest.get('format')}, not {FORMAT}")
    return manifest


def _parts(path: Path) -> Iterator[Part]:
    with zipfile.ZipFile(path) as archive:
        with archive.open(_LINES) as lines:
            while line := lines.readline(_LONGEST_LINE_BYTES):
                found = json.loads(line)
                if found["kind"] not in get_args(PartKind):
                    message = f"it holds a {found['kind']!r}"
                    raise ValueError(message)
                yield Part(found["kind"], found["value"])
        for name in sorted(archive.namelist()):
            folder, _, blob = name.partition("/")
            if folder == "blobs" and _NAME.fullmatch(blob):
                yield Part("blob", archive.read(name))
