"""A run as the one who started it holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from engine.domain.runs import Run, RunStatus, Step
from engine.execution.local import LocalRun
from engine.execution.plan import Plan
from engine.execution.scribe import Scribe

if TYPE_CHECKING:
    import pandas as pd


class Course:
    """A run under way and, later, how it ended: what its thread writes and its handle reads."""

    def __init__(self, run: Run, plan: Plan, local: LocalRun, scribe: Scribe) -> None:
        self.run, self.plan, self.local, self.scribe = run, plan, local, scribe
        self.over = threading.Event()
        self.outputs: dict[str, Any] = {}
        self.failure: BaseException | None = None

    def end(self, run: Run, outputs: dict[str, Any], failure: BaseException | None = None) -> None:
        """Note how the run ended and let those who wait go on."""
        self.run, self.outputs, self.failure = run, outputs, failure
        self.over.set()


class RunHandle:
    """A run that was started here. `wait` returns when it has ended."""

    def __init__(self, steps: Callable[[str], Sequence[Step]], course: Course) -> None:
        self._steps, self._course = steps, course

    @property
    def id(self) -> str:
        """The run's id."""
        return self._course.run.id

    @property
    def status(self) -> RunStatus:
        """The run's status now."""
        return self._course.run.status

    @property
    def error(self) -> str | None:
        """Why it failed, as a sentence."""
        return self._course.run.error

    @property
    def run(self) -> Run:
        """The run as it is kept."""
        return self._course.run

    @property
    def outputs(self) -> dict[str, Any]:
        """The values of the output boundaries, once the run has succeeded."""
        return self._course.outputs

    @property
    def plan(self) -> Plan:
        """The compiled model that runs."""
        return self._course.plan

    def wait(self, timeout_s: float | None = None) -> RunHandle:
        """Return when the run has ended, or after `timeout_s`; raise what stopped the engine itself, if anything."""
        self._course.over.wait(timeout_s)
        if self._course.failure is not None:
            raise self._course.failure
        return self

    def cancel(self) -> None:
        """Stop the run: nothing new starts, running steps are told and given up after 5 s."""
        self._course.local.cancel()

    def steps(self) -> pd.DataFrame:
        """Return the steps as a table: path, name, status, attempts, seconds, summary, error."""
        import pandas as pd

        rows = [
            {
                "path": step.path,
                "name": step.name,
                "status": step.status,
                "attempts": len(step.attempts),
                "seconds": step.duration_s,
                "result": ", ".join(value.summary for value in step.outputs.values()),
                "error": step.error,
            }
            for step in self._steps(self.id)
        ]
        columns = ["path", "name", "status", "attempts", "seconds", "result", "error"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.run.model_name!r}: {self.status}>"
