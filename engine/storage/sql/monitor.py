"""What a database's statements take: how many there were, the slow ones with their plans, and the pool's figures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from engine.domain.canonical import Json

SLOW_S = 0.1
_KEPT = 20
_LONGEST_TEXT = 2_000
_STARTED = "treadle_started"


class Slow(NamedTuple):
    """A statement that took long."""

    seconds: float
    statement: str
    parameters: Any
    """As the driver got them; None if a plan can't be asked for."""


class QueryMonitor:
    """Watches the statements of a SQLAlchemy engine. Costs about a microsecond a statement."""

    def __init__(self, engine: Engine, *, slow_s: float = SLOW_S) -> None:
        """Begin to watch; statements of `slow_s` seconds or more are kept."""
        self._engine, self._slow_s = engine, slow_s
        self._lock = Lock()
        self._count = 0
        self._total_s = self._longest_s = 0.0
        self._slow: deque[Slow] = deque(maxlen=_KEPT)
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def describe(self, *, plans: bool = False) -> dict[str, Json]:
        """Return figures in milliseconds, the slow statements newest first, and the pool; `plans` asks the database."""
        with self._lock:
            slow = list(reversed(self._slow))
            figures: dict[str, Json] = {
                "statements": self._count,
                "mean_ms": round(1000 * self._total_s / max(1, self._count), 3),
                "longest_ms": round(1000 * self._longest_s, 3),
            }
        told = [
            {"ms": round(1000 * one.seconds, 1), "statement": one.statement, "plan": self._plan(one) if plans else None}
            for one in slow
        ]
        return {**figures, "slow": told, "pool": self._pool()}

    def _before(self, connection: Any, *_: Any) -> None:
        connection.info.setdefault(_STARTED, []).append(time.perf_counter())

    def _after(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:  # noqa: FBT001, PLR0917  (SQLAlchemy's own signature)
        del cursor, context
        seconds = time.perf_counter() - connection.info[_STARTED].pop()
        with self._lock:
            self._count += 1
            self._total_s += seconds
            self._longest_s = max(self._longest_s, seconds)
            if seconds >= self._slow_s:
                can_explain = not many and statement.lstrip().upper().startswith(("SELECT", "WITH"))
                self._slow.append(Slow(seconds, statement[:_LONGEST_TEXT], parameters if can_explain else None))

    def _plan(self, slow: Slow) -> str | None:
        """Return how the database goes about a statement today; None where it can't say."""
        if slow.parameters is None or len(slow.statement) == _LONGEST_TEXT:
            return None
        try:
            with self._engine.connect() as connection:
                found = connection.exec_driver_sql(f"EXPLAIN {slow.statement}", slow.parameters or None)
                return "\n".join(str(row[-1]) for row in found)
        except SQLAlchemyError:
            return None

    def _pool(self) -> Mapping[str, Json]:
        pool = self._engine.pool
        if not isinstance(pool, QueuePool):
            return {}
        return {
            "size": pool.size(),
            "in_use": pool.checkedout(),
            "idle": pool.checkedin(),
            "overflow": max(0, pool.overflow()),
        }
