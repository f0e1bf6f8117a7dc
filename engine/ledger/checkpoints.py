"""Signed checkpoints: what the head of the ledger was at a time, kept in a file beside the store.

The chain alone shows a change only to someone who knows its head. Whoever can rewrite the whole database can
rewrite chain and head consistently; without the key, which is kept elsewhere, they can't rewrite these.
Each signature covers the one before it, so that a line can't be taken out of the middle.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Annotated

from pydantic import Field, ValidationError

from engine.domain.canonical import canonical_bytes
from engine.domain.events import Head
from engine.domain.values import Frozen, Timestamp
from engine.errors import LedgerTampered, SettingInvalid, StoreUnreachable
from engine.ledger.chain import ts_text

FORM = "treadle-checkpoint/1"
KEY_BYTES = 32
"""The least length of a key: that of the hash, as RFC 2104 section 3 advises."""


class Checkpoint(Frozen):
    """That the ledger's entry `sequence` had this `hash` at `ts`, signed."""

    sequence: Annotated[int, Field(ge=0)]
    hash: str
    ts: Timestamp
    signature: str
    """HMAC-SHA256 (hex) over the other fields and the signature of the checkpoint before."""


class CheckpointFile:
    """A file of checkpoints, one JSON object a line, only ever appended to. Safe to use from any thread."""

    def __init__(self, path: str | Path, key: bytes) -> None:
        """Use the file at `path`, which need not exist yet, and a key of at least 32 bytes kept outside the store."""
        if len(key) < KEY_BYTES:
            raise SettingInvalid(name="ledger key", reason=f"it has {len(key)} bytes, but needs {KEY_BYTES} or more")
        self._path = Path(path)
        self._key = key
        self._lock = Lock()

    def append(self, head: Head, ts: datetime) -> Checkpoint:
        """Sign `head` and keep it durably; `LedgerTampered` if it is not what was signed before, or behind it.

        A head that is signed already gives the checkpoint there is.
        """
        with self._lock:
            signed = self.read()
            last = signed[-1] if signed else None
            if last is not None and head.sequence <= last.sequence:
                if (head.sequence, head.hash) == (last.sequence, last.hash):
                    return last
                raise LedgerTampered(
                    reason=f"entry {last.sequence} was signed at {ts_text(last.ts)}, but the head is now "
                    f"entry {head.sequence} with another hash"
                )
            made = Checkpoint(sequence=head.sequence, hash=head.hash, ts=ts, signature="")
            made = made.model_copy(update={"signature": self._sign(made, last)})
            self._write(canonical_bytes(made.model_dump(mode="json")) + b"\n")
            return made

    def read(self) -> list[Checkpoint]:
        """Return the checkpoints, oldest first; `LedgerTampered` if one is not signed with this key.

        A last line that was cut off by a crash while it was written is left out: nobody was told that it is there.
        """
        found = [self._checkpoint(number, line) for number, line in enumerate(self._lines(), start=1)]
        for number, (before, checkpoint) in enumerate(pairwise([None, *found]), start=1):
            if checkpoint is None or not hmac.compare_digest(checkpoint.signature, self._sign(checkpoint, before)):
                raise LedgerTampered(reason=f"checkpoint {number} in {self._path} is not signed with this key")
        return found

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnreachable(path=self._path, reason=error.strerror) from None

    def _checkpoint(self, number: int, line: bytes) -> Checkpoint:
        try:
            return Checkpoint.model_validate_json(line)
        except ValidationError:
            raise LedgerTampered(reason=f"line {number} of {self._path} is not a checkpoint") from None

    def _sign(self, checkpoint: Checkpoint, before: Checkpoint | None) -> str:
        previous = "" if before is None else before.signature
        message = canonical_bytes([FORM, checkpoint.sequence, checkpoint.hash, ts_text(checkpoint.ts), previous])
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def _write(self, line: bytes) -> None:
        """Append after the last whole line, which cuts off what a crash left of an unfinished one."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.truncate(sum(len(kept) + 1 for kept in self._lines()))
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreUnreachable(path=self._path, reason=error.strerror) from None
