"""What can't be told of a run, and why."""

from __future__ import annotations

from typing import ClassVar

from engine.errors import RunError, StepError

_USAGE = 2


class RecordsMissing(RunError):
    """The run {run} has no records to look at: {reason}."""


class RecordsTampered(RunError):
    """The records of the run {run} are not those that were sealed: {reason}."""


class MomentUnknown(RunError):
    """The run {run} has no event {number}; it has {count}, numbered from 0."""

    exit_code: ClassVar[int] = _USAGE


class ValueUnknown(RunError):
    """The run {run} has no value {port!r} of {path!r}. {hint}"""

    exit_code: ClassVar[int] = _USAGE


class NotReplayable(RunError):
    """The run {run} can't be replayed: {reason}."""


class NotRecorded(StepError):
    """It was called, which the record knows nothing of."""


class OutsideForbidden(StepError):
    """A replay lets nothing out, but it asked for {what}. Say that it has an effect, and its record is used."""
