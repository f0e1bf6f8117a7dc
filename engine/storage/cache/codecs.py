"""How what a catalog reads is kept in a cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from engine.domain.canonical import Json
from engine.domain.values import DEFERRED
from engine.domain.versions import Version
from engine.domain.writes import ModelRow
from engine.storage import documents

_T = TypeVar("_T")


@dataclass(frozen=True)
class Codec(Generic[_T]):
    """A value as packed JSON."""

    plain: Callable[[_T], Json]
    read: Callable[[Json], _T]
    weight: Callable[[_T], int]

    def encode(self, value: _T) -> bytes:
        """Return the bytes of a value."""
        return documents.packed(self.plain(value))

    def decode(self, data: bytes) -> _T:
        """Read back what `encode` wrote."""
        return self.read(documents.unpacked(data))


def _optional(plain: Callable[[_T], Json], read: Callable[[Json], _T], weight: Callable[[_T], int]) -> Codec[_T | None]:
    return Codec(
        lambda value: None if value is None else plain(value),
        lambda value: None if value is None else read(value),
        lambda value: 1 if value is None else 1 + weight(value),
    )


_LISTED = TypeAdapter(list[ModelRow], config=DEFERRED)
MODEL = _optional(documents.model_json, documents.model_from, lambda model: len(model.nodes))
VERSION = _optional(documents.version_json, documents.version_from, lambda version: len(version.snapshot.nodes))
VERSIONS: Codec[list[Version]] = Codec(
    lambda versions: [documents.version_json(one) for one in versions],
    lambda plain: [documents.version_from(one) for one in plain],
    lambda versions: 1 + sum(len(one.snapshot.nodes) for one in versions),
)
ROWS: Codec[list[ModelRow]] = Codec(
    lambda rows: _LISTED.dump_python(rows, mode="json"), _LISTED.validate_python, lambda rows: 1 + len(rows) // 10
)
