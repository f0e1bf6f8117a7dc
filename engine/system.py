"""The real clock, ids and secrets: adapters of this machine."""

from __future__ import annotations

import os
import random
import secrets
import time
from datetime import UTC, datetime

from engine.domain.ids import uuid7


class SystemClock:
    """Time and randomness of this machine."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)
    """Return seconds that never go back."""

    def new_id(self) -> str:
        """Return a new UUIDv7."""
        return uuid7(time.time_ns() // 1_000_000, secrets.randbits(74))

    def noise(self) -> float:
        """Return a number in [-1, 1]."""
        return random.uniform(-1.0, 1.0)  # noqa: S311 - jitter, not a secret


class EnvironmentSecrets:
    """Secrets from environment variables: 'mail-key' is read from TREADLE_SECRET_MAIL_KEY."""

    def secret(self, name: str) -> str | None:
        """Return a secret's value, or None."""
        return os.environ.get("TREADLE_SECRET_" + "".join(ch if ch.isalnum() else "_" for ch in name).upper())
