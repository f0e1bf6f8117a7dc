"""The loss report: what of a source an imported model does not carry out, and where that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from engine.domain.canonical import Json

Kept = Literal["metadata", "nowhere"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One kind of thing that an imported model does not carry out."""

    what: str
    """The field of the source, such as `workflow.execution.tasks[].command`, or the kind of change."""
    count: int
    kept: Kept
    """Where it is still to be found: in the metadata of the nodes, or nowhere."""
    sentence: str

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.count:,} x {self.what}: {self.sentence}"


class LossCounter:
    """Counts losses while a source is read; `report` gives them in the order in which they were first seen."""

    def __init__(self, sentences: Mapping[str, str], *, otherwise: str) -> None:
        """`sentences` are by what was lost; `otherwise` is said of what has none."""
        self._sentences, self._otherwise = sentences, otherwise
        self._counts: dict[tuple[str, Kept, str], int] = {}

    def add(self, what: str, count: int = 1, *, kept: Kept = "metadata", sentence: str | None = None) -> None:
        """Count something lost; nothing happens for a count of 0."""
        if count:
            key = (what, kept, sentence or self._sentences.get(what, self._otherwise))
            self._counts[key] = self._counts.get(key, 0) + count

    def report(self) -> tuple[Loss, ...]:
        """Return what was lost."""
        return tuple(Loss(what, count, kept, sentence) for (what, kept, sentence), count in self._counts.items())
