"""A run that is refused: the studio says why in its own words, and where the rest is listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import engine as treadle
from studio.editor.state import EditorState
from studio.editor.workbench import Workbench
from tests.building import model, stage, step


class Desk:
    """A place that only listens."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def soon(self, function: Callable[[], object]) -> None:
        function()

    def say(self, text: str, _tone: Any) -> None:
        self.said.append(text)

    def go(self, address: str) -> None:
        self.said.append(address)


@pytest.mark.parametrize(("docked", "hint"), [(True, " The Problems tab lists them."), (False, "")])
def test_a_refused_run_names_the_first_problem_and_where_the_others_are(docked: bool, hint: str) -> None:
    with treadle.open("memory:") as eng:
        broken = model(stage(), step("x", "tests.nobody"), name="Broken")
        others = sum(finding.severity == "error" for finding in eng.validate(broken)) - 1
        assert others > 1
        bench = Workbench(EditorState(eng, broken, kept=False).acquire(), desk := Desk(), dock=docked)
        bench.run({})
        (said,) = desk.said
        bench.close()
    assert said.startswith("The model can't be run: ")
    assert said.endswith(f" And {others} more problems.{hint}")
    assert "treadle validate" not in said
    assert bench.dock.tab == "problems"
