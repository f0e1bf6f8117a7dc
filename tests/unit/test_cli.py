"""The command line: what it prints, how it exits, and one clear sentence for every mistake."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.cli import app
from studio.doctor import rows

ROOT = Path(__file__).parent.parent.parent
PENGUINS = str(ROOT / "assets" / "demos" / "penguins.json")


@pytest.fixture
def treadle(tmp_path, monkeypatch):
    """Run a command in a home of its own, in the same process, and return its result."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: str, code: int = 0):
        result = runner.invoke(app, list(arguments))
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        assert "Traceback" not in result.output
        return result

    return run


def test_a_demo_runs_and_prints_its_outputs(treadle) -> None:
    found = json.loads(treadle("run", PENGUINS, "--json").stdout)
    assert found["status"] == "succeeded"
    assert found["outputs"]["summary"][0]["species"] == "Adelie"
    assert {step["status"] for step in found["steps"]} == {"succeeded", "skipped"}
    assert "Palmer penguins" in treadle("run", PENGUINS).stdout


def test_what_was_run_is_listed_shown_and_proven(treadle) -> None:
    run = json.loads(treadle("run", PENGUINS, "--set", "allowed_bad_share=0.01", "--json").stdout)
    assert [entry["id"] for entry in json.loads(treadle("runs", "--json").stdout)] == [run["id"]]
    shown = json.loads(treadle("show", run["id"][-8:], "--json").stdout)
    assert shown["outputs"]["report"] == run["outputs"]["report"]
    assert "List bad rows" in treadle("show", run["id"]).stdout
    assert "Penguin" in treadle("runs").stdout
    assert "2 entries verified." in treadle("ledger", "verify").stdout
    assert json.loads(treadle("ledger", "verify", "--json").stdout)["ok"] is True
    assert json.loads(treadle("ledger", "head", "--json").stdout)["sequence"] == 2
    assert treadle("ledger", "head").stdout.startswith("2 ")
    assert len(treadle("ledger", "export").stdout.splitlines()) == 2
    assert "No run was interrupted" in treadle("resume").stdout
    assert json.loads(treadle("resume", "--json").stdout) == []


def test_models_are_validated_listed_and_compared(treadle, tmp_path) -> None:
    assert json.loads(treadle("validate", PENGUINS, "--json").stdout)["valid"] is True
    assert "is valid" in treadle("validate", PENGUINS).stdout
    changed = json.loads(Path(PENGUINS).read_text())
    changed["nodes"] = [{**node, "name": "Other"} if node["id"] == "read" else node for node in changed["nodes"]]
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    assert "Other" in treadle("diff", PENGUINS, "changed.json").stdout
    assert "the same" in treadle("diff", PENGUINS, PENGUINS).stdout
    assert json.loads(treadle("diff", PENGUINS, "changed.json", "--json").stdout)
    assert "No models yet" in treadle("models").stdout
    assert json.loads(treadle("models", "--json").stdout) == []


def test_the_doctor_tells_what_is_there(treadle) -> None:
    found = json.loads(treadle("doctor", "--json").stdout)
    assert found["ok"] is True
    assert found["facts"]["ledger"] == "0 entries verified"
    plain = treadle("doctor").stdout
    assert re.search(r"^kind +duckdb", plain, re.MULTILINE)
    assert re.search(
        r"^statements +statements \d+, mean [\d.]+ ms, longest [\d.]+ ms, slow 0, pool size", plain, re.MULTILINE
    )
    assert re.search(r"^cache +kind memory, entries 1, hits 0, misses 1, hit 0%", plain, re.MULTILINE)
    assert "{" not in plain


def test_the_doctor_shows_each_slow_statement_with_its_plan() -> None:
    slow = [
        {"ms": 412.5, "statement": "SELECT 1", "plan": "SEQ_SCAN"},
        {"ms": 300.0, "statement": "COPY", "plan": None},
    ]
    facts = {
        "size_bytes": 1_500_000,
        "statements": {"mean_ms": 2, "slow": slow, "pool": {}},
        "cache": {"hit_ratio": 0.89},
    }
    assert list(rows(facts)) == [
        ("size", "1.5 MB"),
        ("statements", "mean 2 ms, slow 2"),
        ("slow statement", "412.5 ms: SELECT 1\nSEQ_SCAN"),
        ("slow statement", "300.0 ms: COPY"),
        ("cache", "hit 89%"),
    ]


def test_one_case_is_measured(treadle) -> None:
    [figure] = json.loads(treadle("bench", "light40", "--json").stdout)
    assert figure["case"] == "light40"
    assert figure["value"] > 0
    assert figure["ratio"] == pytest.approx(figure["value"] / figure["floor"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "none.json"], 2, "There is no file none.json"),
        (["run", "Nobody"], 2, "No model is called 'Nobody'"),
        (["run", "broken.json"], 1, "broken.json is not valid JSON"),
        (["run", "twice.json"], 1, "stands twice"),
        (["run", "deep.json"], 1, "nests deeper than 200 levels"),
        (["run", "other.json"], 1, "has the format 'treadle/9'"),
        (["run", "list.json"], 1, "is not an object"),
        (["run", "empty.json"], 1, "no input boundary"),
        (["run", "empty.json"], 1, "more problem"),
        (["run", "empty.json"], 1, "'treadle validate' lists them."),
        (["validate", "empty.json"], 1, "structure.no-input"),
        (["run", PENGUINS, "--set", "nonsense"], 2, "--set takes name=value"),
        (["run", PENGUINS, "--set", "nothing=1"], 1, "no such input"),
        (["run", PENGUINS, "--set", "allowed_bad_share=7"], 1, "does not meet the contract"),
        (["run", PENGUINS, "--set", "source=none.csv"], 1, "There is no file none.csv"),
        (["run", PENGUINS, "--input", "{"], 1, "--input is not valid JSON"),
        (["run", PENGUINS, "--input", "[]"], 1, "not an object of inputs"),
        (["run", PENGUINS, "--input", "@none.json"], 2, "There is no file none.json"),
        (["run", PENGUINS, "--until", "nowhere"], 1, "no node 'nowhere'"),
        (["run", PENGUINS, "--durability", "maybe"], 2, "--durability takes"),
        (["run", PENGUINS, "--tethers", "none.py"], 2, "none.py can't be loaded"),
        (["runs", "--store", "mysql://x"], 3, "is not a store"),
        (["runs", "--store", "duckdb:///garbage.duckdb"], 3, "can't be read"),
        (["show", "nobody"], 2, "There is no run nobody"),
        (["resume", "nobody"], 2, "There is no run nobody"),
        (["bench", "nothing"], 2, "There is no case 'nothing'"),
        (["runs", "--model", "Nobody"], 2, "No model is called 'Nobody'"),
        (["diff", "A@x", PENGUINS], 2, "No model is called 'A'"),
    ],
    ids=lambda value: " ".join(Path(part).name for part in value)[:50] if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_sentence_and_an_exit_code(treadle, tmp_path, arguments, code, words) -> None:
    (tmp_path / "broken.json").write_text('{"format": "treadle/1",')
    (tmp_path / "twice.json").write_text('{"format": "treadle/1", "format": "treadle/1"}')
    (tmp_path / "deep.json").write_text("[" * 10_000 + "]" * 10_000)
    (tmp_path / "other.json").write_text('{"format": "treadle/9"}')
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "empty.json").write_text('{"format": "treadle/1", "id": "e", "name": "Empty"}')
    (tmp_path / "garbage.duckdb").write_bytes(b"this is no database" * 500)
    result = treadle(*arguments, code=code)
    assert words in " ".join(result.output.split())


@pytest.mark.parametrize(("opens", "code"), [("engine.open('duckdb:///' + path)", 0), ("duckdb.connect(path)", 3)])
def test_a_store_in_use_is_shared_by_programs_of_ours_and_said_to_be_anothers(treadle, tmp_path, opens, code) -> None:
    path = tmp_path / "busy.duckdb"
    treadle("runs", "--store", f"duckdb:///{path}")
    told = "print('open', flush=True); sys.stdin.read()"
    program = f"import duckdb, engine, sys; path = sys.argv[1]; it = {opens}; {told}"
    owner = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    try:
        assert owner.stdout.readline() == b"open\n"
        result = treadle("runs", "--store", f"duckdb:///{path}", code=code)
        if code:
            assert "in use by another program" in " ".join(result.output.split())
            assert str(owner.pid) in result.output
    finally:
        owner.stdin.close()
        owner.stdout.close()
        owner.wait(20)


def test_a_port_in_use_says_what_to_do(treadle) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = treadle("studio", "--no-browser", "--port", port, "--store", "memory:", code=3)
    assert f"Port {port} is already in use" in " ".join(result.output.split())


def test_the_ledger_command_finds_a_changed_byte(treadle, tmp_path) -> None:
    import duckdb

    url = f"duckdb:///{tmp_path / 'proof.duckdb'}"
    treadle("run", PENGUINS, "--store", url)
    connection = duckdb.connect(str(tmp_path / "proof.duckdb"))
    connection.execute("update ledger set actor = 'you.' where sequence = 1")
    connection.close()
    result = treadle("ledger", "verify", "--store", url, code=1)
    assert "entry 1" in " ".join(result.output.split()).lower()
    assert json.loads(treadle("ledger", "verify", "--store", url, "--json", code=1).stdout)["first_bad"] == 1


APPROVAL = '''
import engine

@engine.tether(effect=False)
def double(n: int) -> int:
    """Twice as much."""
    return 2 * n

@engine.model(name="Approve it")
def approve(n: int) -> dict:
    """Double, ask, pass on."""
    with engine.stage("Work", mode="sequential"):
        twice = double(n)
        asked = engine.call("flow.ask", twice, question="Is it right?", options=["yes", "no"])
    return {"answer": asked["chosen"], "n": asked["value"]}
'''


def test_a_run_of_a_python_file_waits_and_is_decided(treadle) -> None:
    Path("approve.py").write_text(APPROVAL)
    run = json.loads(treadle("run", "approve.py", "--set", "n=4", "--json").stdout)
    assert run["status"] == "waiting"
    assert "no option 'maybe'" in treadle("decide", run["id"], "maybe", code=1).output
    assert "not at its end" in treadle("retry", run["id"], code=1).output
    done = treadle("decide", run["id"], "yes", "--reason", "looks right", "--json")
    assert json.loads(done.stdout)["outputs"] == {"answer": "yes", "n": 8}
    assert "waits for: none" in treadle("decide", run["id"], "no", code=2).output
    assert "decided already" in treadle("decide", run["id"], "no", "--at", "ask", code=1).output
    again = json.loads(treadle("retry", run["id"], "--from", "ask", "--json").stdout)
    assert [step["status"] for step in again["steps"]] == ["cached", "waiting"]
    assert "cancelled" in treadle("cancel", again["id"]).output
    assert "verified" in treadle("ledger", "verify").stdout


def test_a_run_pauses_at_a_node_and_after_steps_and_takes_pinned_values(treadle) -> None:
    Path("approve.py").write_text(APPROVAL)
    paused = json.loads(treadle("run", "approve.py", "--set", "n=4", "--break", "double", "--json").stdout)
    assert paused["status"] == "paused"
    assert "treadle resume" in treadle("run", "approve.py", "--set", "n=4", "--steps", "1").output
    assert "No run was interrupted" in treadle("resume").stdout
    assert json.loads(treadle("resume", paused["id"], "--json").stdout)[0]["status"] == "waiting"
    alone = treadle("run", "approve.py", "--set", "n=4", "--only", "double", "--json")
    assert {step["status"] for step in json.loads(alone.stdout)["steps"]} == {"succeeded", "skipped"}
    pinned = treadle("run", "approve.py", "--set", "n=4", "--pin", 'double={"result": 7}', "--json")
    assert [step["status"] for step in json.loads(pinned.stdout)["steps"]] == ["cached", "waiting"]
    for bad, words in (("double", "NODE=JSON"), ("double=7", "NODE=JSON"), ('nobody={"a": 1}', "no node 'nobody'")):
        code = 2 if "NODE" in words else 1
        assert words in treadle("run", "approve.py", "--set", "n=4", "--pin", bad, code=code).output


def test_a_signal_is_sent_once(treadle) -> None:
    Path("approve.py").write_text(APPROVAL)
    run = json.loads(treadle("run", "approve.py", "--set", "n=4", "--json").stdout)
    assert "kept" in treadle("signal", run["id"], "paid", "--value", '{"sum": 3}').output
    assert "decided already" in treadle("signal", run["id"], "paid", code=1).output
    assert "not valid JSON" in treadle("signal", run["id"], "other", "--value", "{", code=1).output


def test_a_run_is_replayed_forked_and_looked_at_as_it_was(treadle) -> None:
    Path("approve.py").write_text(APPROVAL)
    run = json.loads(treadle("run", "approve.py", "--set", "n=4", "--json").stdout)["id"]
    treadle("decide", run, "yes")
    assert "The same: 2 results compared" in treadle("replay", run).stdout
    assert "pending" in treadle("show", run, "--at", "1").stdout
    assert json.loads(treadle("show", run, "--at", "-1", "--json").stdout)["status"] == "succeeded"
    forked = json.loads(treadle("fork", run, "--at", "1", "--json").stdout)
    assert [step["status"] for step in forked["steps"]] == ["cached", "waiting"]
    assert "yes (you)" in treadle("provenance", run, "ask", "chosen").stdout
    assert "entity" in json.loads(treadle("provenance", run, "ask", "chosen", "--json").stdout)
    assert "no event 99" in treadle("show", run, "--at", "99", code=2).output
