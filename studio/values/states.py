"""The word and the tone of every state of runs, steps and models: the same on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from markupsafe import Markup

from engine.domain.runs import Run
from studio.theme import exact, state_pill

if TYPE_CHECKING:
    from engine.engine import Engine

_UNENDED = ("pending", "running")
_TONES: Mapping[str, str] = {
    "succeeded": "ok",
    "published": "ok",
    "failed": "bad",
    "running": "run",
    "retrying": "run",
    "paused": "warn",
    "waiting": "warn",
    "interrupted": "warn",
}


def tone_of(status: str) -> str:
    """Return the tone of a state: ok, bad, run, warn or idle."""
    return _TONES.get(status, "idle")


def word_of(status: str) -> str:
    """Return a state as a person reads it."""
    return status[:1].upper() + status[1:]


def status_pill(status: str) -> Markup:
    """Return a state as a pill: a word, its colour and, where it has one, its icon."""
    return state_pill(word_of(status), tone_of(status))


def with_status(engine: Engine, runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Return runs as they are now with their status: 'interrupted' for those that have no end and that nobody runs."""
    unended = any(run.status in _UNENDED for run in runs)
    elsewhere = engine.runs.elsewhere() if unended else set[str]()
    return [_with_status(engine, run, elsewhere) for run in runs]


def _with_status(engine: Engine, run: Run, elsewhere: set[str]) -> tuple[Run, str]:
    if run.status not in _UNENDED or run.id in elsewhere or engine.runs.live(run.id) is not None:
        return run, run.status
    again = engine.runs.get(run.id)  # it may have ended since it was read
    return again, "interrupted" if again.status in _UNENDED else again.status


def clock(moment: datetime) -> Markup:
    """Return the time of day where the studio runs; the exact one in UTC on hover."""
    local = moment.astimezone()
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), exact(moment), f"{local:%H:%M:%S}.{local.microsecond // 100_000}"
    )
