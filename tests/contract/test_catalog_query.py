"""People's own SELECTs over the views of docs/sql.md."""

import re
from pathlib import Path

import pytest

from engine.domain.runs import Attempt
from engine.domain.writes import InsertModel, InsertVersion, PutEntity, PutRun, PutSteps, Record
from engine.errors import QueryRefused
from engine.storage.sql.duckdb import open_duckdb
from engine.storage.sql.postgres import open_postgres
from engine.storage.sql.views import NAMES
from tests.contract.samples import at, draft, entities, everything, run, step, version

GUIDE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text("utf-8")
PAGE = re.compile(r"^```sql\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.*) \|$", re.MULTILINE)


@pytest.fixture(params=["duckdb", "postgres"])
def sql_catalog(request, tmp_path):
    if request.param == "duckdb":
        opened = open_duckdb(tmp_path / "store.duckdb")
    else:
        opened = open_postgres(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture
def history(sql_catalog):
    attempts = tuple(
        Attempt(number=number, started_at=at(number), ended_at=at(number + 1), status=status, error=error)
        for number, status, error in ((1, "failed", "once"), (2, "succeeded", None))
    )
    sql_catalog.commit(
        InsertModel(model=everything()),
        InsertVersion(version=version("1.2.3", of="m-all")),
        PutRun(run=run(1, started_at=at(1), ended_at=at(3), status="failed")),
        PutSteps(steps=(step("a", attempts=attempts, status="succeeded"), step("b", status="failed", error="no"))),
        *(PutEntity(entity=entity) for entity in entities()),
        Record(draft=draft()),
    )
    return sql_catalog


@pytest.mark.parametrize("view", NAMES)
def test_every_view_gives_rows(history, view):
    found = history.query(f"SELECT * FROM {view}")
    assert found.columns
    assert found.rows or view == "edits"


@pytest.mark.parametrize("sql", PAGE.findall(GUIDE))
def test_the_questions_of_the_guide_are_answered(history, sql):
    assert history.query(sql).columns


def test_the_guide_names_every_view_and_column(history):
    told = {name: re.sub(r" \([^)]*\)", "", columns) for name, columns in ROW.findall(GUIDE)}
    assert told == {view: ", ".join(history.query(f"SELECT * FROM {view}", limit=0).columns) for view in NAMES}


def test_a_query_counts_what_failed(history):
    found = history.query("SELECT status, count(*) AS n FROM steps GROUP BY status ORDER BY status")
    assert found == (("status", "n"), [("failed", 1), ("succeeded", 1)])


def test_attempts_are_rows_with_times_in_utc(history):
    found = history.query("SELECT path, number, status, error, ended_at FROM attempts ORDER BY number")
    assert found.rows == [("a", 1, "failed", "once", at(2)), ("a", 2, "succeeded", None, at(3))]
    assert found.rows[0][-1].tzname() == "UTC"


def test_values_of_json_have_their_types(history):
    assert history.query("SELECT id, type, base, interactions, source, target FROM links").rows == [
        ("l1", "triggers", 0.1, 7, "m1", "s")
    ]
    assert history.query("SELECT enabled FROM agents").rows == [(False,)]
    assert history.query("SELECT duration_s FROM runs").rows == [(120.0,)]


def test_a_limit_cuts_off(history):
    assert len(history.query("SELECT * FROM nodes", limit=2).rows) == 2


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM runs", "only SELECT|read-only|DELETE"),
        ("SELECT 1; SELECT 2", "2 statements|one at a time|multiple commands"),
        ("", "0 statements|one at a time"),
        ("-- nothing", "0 statements|one at a time"),
        ("SELEC 1", "SELEC"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 1/'a'", "a"),
        ("COPY runs TO '/tmp/x'", "COPY|only SELECT"),
        ("ATTACH '/tmp/x.db' AS y", "ATTACH|only SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv|external|disabled"),
        ("INSERT INTO main.settings VALUES ('a', '1')", "INSERT|only SELECT"),
        ("SET schema = 'main'", "SET|only SELECT"),
    ],
)
def test_anything_but_one_right_select_is_refused(history, sql, reason):
    before = history.head()
    with pytest.raises(QueryRefused, match=reason):
        history.query(sql)
    assert history.head() == before
    assert history.query("SELECT 1").rows == [(1,)]
    history.commit(Record(draft=draft(2)))


def test_a_store_that_speaks_no_sql_says_so(catalog):
    if catalog.describe()["kind"] in ("duckdb", "postgres"):
        return
    with pytest.raises(QueryRefused, match="no SQL"):
        catalog.query("SELECT 1")
