"""How a function becomes a node: ports, settings, texts; and how values reach it and leave it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from engine.domain.schemas import TABLE
from engine.errors import TetherFailed, TetherUndescribed
from engine.execution.invocation import Context
from engine.ports import StepContext
from engine.tethers import tether
from engine.tethers.calling import invoke_for
from engine.tethers.chart import Chart
from engine.tethers.conversion import to_arrow, to_rows
from engine.tethers.describe import describe
from engine.tethers.folders import Folders

if TYPE_CHECKING:
    import pandas  # noqa: ICN001 - by its own name, as a person might
    import pyarrow  # noqa: ICN001 - as above
    from nowhere import Unknown


class Split(NamedTuple):
    kept: pyarrow.Table
    dropped: list[int]


class Facts(TypedDict):
    count: int
    name: str


class Person(BaseModel):
    name: str
    age: int = 0


def call(function: Callable[..., Any], folders: Folders | None = None, **values: Any) -> Any:
    invoke = invoke_for(describe(function), folders or Folders())
    return invoke(values, {}, Context("run", "step", 1, None))


def refusal(function: Callable[..., Any], **values: Any) -> str:
    with pytest.raises(TetherFailed) as caught:
        call(function, **values)
    assert caught.value.facts["permanent"] is True
    assert "\n" not in str(caught.value)
    return str(caught.value)


def schema_of(annotation: Any) -> Any:
    def function(value): ...

    function.__annotations__["value"] = annotation
    return describe(function).spec.inputs[0].port_schema


def test_parameters_are_ports_and_settings() -> None:
    def find_big(
        rows: list[dict],
        limit: int = 3,
        *,
        how: Annotated[str, Field(json_schema_extra={"widget": "code", "language": "sql"})],
        mode: Literal["fast", "exact"] = "fast",
        share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        context: StepContext,
    ) -> list[dict]:
        """Find the big ones.

        They are big.

        Args:
            rows: what to look
                through.
            how (str): a condition.

        Returns:
            some of them.
        """
        return rows[:limit]

    spec = describe(find_big).spec
    assert (spec.reference, spec.name, spec.category) == (
        "test_tethers_describe.find_big", "Find big", "Test tethers describe"
    )  # fmt: skip
    assert spec.description == "Find the big ones.\n\nThey are big."
    rows, limit = spec.inputs
    assert (rows.name, rows.required, rows.description) == ("rows", True, "what to look through.")
    assert rows.port_schema == {"type": "array", "items": {"type": "object"}}
    assert (limit.required, limit.port_schema) == (False, {"type": "integer", "default": 3})
    assert [port.name for port in spec.outputs] == ["result"]
    assert spec.settings["required"] == ["how"]
    assert spec.settings["properties"] == {
        "how": {
            "title": "How",
            "type": "string",
            "description": "a condition.",
            "x-widget": {"widget": "code", "language": "sql"},
        },
        "mode": {"title": "Mode", "type": "string", "enum": ["fast", "exact"], "default": "fast"},
        "share": {"title": "Share", "type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
    }


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (pa.Table, TABLE),
        (pd.DataFrame, TABLE),
        (Chart, {"type": "object", "format": "chart"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (Path, {"type": "string", "format": "path"}),
        (Any, {}),
        (object, {}),
        (str | None, {"type": ["string", "null"]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (Callable[[int], int], {}),
    ],
)
def test_types_become_schemas(annotation, schema) -> None:
    assert schema_of(annotation) == schema


def test_a_pydantic_model_is_a_schema_and_a_value() -> None:
    def age(person: Person) -> int:
        return person.age

    assert describe(age).spec.inputs[0].port_schema["properties"]["name"]["type"] == "string"
    assert call(age, person={"name": "Ada", "age": 36}) == {"result": 36}
    assert "Field required" in refusal(age, person={})


def test_names_need_not_be_imported_to_be_described() -> None:
    def lazily(table: pyarrow.Table, frame: pandas.DataFrame, other: Unknown, context: StepContext) -> Unknown: ...

    spec = describe(lazily).spec
    assert [port.port_schema for port in spec.inputs] == [TABLE, TABLE, {}]
    assert spec.outputs[0].port_schema == {}


def test_what_is_returned_goes_to_ports() -> None:
    def split() -> Split: ...
    def facts() -> Facts: ...
    def nothing() -> None: ...
    def plain(): ...
    @tether(outputs=("a", "b"))
    def named(): ...
    @tether(outputs=["only"])
    def one() -> int: ...

    ports = {f.__name__: [p.name for p in describe(f).spec.outputs] for f in (split, facts, nothing, plain, named, one)}
    assert ports == {
        "split": ["kept", "dropped"],
        "facts": ["count", "name"],
        "nothing": [],
        "plain": ["result"],
        "named": ["a", "b"],
        "one": ["only"],
    }
    assert describe(split).spec.outputs[0].port_schema == TABLE


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    def plain(x: int) -> int:
        return x + 1

    assert tether(plain) is plain
    marked = tether(
        "mine.plus", name="Plus one", category="Mine", icon="plus", effect=True, runs="inline", keywords=["+"]
    )
    assert marked(plain) is plain
    assert plain(1) == 2
    spec = describe(plain).spec
    assert (spec.reference, spec.name, spec.category, spec.icon) == ("mine.plus", "Plus one", "Mine", "plus")
    assert (spec.effect, spec.runs, spec.keywords) == (True, "inline", ("+",))
    assert describe(tether(reference="by.name")(lambda: 1)).spec.reference == "by.name"


def test_what_can_not_be_a_node_is_told() -> None:
    with pytest.raises(TetherUndescribed, match="it has no name; write it with def"):
        describe(lambda x: x)


def test_values_are_converted_to_what_the_function_asks_for() -> None:
    def kinds(table: pa.Table, frame: pd.DataFrame, rows: list[dict], data: bytes, number: float) -> list[str]:
        return [type(value).__name__ for value in (table, frame, rows, data, number)]

    rows = [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    wanted = {"result": ["Table", "DataFrame", "list", "bytes", "float"]}
    for value in (rows, to_arrow(rows), pd.DataFrame(rows), {"a": [1, 2], "b": [None, "x"]}):
        assert call(kinds, table=value, frame=value, rows=value, data="AP8=", number=1) == wanted


def test_a_value_that_does_not_fit_names_port_and_reason() -> None:
    def wants(table: pa.Table, number: int = 0, data: bytes = b"", kind: Literal["a", "b"] = "a") -> None: ...

    assert "it needs a value for 'table'" in refusal(wants)
    assert "'table' takes a table, but got text" in refusal(wants, table="x")
    assert "item 2 of the list is a number, not an object" in refusal(wants, table=[{}, 3])
    assert "a column mixes kinds of values" in refusal(wants, table=[{"a": 1}, {"a": "x"}])
    assert "'number' takes" in refusal(wants, table=[], number="many")
    assert "text that is not base64" in refusal(wants, table=[], data="?")
    assert "'kind' takes 'a' or 'b', but got text 'c'" in refusal(wants, table=[], kind="c")


def test_many_wires_and_node_defined_inputs() -> None:
    def many(first: int, *rest: int) -> list[int]:
        return [first, *rest]

    def free(first: int, **others: Any) -> dict:
        return {"first": first, **others}

    port = describe(many).spec.inputs[1]
    assert (port.name, port.many, port.required) == ("rest", True, False)
    assert call(many, first=1, rest=[2, 3]) == {"result": [1, 2, 3]}
    assert call(many, first=1) == {"result": [1]}
    assert describe(free).spec.settings["additionalProperties"] is True
    assert call(free, first=1, x=2) == {"result": {"first": 1, "x": 2}}


def test_several_results_reach_their_ports() -> None:
    @tether(outputs=("a", "b"))
    def pair() -> tuple[int, int]:
        return 1, 2

    def facts() -> Facts:
        return {"count": 1, "name": "x"}

    assert call(pair) == {"a": 1, "b": 2}
    assert call(facts) == {"count": 1, "name": "x"}
    assert call(lambda_of_nothing) == {}


def lambda_of_nothing() -> None:
    """Return nothing."""


def test_coroutines_are_awaited_by_the_engine() -> None:
    async def later(x: int, context: StepContext) -> int:
        await asyncio.sleep(0)
        return x + context.attempt

    assert describe(later).spec.runs == "async"
    assert asyncio.run(call(later, x=1)) == {"result": 2}


def test_paths_are_looked_for_in_the_folders(tmp_path, monkeypatch) -> None:
    def read(path: Path) -> str:
        return path.read_text()

    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data.txt").write_text("found")
    monkeypatch.chdir(tmp_path)
    assert call(read, Folders((tmp_path / "root",)), path="data.txt") == {"result": "found"}
    (tmp_path / "data.txt").write_text("nearer")
    assert call(read, Folders((tmp_path / "root",)), path="data.txt") == {"result": "nearer"}


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/hostname", "link.txt", "in/../../secret.txt"])
def test_confined_folders_are_not_left(tmp_path, path) -> None:
    def read(path: Path) -> str:
        return path.read_text()

    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "in" / "fine.txt").write_text("fine")
    folders = Folders((root,), confined=True)
    assert call(read, folders, path="in/fine.txt") == {"result": "fine"}
    with pytest.raises(TetherFailed, match="outside of the folders"):
        call(read, folders, path=path)


CELL = st.sampled_from(
    [
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.text(st.characters(codec="utf-8")),
        st.none() | st.booleans(),
    ]
)


@st.composite
def row_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    columns = draw(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), CELL, min_size=1, max_size=4))
    return draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=6))


@given(row_lists())
def test_rows_go_to_a_table_and_back_unchanged(rows) -> None:
    assert to_rows(to_arrow(rows)) == rows


@given(row_lists())
def test_a_table_goes_to_rows_and_back_unchanged(rows) -> None:
    table = to_arrow(rows)
    assert to_arrow(to_rows(table)).equals(table)
