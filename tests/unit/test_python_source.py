"""The law of models as Python source: executed with 'import engine' alone, it makes a model of the same hash."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import engine
from engine.domain.model import FunctionModel
from engine.domain.values import Semver
from engine.errors import FileMissing, NotAModel, NotCanonical
from engine.interchange.python import load_python, model_from_source, source_of
from tests import strategies
from tests.small_models import action, entry, exit_, finished, nested, port, stage, waits, wire, workflow

ROOT = Path(__file__).parent.parent.parent
DEMOS = sorted((ROOT / "assets" / "demos").glob("*.json"))
BODY = "@engine.model("
slowly = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)


def again(model: FunctionModel) -> FunctionModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "written.py"
        path.write_text(source_of(model), encoding="utf-8")
        return model_from_source(path)


def holds(model: FunctionModel) -> None:
    try:
        wanted = model.content_hash
    except NotCanonical:
        return
    found = again(model)
    assert found.content_hash == wanted
    assert found.to_file() == model.to_file()


@slowly
@given(strategies.models())
def test_a_model_that_edits_made_comes_back_the_same(model) -> None:
    holds(model)


@slowly
@given(strategies.wild_models())
def test_a_model_that_makes_no_sense_comes_back_the_same(model) -> None:
    holds(model)


@slowly
@given(strategies.models(steps=10), strategies.json_objects)
def test_odd_values_come_back_the_same(model, values) -> None:
    nodes = {key: node.model_copy(update={"metadata": values}) for key, node in model.nodes.items()}
    holds(model.changed(nodes=nodes))


@slowly
@given(strategies.texts, strategies.json_objects)
def test_a_model_that_a_body_can_make_comes_back_the_same(text, values) -> None:
    odd = text or "odd"
    model = workflow(
        [
            entry(fields={"type": "object", "properties": {odd: {"default": values}}}),
            stage(description=text, metadata=values),
            action(
                reference=odd,
                inputs=[port(odd)],
                outputs=[port(odd), port("self")],
                parameters={"other": values},
                embedding=[0.1, 1e300, -0.0],
            ),
            exit_(fields={"type": "object", "properties": {odd: {}}}),
        ],
        wires=[],
        description=text,
    )
    wires = [("in", odd, "clean", odd), ("clean", odd, "out", odd)]
    made = {
        f"w{n}": {"id": f"w{n}", **dict(zip(("source", "source_port", "target", "target_port"), ends, strict=True))}
        for n, ends in enumerate(wires)
    }
    model = FunctionModel.model_validate({**dict(model), "wires": made})
    assert BODY in source_of(model)
    holds(model)


def tidied(model: FunctionModel) -> FunctionModel:
    """A model with one way in and one out, whose wires go from one action to a later one."""
    plain = model.to_json()
    actions = {node["id"] for node in plain["nodes"] if "parent" in node}
    nodes = [node if node["kind"] != "ioNode" else stage(node["id"]) for node in plain["nodes"]]
    for node in nodes:
        if "action" in node.get("fallback", {}) and node["fallback"]["action"] not in actions:
            del node["fallback"]
        if "compensation" in node and node["compensation"] not in actions:
            del node["compensation"]
    nodes += [entry("way in"), exit_("way out")]
    made = workflow(nodes)
    taken: set[tuple[str, str]] = set()
    wires = [{"id": "w in", "source": "way in", "source_port": "rows", "target": "way out", "target_port": "rows"}]
    for found in plain["wires"]:
        source, target = (made.port(found[end], found[f"{end}_port"], side) for end, side in ENDS)
        fits = source is not None and target is not None and found["source"] < found["target"]
        end = (found["target"], found["target_port"])
        if fits and "parent" in dict(made.nodes[found["source"]]) and (target.many or end not in taken):
            wires.append(found)
            taken.add(end)
    orders = [edge for edge in plain["dependencies"] if edge["source"] != edge["target"]]
    return FunctionModel.from_json({**plain, "nodes": nodes, "wires": wires, "dependencies": orders})


ENDS = (("source", "output"), ("target", "input"))


@settings(parent=slowly, max_examples=150)
@given(strategies.models(steps=40))
def test_an_ordinary_model_is_written_as_a_body_and_comes_back_the_same(model) -> None:
    made = tidied(model)
    assert BODY in source_of(made)
    holds(made)


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_the_demos_are_written_as_bodies(path) -> None:
    model = FunctionModel.load(path)
    text = source_of(model)
    assert BODY in text
    assert max(map(len, text.splitlines())) <= 120
    assert source_of(FunctionModel.load(path)) == text
    holds(model)


def everything() -> FunctionModel:
    """A model with each kind of node and every field that a body can say."""
    return workflow(
        [
            entry(rules=[{"expression": {"$cel": "rows.size() > 0"}, "message": "Empty"}]),
            stage("work", mode="conditional", match="every", goals=["One"], completion={"$cel": "true"}),
            stage("end", stage="checkpoint", on_failure="compensate"),
            stage("empty"),
            action(
                condition={"$cel": "true"},
                retry={"max_attempts": 3},
                timeout_s=1.5,
                priority=9,
                fallback={"use": "action", "action": "spare"},
                compensation="spare",
                raci={"responsible": ["ann"]},
                limits={"cpu_s": 2},
                effect=True,
                endpoint="https://example.org",
                authentication="key",
                headers={"A": "b"},
                output_mapping={"rows": {"$cel": "result"}},
                triggers=[{"on": "x"}],
                embedding=[0.5],
                parameters={"limit": {"$cel": "1 + 1"}, "rows": 1},
            ),
            action(
                "spare", order=1, condition={"$cel": "true"}, fallback={"use": "constant", "constant": {"rows": []}}
            ),
            nested(
                version="1.2.3",
                parent="end",
                for_each="rows",
                retry={"max_attempts": 2, "backoff": "linear"},
                context_mapping={"rows": {"$cel": "rows"}},
                inheritance="shared",
                fallback={"use": "cached"},
            ),
            {"kind": "kbNode", "id": "kb", "name": "Know", "parent": "end", "order": 1, "reference": "page"},
            {
                "kind": "agentNode",
                "id": "agent",
                "name": "Ask",
                "parent": "end",
                "order": 2,
                "capabilities": ["read"],
                "instructions": "Look",
                "inputs": [port("rows", many=True)],
                "outputs": [port("answer"), port("odd port")],
            },
            exit_(),
        ],
        [
            "in.rows > clean.rows",
            "in.rows > spare.rows",
            "clean.rows > inner.rows",
            "inner.rows > agent.rows",
            "clean.rows > agent.rows",
            "agent.odd port > out.rows",
        ],
        [waits("work > end", necessity="conditional", condition={"$cel": "true"}), waits("in > work")],
        tags=["one"],
        version=Semver(major=1),
    )


def test_every_kind_of_node_and_field_is_said_by_a_body() -> None:
    text = source_of(everything())
    assert BODY in text
    for said in (
        "engine.authoring.declared(",
        "engine.call_model(",
        "engine.authoring.knowledge(",
        "engine.authoring.agent(",
        "engine.each(",
        "fallback=spare",
        'fallback="cached"',
        "engine.authoring.constant(",
        "engine.authoring.depends(end, work,",
    ):
        assert said in text
    holds(everything())


def test_what_no_body_can_say_is_written_field_by_field() -> None:
    two = workflow([entry(), entry("in2"), stage(), action(), exit_()])
    looped = workflow(
        [entry(), stage(), action(), action("b"), exit_()], ["clean.rows > b.rows", "b.rows > clean.rows"]
    )
    for model in (two, looped, workflow()):
        assert BODY not in source_of(model)
        holds(model)


def test_a_value_deeper_than_python_reads_is_written_as_json() -> None:
    deep: object = 1
    for _ in range(190):
        deep = [deep]
    model = workflow([entry(metadata={"deep": deep}), stage(), action(), exit_()])
    assert "engine.FunctionModel.loads(" in source_of(model)
    holds(model)


def test_texts_are_seen_as_they_are() -> None:
    text = 'a "quoted" \\ line\r\n\u2028\u202e\x00\x7f\x85 \u200b é 😀 \U000e0001'
    model = finished(description=text * 5)
    written = source_of(model)
    assert all(ch.isprintable() or ch == "\n" for ch in written)
    holds(model)


def test_a_long_text_is_cut_where_words_end() -> None:
    lines = source_of(finished(description="some words " * 60)).splitlines()
    assert max(map(len, lines)) <= 120
    assert sum('words "' in line for line in lines) > 4
    holds(finished(description="x" * 500))


def test_wires_of_the_studio_keep_their_ids() -> None:
    model = finished()
    text = source_of(model)
    assert 'wires={"rows": ["in.rows > clean.rows"]}' in text
    assert wire("in.rows > clean.rows")["id"] in again(model).wires


def test_what_was_written_by_hand_is_written_short() -> None:
    @engine.model(name="Two words")
    def two_words(text: str, sep: str = " ") -> dict:
        parts = engine.call("text.split", text=text, separator=engine.cel("run.inputs.sep"))
        return {"parts": parts}

    assert source_of(two_words.model) == (
        '"""A model, written by Treadle. Change it, and run it again."""\n\nimport engine\n\n\n'
        '@engine.model(name="Two words")\n'
        'def two_words(text: str, sep: str = " "):\n'
        '    with engine.stage("Steps"):\n'
        '        split = engine.call("text.split", text=text, separator=engine.cel("run.inputs.sep"))\n'
        '    return {"parts": split}\n'
    )
    holds(two_words.model)


ONE = "import engine\n\n@engine.model\ndef one(x: int):\n    return engine.call('values.to_list', x)\n"


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("x = 1", None, "it makes no model"),
        ("def (", None, r"line 1: SyntaxError: invalid syntax"),
        ("\n1 / 0", None, r"line 2: ZeroDivisionError: division by zero"),
        ("raise SystemExit", None, "it tried to end the program"),
        (ONE + ONE.replace("one", "two"), None, "say which of its models: one, two"),
        (ONE, "three", "it has no model 'three'; there are: one"),
    ],
)
def test_a_file_that_gives_no_model_is_told(tmp_path, text, name, reason) -> None:
    path = tmp_path / "written.py"
    path.write_text(text)
    with pytest.raises(NotAModel, match=reason):
        load_python(path, name)


def test_a_missing_file_is_told(tmp_path) -> None:
    with pytest.raises(FileMissing):
        load_python(tmp_path / "gone.py")


def test_one_of_several_models_is_named(tmp_path) -> None:
    path = tmp_path / "written.py"
    path.write_text(ONE + ONE.replace("one", "two"))
    assert model_from_source(path, "two").name == "Two"
    path.write_text(ONE + ONE.replace("one", "model"))
    assert model_from_source(path).name == "Model"


def test_a_changed_file_is_read_as_it_is_now(tmp_path) -> None:
    path = tmp_path / "written.py"
    path.write_text(ONE)
    assert model_from_source(path).name == "One"
    path.write_text(ONE.replace("one", "two"))  # of the same length, within the same second
    assert model_from_source(path).name == "Two"
    assert [found.name for found in tmp_path.iterdir()] == ["written.py"]


def test_a_broken_file_leaves_nothing_behind(tmp_path) -> None:
    import sys

    path = tmp_path / "written.py"
    path.write_text("1 / 0")
    before = set(sys.modules)
    with pytest.raises(NotAModel):
        load_python(path)
    assert {name for name in set(sys.modules) - before if "written" in name} == set()
