"""Keeps the unsaved work of a model in the store, about a second after it changed and never more often."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.domain.canonical import Json
from engine.drafts import Drafts
from engine.errors import TreadleError
from studio.logs import logger

KEEP_AFTER_S = 1.0
_log = logger("studio.editor")


class Keeper:
    """Writes what `read` gives (None: nothing is unsaved) to the drafts of a store. Safe from any thread."""

    def __init__(self, drafts: Drafts, model: str, read: Callable[[], Json]) -> None:
        self._drafts, self._model, self._read = drafts, model, read
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def soon(self) -> None:
        """Write within a second."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(KEEP_AFTER_S, self.now)
                self._timer.daemon = True
                self._timer.start()

    def now(self) -> None:
        """Write what is there now, unless nothing changed since the last time."""
        with self._lock:
            if self._timer is None:
                return
            self._timer.cancel()
            self._timer = None
        try:
            draft = self._read()
            self._drafts.put(self._model, draft) if draft is not None else self._drafts.drop(self._model)
        except TreadleError as error:
            _log.warning("draft not kept", model=self._model, reason=str(error))
