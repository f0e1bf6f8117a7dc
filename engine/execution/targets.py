"""Targets outside of the process: how they are named, and which errors speak against them."""

from __future__ import annotations

import re
from concurrent.futures import CancelledError
from urllib.parse import urlsplit

from engine.errors import (
    NotSerializable,
    PortMissing,
    StepCancelled,
    StepError,
    StoreUnreachable,
    TargetUnavailable,
    TreadleError,
)

_THEIRS = (StepError, StoreUnreachable)
_OURS = (StepCancelled, NotSerializable, PortMissing, TargetUnavailable)


def counts_against(error: BaseException) -> bool:
    """Say whether an error speaks against the target: not a cancellation, a mistake of ours, or a 4xx but 408 and 429.

    The status is `facts["status"]` if there is one; without it an error marked permanent doesn't count.
    """
    if not isinstance(error, TreadleError):
        return isinstance(error, Exception) and not isinstance(error, CancelledError)
    if not isinstance(error, _THEIRS) or isinstance(error, _OURS):
        return False
    status = _status_of(error)
    if status is not None:
        return status >= 500 or status in {408, 429}
    return not error.facts.get("permanent")


def target_of(endpoint: str) -> str | None:
    """Return the target that a URL leads to, 'host:port' or for https at its own port 'host'; None if it is no URL."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    if not host or port is None:
        return None
    shown = f"[{host}]" if ":" in host else host
    return shown if (parts.scheme, port) == ("https", 443) else f"{shown}:{port}"


def was_answered(error: BaseException) -> bool:
    """Say whether an error shows that the target is well: it answered, and what it said doesn't count against it."""
    status = _status_of(error)
    return status is not None and not counts_against(error)


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error carries: as a fact, or in its kind, 'HTTP 503'."""
    if not isinstance(error, TreadleError):
        return None
    status = error.facts.get("status")
    if isinstance(status, int):
        return status
    match = re.fullmatch(r"HTTP (\d{3})", str(error.facts.get("kind", "")))
    return int(match[1]) if match else None
