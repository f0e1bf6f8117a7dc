"""The start page: models, runs, what was interrupted, what was deleted, and the demos."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import param
from pydantic import ValidationError

from engine.domain.model import FunctionModel
from engine.domain.runs import Run
from engine.domain.writes import ModelRow
from studio.demos import Demo, demos, open_demo
from studio.theme import number
from studio.values.states import with_status

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.runs import RunHandle

MODELS_A_PAGE = 50
RECENT_RUNS = 9
_MOST_DELETED = 100
_NOON, _EVENING, _NIGHT = 12, 18, 5


class NameRefused(ValueError):
    """A model can't be called that; the message says why."""


class HomeState(param.Parameterized):
    """What is looked for among the models and how many of them are shown."""

    text: str = param.String()  # type: ignore[assignment]
    shown: int = param.Integer(default=MODELS_A_PAGE)  # type: ignore[assignment]
    deleted: bool = param.Boolean(doc="Look at the deleted models instead.")  # type: ignore[assignment]

    def __init__(self, engine: Engine) -> None:
        """Look at `engine`'s store."""
        super().__init__()
        self._engine = engine

    # ---- looking ----------------------------------------------------------------------------------------------

    def models(self) -> tuple[list[ModelRow], bool]:
        """The models, the last changed first, and whether there are more."""
        rows = self._engine.models.list(text=self.text.strip(), deleted=self.deleted, limit=self.shown + 1)
        return rows[: self.shown], len(rows) > self.shown

    def count_deleted(self) -> int:
        """How many models can be recovered (at most a hundred are counted)."""
        return len(self._engine.models.list(deleted=True, limit=_MOST_DELETED))

    def runs(self) -> list[tuple[Run, str]]:
        """The last runs with their status; 'interrupted' for one that is said to run but does not."""
        return with_status(self._engine, self._engine.runs.list(limit=RECENT_RUNS))

    def interrupted(self) -> list[Run]:
        """The runs that were begun, have not ended and are not under way."""
        return self._engine.runs.interrupted()

    def demos(self) -> list[Demo]:
        """The demos that are offered."""
        return demos()

    def greeting(self, now: datetime, runs: list[tuple[Run, str]]) -> tuple[str, str]:
        """A heading for the time of day, and one line about what happens in the store."""
        hour = now.hour
        part = "morning" if _NIGHT <= hour < _NOON else "afternoon" if _NOON <= hour < _EVENING else "evening"
        live = sum(status == "running" for _, status in runs)
        if live:
            return f"Good {part}", f"{number(live)} {'run is' if live == 1 else 'runs are'} under way."
        if not runs:
            return f"Good {part}", "Draw a workflow, run it, and see everything that happened."
        run, status = runs[0]
        return f"Good {part}", f"The last run, of {run.model_name}, {_ENDINGS.get(status, f'is {status}')}."

    # ---- acting -----------------------------------------------------------------------------------------------

    def create(self, name: str) -> FunctionModel:
        """Make an empty model.

        Raises:
            NameRefused: the name is too short, too long, or holds control characters.
            ModelExists: it is taken.
        """
        try:
            return self._engine.models.create(" ".join(name.split()))
        except ValidationError:
            message = "A name has 3 to 100 characters, without line breaks."
            raise NameRefused(message) from None

    def delete(self, model: str) -> FunctionModel:
        """Hide a model; it can be recovered for 30 days."""
        return self._engine.models.delete(model)

    def recover(self, model: str) -> FunctionModel:
        """Bring a deleted model back. Raises `ModelExists` if its name is taken by now."""
        return self._engine.models.recover(model)

    def resume(self, run: str) -> RunHandle:
        """Take up an interrupted run. Raises `NotResumable`."""
        return self._engine.runs.resume(run)

    def open_demo(self, file: str) -> FunctionModel:
        """A demo's model, put into the store if it is not there."""
        return open_demo(self._engine, file)

    def run_demo(self, file: str) -> RunHandle:
        """Start a demo with the inputs it suggests. Raises what `Engine.start` raises."""
        return self._engine.start(self.open_demo(file))


_ENDINGS = {
    "succeeded": "went well",
    "failed": "failed",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted",
}
