"""The library's tethers that read and write files."""

from __future__ import annotations

import stat
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from engine.errors import NotJson, TetherFailed
from engine.execution.invocation import Context
from engine.tethers import Registry
from engine.tethers.library import files, places


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def _csv(text: str | bytes, **settings: object) -> pa.Table:
    Path("in.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return files.read_csv(Path("in.csv"), **settings)


def test_kinds_are_found_out_and_missing_values_are_missing() -> None:
    rows = _csv("n,x,t,d\n1,NA,a,2026-01-02\n2,1.5,,2026-01-03\n")
    assert rows.to_pylist() == [
        {"n": 1, "x": None, "t": "a", "d": date(2026, 1, 2)},
        {"n": 2, "x": 1.5, "t": None, "d": date(2026, 1, 3)},
    ]


def test_codes_stay_text_when_asked() -> None:
    assert _csv("code,n\n007,1\n", as_text="code").to_pylist() == [{"code": "007", "n": 1}]


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("a;b\n1;2\n", {"delimiter": ";"}, {"a": [1], "b": [2]}),
        ("1,2\n3,4\n", {"has_header": False}, {"column_1": [1, 3], "column_2": [2, 4]}),
        (",a,A,a\n0,1,2,3\n", {}, {"column_1": [0], "a": [1], "A_2": [2], "a_3": [3]}),
        ("\ufeffa,b\n1,2\n", {}, {"a": [1], "b": [2]}),
        ("\n\na,b\n1,2\n", {}, {"a": [1], "b": [2]}),
        ('"a\nb",c\n"x\ny",2\n', {}, {"a\nb": ["x\ny"], "c": [2]}),
        ("a,b\n", {}, {"a": [], "b": []}),
        ("a\r\n1\r\n", {}, {"a": [1]}),
        ("ä\nö\n".encode("latin-1"), {"encoding": "latin-1"}, {"ä": ["ö"]}),
        ("a,b\n-,2\n", {"missing": ("-",)}, {"a": [None], "b": [2]}),
    ],
)
def test_csv_of_many_shapes(text: str | bytes, settings: dict[str, object], expected: dict[str, list[object]]) -> None:
    assert _csv(text, **settings).to_pydict() == expected


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("", {}, "in.csv is empty"),
        ("a,b\n1,2,3\n", {}, "Expected 2 columns, got 3"),
        (b"a\n\xff\xfe\n", {}, "can't be read as CSV"),
        ("a\n1\n", {"encoding": "klingon"}, "klingon"),
    ],
)
def test_what_is_not_csv_is_said(text: str | bytes, settings: dict[str, object], said: str) -> None:
    with pytest.raises(TetherFailed, match=said):
        _csv(text, **settings)


def test_a_delimiter_is_one_character() -> None:
    with pytest.raises(ValueError, match="not one character"):
        _csv("a\n", delimiter=";;")


def test_a_table_comes_back_from_csv_as_it_was() -> None:
    rows = pa.table(
        {
            "n": [1, None, 3],
            "x": [0.1, 1e300, None],
            "b": [True, False, None],
            "t": ["plain", 'with "quotes", commas\nand lines', None],
            "d": [date(2026, 1, 2), None, date(2026, 1, 3)],
        }
    )
    files.write_csv(rows, Path("out.csv"))
    assert files.read_csv(Path("out.csv")).to_pylist() == rows.to_pylist()


def test_formulas_are_shielded_unless_told_otherwise() -> None:
    rows = pa.table({"=h": ["=1+1", "@x", "-2", "\tx", "ok"], "n": [-1, -2, -3, -4, -5]})
    files.write_csv(rows, Path("safe.csv"))
    assert Path("safe.csv").read_text() == "'=h,n\n'=1+1,-1\n'@x,-2\n'-2,-3\n'\tx,-4\nok,-5\n"
    files.write_csv(rows, Path("raw.csv"), escape_formulas=False)
    assert Path("raw.csv").read_text().startswith("=h,n\n=1+1,-1\n")


def test_nested_and_odd_values_are_written_as_json_and_text() -> None:
    rows = pa.table({"l": [[1, 2]], "o": [{"a": "ü"}], "d": [Decimal("1.50")], "b": [b"\x00"]})
    files.write_csv(rows, Path("out.csv"))
    assert Path("out.csv").read_text() == 'l,o,d,b\n"[1, 2]","{""a"": ""ü""}",1.5,AA==\n'


def test_a_missing_file_is_named() -> None:
    with pytest.raises(TetherFailed, match=r"There is no file data/x\.csv\. Check the path\.$"):
        files.read_csv(Path("data/x.csv"))


def test_the_current_folder_comes_before_the_roots(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.txt").write_text("root")
    read = Registry(roots=[tmp_path / "root"]).function("files.read_text")
    assert read({"path": "a.txt"}, {}, Context("run", "x", 1, None)) == {"text": "root"}
    Path("a.txt").write_text("here")
    assert read({"path": "a.txt"}, {}, Context("run", "x", 1, None)) == {"text": "here"}


def test_a_folder_is_no_file_and_an_empty_path_is_none() -> None:
    with pytest.raises(TetherFailed, match="is a folder"):
        files.read_text(Path())
    with pytest.raises(TetherFailed, match="empty"):
        places.resolve("")


def test_writing_makes_folders_and_leaves_nothing_behind() -> None:
    assert files.write_text("hé", Path("new/deep/a.txt")) == "new/deep/a.txt"
    assert files.read_text(Path("new/deep/a.txt")) == "hé"
    assert [path.name for path in Path("new/deep").iterdir()] == ["a.txt"]
    assert stat.S_IMODE(Path("new/deep/a.txt").stat().st_mode) & 0o400


def test_a_write_that_fails_keeps_the_old_file() -> None:
    Path("a.txt").write_text("old")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        message = "disk full"
        raise OSError(28, message)

    with pytest.raises(TetherFailed, match=r"a\.txt can't be written: disk full"):
        places.replace("a.txt", fail)
    assert Path("a.txt").read_text() == "old"
    assert [path.name for path in Path().iterdir()] == ["a.txt"]
    with pytest.raises(TetherFailed, match="can't be written"):
        files.write_text("x", Path("a.txt/b.txt"))
    with pytest.raises(TetherFailed, match="is a folder"):
        files.write_text("x", Path())


def test_parquet_round_trip_and_columns() -> None:
    rows = pa.table({"a": [1, 2], "b": [["x"], None]})
    assert files.write_parquet(rows, Path("a.parquet")) == "a.parquet"
    assert files.read_parquet(Path("a.parquet")).equals(rows)
    assert files.read_parquet(Path("a.parquet"), columns="b").column_names == ["b"]
    with pytest.raises(ValueError, match="no column 'c'"):
        files.read_parquet(Path("a.parquet"), columns=["c"])
    Path("b.parquet").write_text("no")
    with pytest.raises(TetherFailed, match="can't be read as Parquet"):
        files.read_parquet(Path("b.parquet"))


def test_json_is_strict_in_and_plain_out() -> None:
    files.write_json({"rows": pa.table({"d": [date(2026, 1, 2)]}), "x": float("nan")}, Path("a.json"))
    assert files.read_json(Path("a.json")) == {"rows": [{"d": "2026-01-02"}], "x": None}
    Path("b.json").write_text('{"a": 1, "a": 2}')
    with pytest.raises(NotJson, match=r"b\.json is not valid JSON.*stands twice"):
        files.read_json(Path("b.json"))
    with pytest.raises(TetherFailed, match="object, which JSON can't hold"):
        files.write_json(object(), Path("c.json"))
    with pytest.raises(TetherFailed, match="surrogate"):
        files.write_json("\ud800", Path("c.json"))
    assert not Path("c.json").exists()


def test_files_are_listed_sorted_by_pattern() -> None:
    for name in ("b.csv", "a.csv", "c.txt", "deep/d.csv"):
        files.write_text("", Path("data") / name)
    assert files.list_files(Path("data"), pattern="*.csv") == ["data/a.csv", "data/b.csv"]
    assert files.list_files(Path("data"), pattern="**/*.csv")[-1] == "data/deep/d.csv"
    with pytest.raises(TetherFailed, match="leads out"):
        files.list_files(Path("data"), pattern="../*")
    with pytest.raises(TetherFailed, match="is a file"):
        files.list_files(Path("data/a.csv"))


def test_text_of_another_encoding_is_said() -> None:
    Path("a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(TetherFailed, match="not text in utf-8"):
        files.read_text(Path("a.txt"))
