"""Models from other programs' files. Each format is one module; what a model can't hold is in the loss report.

`read_model` reads the text of a file in any of the `FORMATS`, guessed from what it holds unless it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from engine.domain.canonical import Json, as_object, loads
from engine.errors import ImportRefused
from engine.interchange.imported import Imported
from engine.interchange.loss import Loss
from engine.interchange.treadle import import_treadle
from engine.interchange.wfcommons import import_wfcommons, model_of

__all__ = ["FORMATS", "Format", "Imported", "Loss", "guess", "import_treadle", "import_wfcommons", "read_model"]


class Format(NamedTuple):
    """A format that can be read."""

    name: str
    title: str
    recognises: Callable[[Mapping[str, Json]], bool]
    """Whether an object of a file seems to be of this format."""
    read: Callable[[Json, str, float], Imported]
    """Takes the JSON value, the name of its source and the factor of recorded times."""
    is_timed: bool = False
    """Whether it holds recorded times, which a factor scales."""


def _read_wfcommons(value: Json, source: str, factor: float) -> Imported:
    return model_of(value, factor=factor, source=source)


def _read_treadle(value: Json, source: str, factor: float) -> Imported:
    del factor
    return import_treadle(value, source=source)


def _is_treadle(value: Mapping[str, Json]) -> bool:
    return "format" in value


def _is_wfcommons(value: Mapping[str, Json]) -> bool:
    return "schemaVersion" in value and "workflow" in value


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        found.name: found
        for found in (
            Format("treadle", "a Treadle model file", _is_treadle, _read_treadle),
            Format(
                "wfcommons",
                "a WfCommons workflow instance (WfFormat 1.5, 1.6)",
                _is_wfcommons,
                _read_wfcommons,
                is_timed=True,
            ),
        )
    }
)
"""The formats by name, in the order in which they are guessed."""


def guess(value: Json) -> Format | None:
    """Return the format that a JSON value seems to be of, or None."""
    fields = as_object(value)
    return next((found for found in FORMATS.values() if found.recognises(fields)), None)


def read_model(
    text: str | bytes, *, format_name: str | None = None, factor: float | None = None, source: str = "The file"
) -> Imported:
    """Return the model in a text of any of the formats; raise `FileError` naming `source` for what can't be read."""
    value = loads(text, source=source)
    found = FORMATS[format_name] if format_name is not None else guess(value)
    if found is None:
        known = " or ".join(known.title for known in FORMATS.values())
        raise ImportRefused(source=source, reason=f"it is neither {known}", mend="Check the file.")
    if factor is not None and not found.is_timed:
        raise ImportRefused(source=source, reason="it holds no recorded times", mend="Leave the factor out.")
    return found.read(value, source, 1.0 if factor is None else factor)
