"""Identifiers: UUID version 7 (RFC 9562, section 5.7), made from a time and randomness given by the caller."""

from __future__ import annotations

from uuid import UUID

_RANDOM_BITS = 74


def uuid7(ts_ms: int, random_bits: int) -> str:
    """Return the UUIDv7 of `ts_ms` (Unix time in ms) and the low 74 bits of `random_bits`."""
    noise = random_bits & ((1 << _RANDOM_BITS) - 1)
    high, low = noise >> 62, noise & ((1 << 62) - 1)
    value = (ts_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return str(UUID(int=value))


def uuid7_ms(identifier: str) -> int:
    """Return the Unix time in ms that a UUIDv7 carries."""
    return UUID(identifier).int >> 80


def slug(name: str, taken: frozenset[str] | set[str] = frozenset()) -> str:
    """Return a readable node id for `name` that is not in `taken`: 'Clean rows' -> 'clean-rows', 'clean-rows-2'."""
    words = "".join(ch if ch.isascii() and ch.isalnum() else " " for ch in name.lower()).split()
    stem = "-".join(words)[:60].rstrip("-") or "node"
    if stem not in taken:
        return stem
    n = 2
    while f"{stem}-{n}" in taken:
        n += 1
    return f"{stem}-{n}"
