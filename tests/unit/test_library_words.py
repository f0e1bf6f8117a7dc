"""The library's tethers that make reports, text, charts and values, wait, fail and look at the machine."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow as pa
import pytest

from engine.errors import ExpressionFailed, ExpressionInvalid, StepCancelled, TetherFailed
from engine.tethers import library
from engine.tethers.describe import describe
from engine.tethers.library import charts, flow, reports, system, text, values
from engine.tethers.library.plain import plain
from engine.tethers.registry import Registry

ROWS = pa.table({"day": [date(2026, 1, 2), date(2026, 1, 1)], "n": [2, 1], "who": ["Ada", "Bo"]})
ICONS = Path(__file__).parents[2] / "studio/components/flow_editor/node_modules/lucide-react/dist/esm/icons"


class Context:
    idempotency_key = "k"

    def __init__(self, attempt: int = 1) -> None:
        self.attempt = attempt
        self.cancelled = False
        self.shares: list[float] = []
        self.lines: list[str] = []

    def progress(self, share: float, text: str = "") -> None:
        self.shares.append(share)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def ask(self, question: str, options: list[str], **_: object) -> str:
        return options[0]

    def signal(self, name: str, **_: object) -> str:
        return f"what came with {name}"

    def sleep(self, seconds: float) -> None:
        self.lines.append(f"slept {seconds}")


def test_every_function_is_described_in_full() -> None:
    found = [describe(function) for function in library.functions()]
    references = [described.spec.reference for described in found]
    assert len(set(references)) == len(references) > 45
    for described in found:
        spec = described.spec
        assert spec.description.endswith("."), spec.reference
        assert spec.keywords
        assert spec.outputs
        assert all(port.description for port in spec.inputs), spec.reference
        assert all(setting.get("description") for setting in spec.settings["properties"].values()), spec.reference
        assert set(spec.example) <= {p.name for p in described.parameters} or spec.settings["additionalProperties"]


@pytest.mark.skipif(not ICONS.is_dir(), reason="needs the studio's node_modules")
def test_every_icon_is_one_of_lucide() -> None:
    missing = [f.__name__ for f in library.functions() if not (ICONS / f"{describe(f).spec.icon}.mjs").is_file()]
    assert missing == []


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/penguins.csv").write_text("a\n1\n")
    Path("data/settings.json").write_text("{}")
    Path("data/notes.md").write_text("x")
    registry = Registry()
    registry.function("files.write_parquet")({"rows": [{"a": 1}], "path": "data/rows.parquet"}, {}, Context())
    for described in map(describe, library.functions()):
        spec = described.spec
        if spec.binding == "http":  # its own tests call a server of their own
            continue
        settings = {k: v for k, v in spec.example.items() if k in spec.settings["properties"]}
        inputs = {k: v for k, v in spec.example.items() if k not in settings}
        given = registry.function(spec.reference)(inputs, settings, Context())
        assert set(given) == {port.name for port in spec.outputs}, spec.reference


def test_importing_the_library_loads_nothing_heavy() -> None:
    script = (
        "import sys, json, engine.tethers.library as library; library.functions(); "
        "heavy = ('pyarrow', 'pandas', 'duckdb', 'psutil', 'cel_expr_python'); "
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert all(importlib.import_module(name) for name in library.MODULES)


def test_a_report_shows_values_expressions_and_tables() -> None:
    report = reports.markdown(
        template="# {{ city }} {{ {'a': {'b': 2}}.a.b }}\n{{ rows }}\n{{ size(rows) }} rows, {{ total.price }}",
        city="Oslo",
        rows=ROWS,
        total={"price": 1234567.891},
    )
    assert report.startswith("# Oslo 2\n")
    assert "| day | n | who |\n| --- | ---: | --- |\n| 2026-01-02 | 2 | Ada |" in report
    assert report.endswith("2 rows, 1234567.89")


def test_data_brings_no_markup_into_a_report() -> None:
    evil = (
        "<script>alert(1)</script>\n\n# Big [x](javascript:alert(1)) ![i](http://e.x/?q) | `c` **b** &lt; https://e.x"
    )
    report = reports.markdown(template="{{ a }}\n{{ t }}", a=evil, t=[{evil: evil}])
    assert "<" not in report
    assert "\n# " not in report
    assert "https:" not in report
    assert "[x]" not in report.replace("\\[x\\]", "")
    assert report.count("\n| ") == 3
    assert reports.escaped("- a") == "&#45; a"
    assert reports.escaped("1. a") == "&#49;. a"
    assert reports.escaped("a_b*c") == "a\\_b\\*c"


def test_a_report_shows_the_first_rows_of_a_large_table_and_other_shapes() -> None:
    big = pa.table({"i": list(range(1000))})
    assert "50 of 1000 rows." in reports.shown(big)
    assert "50 of 1000 rows." in reports.shown(big.to_pandas())
    assert reports.shown([1, "a", None]) == "1, a, "
    assert "| name | value |" in reports.shown({"a": 1})
    assert reports.shown([ROWS, ROWS]).count("Ada") == 2
    assert "2026-01-01" in reports.shown(charts.line(ROWS, x="day", y="n", title="T"))
    assert [reports.cell(x) for x in (True, 0.1 + 0.2, 123.456, 0.0, float("nan"), 1e20, 1e-7)] == [
        "yes", "0.3", "123.46", "0", "", "1e+20", "1e-07",
    ]  # fmt: skip
    assert reports.shown([]) == ""
    assert reports.shown({}) == "no rows"


def test_numbers_of_a_report_are_read_as_written() -> None:
    """A year, a process id or a key has no thousands, and no one can tell it from a quantity."""
    years = pa.table({"year": [2024, None], "pid": [1234567, 9]})
    assert "| 2024 | 1234567 |" in reports.shown(years)
    assert "| 2024 | 1234567 |" in reports.shown(years.to_pandas())
    assert reports.cell(-12345) == "-12345"


@pytest.mark.parametrize(
    ("template", "kind", "said"),
    [
        ("a\n{{ b", TetherFailed, "line 2 is not closed"),
        ("{{  }}", TetherFailed, "line 1 is empty"),
        ("{{ nope }}", ExpressionInvalid, "nope"),
        ("{{ a.b.c }}", ExpressionFailed, "no field .b."),
    ],
)
def test_a_wrong_template_is_said(template: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        text.template(template=template, a={})


def test_a_template_is_filled_with_plain_text() -> None:
    filled = text.template(template="{{ a }} {{ '}}' }} {{ o }} {{ 1 + 1 }} {x}", a="<b>", o={"k": [1, None]})
    assert filled == '<b> }} {"k": [1, null]} 2 {x}'


def test_text_is_split_joined_changed_and_hashed() -> None:
    assert text.split("a, b,,c", separator=",") == ["a", "b", "c"]
    assert text.split("a\r\n\nb") == ["a", "b"]
    assert text.split("a,,b", separator=",", keep_empty=True) == ["a", "", "b"]
    assert text.join(["a", 1, None, True, [1]], separator="-") == "a-1--true-[1]"
    assert [text.change_case("aDA b", to=to) for to in ("lower", "upper", "title", "sentence")] == [
        "ada b", "ADA B", "Ada B", "Ada b",
    ]  # fmt: skip
    assert text.hash_text("").startswith("e3b0c44298fc")


def test_patterns_take_time_that_grows_with_the_text_alone() -> None:
    assert text.regex_extract("A-1 B-22", pattern=r"[A-Z]-(\d+)", group=1) == ("1", ["1", "22"])
    assert text.regex_extract("none", pattern=r"\d") == ("", [])
    started = time.monotonic()
    assert text.regex_extract("a" * 50_000, pattern="(a+)+$|(a|a)*b").first
    assert time.monotonic() - started < 3
    with pytest.raises(TetherFailed, match="Pattern: "):
        text.regex_extract("a", pattern="(")


def test_charts_have_the_agreed_shape() -> None:
    chart = charts.line(ROWS, x="day", y="n", series="who", title="T")
    assert chart == {
        "chart": "line", "title": "T", "x": "day", "y": "n", "series": "who",
        "data": [{"day": "2026-01-01", "n": 1, "who": "Bo"}, {"day": "2026-01-02", "n": 2, "who": "Ada"}],
    }  # fmt: skip
    assert set(charts.histogram(ROWS, x="n")) == set(charts.bar(ROWS, x="who", y="n")) == set(chart)
    with pytest.raises(ValueError, match="'who' holds string, not numbers"):
        charts.scatter(ROWS, x="n", y="who")
    with pytest.raises(ValueError, match="no column 'z'"):
        charts.bar(ROWS, x="z", y="n")


def test_a_large_chart_is_thinned_and_says_so() -> None:
    context = Context()
    chart: Any = charts.scatter(pa.table({"x": range(25_000), "y": range(25_000)}), x="x", y="y", context=context)
    assert len(chart["data"]) == 10_000
    assert "10,000 of 25,000" in context.lines[0]


def test_the_first_value_that_is_there_joins_branches() -> None:
    assert values.first_given(None, 0, 1) == 0
    assert values.first_given() is None
    assert values.constant(value=[1]) == [1]
    assert values.to_list(1, "a") == [1, "a"]
    assert values.merge_objects({"a": 1, "b": 1}, {"b": 2}) == {"a": 1, "b": 2}


def test_parts_are_picked_or_named_when_missing() -> None:
    assert values.pick({"a": {"b": [1, 2]}}, path="a.b.-1") == 2
    assert values.pick(ROWS, path="0.who") == "Ada"
    assert values.pick(5, path="") == 5
    assert values.pick({}, path="a", must_exist=False, default=7) == 7
    for value, path, said in (
        ({"a": {"x": 1}}, "a.b", "no 'b' in a; there is x"),
        ([1], "3", "there is a list of 1"),
        (1, "a", "a int, which has no parts"),
    ):
        with pytest.raises(ValueError, match=said):
            values.pick(value, path=path)


def test_the_first_attempts_fail() -> None:
    for attempt in (1, 2):
        with pytest.raises(TetherFailed, match=rf"attempt {attempt}, the first 2 fail"):
            flow.fail_first("v", context=Context(attempt))
    assert flow.fail_first("v", context=Context(3)) == "v"


def test_waiting_reports_and_ends_when_cancelled() -> None:
    context = Context()
    assert flow.sleep("v", seconds=0.12, context=context) == "v"
    assert context.shares[-1] == 1.0
    assert len(context.shares) >= 3
    context.cancelled = True
    with pytest.raises(StepCancelled):
        flow.sleep("v", seconds=60, context=context)
    assert flow.sleep(1, seconds=0) == 1


def test_the_machine_is_read() -> None:
    assert 0 <= system.cpu(seconds=0.05)["percent"] <= 100
    assert system.memory()["total_bytes"] > 0
    assert system.host()["cores"] >= 1
    assert system.disks().num_rows >= 1
    found = system.processes(top=3)
    assert 1 <= found.num_rows <= 3
    assert found.column_names[:2] == ["pid", "name"]
    assert "port" in system.listening_ports().column_names


def test_what_may_not_be_read_becomes_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psutil.AccessDenied(1)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(psutil, "net_connections", refuse)
    monkeypatch.setattr(psutil, "disk_usage", denied)
    monkeypatch.setattr(psutil, "swap_memory", denied)
    info = dict.fromkeys(("name", "username", "memory_percent", "memory_info"))
    hidden = SimpleNamespace(info={"pid": 7, **info}, cpu_percent=refuse)
    monkeypatch.setattr(psutil, "process_iter", lambda *_, **__: [hidden])
    assert "more rights" in system.listening_ports().to_pylist()[0]["note"]
    assert "Permission denied" in system.disks().to_pylist()[0]["note"]
    assert system.memory()["swap_percent"] is None
    assert "more rights" in system.processes(top=1).to_pylist()[0]["note"]


def test_listening_ports_are_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def one(kind: int, port: int, status: str, pid: int | None) -> SimpleNamespace:
        return SimpleNamespace(
            type=kind, laddr=SimpleNamespace(ip="127.0.0.1", port=port), raddr=(), status=status, pid=pid
        )

    monkeypatch.setattr(psutil, "net_connections", lambda kind: [
        one(socket.SOCK_STREAM, 80, psutil.CONN_LISTEN, None), one(socket.SOCK_STREAM, 81, "ESTABLISHED", 1),
        one(socket.SOCK_DGRAM, 53, psutil.CONN_NONE, 2**22 + 1),
    ])  # fmt: skip
    found = system.listening_ports().to_pylist()
    assert [(row["port"], row["protocol"], row["program"]) for row in found] == [(53, "udp", None), (80, "tcp", None)]


def test_measures_are_judged() -> None:
    disks = pa.table({"mount": ["/", "/x"], "percent": [85.0, None]})
    found = system.judge({"percent": 95}, {"percent": 50}, disks, disk_percent=90)
    assert [(row["what"], row["verdict"]) for row in found.to_pylist()] == [
        ("processor", "bad"), ("memory", "ok"), ("disk /", "warn"), ("disk /x", "warn"),
    ]  # fmt: skip
    assert system.judge().num_rows == 0


def test_values_too_deep_for_json_are_said() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(TetherFailed, match="nests deeper"):
        plain(deep)
