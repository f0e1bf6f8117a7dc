"""The list of runs: what is looked for, and the page of it that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import param

from engine.domain.runs import Run
from studio.values.states import with_status

if TYPE_CHECKING:
    from engine.engine import Engine

PAGE_ROWS = 50
STATUSES = ("running", "succeeded", "failed", "cancelled", "paused", "waiting")
_MOST_MODELS = 500


@dataclass(frozen=True)
class Found:
    """A page of runs with their status, newest first, and whether older ones follow."""

    runs: tuple[tuple[Run, str], ...]
    more: bool


class RunsState(param.Parameterized):
    """Filters and place. Changing a filter goes back to the newest."""

    status: str = param.Selector(default="", objects=["", *STATUSES])  # type: ignore[assignment]
    model: str = param.String(doc="A model's id; empty for all.")  # type: ignore[assignment]
    text: str = param.String()  # type: ignore[assignment]
    page: int = param.Integer(default=0, bounds=(0, None))  # type: ignore[assignment]

    def __init__(self, engine: Engine, *, status: str = "", model: str = "", text: str = "") -> None:
        """Look at the newest runs of `engine`'s store; an unknown status is passed over."""
        super().__init__(status=status if status in STATUSES else "", model=model, text=text)
        self._engine = engine
        self.param.watch(lambda _event: self.param.update(page=0), ["status", "model", "text"])

    @property
    def filtered(self) -> bool:
        """True when something is looked for."""
        return bool(self.status or self.model or self.text.strip())

    def load(self) -> Found:
        """Read the page from the store: as quick for the first of 10,000 runs as of ten."""
        runs = self._engine.runs.list(
            model=self.model or None,
            status=self.status or None,
            text=self.text.strip(),
            limit=PAGE_ROWS + 1,
            offset=self.page * PAGE_ROWS,
        )
        return Found(tuple(with_status(self._engine, runs[:PAGE_ROWS])), len(runs) > PAGE_ROWS)

    def models(self) -> dict[str, str]:
        """The models to choose from, id by name; one that was deleted is named by what is chosen."""
        names = {row.name: row.id for row in self._engine.models.list(limit=_MOST_MODELS)}
        if self.model and self.model not in names.values():
            names[f"deleted model {self.model[-6:]}"] = self.model
        return names
