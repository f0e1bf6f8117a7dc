"""Runs of another program on the same store: not taken for interrupted while it lives, taken up once it is gone."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import engine
from engine.errors import NotResumable
from studio.cli import app
from studio.runs.run_state import RunState
from studio.values.states import with_status

ROOT = Path(__file__).parents[2]
FUNCTIONS = """
import os, time

import engine
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.values import Port

@engine.tether(reference="elsewhere.wait")
def wait(gate: str) -> str:
    \"\"\"Wait until a file is there.\"\"\"
    while not os.path.exists(gate):
        time.sleep(0.02)
    return gate

def model():
    contract = {"type": "object", "properties": {"gate": {"type": "string"}}, "required": ["gate"]}
    nodes = (
        Boundary(id="in", name="In", boundary="input", input_contract=contract),
        Stage(id="s", name="S"),
        Tether(
            id="w", name="W", parent="s", reference="elsewhere.wait",
            inputs=(Port(name="gate"),), outputs=(Port(name="result"),),
        ),
        Boundary(id="out", name="Out", boundary="output", output_contract=contract),
    )
    wires = (
        Wire(id="a", source="in", source_port="gate", target="w", target_port="gate"),
        Wire(id="b", source="w", source_port="result", target="out", target_port="gate"),
    )
    return FunctionModel(
        id="waits", name="Waits", nodes={each.id: each for each in nodes}, wires={each.id: each for each in wires}
    )
"""
PROGRAM = """
import sys
import engine
from engine.tethers import Registry

url, functions, gate, count = sys.argv[1:]
space = {}
exec(open(functions).read(), space)
eng = engine.open(url, tethers=[functions])
handles = [eng.start(space["model"](), {"gate": gate}) for _ in range(int(count))]
print(*(handle.id for handle in handles), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["duckdb", "postgres"])
def url(request, tmp_path):
    if request.param == "duckdb":
        return f"duckdb:///{tmp_path / 'store.duckdb'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def other(url, tmp_path, monkeypatch):
    """Return a program that has three runs under way, and their ids."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    functions = tmp_path / "functions.py"
    functions.write_text(FUNCTIONS)
    command = [sys.executable, "-c", PROGRAM, url, functions, tmp_path / "gate", "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        yield program, program.stdout.readline().split()
        program.kill()


def until(found):
    end = time.monotonic() + 20
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_they_run_on_here_and_are_interrupted_once_their_program_is_gone(url, other):
    program, ids = other
    with engine.open(url) as opened:
        until(lambda: len(opened.runs.list()) == 3)
        assert opened.runs.interrupted() == []
        assert opened.runs.take_interrupted() is None
        with pytest.raises(NotResumable, match="another program"):
            opened.runs.resume(ids[0])
        run = opened.runs.get(ids[0])
        assert opened.runs.elsewhere() == set(ids)
        assert with_status(opened, [run]) == [(run, "running")]
        state = RunState(opened, run.id)
        assert (state.status, state.live, state.here) == ("running", True, False)
        program.kill()
        program.wait()
        until(lambda: len(opened.runs.interrupted()) == 3)
        assert RunState(opened, run.id).status == "interrupted"


def test_two_who_resume_at_once_share_them(url, other, tmp_path):
    program, ids = other
    with engine.open(url) as opened:
        until(lambda: len(opened.runs.list()) == 3)
    program.kill()
    program.wait()
    (tmp_path / "gate").touch()
    command = [Path(sys.executable).parent / "treadle", "resume", "--store", url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    told = [each.communicate(timeout=60)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    with engine.open(url) as opened:
        assert sorted(run.id for run in opened.runs.list(status="succeeded")) == sorted(ids)
        assert [run.resumed for run in opened.runs.list()] == [1, 1, 1]
    assert "No run was interrupted" in CliRunner().invoke(app, ["resume", "--store", url]).output


@pytest.mark.parametrize("url", ["duckdb"], indirect=True)
def test_one_that_can_not_be_resumed_keeps_none_of_the_others(url, other, tmp_path):
    program, ids = other
    with engine.open(url) as opened:
        until(lambda: len(opened.runs.list()) == 3)
    program.kill()
    program.wait()
    (tmp_path / "gate").touch()
    with sqlite3.connect(f"{url.removeprefix('duckdb:///')}.journal") as journal:
        journal.execute("UPDATE records SET body = 'x' WHERE run = (SELECT number FROM runs WHERE run = ?)", [ids[1]])
    result = CliRunner().invoke(app, ["resume", "--store", url])
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert f"Run {ids[1]}: " in result.output
    with engine.open(url) as again:
        assert sorted(run.id for run in again.runs.list(status="succeeded")) == sorted({ids[0], ids[2]})
