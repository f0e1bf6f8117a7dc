"""What an import gives: the model, the figures of the source's graph, and the loss report."""

from __future__ import annotations

from dataclasses import dataclass

from engine.domain.canonical import Json
from engine.domain.model import FunctionModel
from engine.interchange.loss import Loss


@dataclass(frozen=True, slots=True)
class Imported:
    """A model made from a file of another program."""

    model: FunctionModel
    format: str
    """The name of the source's format, see `engine.interchange.FORMATS`."""
    tasks: int
    edges: int
    """Pairs of tasks of which one waits for the other."""
    depth: int
    """The number of tasks on the longest chain."""
    width: int
    """The greatest number of tasks at one level; a task's level is the length of the longest chain that ends in it."""
    critical_path_s: float
    """The greatest sum of recorded durations along a chain, not scaled."""
    losses: tuple[Loss, ...] = ()

    def figures(self) -> dict[str, Json]:
        """Return the figures and the loss report as JSON."""
        return {
            "format": self.format,
            "tasks": self.tasks,
            "edges": self.edges,
            "depth": self.depth,
            "width": self.width,
            "critical_path_s": self.critical_path_s,
            "losses": [loss.to_json() for loss in self.losses],
        }

    def to_json(self) -> dict[str, Json]:
        """Return all of it as JSON: the model's file form under `model`."""
        return {"model": self.model.to_json(), **self.figures()}
