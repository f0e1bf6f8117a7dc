"""WfCommons files become models; what is wrong with one is said in a sentence, and nothing is saved."""

from __future__ import annotations

import gzip
import json
import threading
import time
from io import BytesIO

import pytest
from typer.testing import CliRunner

import engine
from engine.errors import FileError, ImportRefused, NotJson, StepCancelled, TooDeep
from engine.interchange import FORMATS, guess, import_wfcommons, read_model, reading
from engine.interchange.shape import places, shape_of
from engine.interchange.wfcommons import INPUTS, OUTPUTS, REFERENCE, Taken
from engine.tethers.describe import describe
from engine.tethers.library.wfcommons import task
from studio.cli import app

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def document(links=None, seconds=None, **changes):
    """Return a small instance: task -> its parents, and its seconds (10, 11, 12…)."""
    links = DIAMOND if links is None else links
    tasks = [
        {
            "id": key,
            "name": f"task {key}",
            "parents": list(parents),
            "children": [other for other, theirs in links.items() if key in theirs],
            "inputFiles": [f"{key}.in"],
        }
        for key, parents in links.items()
    ]
    recorded = [
        {"id": key, "runtimeInSeconds": (seconds or {}).get(key, 10.0 + number), "command": {"program": "true"}}
        for number, key in enumerate(links)
    ]
    specification = {"tasks": tasks, "files": [{"id": "a.in", "sizeInBytes": 7}]}
    return {
        "name": "Diamond",
        "description": "Four tasks.",
        "schemaVersion": "1.5",
        "workflow": {"specification": specification, "execution": {"makespanInSeconds": 33, "tasks": recorded}},
        **changes,
    }


def spec(found):
    return found["workflow"]["specification"]["tasks"]


def executions(found):
    return found["workflow"]["execution"]["tasks"]


def test_tasks_become_steps_and_links_become_wires() -> None:
    found = import_wfcommons(document(), factor=0.5)
    assert (found.tasks, found.edges, found.depth, found.width, found.critical_path_s) == (4, 4, 3, 2, 35.0)
    model = found.model
    assert (model.name, model.description, model.id) == ("Diamond", "Four tasks.", "diamond")
    assert sorted((wire.source, wire.target) for wire in model.wires.values()) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "d"),
        ("c", "d"),
    ]
    step = model.nodes["c"]
    assert (step.name, step.reference, step.estimated_s) == ("task c", REFERENCE, 6.0)
    assert step.parameters == {"task": "task c", "seconds": 12.0, "factor": 0.5}
    assert step.metadata["wfcommons"] == {
        "id": "c",
        "inputFiles": ["c.in"],
        "execution": {"command": {"program": "true"}},
    }
    stage = model.nodes["tasks"]
    assert (stage.mode, stage.parallelism) == ("parallel", 100)
    assert stage.metadata["wfcommons"]["workflow"]["specification"] == {"files": [{"id": "a.in", "sizeInBytes": 7}]}


def test_it_is_the_same_model_each_time_and_survives_its_file() -> None:
    one, other = import_wfcommons(document()), import_wfcommons(json.dumps(document()))
    assert one.model.content_hash == other.model.content_hash
    assert type(one.model).loads(one.model.to_file()).content_hash == one.model.content_hash


def test_the_ports_are_those_of_the_ready_function() -> None:
    described = describe(task).spec
    assert described.inputs == INPUTS
    assert described.outputs == OUTPUTS
    assert described.reference == REFERENCE
    assert not described.effect


def test_what_is_not_carried_out_is_counted() -> None:
    source = document()
    source["author"] = {"name": "Ada"}
    source["x\x1b[31m" + "y" * 200] = 1
    spec(source)[0]["colour"] = "red"
    executions(source)[0]["priority"] = 60
    executions(source).append({"id": "stray", "runtimeInSeconds": 1})
    found = {loss.what: loss for loss in import_wfcommons(source).losses}
    assert found["workflow.specification.files"].count == 1
    assert found["workflow.specification.tasks[].inputFiles"].count == 4
    assert found["workflow.specification.tasks[].colour"].sentence.startswith("It changes nothing")
    assert "1 to 10" in found["workflow.execution.tasks[].priority"].sentence
    assert found["workflow.execution.tasks"].count == 1
    assert "author" in found
    assert all("\x1b" not in what and len(what) < 120 for what in found)
    assert str(found["author"]) == "1 x author: It changes nothing about a run and is kept as a note."


def test_odd_ids_and_names_become_valid_ones_and_stay_readable() -> None:
    odd = {"a/b": [], "a[b": ["a/b"], "tasks": ["a[b"], "x\ny": [], "z" * 900: []}
    source = document(odd)
    for fields in spec(source):
        fields["name"] = "Same\tname"
    spec(source)[0]["name"] = ""
    found = import_wfcommons(source)
    steps = list(found.model.actions())
    assert [step.id for step in steps] == ["a-b", "a-b-2", "tasks-2", "x-y", "z" * 200]
    assert [step.name for step in steps][:3] == ["Task", "Same name a[b", "Same name tasks"]
    assert steps[1].metadata["wfcommons"] == {**steps[1].metadata["wfcommons"], "id": "a[b", "name": "Same\tname"}
    counts = {loss.what: loss.count for loss in found.losses}
    assert counts["task id"] == counts["task name"] == 5
    with engine.open("memory:") as treadle:
        assert treadle.validate(found.model) == ()


@pytest.mark.parametrize(
    ("name", "given"), [("", "Workflow"), ("x", "Workflow x"), ("n" * 300, "n" * 100), ("a\nb c", "a b c")]
)
def test_a_model_gets_a_name_it_may_have(name, given) -> None:
    found = import_wfcommons(document(name=name))
    assert found.model.name == given
    assert "workflow name" in {loss.what for loss in found.losses}


def test_a_link_that_is_named_twice_gives_one_wire() -> None:
    source = document()
    spec(source)[1]["parents"] *= 2
    found = import_wfcommons(source)
    assert found.edges == len(found.model.wires) == 4
    assert ("repeated link", 1) in {(loss.what, loss.count) for loss in found.losses}


def test_a_value_that_nests_deep_is_left_out_and_said() -> None:
    deep: object = 1
    for _ in range(150):
        deep = [deep]
    found = import_wfcommons(document(deep=deep))
    assert [(loss.what, loss.kept) for loss in found.losses if loss.kept == "nowhere"] == [("deep", "nowhere")]
    found.model.to_file()


def changed(how, links=None):
    source = document(links)
    how(source)
    return source


NAN = '{"name": "x", "schemaVersion": "1.5", "workflow": NaN}'
BAD = {
    "not JSON": ("{", NotJson, "is not valid JSON"),
    "not text": (b"\xff\xfe", NotJson, "is not UTF-8"),
    "NaN": (NAN, NotJson, "NaN is not a JSON number"),
    "too deep": ("[" * 201 + "]" * 201, TooDeep, "deeper than 200 levels"),
    "a list": ("[]", ImportRefused, "it is not a JSON object"),
    "not WfCommons": ('{"nodes": []}', ImportRefused, "it has no schemaVersion"),
    "no workflow": (document(workflow={}), ImportRefused, "no workflow.specification"),
    "an old schema": (document(schemaVersion="1.4"), ImportRefused, "follows schema 1.4"),
    "a version that is none": (document(schemaVersion=15), ImportRefused, "the schemaVersion 'int'"),
    "no tasks": (document({}), ImportRefused, "it has no tasks"),
    "a name that is none": (document(name=3), ImportRefused, "its name is not a text"),
    "a circle": (document({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["c"]}), ImportRefused, "circle: "),
    "a task before itself": (document({"a": ["a"]}), ImportRefused, "'a' → 'a'"),
    "a parent that is not there": (
        changed(lambda s: spec(s)[1]["parents"].append("x")),
        ImportRefused,
        "'b' names 'x'",
    ),
    "a child that is not there": (changed(lambda s: spec(s)[1]["children"].append(3)), ImportRefused, "names 'int'"),
    "parents that are no list": (changed(lambda s: spec(s)[1].update(parents="a")), ImportRefused, "are not a list"),
    "a link at the child only": (changed(lambda s: spec(s)[0]["children"].remove("b")), ImportRefused, "as its parent"),
    "a link at the parent only": (changed(lambda s: spec(s)[1]["parents"].clear()), ImportRefused, "as its child"),
    "an id that stands twice": (changed(lambda s: spec(s).append(spec(s)[0])), ImportRefused, "'a' stands twice"),
    "a task without an id": (changed(lambda s: spec(s)[0].pop("id")), ImportRefused, "tasks[0] has no id"),
    "an execution without an id": (changed(lambda s: executions(s)[0].pop("id")), ImportRefused, "has no id"),
    "an execution twice": (changed(lambda s: executions(s).append(executions(s)[0])), ImportRefused, "stands twice"),
    "no execution": (changed(lambda s: s["workflow"].pop("execution")), ImportRefused, "no recorded execution"),
    "no runtime": (changed(lambda s: executions(s)[0].pop("runtimeInSeconds")), ImportRefused, "no recorded runtime"),
    "a negative runtime": (document(seconds={"b": -1}), ImportRefused, "is negative"),
    "a runtime without end": (document(seconds={"b": 1e12}), ImportRefused, "is longer than"),
    "a runtime in words": (document(seconds={"b": "1"}), ImportRefused, "is not a number"),
    "a runtime that is none": (document(seconds={"b": True}), ImportRefused, "is not a number"),
    "a runtime that is NaN": (document(seconds={"b": float("nan")}), ImportRefused, "JSON"),
    "a name of 1 MB": (changed(lambda s: spec(s)[0].update(name="n" * 1_000_000)), ImportRefused, "1,000,000 char"),
    "an id of 1 MB": (document({"i" * 1_000_000: []}), ImportRefused, "1,000,000 characters"),
    "a value of Python's": (document(when={1, 2}), ImportRefused, "not JSON serializable"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_sentence_with_the_mend(case) -> None:
    source, kind, words = BAD[case]
    with pytest.raises(kind) as caught:
        import_wfcommons(source, source="x.json")
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.startswith("x.json ")
    assert len(sentence) < 700
    assert "\n" not in sentence


@pytest.mark.parametrize("factor", [-1, float("nan"), float("inf")])
def test_a_factor_is_a_number_from_zero(factor) -> None:
    with pytest.raises(ImportRefused, match="the factor"):
        import_wfcommons(document(), factor=factor)


def test_long_chains_and_wide_levels_are_read_in_no_time() -> None:
    count = 20_000
    parents = [(step - 1,) if step else () for step in range(count)]
    began = time.perf_counter()
    chain = shape_of(parents, [1.0] * count)
    assert (chain.depth, chain.width, chain.critical_path_s) == (count, 1, count)
    ring = shape_of([((step - 1) % count,) for step in range(count)], [1.0] * count)
    assert len(ring.circle) == count
    wide = shape_of([()] * count, [1.0] * count)
    assert len({(place.x, place.y) for place in places(wide, [()] * count)}) == count
    taken = Taken(200)
    assert len({taken.free("same") for _ in range(count)}) == count
    assert time.perf_counter() - began < 5


def test_the_format_is_found_out() -> None:
    assert guess(document()) == FORMATS["wfcommons"]
    assert guess({"format": "treadle/1"}) == FORMATS["treadle"]
    assert guess([]) is guess({"nodes": []}) is None
    with pytest.raises(ImportRefused, match="neither a Treadle model file or a WfCommons"):
        read_model('{"nodes": []}')
    model = import_wfcommons(document()).model
    again = read_model(model.to_file())
    assert (again.format, again.tasks, again.edges, again.depth, again.width) == ("treadle", 4, 4, 3, 2)
    assert again.critical_path_s == 35.0
    assert again.model.content_hash == model.content_hash
    with pytest.raises(ImportRefused, match="holds no recorded times"):
        read_model(model.to_file(), factor=2)
    looped = json.loads(model.to_file())
    looped["wires"].append({**looped["wires"][0], "id": "back", "source": "d", "target": "a"})
    with pytest.raises(ImportRefused, match="in a circle"):
        read_model(json.dumps(looped))


def test_packed_files_are_unpacked_up_to_a_limit(tmp_path, monkeypatch) -> None:
    packed = gzip.compress(b"x" * 1000)
    (tmp_path / "x.gz").write_bytes(packed)
    assert reading.read(tmp_path / "x.gz") == b"x" * 1000
    with pytest.raises(ImportRefused, match="damaged or cut off"):
        reading.read_stream(BytesIO(packed[:-9]), source="x")
    monkeypatch.setattr(reading, "LIMIT_BYTES", 999)
    with pytest.raises(ImportRefused, match="longer than"):
        reading.read(tmp_path / "x.gz")
    with pytest.raises(FileError, match="There is no file"):
        reading.read(tmp_path)


def test_a_recorded_task_waits_and_tells_what_it_did() -> None:
    began = time.perf_counter()
    first = task(task="a", seconds=50.0, factor=0.001)
    assert time.perf_counter() - began >= 0.05
    assert first == {"task": "a", "seconds": 0.05, "after": 0, "level": 1}
    assert task(first, {"level": 4}, "odd", task="b")["level"] == 5


def test_a_run_follows_the_links_and_can_be_cancelled() -> None:
    class Cancelled:
        cancelled = True
        attempt = 1
        idempotency_key = ""

        def progress(self, share: float, text: str = "") -> None: ...
        def log(self, text: str) -> None: ...

    with pytest.raises(StepCancelled):
        task(seconds=60, context=Cancelled())
    with engine.open("memory:") as treadle:
        run = treadle.run(import_wfcommons(document(), factor=1e-4).model)
        assert run.status == "succeeded", run.error
        slow = treadle.start(import_wfcommons(document(), factor=10).model)
        threading.Timer(0.2, slow.cancel).start()
        assert slow.wait(10).status == "cancelled"


@pytest.fixture
def treadle(tmp_path, monkeypatch):
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: str, code: int = 0, **options):
        result = runner.invoke(app, list(arguments), **options)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        assert "Traceback" not in result.output
        return result

    return run


def test_import_saves_a_new_model_under_a_free_name(treadle, tmp_path) -> None:
    (tmp_path / "d.json.gz").write_bytes(gzip.compress(json.dumps(document()).encode()))
    told = treadle("import", "d.json.gz", "--factor", "0.0001", "--report", "losses.json").stdout
    assert "Diamond: 4 steps, 4 links, 3 levels, at most 2 steps at one level, 35 s on the longest path." in told
    assert "No command is run" in told
    assert "Saved in" in told
    report = json.loads((tmp_path / "losses.json").read_text())
    assert (report["source"], report["tasks"], report["model"]) == ("d.json.gz", 4, "Diamond")
    assert {"what", "count", "kept", "sentence"} == set(report["losses"][0])
    assert "Diamond 2:" in treadle("import", "d.json.gz").stdout
    assert {row["name"] for row in json.loads(treadle("models", "--json").stdout)} == {"Diamond", "Diamond 2"}
    assert json.loads(treadle("run", "Diamond", "--json").stdout)["status"] == "succeeded"


def test_import_with_json_prints_one_object_and_saves_only_where_it_is_told(treadle, tmp_path) -> None:
    text = json.dumps(document())
    found = json.loads(treadle("import", "-", "--json", input=text).stdout)
    assert set(found) >= {"model", "tasks", "edges", "depth", "width", "critical_path_s", "losses"}
    assert (found["saved"], found["model"]["format"]) == (None, "treadle/1")
    assert json.loads(treadle("models", "--json").stdout) == []
    found = json.loads(treadle("import", "-", "--json", "-o", "d.model.json", input=text).stdout)
    assert (found["saved"], json.loads((tmp_path / "d.model.json").read_text())) == ("d.model.json", found["model"])
    assert json.loads(treadle("models", "--json").stdout) == []
    url = f"duckdb:///{tmp_path / 'other.duckdb'}"
    assert json.loads(treadle("import", "d.model.json", "--json", "--store", url).stdout)["saved"] == url
    assert "Diamond" in treadle("models", "--store", url).stdout
    assert "is valid" in treadle("validate", "d.model.json").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.json"], 2, "There is no file none.json"),
        (["bad.json"], 1, "bad.json is not valid JSON"),
        (["other.json"], 1, "other.json can't be imported: it is neither a Treadle model file"),
        (["loop.json"], 1, "wait for one another in a circle: 'a' → 'a'. Take out one of the links"),
        (["cut.json.gz"], 1, "damaged or cut off"),
        (["good.json", "--format", "bpmn"], 2, "--format takes one of treadle, wfcommons"),
        (["good.json", "--format", "treadle"], 1, "no format field"),
        (["good.json", "--factor", "nan"], 2, "--factor takes a number from 0"),
        (["good.json", "-o", "x.json", "--store", "memory:"], 2, "Give -o or --store"),
        (["good.json", "-o", "nowhere/x.json"], 3, "can't be written"),
        (["good.json", "--report", "nowhere/x.json"], 3, "can't be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["words", "json"])
def test_a_bad_file_gets_one_sentence_and_nothing_is_saved(treadle, tmp_path, arguments, code, words, as_json) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "loop.json").write_text(json.dumps(document({"a": ["a"]})))
    (tmp_path / "good.json").write_text(json.dumps(document()))
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"x" * 99)[:-9])
    result = treadle("import", *arguments, *as_json, code=code)
    assert words in " ".join(result.output.split())
    assert result.stdout == ""
    assert json.loads(treadle("models", "--json").stdout) == []
    assert not (tmp_path / "x.json").exists()
