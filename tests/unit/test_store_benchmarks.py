"""What 'treadle bench stores' measures."""

from __future__ import annotations

from engine.store_benchmarks import measure_store


def test_every_figure_of_a_store_is_measured_against_its_goal() -> None:
    heard: list[str] = []
    found = list(measure_store(models=100, steps=50, asked=4, told=heard.append))
    cases = ("read_model", "save_edit", "search_text", "publish_event", "history_1m", "journal_step", "cache_misses")
    assert [figure.case for figure in found] == [f"duckdb.{case}" for case in cases]
    assert all(figure.value > 0 and figure.ratio == figure.value / figure.floor for figure in found)
    assert heard[-1] == "measuring"
