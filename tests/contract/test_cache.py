"""Reads through a cache are what the catalog would say, whoever changed it, and mostly don't ask it."""

import socket
import subprocess
import time
from itertools import count
from threading import Event, Thread

import pytest

from engine.domain.queries import ModelQuery
from engine.domain.writes import InsertModel, InsertVersion, Record, UpdateModel
from engine.errors import SettingInvalid, StaleRevision
from engine.settings import Settings
from engine.storage.cache.catalog import CachedCatalog
from engine.storage.cache.codecs import MODEL, ROWS
from engine.storage.cache.memory import MemoryCache
from engine.storage.cache.redis import RedisCache
from engine.storage.memory import MemoryCatalog
from tests.contract.samples import at, draft, everything, model, version
from tests.servers import absent

names = count()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    import shutil

    if shutil.which("redis-server") is None:
        absent("redis", "Install it: apt-get install redis-server.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL) as server:
        for _ in range(200):
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture(params=["memory", "redis"])
def cache(request):
    made = MemoryCache() if request.param == "memory" else redis_cache(request.getfixturevalue("redis_url"))
    yield made
    made.close()


def redis_cache(url, prefix=None):
    return RedisCache(url, prefix=prefix or f"store {next(names)}")


def changed(kept, **fields):
    return kept.changed(revision=kept.revision + 1, **fields)


def test_what_is_kept_is_not_loaded_again(cache):
    loads = []

    def load():
        loads.append(1)
        return everything()

    for _ in range(5):
        assert cache.through("m", ["a"], load, MODEL, ttl_s=60) == everything()
    assert len(loads) == 1
    assert cache.figures()[1:] == (1, 4, 1)
    assert cache.figures().hit_ratio == 0.8
    cache.invalidate(["b"])
    cache.through("m", ["a"], load, MODEL, ttl_s=60)
    cache.invalidate(["a"])
    cache.through("m", ["a"], load, MODEL, ttl_s=60)
    assert len(loads) == 2


def test_nothing_is_a_value_too(cache):
    assert cache.through("m", [], lambda: None, MODEL, ttl_s=60) is None
    assert cache.through("m", [], everything, MODEL, ttl_s=60) is None


def test_what_was_loaded_before_an_invalidation_is_not_kept_after_it(cache):
    def load():
        cache.invalidate(["a"])  # somebody commits while the old value is on its way

    assert cache.through("m", ["a"], load, MODEL, ttl_s=60) is None
    assert cache.through("m", ["a"], everything, MODEL, ttl_s=60) == everything()


def test_a_value_goes_when_its_time_is_over(cache):
    assert cache.through("m", [], lambda: None, MODEL, ttl_s=0.001) is None
    time.sleep(0.01)
    assert cache.through("m", [], everything, MODEL, ttl_s=60) == everything()


def test_the_cache_in_memory_drops_what_was_not_used_for_longest():
    cache = MemoryCache(most_weight=3)
    for key in ("a", "b", "a", "c", "d"):
        cache.through(key, [], lambda: None, MODEL, ttl_s=60)
    assert cache.figures().entries == 3
    hits = cache.figures().hits
    cache.through("c", [], lambda: None, MODEL, ttl_s=60)
    assert cache.figures().hits == hits + 1
    cache.through("b", [], lambda: None, MODEL, ttl_s=60)
    assert cache.figures().hits == hits + 1
    assert cache.through("huge", [], everything, MODEL, ttl_s=60) == everything()
    assert cache.figures().entries == 3


def test_two_programs_share_what_redis_keeps_and_stores_stay_apart(redis_url):
    one, two, other = (redis_cache(redis_url, prefix) for prefix in ("same", "same", "other"))
    one.through("m", ["a"], everything, MODEL, ttl_s=60)
    assert two.through("m", ["a"], lambda: None, MODEL, ttl_s=60) == everything()
    assert other.through("m", ["a"], lambda: None, MODEL, ttl_s=60) is None
    two.invalidate(["a"])
    assert one.through("m", ["a"], lambda: None, MODEL, ttl_s=60) is None


def test_a_redis_that_does_not_answer_is_passed_by():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cache = redis_cache(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        for _ in range(20):
            assert cache.through("m", ["a"], everything, MODEL, ttl_s=60) == everything()
            cache.invalidate(["a"])
        assert time.monotonic() - begun < 2
        assert cache.figures() == ("redis", 0, 0, 20)


@pytest.mark.parametrize("url", ["http://x", "redis:/", "nothing"])
def test_a_wrong_setting_is_told(url):
    with pytest.raises(SettingInvalid, match="TREADLE_CACHE"):
        Settings.from_environment({"TREADLE_CACHE": url})


# ---- a catalog behind a cache -------------------------------------------------------------------------------------


class Counting:
    """Passes everything on and counts the reads."""

    def __init__(self, catalog):
        self._catalog, self.reads = catalog, 0

    def __getattr__(self, name):
        if name in ("model", "models", "model_named", "version", "versions"):
            self.reads += 1
        return getattr(self._catalog, name)


@pytest.fixture
def stored():
    catalog = MemoryCatalog()
    catalog.commit(InsertModel(model=model(1)), InsertModel(model=everything()), Record(draft=draft()))
    return Counting(catalog)


@pytest.fixture
def catalog(stored, cache):
    cached = CachedCatalog(stored, cache)
    yield cached
    cached.close()


def test_browsing_is_answered_from_the_cache(catalog, stored):
    for _ in range(10):
        assert len(catalog.models()) == 2
        assert catalog.model("m-all") == everything()
        assert catalog.model_named("everything").id == "m-all"
        assert catalog.versions("m1") == []
        assert catalog.model("nobody") is None
    assert stored.reads == 5
    assert catalog.describe()["cache"]["hit_ratio"] == 0.9


def test_ones_own_change_is_seen_at_once(catalog):
    first = catalog.model("m1")
    assert [row.revision for row in catalog.models(ModelQuery(text="model 1"))] == [0]
    catalog.commit(
        UpdateModel(model=changed(first, name="Renamed"), expected_revision=0), InsertVersion(version=version("1.0.0"))
    )
    assert catalog.model("m1").name == "Renamed"
    assert catalog.model_named("model 1") is None
    assert catalog.models(ModelQuery(text="model 1")) == []
    assert [str(one.number) for one in catalog.versions("m1")] == ["1.0.0"]


def test_a_change_of_somebody_else_is_seen_when_the_ledger_tells(catalog, stored):
    first = catalog.model("m1")
    entry = Record(draft=draft(2, entity="m1"))
    stored.commit(UpdateModel(model=changed(first, name="Theirs"), expected_revision=0), entry)
    deadline = time.monotonic() + 10
    while catalog.model("m1").name != "Theirs" and time.monotonic() < deadline:
        time.sleep(0.001)
    assert catalog.model("m1").name == "Theirs"
    assert catalog.model_named("theirs").id == "m1"


def test_a_save_on_top_of_something_old_is_refused_whatever_the_cache_says(catalog, stored):
    first = catalog.model("m1")
    stored.commit(UpdateModel(model=changed(first), expected_revision=0))
    with pytest.raises(StaleRevision):
        catalog.commit(UpdateModel(model=changed(first, name="Mine"), expected_revision=0))
    assert catalog.model("m1").revision == 1


def test_no_reader_sees_an_older_model_than_was_acknowledged_before_it_asked(catalog):
    stop, wrong, acknowledged = Event(), [], [0]

    def read():
        while not stop.is_set():
            known = acknowledged[0]
            found = catalog.model("m1").revision
            if found < known:
                wrong.append((known, found))

    readers = [Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    current = catalog.model("m1")
    for _ in range(200):
        following = changed(current)
        catalog.commit(UpdateModel(model=following, expected_revision=current.revision))
        assert catalog.model("m1") == following
        acknowledged[0] = following.revision
        current = following
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_lists_are_kept_whole(cache, stored):
    row = stored.models()[0]._replace(deleted_at=at(3), tags=("a", "é"))
    assert cache.through("l", [], lambda: [row], ROWS, ttl_s=9) == [row]
    assert cache.through("l", [], list, ROWS, ttl_s=9) == [row]
