"""Judges a model while it changes: on a thread, a moment after the last change, and only the newest state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine.domain.model import FunctionModel
from engine.domain.rules import Finding
from studio.logs import logger

SETTLE_S = 0.15
_LONGEST_SETTLE_S = 2.0
_log = logger("studio.editor")

Validate = Callable[[FunctionModel], tuple[Finding, ...]]
Tell = Callable[[FunctionModel, tuple[Finding, ...]], None]


class Checker:
    """Calls `tell(model, findings)` from its thread, for the newest model it was given.

    The pause before a check grows with what checks take, so that a large model leaves the processor to its editor.
    """

    def __init__(self, validate: Validate, tell: Tell) -> None:
        self._validate, self._tell = validate, tell
        self._lock = threading.Lock()
        self._wanted: FunctionModel | None = None
        self._busy = False
        self._settle_s = SETTLE_S

    def check(self, model: FunctionModel) -> None:
        """Have `model` judged soon, instead of any that still waits."""
        with self._lock:
            self._wanted = model
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._work, name="treadle-check", daemon=True).start()

    def _work(self) -> None:
        while True:
            time.sleep(self._settle_s)
            with self._lock:
                model, self._wanted = self._wanted, None
                if model is None:
                    self._busy = False
                    return
            began_s = time.monotonic()
            try:
                self._tell(model, self._validate(model))
            except Exception as error:  # noqa: BLE001  a check that breaks must not end checking
                _log.error("check failed", exc_info=error)
            self._settle_s = min(_LONGEST_SETTLE_S, max(SETTLE_S, 1.5 * (time.monotonic() - began_s)))
