"""The run page without a browser: rows, bars, the critical path, what a step was given, why a run failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import engine as treadle
from engine.domain.events import Draft
from engine.domain.model import FunctionModel
from engine.domain.runs import Attempt, Run, Step
from engine.domain.writes import PutRun, PutSteps, Record
from engine.engine import Engine
from engine.errors import RunNotFound
from engine.execution.values import store
from engine.ledger.chain import patch
from engine.storage.memory_journal import MemoryBlobs
from engine.system import SystemClock
from studio.runs.provenance import RunModels
from studio.runs.run_state import ROWS_A_PAGE, RunState
from studio.runs.timeline import arrange, bars, change, critical_path

BEGAN = datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC)
RATE_LIMITED = "RateLimited: 429 after 1.31 s · Retry-After 30 · request 8f2c41d0"
HOSTILE = '<img src=x onerror="window.hacked=1"><b>bold</b>'
_blobs = MemoryBlobs()
_clock = SystemClock()


def penguins(name: str = "Penguin field report") -> FunctionModel:
    """A model with every kind of thing the run page shows."""

    def action(key: str, label: str, stage: str, kind: str = "tetherNode", **more: Any) -> dict[str, Any]:
        ports = {"inputs": [{"name": "rows"}], "outputs": [{"name": "rows"}]}
        bound = {"reference": "clean"} if kind in ("tetherNode", "kbNode") else {}
        return {"kind": kind, "id": key, "name": label, "parent": stage, **bound, **ports, **more}

    def wire(source: str, target: str) -> dict[str, Any]:
        return {
            "id": f"{source}-{target}",
            "source": source,
            "source_port": "rows",
            "target": target,
            "target_port": "rows",
        }

    contract = {"type": "object", "properties": {"rows": {"type": "array", "format": "table"}}}
    return FunctionModel.from_json(
        {
            "format": "treadle/1",
            "id": "penguins",
            "name": name,
            "description": "Cleans the field table, groups it and writes a summary.",
            "nodes": [
                {"kind": "ioNode", "id": "in", "name": "Field table", "boundary": "input", "input_contract": contract},
                {"kind": "stageNode", "id": "prepare", "name": "Prepare", "mode": "sequential"},
                action("clean", "Clean rows", "prepare", order=0),
                action("group", "Group by species", "prepare", order=1, binding="sql", parameters={"sql": "select 1"}),
                {"kind": "stageNode", "id": "explain", "name": "Explain"},
                action("notes", "Species notes", "explain", "kbNode"),
                action("write", "Write summary", "explain", "agentNode", capabilities=["write"]),
                {"kind": "ioNode", "id": "out", "name": "Report", "boundary": "output", "output_contract": contract},
            ],
            "wires": [
                wire("in", "clean"),
                wire("clean", "group"),
                wire("group", "notes"),
                wire("group", "write"),
                wire("write", "out"),
            ],
        }
    )


def at(seconds: float) -> datetime:
    """A moment of the run."""
    return BEGAN + timedelta(seconds=seconds)


def attempt(
    number: int, start: float, end: float | None, status: str = "succeeded", error: str | None = None
) -> Attempt:
    """One try, in seconds of the run."""
    key = f"0192f7/{number}"
    return Attempt(
        number=number,
        started_at=at(start),
        ended_at=None if end is None else at(end),
        status=status,
        error=error,
        idempotency_key=key,
    )


def step(run: str, path: str, name: str, *attempts: Attempt, status: str = "succeeded", **more: Any) -> Step:
    """One step of a run."""
    node = path.rpartition("/")[2]
    return Step(
        run=run,
        path=path,
        node=node,
        name=name,
        kind=more.pop("kind", "tetherNode"),
        status=status,
        attempts=attempts,
        **more,
    )


TABLE = [
    {"species": "Adelie", "n": 146, "bill_length_mm": 38.8, "body_mass_g": 3701},
    {"species": "Chinstrap", "n": 68, "bill_length_mm": 48.8, "body_mass_g": 3733},
    {"species": "Gentoo", "n": 119, "bill_length_mm": 47.6, "body_mass_g": 5092},
]


def steps_of(run: str, *, failed: bool) -> list[Step]:
    """The steps of the drawing: three done, one cached, one that failed three times, and two inside of it."""
    rows = {"rows": store(TABLE, _blobs)}
    found = [
        step(run, "clean", "Clean rows", attempt(1, 0.6, 2.1), outputs=rows, logs=("11 rows dropped",)),
        step(run, "group", "Group by species", attempt(1, 2.1, 4.1), outputs=rows),
        step(run, "notes", "Species notes", attempt(1, 4.1, 4.6), status="cached", kind="kbNode", outputs=rows),
        step(run, "write/route", "route to agent", attempt(1, 4.3, 4.8)),
    ]
    if not failed:
        return [*found, step(run, "write", "Write summary", attempt(1, 4.3, 6.0), kind="agentNode", outputs=rows)]
    tries = [attempt(1, 4.3, 6.6, "failed", RATE_LIMITED), attempt(2, 7.3, 9.3, "failed", RATE_LIMITED)]
    last = attempt(3, 10.3, 13.6, "failed", RATE_LIMITED)
    return [
        *found,
        step(run, "write", "Write summary", *tries, last, status="failed", kind="agentNode", error=RATE_LIMITED),
        step(run, "write/generate", "generate", attempt(1, 4.8, 6.6, "failed", "429"), status="succeeded"),
        step(run, "late", "Mail the report", status="cancelled"),
    ]


def keep_run(engine: Engine, model: FunctionModel, *,
             status: str = "succeeded", began: datetime = BEGAN, seconds: float = 13.6,
             steps: list[Step] | None = None, **more: Any) -> Run:  # fmt: skip
    """Put a run with its steps into the store, as a run that was sealed there."""
    identifier = _clock.new_id()
    ended = status in ("succeeded", "failed", "cancelled")
    outputs = {"rows": store(TABLE, _blobs), "report": store("# Penguins\n\nAll **well**.\n", _blobs)}
    run = Run(
        id=identifier, model=model.id, model_name=model.name, content_hash=model.content_hash, status=status,
        created_at=began, started_at=began, ended_at=began + timedelta(seconds=seconds) if ended else None,
        inputs={"rows": store(TABLE, _blobs)},
        outputs=outputs if status == "succeeded" else {},
        error=RATE_LIMITED if status == "failed" else None, merkle_root="ab" * 32 if ended else None,
        model_file={"model": model.to_json(), "nested": {}}, **more,
    )  # fmt: skip
    drawn = steps_of(identifier, failed=status == "failed") if steps is None else steps
    kept = [_moved(one, identifier, began - BEGAN) for one in drawn]
    run = run.model_copy(
        update={"steps_total": len(kept), "steps_done": sum(one.status == "succeeded" for one in kept)}
    )
    drafts = [
        Draft(ts=at_, actor="you", action=action, entity_kind="run", entity=run.id, run=run.id, patch=patch(*change_))
        for at_, action, change_ in (
            (began, "run.started", (None, {"status": "running", "model": model.id})),
            (
                began + timedelta(seconds=seconds),
                "run.ended",
                ({"status": "running"}, {"status": status, "error": run.error}),
            ),
        )
    ]
    engine._catalog.commit(PutRun(run=run), PutSteps(steps=tuple(kept)), *(Record(draft=draft) for draft in drafts))
    return run


def _moved(one: Step, run: str, by: timedelta) -> Step:
    tries = tuple(
        try_.model_copy(
            update={"started_at": try_.started_at + by, "ended_at": try_.ended_at + by if try_.ended_at else None}
        )
        for try_ in one.attempts
    )
    return one.model_copy(update={"run": run, "attempts": tries})


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine over a store in memory."""
    with treadle.open("memory:") as opened:
        yield opened


@pytest.fixture
def model(engine: Engine) -> FunctionModel:
    """The penguins, in the store."""
    return engine.models.add(penguins())


class TestTimeline:
    """Rows and bars."""

    def test_nested_steps_stand_below_the_step_they_belong_to(self) -> None:
        rows = arrange(steps_of("r", failed=True))
        assert [(row.step.path, row.depth) for row in rows] == [
            ("clean", 0),
            ("group", 0),
            ("notes", 0),
            ("write", 0),
            ("write/route", 1),
            ("write/generate", 1),
            ("late", 0),
        ]

    def test_items_of_a_list_stand_below_the_step_and_their_insides_below_them(self) -> None:
        paths = ["each", "each[0]", "each[0]/in", "each[1]", "each[1]/in", "other/deep/down"]
        rows = arrange([step("r", path, path, attempt(1, place, place + 1)) for place, path in enumerate(paths)])
        assert [row.depth for row in rows] == [0, 1, 2, 1, 2, 0]

    def test_each_attempt_is_a_bar_in_seconds_of_the_run(self) -> None:
        found = bars(arrange(steps_of("r", failed=True)), began=BEGAN, now=at(20))
        tries = [bar for bar in found if bar.name == "Write summary"]
        assert [(bar.start_s, bar.end_s, bar.tone) for bar in tries] == [
            (4.3, 6.6, "bad"),
            (7.3, 9.3, "bad"),
            (10.3, 13.6, "bad"),
        ]
        assert [bar.label for bar in tries] == ["attempt 1", "attempt 2", "attempt 3"]
        assert next(bar for bar in found if bar.name == "Species notes").tone == "idle"

    def test_a_bar_under_way_grows_by_a_patch_and_a_new_one_is_added(self) -> None:
        running = [step("r", "a", "A", attempt(1, 0, None, "running"), status="running")]
        before = bars(arrange(running), began=BEGAN, now=at(1))
        after = bars(arrange([*running, step("r", "b", "B", attempt(1, 2, 3))]), began=BEGAN, now=at(4))
        assert (before[0].end_s, after[0].end_s) == (1.0, 4.0)
        step_ = change(before, after)
        assert (step_.replace, step_.patched, step_.added) == (False, (0,), 1)
        assert change(after, before).replace

    def test_the_critical_path_is_the_longest_chain_that_waited(self) -> None:
        seconds, chain = critical_path(penguins(), steps_of("r", failed=True))
        assert chain == ("clean", "group", "write")
        assert seconds == pytest.approx(1.5 + 2.0 + 9.3)


class TestRunState:
    """The page's state."""

    def test_an_unknown_run_is_refused_by_name(self, engine: Engine) -> None:
        with pytest.raises(RunNotFound, match="nope"):
            RunState(engine, "nope")

    def test_a_failed_run_opens_at_the_step_that_failed_and_says_why(
        self, engine: Engine, model: FunctionModel
    ) -> None:
        state = RunState(engine, keep_run(engine, model, status="failed").id)
        failure = state.failure(state.history())
        assert state.selected == "write"
        assert failure is not None
        assert failure.heading == "Write summary failed after 3 attempts"
        assert (
            failure.sentence
            == "It was tried 3 times, as its retry policy says. 1 step was not started. What was done before is kept."
        )
        assert failure.error == RATE_LIMITED

    def test_it_says_how_often_the_same_failure_happened(self, engine: Engine, model: FunctionModel) -> None:
        for _ in range(3):
            run = keep_run(engine, model, status="failed")
        keep_run(engine, model, began=at(60))
        state = RunState(engine, run.id)
        history = state.history()
        failure = state.failure(history)
        assert failure is not None
        assert failure.same == 3
        assert history.sentence == "median 14 s · p95 14 s · 25 % succeeded"

    def test_inputs_come_from_the_wires_and_the_settings_from_the_node(
        self, engine: Engine, model: FunctionModel
    ) -> None:
        state = RunState(engine, keep_run(engine, model).id)
        (first,) = state.inputs("clean")
        (second,) = state.inputs("group")
        assert (first.port, first.origin) == ("rows", "input rows of the run")
        assert second.origin == "Clean rows → rows"
        assert state.value(second.stored) == TABLE
        assert state.models.settings("group") == {"sql": "select 1"}

    def test_kinds_are_said_in_words(self, engine: Engine, model: FunctionModel) -> None:
        state = RunState(engine, keep_run(engine, model).id)
        assert [state.models.kind_word(state.steps[path]) for path in ("clean", "group", "notes", "write")] == [
            "Function",
            "SQL query",
            "Knowledge",
            "Agent task",
        ]

    def test_a_run_without_an_end_that_nobody_runs_is_interrupted(self, engine: Engine, model: FunctionModel) -> None:
        run = keep_run(engine, model, status="running", steps=[])
        assert RunState(engine, run.id).status == "interrupted"

    def test_a_thousand_steps_are_shown_page_by_page(self, engine: Engine, model: FunctionModel) -> None:
        many = [step("r", f"s{place}", f"Step {place}", attempt(1, place, place + 1)) for place in range(1_000)]
        state = RunState(engine, keep_run(engine, model, steps=many).id)
        assert (len(state.rows), len(state.shown)) == (1_000, ROWS_A_PAGE)
        assert state.page_of("s450") == 2

    def test_the_ledger_entry_of_the_end_is_named(self, engine: Engine, model: FunctionModel) -> None:
        run = keep_run(engine, model)
        assert RunState(engine, run.id).ledger_entry() == engine.ledger.head().sequence

    def test_a_node_that_is_gone_has_no_place(self, engine: Engine, model: FunctionModel) -> None:
        models = RunModels(keep_run(engine, model), model)
        assert models.place("gone") is None
        assert models.inputs("gone/deeper", {}) == []
