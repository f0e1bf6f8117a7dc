"""The sidecar: a small file beside a store that says where the program is which owns it, and how to be let in.

Whoever can read it may use the store, so it has mode 0600, like a private key. It says nothing about whether its
writer still lives: a client finds that out by asking, and DuckDB's own lock decides who owns the file.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from engine.domain.canonical import Json, as_object
from engine.storage.sql import schema

PROTOCOL = f"treadle-owner/2.{schema.SCHEMA_VERSION}"
"""Programs that say the same here understand each other. Count up when a verb or the form of a value changes."""
HOST = "127.0.0.1"
_TOKEN_BYTES = 32
LONGEST_BYTES = 4_096


class Sidecar(NamedTuple):
    """What the file holds."""

    protocol: str
    port: int
    pid: int
    token: str

    def __repr__(self) -> str:
        """Show everything but the token, which belongs into no log."""
        return f"Sidecar(port={self.port}, pid={self.pid})"


class OwnerGone(Exception):
    """The owner ended, or is not the one that was known: look for the next one and ask again."""


def new_sidecar(port: int) -> Sidecar:
    """Return the sidecar of this process, with a new token."""
    return Sidecar(PROTOCOL, port, os.getpid(), secrets.token_hex(_TOKEN_BYTES))


def place_of(store: Path) -> Path:
    """Return where the sidecar of a store is: beside the file itself, not beside a link to it."""
    real = store.resolve()
    return real.with_name(f"{real.name}.owner")


def identity(store: Path) -> str | None:
    """Return what tells this file from every other one of this machine, its copies too; None if it is not there."""
    try:
        found = store.stat()
    except OSError:
        return None
    return f"{found.st_dev}:{found.st_ino}"


def write(place: Path, sidecar: Sidecar) -> bool:
    """Put the sidecar in its place as a whole; False if it can't be written, and then nobody is served."""
    draft = place.with_name(f".{place.name}.{sidecar.pid}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            json.dump(sidecar._asdict(), file)
        draft.replace(place)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        return False
    return True


def read(place: Path) -> Sidecar | None:
    """Return the sidecar that is there, or None if there is none that makes sense."""
    try:
        with place.open("rb") as file:
            found: Json = json.loads(file.read(LONGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    match as_object(found):
        case {"protocol": str(protocol), "port": int(port), "pid": int(pid), "token": str(token)} if 0 < port < 65_536:
            return Sidecar(protocol, port, pid, token)
        case _:
            return None


def remove(place: Path, sidecar: Sidecar) -> None:
    """Take the sidecar away if it still is this one. Call it while the file is owned: nobody else writes one then."""
    if read(place) == sidecar:
        with suppress(OSError):
            place.unlink()


def proof(sidecar: Sidecar, side: str, nonce: str, store: str) -> str:
    """Return what only those can say who know the token, about one file and one connection; `side` says who says it."""
    words = f"{PROTOCOL}\n{side}\n{nonce}\n{store}"
    return hmac.digest(sidecar.token.encode(), words.encode(), "sha256").hex()
