"""Models written in Python: what a body makes, what it refuses and how it says so, and that it runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypedDict

import pytest

import engine
from engine import authoring
from engine.authoring import BodyRefused
from engine.domain.nodes import Stage, Tether
from engine.errors import TetherUnknown

PENGUINS = Path(__file__).parent.parent.parent / "assets" / "data" / "penguins.csv"


class Halves(NamedTuple):
    even: list[int]
    odd: list[int]


class Both(TypedDict):
    even: list[int]
    odd: list[int]


@engine.tether
def halves(n: int) -> Halves:
    """Split the numbers below n."""
    return Halves(list(range(0, n, 2)), list(range(1, n, 2)))


@engine.tether
def square(x: int, *, plus: int = 0) -> int:
    """Multiply a number with itself."""
    return x * x + plus


@engine.tether
def total(*parts: int) -> int:
    """Add numbers."""
    return sum(parts)


@engine.tether
def patient(x: int, *, times: int, context: engine.StepContext) -> int:
    """Fail a few times."""
    if context.attempt <= times:
        raise ValueError("not yet")
    return x


def run(written, **inputs):
    with engine.open("memory:", tethers=written.tethers) as eng:
        for nested in written.nested:
            eng.models.add(nested)
        assert [found for found in eng.validate(written.model) if found.severity == "error"] == []
        ended = eng.run(written.model, inputs)
        assert ended.status == "succeeded", ended.run.error
        return ended.outputs


def refused(body, sentence: str) -> None:
    with pytest.raises(BodyRefused, match=sentence) as caught:
        engine.model(body)
    assert "\n" not in str(caught.value)


# ---- what a body makes --------------------------------------------------------------------------------------------


@engine.model(name="Squares", tags=["numbers"])
def squares(n: int, plus: int = 1) -> dict:
    """Squares of small numbers.

    Args:
        n: how many.
    """
    found = halves(n)
    with engine.stage("Work", mode="sequential") as work:
        even = square(engine.each(found.even), plus=engine.cel("run.inputs.plus"))
    odd = square(engine.each(found["odd"]))
    with work:
        first, second = engine.call("values.pick", even, path="0"), odd
    return {"first": first, "odd": second}


def test_a_body_runs_for_real() -> None:
    assert run(squares, n=6) == {"first": 1, "odd": [1, 9, 25]}


def test_a_model_has_what_its_function_says() -> None:
    model = squares.model
    assert (model.id, model.name, model.tags) == ("squares", "Squares", ("numbers",))
    assert model.description == "Squares of small numbers."
    contract = model.input_boundaries()[0].input_contract
    assert contract == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "how many."},
            "plus": {"type": "integer", "default": 1},
        },
        "additionalProperties": False,
        "required": ["n"],
    }
    assert model.output_boundaries()[0].output_contract["properties"] == {"first": {}, "odd": {"type": "array"}}
    assert squares.tethers == (halves, square)
    assert squares.__name__ == "squares"


def test_ids_names_and_stages_are_readable() -> None:
    model = squares.model
    assert sorted(model.nodes) == ["halves", "inputs", "outputs", "pick", "square", "square-2", "steps", "work"]
    assert [node.name for node in model.actions()] == ["Halves", "Square", "Square 2", "Pick a field"]
    assert [node.id for node in model.children("work")] == ["square", "pick"]
    assert model.nodes["steps"].name == "Steps"
    assert "halves.even-square.x" in model.wires


def test_nothing_overlaps_and_data_goes_to_the_right() -> None:
    model = squares.model
    stages = [node for node in model.nodes.values() if isinstance(node, Stage)]
    for one in stages:
        for node in model.children(one.id):
            assert 0 < node.position.x < one.visual["width"]
            assert 0 < node.position.y < one.visual["height"]
    xs = {key: node.position.x for key, node in model.nodes.items() if not hasattr(node, "parent")}
    assert xs["inputs"] < xs["steps"] < xs["work"] < xs["outputs"]


def test_tracing_twice_gives_the_same_hash() -> None:
    assert engine.model(squares.function).model.content_hash == engine.model(squares.function).model.content_hash


def test_tethers_stay_plain_functions() -> None:
    assert square(3, plus=1) == 10
    assert halves(3).even == [0, 2]


def test_a_named_tuple_and_a_typed_dict_give_outputs_by_name() -> None:
    @engine.model
    def named(n: int) -> Halves:
        return Halves(*halves(n))

    @engine.model
    def typed(n: int) -> Both:
        even, odd = halves(n)
        return {"even": even, "odd": odd}

    assert run(named, n=3) == run(typed, n=3) == {"even": [0, 2], "odd": [1]}
    schema = {"type": "array", "items": {"type": "integer"}}
    contract = typed.model.output_boundaries()[0].output_contract
    assert contract == {"type": "object", "properties": {"even": schema, "odd": schema}, "required": ["even", "odd"]}


def test_outputs_are_taken_by_place() -> None:
    @engine.model
    def last(n: int) -> list[int]:
        return halves(n)[-1]

    assert run(last, n=4) == {"result": [1, 3]}


def test_several_wires_go_to_one_port() -> None:
    @engine.model
    def both(x: int, *, y: int = 3) -> dict:
        by_place = total(square(x), square(y))
        by_name = total(parts=[square(x), square(y)])
        return {"one": by_place, "two": by_name}

    assert run(both, x=2) == {"one": 13, "two": 13}


def test_functions_and_modules_beside_the_body_call_tethers() -> None:
    import types

    tools = types.ModuleType("tools")
    tools.square = square

    def twice(x):
        return square(tools.square(x))

    @engine.model
    def fourth(x: int) -> int:
        return next(twice(one) for one in (x,))

    assert run(fourth, x=2) == {"result": 16}
    assert run(engine.model(calls_beside), x=3) == {"result": 81}


def calls_beside(x: int) -> int:
    return beside(x)


def beside(x):
    return square(square(x))


def test_a_function_of_the_library_may_be_imported() -> None:
    from engine.tethers.library.text import split

    @engine.model
    def words(text: str) -> list:
        return split(text, separator=" ")

    assert run(words, text="a b") == {"result": ["a", "b"]}
    assert words.model.nodes["split"].reference == "text.split"


def test_ports_follow_settings() -> None:
    @engine.model
    def counted(source: str) -> list[dict]:
        birds = engine.call("files.read_csv", path=source)
        return engine.call("sql.query", sql="select count(*) as n from birds", birds=birds)

    assert run(counted, source=str(PENGUINS))["result"].to_pylist() == [{"n": 344}]
    assert counted.model.nodes["query"].binding == "sql"


@engine.model
def fourths(n: int, scale: int = 1) -> dict:
    odd = square(engine.each(halves(n).odd))
    return {"odd": square(engine.each(odd)), "scale": scale}


def test_models_nest() -> None:
    @engine.model
    def outer(n: int) -> dict:
        done = engine.options(fourths(n, scale=2), name="Inner")
        return {"odd": done.odd}

    assert run(outer, n=4) == {"odd": [1, 81]}
    assert outer.nested == (fourths.model,)
    assert outer.tethers == (halves, square)
    node = outer.model.nodes["fourths"]
    assert (node.reference, node.version, [port.name for port in node.inputs]) == ("Fourths", None, ["n", "scale"])


def test_a_model_elsewhere_is_called_by_name() -> None:
    @engine.model
    def outer(n: int) -> dict:
        done = engine.call_model("Squares", "1.0.0", n=n)
        return {"odd": done["odd"], "first": done.first}

    node = outer.model.nodes["squares"]
    assert (str(node.version), [port.name for port in node.outputs]) == ("1.0.0", ["odd", "first"])


def test_options_say_more_of_a_step() -> None:
    @engine.model
    def careful(x: int) -> dict:
        with engine.stage("Try", on_failure="compensate", parallelism=2) as trying:
            undo = square(x)
            flaky = patient(x, times=1)
            engine.options(flaky, retry={"max_attempts": 3, "backoff": "immediate"}, timeout_s=9, priority=8)
            engine.options(flaky, id="flaky", name="Flaky", compensation=undo, effect=True, position=(1, 2))
            lost = engine.options(patient(x, times=9), fallback=authoring.constant(7), retry=1)
            spared = engine.options(patient(x, times=9), fallback=square(x), output_mapping={"result": "result"})
        with engine.stage("Then", mode="conditional", match="every", after=[trying, "inputs"]) as then:
            yes = engine.options(square(x), condition="x > 0")
        authoring.depends("outputs", then, necessity="optional", id="last")
        return {"flaky": flaky, "lost": lost, "spared": spared, "yes": yes}

    flaky = careful.model.nodes["flaky"]
    assert isinstance(flaky, Tether)
    assert (flaky.name, flaky.retry.max_attempts, flaky.timeout_s, flaky.priority) == ("Flaky", 3, 9, 8)
    assert (flaky.compensation, flaky.effect, flaky.position.x) == ("square", True, 1)
    assert careful.model.nodes["patient"].fallback.constant == 7
    assert careful.model.nodes["patient-2"].fallback.action == "square-2"
    assert sorted(careful.model.dependencies) == ["inputs-then", "last", "try-then"]
    assert careful.model.dependencies["last"].necessity == "optional"


def test_retries_fallbacks_and_conditions_work_in_a_run() -> None:
    @engine.model
    def careful(x: int) -> dict:
        with engine.stage("Try") as trying:
            flaky = engine.options(patient(x, times=1), retry={"max_attempts": 3, "backoff": "immediate"})
            lost = engine.options(patient(x, times=9), fallback=authoring.constant(7))
            spared = engine.options(patient(x, times=9), fallback=square(x))
        with engine.stage("Then", mode="conditional", after=trying):
            yes = engine.options(square(x), condition="x > 0")
        return {"flaky": flaky, "lost": lost, "spared": spared, "yes": yes}

    assert run(careful, x=3) == {"flaky": 3, "lost": 7, "spared": 9, "yes": 9}


def test_boundaries_take_their_fields() -> None:
    rule = {"expression": {"$cel": "x > 0"}, "message": "Too small"}

    @engine.model(
        id="m", version="2.0.0", inputs={"id": "in", "rules": [rule]}, outputs={"name": "End", "position": (9, 9)}
    )
    def bounded(x: int):
        return square(x)

    model = bounded.model
    assert (model.id, str(model.version), model.nodes["in"].rules[0].message) == ("m", "2.0.0", "Too small")
    assert (model.nodes["outputs"].name, model.nodes["outputs"].position.x) == ("End", 9)


def test_knowledge_agents_and_functions_elsewhere_are_steps() -> None:
    @engine.model
    def asked(question: str) -> dict:
        page = authoring.knowledge("pages.intro")
        answer = authoring.agent("helper", instructions="Answer", question=question, page=page)
        other = authoring.declared("my.count", inputs=["text"], outputs=[{"name": "n"}], binding="function")(answer)
        return {"answer": answer, "n": other.n, "given": authoring.given("question")}

    kinds = {node.id: node.kind for node in asked.model.actions()}
    assert kinds == {"pages-intro": "kbNode", "helper": "agentNode", "count": "tetherNode"}
    assert [port.name for port in asked.model.nodes["helper"].inputs] == ["question", "page"]
    assert "inputs.question-outputs.given" in asked.model.wires


def test_wires_may_have_ids_of_their_own() -> None:
    @engine.model(outputs={"wires": {"result": "last"}})
    def wired(x: int):
        return engine.options(square(x), wires={"x": "first"})

    assert sorted(wired.model.wires) == ["first", "last"]


def test_a_handle_shows_what_it_is() -> None:
    @engine.model
    def shown(n: int):
        found = halves(n)
        assert repr(found) == "<what 'Halves' will give>"
        assert repr(found.even) == "<what 'Halves'.even will give>"
        assert {found: 1}
        return found.even

    assert repr(shown) == "<model 'Shown'>"


# ---- what a body refuses ------------------------------------------------------------------------------------------

OPERATIONS = {
    "if": (lambda x: 1 if x else 2, "used in if, while, and, or, not.*condition="),
    "for": (list, "looped over.*engine.each"),
    "in": (lambda x: 1 in x, "compared"),
    "==": (lambda x: x == 1, "compared.*Do that in a tether, or give the step engine.cel"),
    "<": (lambda x: x < 1, "compared"),
    "+": (lambda x: x + 1, "calculated with"),
    "r*": (lambda x: 2 * x, "calculated with"),
    "-x": (lambda x: -x, "calculated with"),
    "len": (len, "counted"),
    "str": (lambda x: f"{x}", "turned into a number or text"),
    "int": (int, "turned into a number or text"),
    "call": (lambda x: x(), "changed, entered or called"),
    "item": (lambda x: x["a"], "has no value yet.*To take a part of a value"),
    "attribute": (lambda x: x.a, "has no value yet"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_handle_is_no_value(operation) -> None:
    work, sentence = OPERATIONS[operation]

    def body(x: int):
        return work(x)

    refused(body, sentence)


REFUSED = {
    "whole": (lambda x: square(halves(x)), r"'Halves' gives even and odd, not one value. Say which: step\[\"even\"\]"),
    "port": (lambda x: halves(x).evn, "'Halves' has no output 'evn'; it gives even and odd"),
    "place": (lambda x: halves(x)[2], "has no output 2"),
    "missing": (lambda x: square(plus=1), "'Square' needs x. Give it by name"),
    "missing setting": (patient, "'Patient' needs times"),
    "unknown": (lambda x: square(x, plsu=1), "'Square' takes no 'plsu'. It takes plus and x"),
    "too many": (lambda x: square(x, 1), "takes 1 inputs by place, but got 2"),
    "twice": (lambda x: square(x, x=1), "got 'x' twice"),
    "setting": (lambda x: square(x, plus=x), "'plus' of 'Square' is a setting.*engine.cel"),
    "list": (lambda x: square([x]), "takes one value, not a list"),
    "inside": (lambda x: square({"a": x}), "takes what a step gives, or a constant of JSON"),
    "object": (lambda x: square(object()), "a constant of JSON, but not <object"),
    "each twice": (
        lambda x: engine.call("tables.join_tables", engine.each(x), engine.each(x)),
        "work through two lists at once",
    ),
    "each constant": (lambda x: square(engine.each([1])), "Pass a constant list as it is"),
    "option": (lambda x: engine.options(square(x), retries=3), "no option 'retries'. Did you mean .*retry"),
    "value": (lambda x: engine.options(square(x), priority=11), "'Square' can't be so: priority: Input should be less"),
    "retry": (lambda x: engine.options(square(x), retry=99), "retry.max_attempts"),
    "fallback": (lambda x: engine.options(square(x), fallback=3), "A fallback is no int"),
    "compensation": (lambda x: engine.options(square(x), compensation=3), "compensation takes a step, not 3"),
    "options of input": (lambda x: engine.options(x, name="X"), "An input has no options"),
    "options of nothing": (lambda x: engine.options(3, name="X"), "engine.options takes a step, not 3"),
    "stage option": (lambda x: engine.stage("A", modus="parallel"), "no option 'modus'. Did you mean mode"),
    "stage order": (lambda x: engine.stage("A", after="the start"), "Only stages wait for one another"),
    "order": (lambda x: authoring.depends("outputs", "inputs", necessity="no") or x, "can't be so"),
    "constant result": (lambda x: {"a": 1}, "The body returns 1 as 'a', which no step gives"),
    "tuple": (lambda x: (x, x), "several values without names. Return a dict"),
    "same id": (lambda x: named_a(square(named_a(square(x)))), "Two nodes have the id 'a'"),
    "bad id": (lambda x: engine.options(square(x), id="a/b"), "can't be so: id"),
    "nested": (lambda x: squares(1, 2, 3), "'Squares' takes 2 inputs, but got 3"),
    "nested input": (lambda x: squares(m=x), "'Squares' takes no 'm'"),
    "open outputs": (
        lambda x: engine.call_model("Other"),
        r"gives nothing, not one value. Say which: step\[\"port\"\]",
    ),
    "nothing": (lambda x: square(nothing()), "gives nothing, not one value. Take a step that gives something"),
}


def named_a(step):
    return engine.options(step, id="a")


@engine.tether
def nothing() -> None:
    """Give nothing."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_body_can_not_say_is_refused_in_a_sentence(case) -> None:
    work, sentence = REFUSED[case]

    def body(x: int):
        return work(x)

    refused(body, sentence)


def test_stages_do_not_nest() -> None:
    def body(x: int):
        with engine.stage("A"), engine.stage("B"):
            return square(x)

    refused(body, "The stage 'B' is opened inside 'A'")


def test_steps_of_another_body_are_refused() -> None:
    kept = []

    @engine.model
    def first(x: int):
        kept.append(square(x))
        return kept[0]

    refused(lambda_like(kept), "'Square' is a step of another model")


def lambda_like(kept):
    def body(x: int):
        return square(kept[0])

    return body


def test_the_annotation_must_agree_with_what_is_returned() -> None:
    def body(x: int) -> Halves:
        return {"even": x}

    refused(body, "The body gives even, but its return annotation says even and odd")


async def waiting(x: int):
    return x


def giving(x: int):
    yield x


def star(*x: int):
    return x[0]


def rest(**x: int):
    return x


def context(x: engine.StepContext):
    return x


@pytest.mark.parametrize("body", [waiting, giving, len])
def test_a_body_is_a_plain_function(body) -> None:
    refused(body, "The body of a model is a plain function")


@pytest.mark.parametrize("body", [star, rest, context])
def test_inputs_are_named_one_by_one(body) -> None:
    refused(body, "A model can't take the parameter 'x'")


def test_unknown_options_of_the_decorator_are_refused() -> None:
    with pytest.raises(BodyRefused, match=r"@engine\.model has no option 'retry'"):
        engine.model(retry=3)
    with pytest.raises(BodyRefused, match="name: String should have at least 3 characters"):
        engine.model(name="x")(calls_beside)


@pytest.mark.parametrize(
    "call",
    [
        lambda: engine.call("files.read_csv"),
        lambda: engine.stage("A"),
        lambda: engine.options(1),
        lambda: engine.call_model("A"),
        authoring.declared("a"),
        lambda: authoring.agent("a"),
    ],
)
def test_outside_of_a_body_calls_say_where_they_stand(call) -> None:
    with pytest.raises(BodyRefused, match=r"stands in the body of an @engine\.model"):
        call()


def test_a_model_is_not_called_but_run() -> None:
    with pytest.raises(BodyRefused, match=r"'Squares' is a model, not a function.*eng\.run"):
        squares(3)


def test_an_unknown_function_names_close_ones_or_the_way() -> None:
    def close(x: str):
        return engine.call("files.read_cvs", path=x)

    def far(x: str):
        return engine.call("zzz", path=x)

    with pytest.raises(TetherUnknown, match=r"files\.read_csv"):
        engine.model(close)
    with pytest.raises(TetherUnknown, match="Import it and call it as a function"):
        engine.model(far)


def test_a_body_that_failed_leaves_nothing_open() -> None:
    def body(x: int):
        with engine.stage("A"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.model(body)
    with pytest.raises(BodyRefused):
        engine.stage("B")
