"""`treadle export`: a model as Python source or as a model file."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import engine
from engine.domain.model import FunctionModel
from engine.interchange.python import model_from_source
from studio import export_commands

DEMO = Path(__file__).parent.parent.parent / "assets" / "demos" / "penguins.json"


@pytest.fixture
def export():
    app = typer.Typer()
    app.callback()(lambda: None)
    export_commands.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_a_model_goes_to_python_and_back(export, tmp_path) -> None:
    path, file = tmp_path / "penguins.py", tmp_path / "penguins.json"
    assert export(DEMO, "--to", "python", "-o", path).exit_code == 0
    assert model_from_source(path).content_hash == FunctionModel.load(DEMO).content_hash
    assert export(path, "--to", "treadle", "-o", file).exit_code == 0
    assert file.read_text(encoding="utf-8") == DEMO.read_text(encoding="utf-8")


def test_a_model_of_the_store_goes_to_stdout(export, tmp_path) -> None:
    store = f"duckdb:///{tmp_path / 'store.duckdb'}"
    with engine.open(store) as eng:
        eng.models.add(FunctionModel.load(DEMO))
    done = export("Penguin field report", "--store", store)
    assert FunctionModel.loads(done.stdout).content_hash == FunctionModel.load(DEMO).content_hash


def test_what_can_not_be_exported_is_told(export, tmp_path) -> None:
    assert export(DEMO, "--to", "n8n").exit_code == 2
    assert export(tmp_path / "gone.json").exit_code != 0
    assert export(DEMO, "-o", tmp_path / "no" / "folder.py").exit_code == 1
