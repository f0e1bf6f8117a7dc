"""A cache in the process: the values themselves, the least recently used ones dropped first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from engine.ports import CacheCodec, CacheFigures

_T = TypeVar("_T")
_MOST_WEIGHT = 50_000
"""About one node of a model each: 50,000 take some 100 MiB."""


class _Kept(NamedTuple):
    versions: tuple[int, ...]
    until: float
    weight: int
    value: Any


class MemoryCache:
    """Values by key, valid until their time is over or one of their tags is invalidated. Safe from any thread."""

    def __init__(self, *, most_weight: int = _MOST_WEIGHT, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty; `most_weight` bounds the sum of what codecs say values weigh."""
        self._most, self._clock = most_weight, clock
        self._lock = Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._versions: dict[str, int] = {}
        self._weight = self._hits = self._misses = 0

    def through(
        self, key: str, tags: Sequence[str], load: Callable[[], _T], codec: CacheCodec[_T], *, ttl_s: float
    ) -> _T:
        """Return what is kept under `key`, else what `load` returns, and keep that; see `engine.ports.Cache`."""
        with self._lock:
            versions = tuple(self._versions.get(tag, 0) for tag in tags)
            kept = self._kept.get(key)
            if kept is not None and kept.versions == versions and kept.until > self._clock():
                self._kept.move_to_end(key)
                self._hits += 1
                return kept.value
            self._misses += 1
        value = load()
        with self._lock:
            self._drop(key)
            self._put(key, _Kept(versions, self._clock() + ttl_s, codec.weight(value), value))
        return value

    def invalidate(self, tags: Sequence[str]) -> None:
        """Forget what has one of these tags, what is being loaded at this moment included."""
        with self._lock:
            for tag in tags:
                self._versions[tag] = self._versions.get(tag, 0) + 1

    def figures(self) -> CacheFigures:
        """Return how it did so far."""
        with self._lock:
            return CacheFigures("memory", len(self._kept), self._hits, self._misses)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._weight = 0

    def _put(self, key: str, kept: _Kept) -> None:
        if kept.weight > self._most:
            return
        self._kept[key] = kept
        self._weight += kept.weight
        while self._weight > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._weight -= old.weight
