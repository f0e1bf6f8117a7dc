"""The studio's log: one line of key=value on stderr, tracebacks without the values of variables."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


class _Stderr:
    """Writes to whatever stderr is at the time, so that a redirected one is honoured."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def logger(name: str) -> Any:
    """A structlog logger that says `name` in every line."""
    return structlog.wrap_logger(
        structlog.WriteLogger(_Stderr()),  # type: ignore[arg-type]  it needs write and flush only
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _traceback_last,
        ],
        log=name,
    )


def _traceback_last(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    traceback = event.pop("exception", None)
    keys = ["timestamp", "level", "log", "event"]
    line = structlog.processors.KeyValueRenderer(key_order=keys)(_logger, _method, event)
    return line if traceback is None else f"{line}\n{traceback}"
