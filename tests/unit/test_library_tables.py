"""The library's tethers over tables, and SQL."""

from __future__ import annotations

import threading
import time
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StepCancelled, TetherFailed
from engine.tethers.library import reshaping, sql, tables
from engine.tethers.library.columns import as_tables, measures_of, unique

HOSTILE = ['a"b', "a b", "select", "x;--", "na'me", "ünï", "per%cent", "new\nline", "$1", "?"]
ROWS = pa.table({"name": ["Ada", "Bo", None], "price": [12.5, None, 3.0], "n": [1, 2, 3]})


class Context:
    idempotency_key = "k"
    attempt = 1

    def __init__(self) -> None:
        self.cancelled = False
        self.lines: list[str] = []

    def progress(self, share: float, text: str = "") -> None: ...

    def log(self, text: str) -> None:
        self.lines.append(text)


def test_rows_are_filtered_by_a_condition() -> None:
    assert tables.filter_rows(ROWS, where="price > 5 -- dear").to_pylist() == ROWS.slice(0, 1).to_pylist()
    assert tables.filter_rows(pa.table({}), where="price > 5").num_rows == 0


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nope > 1", 'Referenced column "nope" not found in FROM clause. The columns are: name, price, n.'),
        ("price >", "syntax error"),
        ("1=1); SELECT (1", "Only one SELECT"),
        ("price > 'x'", "Could not convert string"),
    ],
)
def test_a_wrong_condition_is_one_short_sentence(where: str, said: str) -> None:
    with pytest.raises(TetherFailed) as caught:
        tables.filter_rows(ROWS, where=where)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("given_to", [lambda: tables.filter_rows(ROWS, where=" "), lambda: sql.query(sql="")])
def test_an_empty_text_says_what_to_write(given_to: Any) -> None:
    with pytest.raises(ValueError, match="Write one, for example"):
        given_to()


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "COPY rows TO '/tmp/stolen.csv'",
        "INSTALL httpfs",
        "ATTACH '/tmp/stolen.db'",
        "SET enable_external_access=true",
        "SELECT * FROM ROWS_OUTSIDE",
        "SELECT 1; SELECT 2",
    ],
)
def test_sql_reaches_nothing_but_its_tables(attack: str) -> None:
    ROWS_OUTSIDE = ROWS  # noqa: F841 - DuckDB would find Python variables by name
    with pytest.raises(TetherFailed):
        sql.query(sql=attack, rows=ROWS)


def test_a_query_sees_tables_by_port_and_whole_sums_are_integers() -> None:
    found = sql.query(sql="SELECT sum(n) AS s, count(*) AS c FROM a JOIN b USING (n)", a=ROWS, b=ROWS.select(["n"]))
    assert found.to_pylist() == [{"s": 6, "c": 3}]
    assert str(found.schema.field("s").type) == "int64"
    with pytest.raises(TetherFailed, match="The tables are: a, b"):
        sql.query(sql="SELECT * FROM c", a=ROWS, b=ROWS)


def test_a_cancelled_query_is_interrupted() -> None:
    context = Context()
    timer = threading.Timer(0.2, lambda: setattr(context, "cancelled", True))
    timer.start()
    started = time.monotonic()
    with pytest.raises(StepCancelled):
        sql.query(sql="SELECT sum(a.i * b.i) FROM range(1000000) a(i), range(1000000) b(i)", context=context)
    assert time.monotonic() - started < 5
    timer.join()


def test_names_that_sql_would_change_are_refused() -> None:
    for names, said in ((["a", "A"], "same name to SQL"), (["a", "a"], "same name"), (["", "a"], "has no name")):
        with pytest.raises(TetherFailed, match=said):
            tables.filter_rows(pa.table([[1], [2]], names=names), where="true")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_column_names_come_through_everywhere(name: str) -> None:
    rows = pa.table({name: ["x", "y", "x"], "v": [1, 2, 3]})
    assert tables.filter_rows(rows, where="v > 1").column_names == [name, "v"]
    assert tables.select_columns(rows, columns=[name]).column_names == [name]
    assert tables.sort_rows(rows, by=[name], descending=True).column("v").to_pylist() == [2, 1, 3]
    assert tables.add_column(rows, name=name, expression="v").column(name).to_pylist() == [1, 2, 3]
    assert tables.add_column(rows, name=name + "2", expression="v").column_names == [name, "v", name + "2"]
    assert reshaping.group_rows(rows, by=[name], measures={name + "s": "sum(v)"}).to_pylist() == [
        {name: "x", name + "s": 4},
        {name: "y", name + "s": 2},
    ]
    joined = reshaping.join_tables(rows, pa.table({name: ["y"], "v": [9]}), on=[name])
    assert joined.to_pylist() == [{name: "y", "v": 2, "v_right": 9}]
    wide = reshaping.pivot_rows(pa.table({"k": [1, 1], "c": [name, "z"], "v": [5, 6]}), by="k", columns="c", values="v")
    assert wide.to_pylist() == [{"k": 1, name: 5, "z": 6}]
    long = reshaping.unpivot_rows(rows, keep=[name], names_to="what")
    assert long.to_pylist()[0] == {name: "x", "what": "v", "value": 1}


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12))
def test_any_name_is_quoted_rightly(name: str) -> None:
    rows = pa.table({name: [1, 2]})
    assert reshaping.group_rows(rows, by=[name], measures={}).column_names == [name]


def test_columns_are_chosen_renamed_and_named_when_missing() -> None:
    assert tables.select_columns(ROWS, columns="n, name").column_names == ["n", "name"]
    assert tables.rename_columns(ROWS, names={"n": "number"}).column_names == ["name", "price", "number"]
    assert tables.rename_columns(ROWS, names={"n": "name", "name": "n"}).column_names == ["n", "price", "name"]
    with pytest.raises(ValueError, match=r"no column 'x'\. It has: name, price, n"):
        tables.select_columns(ROWS, columns="x")
    with pytest.raises(ValueError, match="Two columns would be called 'n'"):
        tables.rename_columns(ROWS, names={"name": "n"})
    with pytest.raises(ValueError, match="No column is given to keep"):
        tables.select_columns(ROWS, columns=[])


def test_sorting_is_stable_and_puts_missing_values_last() -> None:
    rows = pa.table({"k": [2, 1, None, 2, 1], "i": [0, 1, 2, 3, 4]})
    assert tables.sort_rows(rows, by="k").column("i").to_pylist() == [1, 4, 0, 3, 2]
    assert tables.sort_rows(rows, by="k", descending=True).column("i").to_pylist() == [0, 3, 1, 4, 2]
    with pytest.raises(ValueError, match="no order"):
        tables.sort_rows(pa.table({"l": [[1], [2]]}), by="l")


def test_a_sample_depends_on_the_seed_alone() -> None:
    rows = pa.table({"i": list(range(1000))})
    first = tables.sample_rows(rows, n=10, seed=7).column("i").to_pylist()
    assert first == tables.sample_rows(rows, n=10, seed=7).column("i").to_pylist() == sorted(first)
    assert first != tables.sample_rows(rows, n=10, seed=8).column("i").to_pylist()
    assert tables.sample_rows(rows, n=5000).num_rows == 1000
    with pytest.raises(ValueError, match="0 or more"):
        tables.sample_rows(rows, n=-1)


def test_missing_values_part_a_table() -> None:
    rows = pa.table({"a": [1, None, 3], "x": [float("nan"), 1.0, 2.0]})
    every = tables.drop_missing(rows)
    assert (every.kept.column("a").to_pylist(), every.dropped.num_rows) == ([3], 2)
    assert tables.drop_missing(rows, columns="a").kept.num_rows == 2
    assert tables.drop_missing(pa.table({})).kept.num_rows == 0


def test_a_column_is_added_or_replaced() -> None:
    assert tables.add_column(ROWS, name="twice", expression="n * 2").column("twice").to_pylist() == [2, 4, 6]
    assert tables.add_column(ROWS, name="n", expression="n * 2").column("n").to_pylist() == [2, 4, 6]
    with pytest.raises(ValueError, match="There is a column 'n'"):
        tables.add_column(ROWS, name="N", expression="1")
    with pytest.raises(ValueError, match="name is empty"):
        tables.add_column(ROWS, name="", expression="1")
    assert tables.count_rows(ROWS) == 3


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("inner", [("b", 2, 20), ("b", 2, 21)]),
        ("left", [("a", 1, None), ("b", 2, 20), ("b", 2, 21)]),
        ("right", [("b", 2, 20), ("b", 2, 21), ("c", None, 30)]),
        ("full", [("a", 1, None), ("b", 2, 20), ("b", 2, 21), ("c", None, 30)]),
        ("semi", [("b", 2)]),
        ("anti", [("a", 1)]),
    ],
)
def test_tables_are_joined_every_way_in_a_fixed_order(how: Any, expected: list[tuple[Any, ...]]) -> None:
    left = pa.table({"k": ["a", "b"], "v": [1, 2]})
    right = pa.table({"k": ["b", "b", "c"], "w": [20, 21, 30]})
    assert [tuple(row.values()) for row in reshaping.join_tables(left, right, on="k", how=how).to_pylist()] == expected
    with pytest.raises(ValueError, match="no column 'v'"):
        reshaping.join_tables(left, right, on="v")
    with pytest.raises(ValueError, match="No column is given to join on"):
        reshaping.join_tables(left, right, on="")


def test_groups_are_measured() -> None:
    rows = pa.table({"g": ["b", "a", "b"], "v": [1, 2, 3]})
    assert reshaping.group_rows(rows, by="g", measures="n=count(*), mean=avg(v)").to_pylist() == [
        {"g": "a", "n": 1, "mean": 2.0},
        {"g": "b", "n": 2, "mean": 2.0},
    ]
    assert reshaping.group_rows(rows).to_pylist() == [{"n": 3}]
    assert reshaping.group_rows(rows, measures={"all": "string_agg(g, ',' ORDER BY v)"}).to_pylist() == [
        {"all": "b,a,b"}
    ]
    for wrong, said in (("mean", "not like"), ("g=count(*)", "called like"), ("n=count(", "Measure")):
        with pytest.raises((ValueError, TetherFailed), match=said):
            reshaping.group_rows(rows, by="g", measures=wrong)
    with pytest.raises(ValueError, match="nothing to group by"):
        reshaping.group_rows(rows, measures="")


def test_measures_are_split_outside_of_brackets_and_quotes() -> None:
    assert measures_of("""a=coalesce(x, 1), b=string_agg(y, ','), c=x = 'a,b'""") == {
        "a": "coalesce(x, 1)",
        "b": "string_agg(y, ',')",
        "c": "x = 'a,b'",
    }


def test_tables_are_put_below_each_other_whatever_they_come_as() -> None:
    table, rows, frame = pa.table({"a": [1]}), [{"a": 2, "b": "x"}], pd.DataFrame({"a": [3.5]})
    found = reshaping.concat_tables([table, rows], frame, None, [])
    assert found.to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.0, "b": "x"}, {"a": 3.5, "b": None}]
    assert reshaping.concat_tables().num_rows == 0
    assert len(as_tables([[[table, table]], [rows]])) == 3
    with pytest.raises(ValueError, match="don't fit below each other"):
        reshaping.concat_tables(table, [{"a": "text"}])


def test_pivot_and_unpivot() -> None:
    rows = pa.table({"c": ["O", "O", "R"], "y": [1, 2, 2], "v": [3, 5, 2]})
    wide = reshaping.pivot_rows(rows, by="c", columns="y", values="v")
    assert wide.to_pylist() == [{"c": "O", "1": 3, "2": 5}, {"c": "R", "1": None, "2": 2}]
    assert reshaping.unpivot_rows(wide, keep="c", names_to="y", values_to="v").num_rows == 3
    with pytest.raises(ValueError, match="nothing to unpivot"):
        reshaping.unpivot_rows(rows, keep=["c", "y", "v"])
    with pytest.raises(ValueError, match="a column 'c' already"):
        reshaping.unpivot_rows(rows, keep="c", names_to="c")
    many = pa.table({"k": [1] * 300, "c": list(range(300)), "v": [1] * 300})
    with pytest.raises(ValueError, match="300 values"):
        reshaping.pivot_rows(many, by="k", columns="c", values="v")


def test_names_are_made_to_differ() -> None:
    assert unique(["", "a", "A", "a_2", "a"]) == ["column_1", "a", "A_2", "a_2_2", "a_3"]
