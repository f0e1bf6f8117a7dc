"""The start page, the list of runs and the demos, without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

import engine as treadle
from engine.engine import Engine
from engine.errors import FileMissing, ModelExists
from studio.demos import OFFERED, assets_folder, demos, install, open_demo
from studio.home.state import HomeState, NameRefused
from studio.runs.state import PAGE_ROWS, RunsState
from tests.unit.test_studio_runs import at, keep_run, penguins

MORNING = datetime(2026, 11, 21, 9, 0).astimezone()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine over a store in memory."""
    with treadle.open("memory:") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two demos, one of which holds a nested model beside it."""
    stage = {"kind": "stageNode", "id": "s", "name": "Work"}
    child = {"format": "treadle/1", "id": "c", "name": "Clean one file", "nodes": [], "wires": [], "dependencies": []}
    nested = {
        "kind": "functionModelContainer",
        "id": "n",
        "name": "Per file",
        "parent": "s",
        "reference": "clean-file.json",
    }
    parent = {
        **child,
        "id": "p",
        "name": "Nested ETL",
        "description": "Cleans each file. Then joins.",
        "nodes": [stage, nested],
    }
    plain = {**child, "id": "q", "name": "Penguin field report"}
    for name, form in (("clean-file.json", child), ("nested-etl.json", parent), ("penguins.json", plain)):
        (tmp_path / name).write_text(json.dumps(form))
    return tmp_path


class TestHome:
    """Models and what can be done with them."""

    def test_a_taken_name_is_refused_with_a_sentence(self, engine: Engine) -> None:
        state = HomeState(engine)
        state.create("  Weekly   report ")
        with pytest.raises(ModelExists, match="weekly report exists already"):
            state.create("weekly report")

    @pytest.mark.parametrize("name", ["ab", "x" * 101, "a\x00bcd"])
    def test_a_name_that_can_not_be_one_is_refused(self, engine: Engine, name: str) -> None:
        with pytest.raises(NameRefused, match="3 to 100 characters"):
            HomeState(engine).create(name)

    def test_a_deleted_model_can_be_recovered(self, engine: Engine) -> None:
        state = HomeState(engine)
        model = state.create("Weekly report")
        state.delete(model.id)
        assert (state.models(), state.count_deleted()) == (([], False), 1)
        state.deleted = True
        assert [row.name for row in state.models()[0]] == ["Weekly report"]
        state.recover(model.id)
        assert state.count_deleted() == 0

    def test_more_models_are_shown_page_by_page(self, engine: Engine) -> None:
        for number in range(60):
            engine.models.create(f"Model {number}")
        rows, more = HomeState(engine).models()
        assert (len(rows), more) == (50, True)

    def test_the_greeting_tells_how_the_last_run_went(self, engine: Engine) -> None:
        state = HomeState(engine)
        assert state.greeting(MORNING, state.runs())[0] == "Good morning"
        keep_run(engine, engine.models.add(penguins()), status="failed")
        assert state.greeting(MORNING, state.runs())[1] == "The last run, of Penguin field report, failed."


class TestRuns:
    """The list of runs."""

    def test_runs_come_newest_first_page_by_page(self, engine: Engine) -> None:
        model = engine.models.add(penguins())
        for number in range(PAGE_ROWS + 5):
            keep_run(engine, model, began=at(number), steps=[])
        state = RunsState(engine)
        first = state.load()
        state.page = 1
        second = state.load()
        assert (len(first.runs), first.more, len(second.runs), second.more) == (PAGE_ROWS, True, 5, False)
        assert first.runs[0][0].created_at > first.runs[-1][0].created_at > second.runs[0][0].created_at

    def test_a_filter_goes_back_to_the_newest(self, engine: Engine) -> None:
        model = engine.models.add(penguins())
        keep_run(engine, model, status="failed", steps=[])
        keep_run(engine, model, steps=[])
        state = RunsState(engine)
        state.page = 3
        state.status = "failed"
        assert (state.page, [status for _, status in state.load().runs]) == (0, ["failed"])

    def test_a_strange_status_in_the_address_is_passed_over(self, engine: Engine) -> None:
        assert not RunsState(engine, status="<script>").filtered


class TestDemos:
    """Demo models."""

    def test_they_are_installed_once_with_their_nested_models_first(self, engine: Engine, folder: Path) -> None:
        installed = install(engine, folder=folder)
        assert install(engine, folder=folder) == installed
        assert {row.name for row in engine.models.list()} == {"Clean one file", "Nested ETL", "Penguin field report"}
        parent = engine.models.get(installed["nested-etl.json"])
        assert parent.nodes["n"].reference == installed["clean-file.json"]
        assert engine.ledger.entries()[-1].action == "setting.changed"
        assert engine.ledger.verify().ok

    def test_a_deleted_demo_stays_deleted_until_it_is_opened(self, engine: Engine, folder: Path) -> None:
        installed = install(engine, folder=folder)
        engine.models.delete(installed["penguins.json"])
        install(engine, folder=folder)
        assert "Penguin field report" not in {row.name for row in engine.models.list()}
        assert open_demo(engine, "penguins.json", folder=folder).id != installed["penguins.json"]

    def test_a_name_that_is_taken_gets_a_number(self, engine: Engine, folder: Path) -> None:
        engine.models.create("Penguin field report")
        install(engine, folder=folder)
        assert "Penguin field report 2" in {row.name for row in engine.models.list()}

    def test_only_offered_files_are_opened(self, engine: Engine) -> None:
        with pytest.raises(FileMissing):
            open_demo(engine, "../../etc/passwd")

    def test_the_cards_tell_the_first_sentence(self, folder: Path) -> None:
        assert [demo.sentence for demo in demos(folder)] == ["", "Cleans each file."]

    def test_every_offered_demo_is_there(self) -> None:
        folder = assets_folder() / "demos"
        assert [name for name in OFFERED if not (folder / name).is_file()] == []
