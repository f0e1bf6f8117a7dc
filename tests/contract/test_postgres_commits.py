"""Commits to Postgres by several programs and over connections that break: nothing is lost and nothing done twice."""

import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import psutil
import psycopg
import pytest
from sqlalchemy import text

from engine.domain.queries import EntryQuery, RunQuery
from engine.domain.writes import InsertBatch, InsertModel, PutSetting, PutSteps, Record, UpdateModel
from engine.errors import NotCanonical, StaleRevision, StoreConflict, StoreCorrupted, StoreUnreachable
from engine.storage.sql import postgres as adapter
from engine.storage.sql.postgres import open_postgres
from engine.storage.sql.postgres_blobs import PostgresBlobs
from tests.contract.laws import verified
from tests.contract.samples import batch, draft, model, step
from tests.servers import new_folder, postmaster_of, start_postgres
from tests.servers_proxy import Proxy
from tests.threads import together

ROOT = Path(__file__).parents[2]
COMMIT = b"COMMIT\x00"
"""As the protocol has it: BEGIN says READ COMMITTED."""
OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
def catalog(postgres_url):
    opened = open_postgres(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def proxy(postgres):
    made = Proxy(postgres.port)
    yield made
    made.close()


@pytest.fixture
def through_proxy(postgres, postgres_url, proxy):
    opened = open_postgres(postgres.url(database_of(postgres_url), port=proxy.port))
    yield opened
    opened.close()


def database_of(url):
    return url.rpartition("/")[2]


def test_idle_connections_that_were_ended_are_replaced_unseen(postgres, postgres_url, catalog):
    catalog.commit(Record(draft=draft()))
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM ({OTHERS})", database=database_of(postgres_url))
    assert catalog.head().sequence == 1
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM ({OTHERS})", database=database_of(postgres_url))
    catalog.commit(Record(draft=draft(2)))
    assert catalog.head().sequence == 2


def test_a_connection_ended_in_the_middle_of_a_transaction_is_begun_again(postgres, postgres_url, catalog):
    ended = []

    def work(connection):
        connection.execute(text("INSERT INTO settings (key, value) VALUES ('k', '1')"))
        if not ended:
            ended.append(connection.execute(text("SELECT pg_backend_pid()")).scalar())
            postgres.run(f"SELECT pg_terminate_backend({ended[0]})", database=database_of(postgres_url))
        return connection.execute(text("SELECT count(*) FROM settings")).scalar()

    assert catalog.database.writing(work) == 1
    assert catalog.setting("k") == 1


def test_a_transaction_ended_again_and_again_is_given_up(postgres, postgres_url, catalog):
    def work(connection):
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        postgres.run(f"SELECT pg_terminate_backend({pid})", database=database_of(postgres_url))
        connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnreachable, match="ended the connection"):
        catalog.database.writing(work)


@pytest.mark.parametrize("answer_only", [True, False])
def test_a_commit_without_an_answer_is_done_exactly_once(monkeypatch, proxy, through_proxy, catalog, answer_only):
    asked, ask = [], through_proxy.database._was_done
    monkeypatch.setattr(through_proxy.database, "_was_done", lambda number: asked.append(ask(number)) or asked[-1])
    proxy.lose(COMMIT, answer_only=answer_only)
    (made,) = through_proxy.commit(InsertModel(model=model()), Record(draft=draft()))
    assert proxy.lost.is_set()
    assert asked == [answer_only]
    assert (made.sequence, catalog.head().sequence, catalog.model("m1")) == (1, 1, model())
    assert catalog.entries() == [made]
    assert verified(catalog).ok


def test_a_commit_nobody_knows_of_is_told_as_such_and_not_repeated(monkeypatch, proxy, through_proxy, catalog):
    monkeypatch.setattr(adapter, "_IN_DOUBT_S", 0.5)
    proxy.lose(COMMIT, answer_only=True, and_all_after=True)
    with pytest.raises(StoreUnreachable, match="not known whether it was"):
        through_proxy.commit(Record(draft=draft()))
    assert catalog.head().sequence == 1
    assert verified(catalog).ok


def test_a_read_whose_connection_breaks_is_done_once_more(proxy, through_proxy):
    through_proxy.commit(Record(draft=draft()))
    proxy.lose(b"count", answer_only=True)
    count = through_proxy.database.read(lambda c: c.execute(text("SELECT count(*) FROM ledger")).scalar())
    assert (count, proxy.lost.is_set()) == (1, True)


def test_a_server_that_is_gone_is_told(postgres, proxy, through_proxy):
    proxy.lose(b"ledger_head", answer_only=False, and_all_after=True)
    with pytest.raises(StoreUnreachable):
        through_proxy.commit(Record(draft=draft()))
    with pytest.raises(StoreUnreachable):
        through_proxy.head()


def test_a_server_killed_and_started_again_has_every_acknowledged_commit():
    folder = new_folder()
    server = start_postgres(folder, fsync=True)
    catalog = open_postgres(server.url())
    for number in range(1, 4):
        catalog.commit(Record(draft=draft(number)))
        # the death of one of its processes makes the server end all connections and recover from its log
        kill_checkpointer(postmaster_of(folder))
        until = time.monotonic() + 60
        while True:
            try:
                assert catalog.head().sequence == number
                break
            except StoreUnreachable:
                assert time.monotonic() < until
                time.sleep(0.1)
    assert verified(catalog).ok
    catalog.close()


def kill_checkpointer(postmaster):
    """Kill it and return when the first process has taken note of it."""
    until = time.monotonic() + 60
    while not (found := [child for child in postmaster.children() if "checkpointer" in " ".join(child.cmdline())]):
        assert time.monotonic() < until
        time.sleep(0.05)
    found[0].kill()
    psutil.wait_procs(found, timeout=60)


def write_on(url):
    """Commit again and again and print each sequence once it is acknowledged: what the child process does."""
    catalog = open_postgres(url)
    while True:
        number = catalog.head().sequence + 1
        catalog.commit(
            PutSteps(steps=tuple(step(f"s{each}", of=f"r{number}", started=each) for each in range(5))),
            InsertBatch(batch=batch(number), revision=number),
            Record(draft=draft(number)),
        )
        print(number, flush=True)


@pytest.mark.ci
def test_programs_killed_at_any_moment_lose_no_acknowledged_commit(postgres_url, catalog):
    chance = random.Random(20)
    command = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from tests.contract.test_postgres_commits import write_on; print(0, flush=True); write_on(sys.argv[1])"
    )
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", command, postgres_url], stdout=subprocess.PIPE, cwd=ROOT) as child:
            lines = [child.stdout.readline(), child.stdout.readline()]
            time.sleep(chance.uniform(0, 0.1))
            child.kill()
            lines += child.stdout.read().splitlines(keepends=True)
        acknowledged = max(int(line) for line in lines if line.endswith(b"\n"))
        head = catalog.head().sequence
        assert head >= acknowledged
        assert [revision for revision, _ in catalog.batches("m1")] == list(range(1, head + 1))
        assert len(catalog.steps(f"r{head}")) == 5
        assert verified(catalog).ok


@pytest.mark.parametrize("models", [1, 8])
def test_eight_programs_lose_no_update(postgres_url, models):
    catalogs = [open_postgres(postgres_url) for _ in range(8)]
    catalogs[0].commit(*(InsertModel(model=model(number, description="0")) for number in range(models)))

    def count_up(index):
        for _ in range(25):
            while not try_once(catalogs[index], f"m{index % models}"):
                pass

    def try_once(catalog, key):
        old = catalog.model(key)
        new = old.changed(revision=old.revision + 1, description=str(int(old.description) + 1))
        try:
            catalog.commit(
                UpdateModel(model=new, expected_revision=old.revision),
                Record(draft=draft(new.revision, entity=key)),
            )
        except StaleRevision:
            return False
        return True

    together(*(lambda index=index: count_up(index) for index in range(8)))
    kept = [catalogs[0].model(f"m{number}") for number in range(models)]
    assert [(each.description, each.revision) for each in kept] == [(str(200 // models), 200 // models)] * models
    assert (verified(catalogs[0]).ok, catalogs[0].head().sequence) == (True, 200)
    for catalog in catalogs:
        catalog.close()


def test_two_followers_never_skip_or_repeat(postgres_url):
    writers, followers = [[open_postgres(postgres_url) for _ in range(number)] for number in (4, 2)]
    seen, done = [[], []], Event()

    def write(index):
        for number in range(1, 51):
            writers[index].commit(*(Record(draft=draft(number, entity=f"m{index}")) for _ in range(1 + number % 3)))

    def follow(index):
        position = 0
        while not (done.is_set() and position == followers[index].head().sequence):
            if found := followers[index].news(position, 0.2):
                seen[index] += found
                position = found[-1].sequence

    followers_at_work = [Thread(target=follow, args=(index,)) for index in range(2)]
    for thread in followers_at_work:
        thread.start()
    together(*(lambda index=index: write(index) for index in range(4)))
    done.set()
    for thread in followers_at_work:
        thread.join()
    total = 4 * sum(1 + number % 3 for number in range(1, 51))
    for found in seen:
        assert [entry.sequence for entry in found] == list(range(1, total + 1))
    assert seen[0] == seen[1] == writers[0].entries(EntryQuery(limit=total))
    for each in (*writers, *followers):
        each.close()


def test_news_of_another_program_comes_at_once_and_of_another_organization_never(postgres_url, catalog):
    other, foreign = open_postgres(postgres_url), open_postgres(postgres_url, organization="acme")
    assert not catalog.news(0, 0.01)
    moments = []

    def follow():
        assert catalog.news(0, 30)
        moments.append(time.monotonic())

    thread = Thread(target=follow)
    thread.start()
    foreign.commit(Record(draft=draft()))
    assert not catalog.news(0, 0.3)
    other.commit(Record(draft=draft()))
    committed = time.monotonic()
    thread.join()
    assert moments[0] - committed < 1
    other.close()
    foreign.close()


def test_news_go_on_after_the_connection_that_listens_was_lost(postgres, postgres_url, catalog):
    assert not catalog.news(0, 0.1)
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM ({OTHERS})", database=database_of(postgres_url))
    catalog.commit(Record(draft=draft()))
    assert catalog.news(0, 10)
    for number in (1, 2):
        waiting = Thread(target=catalog.news, args=(number, 10))
        waiting.start()
        catalog.commit(Record(draft=draft(number)))
        waiting.join(9)
        assert not waiting.is_alive()


def test_closing_wakes_who_waits(postgres_url):
    catalog, told = open_postgres(postgres_url), []

    def wait():
        try:
            catalog.news(0, 60)
        except StoreUnreachable as error:
            told.append(str(error))

    thread = Thread(target=wait)
    thread.start()
    while catalog.database._news is None:
        time.sleep(0.01)
    catalog.close()
    thread.join(10)
    assert "it was closed" in told[0]


def test_a_deadlock_is_resolved_by_repeating(postgres_url):
    first, second = open_postgres(postgres_url), open_postgres(postgres_url)
    first.commit(PutSetting(key="a", value=0), PutSetting(key="b", value=0))
    keys = {first: ("a", "b"), second: ("b", "a")}
    together(
        *(
            lambda catalog=catalog: [
                catalog.commit(*(PutSetting(key=key, value=number) for key in keys[catalog])) for number in range(1, 9)
            ]
            for catalog in keys
        )
    )
    assert (first.setting("a"), first.setting("b")) == (8, 8)
    first.close()
    second.close()


def test_a_name_taken_behind_our_back_is_a_conflict(postgres, postgres_url, catalog):
    catalog.commit(InsertModel(model=model(1, name="Same")))
    copied = "UPDATE models SET name_key = 'same' WHERE id = 'm2'"
    catalog.commit(InsertModel(model=model(2, name="Other")))
    with pytest.raises(StoreConflict):
        catalog.database.writing(lambda connection: connection.execute(text(copied)))


def test_keys_of_any_length_are_kept(catalog):
    long = "a\\b/" * 5_000
    catalog.commit(PutSetting(key=long, value=1), PutSteps(steps=(step(long, node="n"), step(long + "x", node="n"))))
    catalog.commit(PutSetting(key=long, value=2), PutSteps(steps=(step(long, node="n", status="failed"),)))
    assert catalog.setting(long) == 2
    assert [(each.path == long, each.status) for each in catalog.steps("r1")] == [(True, "failed"), (False, "pending")]


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800"])
def test_what_no_text_of_postgres_can_hold_is_refused_and_never_found(catalog, odd):
    with pytest.raises(NotCanonical):
        catalog.commit(PutSetting(key=odd, value=1))
    assert catalog.setting(odd) is None
    assert catalog.model(odd) is None
    assert catalog.entries(EntryQuery(entity=odd)) == []
    assert catalog.runs(RunQuery(model=odd)) == []


def test_a_long_ledger_is_read_in_pages(catalog, postgres_url):
    catalog.commit(*(Record(draft=draft(1 + number % 59)) for number in range(12_000)))
    found = verified(catalog)
    assert (found.ok, found.entries) == (True, 12_000)
    with catalog.ledger() as (_, rows):
        assert next(rows).sequence == 1
    with psycopg.connect(postgres_url) as raw:
        assert raw.execute(f"SELECT count(*) FROM ({OTHERS} AND state LIKE 'idle in%')").fetchone() == (0,)


def test_a_damaged_blob_is_told_and_mended_by_keeping_the_value_again(postgres, postgres_url, catalog):
    blobs = PostgresBlobs(catalog.database)
    name = blobs.put(b"precious")
    for damaged in ("precioux", ""):
        postgres.run(f"UPDATE treadle.blobs SET data = '{damaged}'", database=database_of(postgres_url))
        with pytest.raises(StoreCorrupted, match="not those it names"):
            blobs.get(name)
        assert blobs.put(b"precious") == name
        assert blobs.get(name) == b"precious"
    assert blobs.names() == [name]
