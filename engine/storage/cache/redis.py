"""A cache in Redis, shared by several programs on one store.

A tag is a counter; an entry's key holds the values its tags had before it was loaded. Counting a tag up therefore
hides every entry that had it, also one that is stored a moment later by somebody who loaded it before. Hidden entries
go when their time is over. A Redis that doesn't answer is passed by: the store is asked instead.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast

from engine.errors import SettingInvalid
from engine.ports import CacheCodec, CacheFigures

if TYPE_CHECKING:
    from redis import Redis

_T = TypeVar("_T")
_TIMEOUT_S = 0.25
_PAUSE_S = 5.0
"""How long nothing is asked of a Redis that did not answer."""
_TAG_TTL_S = 7 * 86_400


class RedisCache:
    """Values by key in Redis, for one store. Safe from any thread."""

    def __init__(self, url: str, *, prefix: str) -> None:
        """Use the Redis at `url`; `prefix` keeps stores apart. `SettingInvalid` without the package or a right URL."""
        try:
            from redis import Redis
        except ImportError:
            raise SettingInvalid(name="TREADLE_CACHE", reason="it needs 'pip install treadle[redis]'") from None
        try:
            self._redis: Redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
            )
        except ValueError as error:
            raise SettingInvalid(name="TREADLE_CACHE", reason=str(error)) from None
        self._prefix = f"treadle:{hashlib.sha256(prefix.encode()).hexdigest()[:16]}"
        self._lock = Lock()
        self._hits = self._misses = 0
        self._silent_until = 0.0

    def through(
        self, key: str, tags: Sequence[str], load: Callable[[], _T], codec: CacheCodec[_T], *, ttl_s: float
    ) -> _T:
        """Return what is kept under `key`, else what `load` returns, and keep that; see `engine.ports.Cache`."""
        place = self._ask(lambda: self._place(key, tags))
        kept = None if place is None else self._ask(lambda: cast("bytes | None", self._redis.get(place)))
        with self._lock:
            self._hits += kept is not None
            self._misses += kept is None
        if kept is not None:
            return codec.decode(kept)
        value = load()
        if place is not None:
            self._ask(lambda: self._redis.set(place, codec.encode(value), px=max(1, int(ttl_s * 1000))))
        return value

    def invalidate(self, tags: Sequence[str]) -> None:
        """Hide what has one of these tags."""

        def count_up() -> None:
            with self._redis.pipeline(transaction=True) as pipe:  # pyright: ignore[reportUnknownMemberType]
                for tag in tags:
                    pipe.incr(self._tag(tag))
                    pipe.expire(self._tag(tag), _TAG_TTL_S)
                pipe.execute()

        if tags:
            self._ask(count_up)

    def figures(self) -> CacheFigures:
        """Return how it did in this process, and how many entries there are of this store."""
        found = self._ask(lambda: list(cast("Iterator[bytes]", self._redis.scan_iter(f"{self._prefix}:entry:*"))))  # pyright: ignore[reportUnknownMemberType]
        with self._lock:
            return CacheFigures("redis", len(found or ()), self._hits, self._misses)

    def close(self) -> None:
        """Let go of the connection; what is kept stays for others."""
        self._redis.close()

    def _place(self, key: str, tags: Sequence[str]) -> str:
        found = cast("list[bytes | None]", self._redis.mget([self._tag(tag) for tag in tags])) if tags else []
        versions = ".".join("0" if one is None else one.decode() for one in found)
        return f"{self._prefix}:entry:{hashlib.sha256(f'{key} {versions}'.encode()).hexdigest()}"

    def _tag(self, tag: str) -> str:
        return f"{self._prefix}:tag:{tag}"

    def _ask(self, question: Callable[[], _T]) -> _T | None:
        """Return the answer; None, and silence for a while, if there is none."""
        from redis import RedisError

        if time.monotonic() < self._silent_until:
            return None
        try:
            return question()
        except (RedisError, OSError):
            self._silent_until = time.monotonic() + _PAUSE_S
            return None
