"""`treadle bench stores`: what one store costs with 10,000 models of 30 nodes and 1,000,000 finished steps in it.

Times of catalog operations are the 95th percentile; the goal of DESIGN section 10 stands in the floor's place, so a
ratio under 1 keeps it. Filling the store comes first and takes minutes.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

from engine.benchmarks import Figure
from engine.domain.edits import Move
from engine.domain.events import Draft
from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Stage, Tether
from engine.domain.queries import ModelQuery
from engine.domain.runs import Attempt, Run, Step
from engine.domain.values import Port, Position
from engine.domain.writes import InsertModel, PutRun, PutSteps, Record
from engine.execution.scribe import Scribe
from engine.models import Models
from engine.ports import Catalog
from engine.settings import Settings
from engine.storage.cache.catalog import CachedCatalog
from engine.storage.cache.memory import MemoryCache
from engine.system import SystemClock
from engine.wiring import Stores, open_engine, open_stores

_NODES = 30
_OPENED = 20
_START = datetime(2026, 1, 1, tzinfo=UTC)
_HISTORY = """
    SELECT name, status, count(*) AS n, avg(duration_s) AS mean_s, max(duration_s) AS longest_s
    FROM steps GROUP BY name, status ORDER BY n DESC
"""
_JOURNAL_US = {"duckdb": 8, "postgres": 60}
_SPEAKS_SQL = ("duckdb", "postgres")
_STEPS_A_RUN = 10_000
_SWEEP = 500
"""Steps that a run writes at once, at most."""


def measure_store(
    url: str | None = None,
    *,
    models: int = 10_000,
    steps: int = 1_000_000,
    asked: int = 200,
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[Figure]:
    """Fill an empty store and measure each operation `asked` times; `told` hears what goes on.

    None for `url`: a DuckDB file, deleted afterwards.
    """
    with _settings(url) as (place, settings):
        stores = open_stores(place, settings)
        try:
            ids = _fill_models(stores.catalog, models, told)
            _fill_steps(stores.catalog, steps, told)
            told("measuring")
            kind = str(stores.catalog.describe()["kind"])
            with open_engine(place, settings=settings) as engine:
                found = _figures(kind, stores, engine.models, ids, asked)
                yield from (
                    Figure(f"{kind}.{case}", value, unit, goal, value / goal if goal else None)
                    for case, value, unit, goal in found
                )
        finally:
            stores.close()


def _figures(
    kind: str, stores: Stores, models: Models, ids: list[str], asked: int
) -> Iterator[tuple[str, float, str, float | None]]:
    dice = random.Random(7)  # noqa: S311  (an order, not a secret)
    catalog = stores.catalog
    yield "read_model", _p95_ms(_times(lambda: catalog.model(dice.choice(ids)), asked)), "ms p95", 10
    yield "save_edit", _p95_ms(_saving(models, ids, asked)), "ms p95", 20
    yield "search_text", _p95_ms(_times(_searching(catalog, ids, dice), asked)), "ms p95", 50
    yield "publish_event", _p95_ms(_publishing(catalog, asked)), "ms p95", 5
    if kind in _SPEAKS_SQL:
        goal = 200 if kind == "duckdb" else None
        yield "history_1m", 1000 * statistics.median(_times(lambda: catalog.query(_HISTORY), 5)), "ms", goal
    yield "journal_step", _journal_us(stores, 250 * asked), "us a step", _JOURNAL_US.get(kind)
    yield "cache_misses", _browsing(stores, models, ids, 5 * asked), "share", 0.2


def model_of(number: int, nodes: int = _NODES) -> FunctionModel:
    """Return a model of `nodes` nodes in a row, with words of its own to look for."""
    rows = (Port(name="rows"),)
    made: dict[str, Stage | Tether] = {"work": Stage(id="work", name="Work")}
    for place in range(nodes - 1):
        name = f"n{place}"
        made[name] = Tether(
            id=name, name=f"Step {number}.{place}", parent="work", reference="tables.filter", order=place,
            position=Position(x=200.0 * place), parameters={"where": f"value > {place}"},
            inputs=rows, outputs=rows,
        )  # fmt: skip
    wires = {
        f"w{place}": Wire(
            id=f"w{place}", source=f"n{place}", source_port="rows", target=f"n{place + 1}", target_port="rows"
        )
        for place in range(nodes - 2)
    }
    return FunctionModel(
        id=f"bench-{number:06}", name=f"Benchmark {number}", description="What is measured", nodes=made, wires=wires
    )


def _fill_models(catalog: Catalog, count: int, told: Callable[[str], None]) -> list[str]:
    ids: list[str] = []
    for start in range(0, count, 100):
        some = [model_of(number) for number in range(start, min(start + 100, count))]
        catalog.commit(*(InsertModel(model=model) for model in some), Record(draft=_draft(some[0].id, "model.created")))
        ids += [model.id for model in some]
        if start % 1_000 == 0:
            told(f"{start:,} of {count:,} models")
    return ids


def _fill_steps(catalog: Catalog, count: int, told: Callable[[str], None]) -> None:
    dice = random.Random(11)  # noqa: S311  (durations, not secrets)
    for start in range(0, count, _STEPS_A_RUN):
        run = f"run-{start // _STEPS_A_RUN:06}"
        begun = _START + timedelta(minutes=start // _STEPS_A_RUN)
        some = tuple(_step(run, number, begun, dice) for number in range(min(_STEPS_A_RUN, count - start)))
        kept = Run(
            id=run, model="bench-000000", model_name="Benchmark 0", content_hash="0" * 64, status="succeeded",
            created_at=begun, started_at=begun, ended_at=begun + timedelta(seconds=50), steps_total=len(some),
            steps_done=len(some),
        )  # fmt: skip
        catalog.commit(PutRun(run=kept), PutSteps(steps=some))
        if start % 100_000 == 0:
            told(f"{start:,} of {count:,} steps")


def _step(run: str, number: int, begun: datetime, dice: random.Random) -> Step:
    started = begun + timedelta(milliseconds=number)
    failed = dice.random() < 0.01
    attempt = Attempt.model_construct(
        number=1,
        started_at=started,
        ended_at=started + timedelta(milliseconds=dice.randrange(1, 5_000)),
        status="failed" if failed else "succeeded",
        error="It failed" if failed else None,
        idempotency_key="",
    )
    return Step.model_construct(
        run=run, path=f"n{number}", node=f"n{number}", name=f"Step {number % 50}", kind="tetherNode",
        status=attempt.status, attempts=(attempt,), outputs={}, error=attempt.error, reason=None, logs=(),
    )  # fmt: skip


def _searching(catalog: Catalog, ids: list[str], dice: random.Random) -> Callable[[], object]:
    return lambda: catalog.models(ModelQuery(text=f"step {dice.randrange(len(ids))}.7"))


def _saving(models: Models, ids: list[str], asked: int) -> list[float]:
    """Return the seconds of saves as the studio asks for them: twenty models, each open in an editor for ten edits."""
    taken: list[float] = []
    for model in (models.get(reference) for reference in random.Random(3).sample(ids, _OPENED)):  # noqa: S311
        revision = model.revision
        for _ in range(max(1, asked // _OPENED)):
            edit = Move(id="n3", to=Position(x=float(revision)))
            begun = time.perf_counter()
            revision = models.save(model.id, [edit], base_revision=revision, name="Move").revision
            taken.append(time.perf_counter() - begun)
    return taken


def _publishing(catalog: Catalog, asked: int) -> list[float]:
    """Return the seconds from the end of a commit to its entry in a subscriber's hands."""
    taken: list[float] = []
    for _ in range(asked):
        position = catalog.head().sequence
        arrived: list[float] = []

        def follow(position: int = position, arrived: list[float] = arrived) -> None:
            if catalog.news(position, 10):
                arrived.append(time.perf_counter())

        subscriber = Thread(target=follow)
        subscriber.start()
        catalog.commit(Record(draft=_draft("bench", "model.edited")))
        done = time.perf_counter()
        subscriber.join()
        taken.append(max(0.0, arrived[0] - done))
    return taken


def _journal_us(stores: Stores, count: int) -> float:
    """Return the microseconds that a run's journal costs a step without effects, written as runs write: in groups."""
    scribe = Scribe("bench", SystemClock(), stores.blobs, stores.journal)
    begun = time.perf_counter()
    ticket = 0
    for number in range(count):
        scribe.plain(f"n{number}", begun, begun, {"result": number}, None)
        if number % _SWEEP == _SWEEP - 1:
            ticket = scribe.flush()
    stores.journal.sync(max(ticket, scribe.flush()))
    seconds = time.perf_counter() - begun
    stores.journal.forget("bench")
    return 1e6 * seconds / count


def _browsing(stores: Stores, models: Models, ids: list[str], looks: int) -> float:
    """Return the share of reads that the cache does not answer while ten people look at lists, models and versions.

    Half of what they open is among ten models, as usual; each hundredth time somebody saves one of them.
    """
    cache = MemoryCache()
    catalog = CachedCatalog(stores.catalog, cache)
    dice = random.Random(5)  # noqa: S311  (a habit, not a secret)
    popular, some = ids[:10], ids[:100]
    for look in range(looks):
        if look % 10 == 0:
            catalog.models(ModelQuery(limit=50))
        model = dice.choice(popular if dice.random() < 0.5 else some)
        catalog.model(model)
        catalog.versions(model)
        if look % 100 == 99:
            of = models.get(model)
            models.save(model, [Move(id="n3", to=Position(y=float(look)))], base_revision=of.revision)
    misses = 1 - cache.figures().hit_ratio
    catalog.close()  # the store's too: this case comes last
    return misses


def _p95_ms(seconds: list[float]) -> float:
    return 1000 * sorted(seconds)[int(len(seconds) * 0.95)]


def _times(call: Callable[[], object], count: int) -> list[float]:
    found: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return found


def _draft(entity: str, action: str) -> Draft:
    return Draft.model_validate(
        {"ts": datetime.now(UTC), "actor": "bench", "action": action, "entity_kind": "model", "entity": entity}
    )


@contextmanager
def _settings(url: str | None) -> Generator[tuple[str, Settings]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(Settings.from_environment({}), home=Path(folder))
        yield url or f"duckdb:///{folder}/bench.duckdb", settings
