"""Settings of the engine, read once from the environment; an error names the variable."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import SettingInvalid


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and what is allowed."""

    home: Path
    """The user's data directory: default store, key of the ledger, installed demos (TREADLE_HOME)."""
    store: str
    """The store's URL (TREADLE_STORE)."""
    organization: str
    """Whose part of a server's store it is (TREADLE_ORGANIZATION)."""
    cache: str
    """Where reads are kept for a while: 'memory', 'off' or the URL of a Redis (TREADLE_CACHE)."""
    workers: int
    """Worker threads that one run may use at a time (TREADLE_WORKERS)."""
    tethers: tuple[str, ...]
    """Modules and files with functions, separated by the path separator (TREADLE_TETHERS)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; raise `SettingInvalid` for a value that makes no sense."""
        found = os.environ if environment is None else environment
        home = Path(found.get("TREADLE_HOME") or _data_directory(found))
        return cls(
            home=home,
            store=found.get("TREADLE_STORE") or f"duckdb:///{(home / 'treadle.duckdb').as_posix()}",
            organization=_name("TREADLE_ORGANIZATION", found.get("TREADLE_ORGANIZATION") or "local"),
            cache=_cache(found.get("TREADLE_CACHE") or "memory"),
            workers=_count("TREADLE_WORKERS", found.get("TREADLE_WORKERS"), min(32, (os.cpu_count() or 2) + 4)),
            tethers=tuple(part for part in found.get("TREADLE_TETHERS", "").split(os.pathsep) if part),
        )


def _data_directory(environment: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "treadle"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "treadle"
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "treadle"


def _count(name: str, text: str | None, default: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise SettingInvalid(name=name, reason=f"{text!r} is not a number from 1 to 1000")
    return int(text)


def _name(variable: str, text: str) -> str:
    if len(text) > 100 or not text.isprintable():
        raise SettingInvalid(name=variable, reason="it is longer than 100 characters or has some that can't be seen")
    return text


def _cache(text: str) -> str:
    if text not in ("memory", "off") and not text.startswith(("redis://", "rediss://", "unix://")):
        raise SettingInvalid(name="TREADLE_CACHE", reason=f"{text!r} is neither 'memory', 'off' nor a redis:// URL")
    return text
