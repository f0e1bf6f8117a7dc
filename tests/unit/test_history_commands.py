"""The commands that look back at a run."""

from __future__ import annotations

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from studio import history_commands
from tests.histories import WORLD, at_desk, run_rich


@pytest.fixture
def call(monkeypatch):
    """Return (a function that runs a command, the desk it works at)."""
    WORLD.clear()
    app = typer.Typer()
    history_commands.register(app)
    with at_desk() as desk:

        @contextmanager
        def opened(store, tethers=None):
            with history_commands.terminal.reported():
                yield SimpleNamespace(history=desk.history, runs=desk.engine.runs)

        monkeypatch.setattr(history_commands, "opened", opened)
        yield lambda *words: CliRunner().invoke(app, list(words)), desk


def test_a_replay_leaves_with_1_when_something_differs(call) -> None:
    run, desk = call
    name = run_rich(desk)
    same = run("replay", name, "--json")
    assert same.exit_code == 0
    assert json.loads(same.stdout)["ok"] is True
    WORLD["drift"] = 1
    other = run("replay", name, "--json")
    assert other.exit_code == 1
    assert json.loads(other.stdout)["first_divergence"]["now"].startswith("result = ")


def test_provenance_is_printed_as_prov(call) -> None:
    run, desk = call
    name = run_rich(desk)
    assert "entity" in json.loads(run("provenance", name, "maybe", "result", "--json").stdout)
    assert run("provenance", name, "maybe", "nothing").exit_code == 2
    assert run("provenance", name, "maybe", "result").exit_code == 0


def test_an_event_that_is_not_there_is_usage(call) -> None:
    run, desk = call
    assert run("fork", run_rich(desk), "--at", "5000").exit_code == 2


def test_a_state_is_printed(call, capsys) -> None:
    _, desk = call
    state = desk.history.state_at(run_rich(desk), 5)
    history_commands.print_state(state, as_json=True)
    assert json.loads(capsys.readouterr().out)["number"] == 5
    history_commands.print_state(state, as_json=False)
