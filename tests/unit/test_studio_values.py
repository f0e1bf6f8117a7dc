"""How values are shown, without a browser: what they are, what is left out, and that hostile text stays text."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pandas as pd
import panel as pn
import pyarrow as pa
import pytest
from bokeh.models import ColumnDataSource

import engine as treadle
from engine.domain.runs import StoredValue
from studio.values import ValueState, stored_view, value_view
from studio.values.charts import chart_of, draw, note_of, series_of, suggestion
from studio.values.kinds import kind_of, modes_of
from studio.values.tables import MOST_ROWS, table_of, table_view
from studio.values.texts import Pruned, csv_bytes, report_view, text_view

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # Bokeh 3.9 on pandas 3.1

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(1)</script>'
ROWS = [
    {"species": "Adelie", "n": 146, "mass": 3700.66},
    {"species": "Chinstrap", "n": 68, "mass": None},
    {"species": "Gentoo", "n": 119, "mass": 5092.4},
]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "nothing"),
        (3, "scalar"),
        ("Adelie", "scalar"),
        ("one\ntwo", "text"),
        ("# A report\n\nwith words", "report"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "report"),
        ("price - 2 * 3 is 6\nand so on", "text"),
        (ROWS, "table"),
        ([1, 2], "json"),
        ([], "json"),
        ({"a": 1}, "json"),
        (b"\x00", "bytes"),
        (pa.table({"a": [1]}), "table"),
        (pd.DataFrame({"a": [1]}), "table"),
        ({"chart": "bar", "x": "a", "y": "b", "data": []}, "chart"),
        ({"chart": "pie", "data": []}, "json"),
    ],
)
def test_a_value_is_what_a_person_would_call_it(value: Any, kind: str) -> None:
    assert kind_of(value) == kind


def test_a_table_without_numbers_offers_no_plot() -> None:
    assert modes_of(ROWS) == ("Table", "Plot", "JSON")
    assert modes_of([{"a": "x"}]) == ("Table", "JSON")


class TestTables:
    """Frames as they are shown."""

    def test_columns_have_types_and_numbers_stand_at_the_right(self) -> None:
        table = table_of(ROWS)
        assert [(column.title, column.type, column.align) for column in table.columns] == [
            ("species", "text", "left"),
            ("n", "whole number", "right"),
            ("mass", "number", "right"),
        ]
        assert table.caption == "3 rows · 3 columns"

    def test_what_a_browser_would_round_is_text(self) -> None:
        table = table_of(pa.table({"big": [2**60, 1]}))
        assert list(table.frame["c0"]) == [str(2**60), "1"]
        assert table.columns[0].align == "right"

    def test_nested_cells_times_and_gaps_are_text(self) -> None:
        table = table_of([{"a": {"b": [1]}, "t": None, "x": b"abc"}, {"a": None, "t": "2026-01-01", "x": None}])
        assert table.frame.to_numpy().tolist() == [['{"b": [1]}', "–", "3 bytes"], ["–", "2026-01-01", "–"]]

    def test_equal_column_names_and_strange_ones_are_kept_apart(self) -> None:
        table = table_of(pd.DataFrame([[1, 2, 3]], columns=["a", "a", "a.b"]))
        assert [column.title for column in table.columns] == ["a", "a", "a.b"]
        assert table.frame.to_numpy().tolist() == [[1, 2, 3]]

    def test_only_so_many_rows_are_taken_and_it_says_so(self) -> None:
        table = table_of(pa.table({"a": range(MOST_ROWS + 5)}))
        assert len(table.frame) == MOST_ROWS
        assert table.caption == "100,005 rows · 1 column · the first 100,000 are shown"

    def test_titles_are_escaped_for_the_widget(self) -> None:
        widget = table_view(table_of([{HOSTILE: 1}]))
        assert isinstance(widget, pn.widgets.Tabulator)
        assert "<" not in "".join([*widget.titles.values(), *widget.header_tooltips.values()])

    @pytest.mark.parametrize(
        ("title", "cells", "form"),
        [
            ("n", [12345], "0,0"),
            ("year", [2024], "0"),
            ("birthYear", [2024.0, None], "0"),
            ("pid", [12345], "0"),
            ("runId", [12345], "0"),
            ("paid", [12345], "0,0"),
            ("year_share", [0.25], "0,0.0000"),
        ],
    )
    def test_quantities_have_thousands_and_names_have_not(self, title: str, cells: list[Any], form: str) -> None:
        widget = table_view(table_of([{title: cell} for cell in cells]))
        assert isinstance(widget, pn.widgets.Tabulator)
        assert widget.formatters["c0"].format == form

    def test_large_tables_are_paged_on_the_server(self) -> None:
        widget = table_view(table_of(pa.table({"a": range(10_000)})), rows=10)
        assert isinstance(widget, pn.widgets.Tabulator)
        assert (widget.pagination, widget.page_size) == ("remote", 10)

    def test_csv_runs_nothing(self) -> None:
        assert csv_bytes(pa.table({"=a": ["=1+1", "x"]})) == b"'=a\n'=1+1\nx\n"


class TestCharts:
    """Charts read and drawn."""

    CHART: ClassVar = {"chart": "bar", "title": "Mass", "x": "species", "y": ["mass"], "series": None, "data": ROWS}

    def test_points_without_a_number_are_left_out(self) -> None:
        (points,) = series_of(chart_of(self.CHART))
        assert (points.name, points.x, points.y) == ("mass", ["Adelie", "Gentoo"], [3700.66, 5092.4])

    def test_an_unknown_column_is_named(self) -> None:
        with pytest.raises(ValueError, match="'weight', which its data does not have"):
            chart_of({**self.CHART, "y": ["weight"]})

    def test_nothing_to_draw_is_said(self) -> None:
        with pytest.raises(ValueError, match="nothing to draw"):
            draw(chart_of({**self.CHART, "data": []}), dark=False)

    @pytest.mark.parametrize("kind", ["bar", "line", "scatter", "histogram"])
    def test_every_kind_is_drawn_in_the_colours_of_the_studio(self, kind: str) -> None:
        plot = draw(chart_of({**self.CHART, "chart": kind, "x": "n" if kind != "histogram" else "mass"}), dark=True)
        colours = {getattr(one.glyph, "fill_color", None) or one.glyph.line_color for one in plot.renderers}
        assert colours == {"#8ea2ff"}

    def test_a_table_suggests_the_chart_that_suits_it(self) -> None:
        chart = suggestion(ROWS)
        assert chart is not None
        assert (chart.kind, chart.x, chart.y) == ("bar", "species", ("n",))
        assert suggestion([{"a": "x"}]) is None

    def test_many_points_are_thinned_and_it_says_so(self) -> None:
        chart = chart_of({"chart": "scatter", "x": "a", "y": "a", "data": [{"a": place} for place in range(9_000)]})
        plot = draw(chart, dark=False)
        source = plot.renderers[0].data_source
        assert isinstance(source, ColumnDataSource)
        assert len(source.data["x"]) == 5_000
        assert note_of(chart) == "5,000 of 9,000 points are drawn, evenly chosen."


class TestTexts:
    """Texts, reports and trees."""

    def test_a_report_shows_no_html_no_script_and_no_picture(self) -> None:
        text = f"# Title\n\n{HOSTILE}\n\n![chart](https://evil.example/x.png) [a](javascript:alert(1)) [b](https://example.org)"
        page = str(report_view(text).object)
        assert "<script>" not in page
        assert "<img" not in page
        assert 'href="javascript' not in page
        assert 'href="https://example.org" rel="noopener noreferrer nofollow"' in page

    def test_a_long_text_is_cut_and_says_so(self) -> None:
        page = str(text_view("x" * 1_000_000).object)
        assert len(page) < 60_000
        assert "The first 40,000 of 1,000,000 characters" in page

    def test_a_tree_is_thinned_out_and_counts_what_is_left_out(self) -> None:
        pruned = Pruned({"long": list(range(1_000)), "not a number": float("nan"), "text": "x" * 5_000})
        assert len(pruned.value["long"]) == 100
        assert pruned.left_out == 901
        assert json.loads(json.dumps(pruned.value, allow_nan=False))["not a number"] == "nan"


class TestViews:
    """The view of a value."""

    @pytest.mark.parametrize("value", [None, 1, "a", "# a", "a\nb", b"a", ROWS, {"a": HOSTILE}, [], TestCharts.CHART])
    def test_every_value_has_a_view(self, value: Any) -> None:
        assert value_view(value, summary=HOSTILE).get_root() is not None

    def test_the_caption_says_how_much_there_is(self) -> None:
        assert ValueState("a\nb").caption == "3 characters · 2 lines"
        assert ValueState(TestCharts.CHART).caption == "bar chart of 3 rows"
        assert ValueState(b"abc").caption == "3 B"

    def test_a_chosen_plot_replaces_the_suggested_one(self) -> None:
        state = ValueState(ROWS)
        state.suggested()
        state.param.update(chart="scatter", x="n", y="mass")
        drawn = state.drawing()
        assert (drawn.kind, drawn.x, drawn.y) == ("scatter", "n", ("mass",))

    def test_a_damaged_value_is_a_card_with_the_reason(self) -> None:
        lost = StoredValue(media_type="application/json", sha256="ab" * 32, size_bytes=70_000, summary="9 items")
        with treadle.open("memory:") as engine:
            view = stored_view(engine, lost)
        assert "tr-error" in view.css_classes
