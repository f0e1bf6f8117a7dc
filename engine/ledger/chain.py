"""The hash chain: how an entry is written down, hashed and linked, and how a change is told as a JSON Patch.

Each entry's hash covers every other field of it as it is stored, the hash of the entry before included, so that
a changed byte anywhere shows. The form is versioned by `FORM`: another form would never be mistaken for this one.
Sources: RFC 6902 (JSON Patch), RFC 6901 (JSON Pointer), RFC 6962 section 2.1 (Merkle tree hash).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from pydantic import ValidationError

from engine.domain.canonical import Json, canonical_bytes
from engine.domain.events import Draft, Entry, Head, Row
from engine.errors import LedgerTampered, NotCanonical

__all__ = ["FORM", "Row", "entry_hash", "entry_of", "link", "merkle_root", "patch", "row_of", "ts_text"]

FORM = "treadle-ledger/1"
"""The first element of what is hashed: the domain and the version of the form."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


Hashed: TypeAlias = tuple[int, str, str, str, str, str, str | None, str | None, str, str]
"""A row without its hash."""


def link(head: Head, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
    """Return the entries that continue the chain after `head`; raise `NotCanonical` for text that can't be stored."""
    entries: list[Entry] = []
    sequence, previous = head.sequence, head.hash
    for draft in drafts:
        sequence += 1
        fields = {name: getattr(draft, name) for name in Draft.model_fields}
        stored = _draft_fields(draft)
        if any(text is not None and "\x00" in text for text in stored):
            raise NotCanonical(reason="a text of a ledger entry holds a null character")
        try:
            own = entry_hash((sequence, *stored, previous))
        except UnicodeEncodeError:
            raise NotCanonical(reason="a text of a ledger entry holds half of a surrogate pair") from None
        entries.append(Entry(**fields, sequence=sequence, previous_hash=previous, hash=own))
        previous = own
    return tuple(entries)


def entry_hash(fields: Hashed) -> str:
    """Return the SHA-256 (hex) of an entry's stored fields, `hash` left out."""
    return hashlib.sha256(_encode([FORM, *fields]).encode()).hexdigest()


def row_of(entry: Entry) -> Row:
    """Return the entry as it is stored."""
    return Row(entry.sequence, *_draft_fields(entry), entry.previous_hash, entry.hash)


def entry_of(row: Row) -> Entry:
    """Return what a stored row says; `LedgerTampered` if it can't have been written by `link`."""
    try:
        fields = row._asdict()
        fields["ts"] = datetime.fromisoformat(row.ts)
        return Entry.model_validate(fields)
    except (ValidationError, ValueError, TypeError):
        raise LedgerTampered(reason=f"entry {row.sequence} holds what no program of ours wrote") from None


def ts_text(moment: datetime) -> str:
    """Return a moment as it is stored and hashed: UTC, microseconds, Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def patch(before: Json, after: Json) -> str:
    """Return canonical JSON: the RFC 6902 operations from `before` to `after`, each with the value before in `was`.

    Objects are compared key by key; arrays of equal length element by element, others are replaced as a whole.
    An `add` has no `was`: there was no value.
    """
    operations: list[Json] = []
    _compare("", before, after, operations)
    return canonical_bytes(operations).decode()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Return the Merkle tree hash (hex) of `leaves` as in RFC 6962; memory grows with the logarithm of their number."""
    stack: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, digest = 1, hashlib.sha256(b"\x00" + leaf).digest()
        while stack and stack[-1][0] == size:
            digest = hashlib.sha256(b"\x01" + stack.pop()[1] + digest).digest()
            size *= 2
        stack.append((size, digest))
    if not stack:
        return hashlib.sha256(b"").hexdigest()
    digest = stack.pop()[1]
    while stack:
        digest = hashlib.sha256(b"\x01" + stack.pop()[1] + digest).digest()
    return digest.hex()


def _draft_fields(draft: Draft) -> tuple[str, str, str, str, str, str | None, str | None, str]:
    return (
        ts_text(draft.ts),
        draft.actor,
        draft.action,
        draft.entity_kind,
        draft.entity,
        draft.run,
        draft.request,
        draft.patch,
    )


def _compare(path: str, before: Json, after: Json, operations: list[Json]) -> None:
    kinds = (_kind(before), _kind(after))
    if kinds == ("object", "object"):
        _compare_objects(path, before, after, operations)
    elif kinds == ("array", "array") and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            _compare(f"{path}/{index}", old, new, operations)
    elif kinds != ("scalar", "scalar") or not _same_scalar(before, after):
        operations.append({"op": "replace", "path": path, "value": after, "was": before})


def _compare_objects(path: str, before: dict[str, Json], after: dict[str, Json], operations: list[Json]) -> None:
    for key in sorted(before.keys() | after.keys()):
        place = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in after:
            operations.append({"op": "remove", "path": place, "was": before[key]})
        elif key not in before:
            operations.append({"op": "add", "path": place, "value": after[key]})
        else:
            _compare(place, before[key], after[key], operations)


def _kind(value: Json) -> Literal["object", "array", "scalar"]:
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list | tuple) else "scalar"


def _same_scalar(before: Json, after: Json) -> bool:
    """Tell whether two values are one as JSON sees it: true is not 1, 1.0 is 1."""
    return isinstance(before, bool) == isinstance(after, bool) and bool(before == after)
