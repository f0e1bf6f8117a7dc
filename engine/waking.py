"""Lets parked runs go on: when a deadline passes, and when another program decides what a run of this one waits for."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import timedelta

from engine.domain.entities import Decision
from engine.domain.queries import EntityQuery
from engine.errors import StoreError, TreadleError
from engine.ports import Catalog, Clock
from engine.runs import Runs

_logger = logging.getLogger(__name__)
_LOOK_S = 5.0
"""How often it looks for deadlines; the ledger tells of decisions at once."""


class Waker:
    """One thread for all the waiting runs of a store. Several programs may have one: each run is taken by one."""

    def __init__(self, catalog: Catalog, runs: Runs, clock: Clock, *, look_s: float = _LOOK_S) -> None:
        """Use `start` to begin."""
        self._catalog, self._runs, self._clock, self._look_s = catalog, runs, clock, look_s
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    def start(self) -> None:
        """Begin to look, if it doesn't yet."""
        with self._guard:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._look, name="treadle-waker", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop looking. Calling it twice is harmless."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def wake_due(self) -> int:
        """Settle every decision whose deadline has passed and let its run go on; return how many there were."""
        woken = 0
        for decision in self._runs.decisions.due():
            settled = self._runs.decisions.settle(decision)
            woken += self._deliver(settled)
        return woken

    def _look(self) -> None:
        position = self._head()
        while not self._closing.is_set():
            with suppress(StoreError):
                for entry in self._catalog.news(position, self._until_next_s()):
                    position = entry.sequence
                    if entry.action == "decision.made":
                        found = self._catalog.entity("decision", entry.entity)
                        if isinstance(found, Decision):
                            self._deliver(found)
                self.wake_due()
                continue
            self._closing.wait(self._look_s)

    def _until_next_s(self) -> float:
        """Return the seconds until the next deadline, at most until the next look."""
        horizon = self._clock.now() + timedelta(seconds=self._look_s)
        soon = self._catalog.entities(EntityQuery(kind="decision", due_before=horizon, limit=1))
        due = soon[0].due_at if soon else None
        left_s = self._look_s if due is None else (due - self._clock.now()).total_seconds()
        return min(max(0.01, left_s), self._look_s, 0.5)

    def _head(self) -> int:
        with suppress(StoreError):
            return self._catalog.head().sequence
        return 0

    def _deliver(self, decision: Decision) -> bool:
        try:
            return self._runs.deliver(decision) is not None
        except TreadleError as error:  # somebody else has it, or its functions aren't here
            _logger.info("run %s does not go on here: %s", decision.run, error)
            return False
