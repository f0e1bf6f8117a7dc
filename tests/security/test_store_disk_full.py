"""A disk that fills up while a store is written: what was acknowledged stays, the rest is told in one sentence."""

import random
import subprocess
from dataclasses import replace

import pytest

from engine.domain.writes import PutSetting, Record
from engine.errors import JournalBroken, StoreUnreachable
from engine.ledger.verification import verify
from engine.ports import JournalRecord
from engine.settings import Settings
from engine.wiring import open_stores
from tests.contract.samples import draft

DISK_BYTES, BALLAST_BYTES = 16_000_000, 9_000_000
"""A store takes 4 MB before anything is in it. The ballast is what is thrown away to make room."""
MOST = 3_000


@pytest.fixture
def disk(tmp_path):
    """Mount a small disk of its own, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"A small disk can't be mounted here (it needs the superuser): {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Written:
    """Stores on a disk, and what was acknowledged of what was written to them."""

    def __init__(self, disk):
        self._disk, self._noise = disk, random.Random(11)
        self._commits, self._records, self._blobs = [], [], []
        self.told = {}
        self.opened = self._open()

    def _open(self):
        settings = replace(Settings.from_environment({}), home=self._disk / "home")
        return open_stores(f"duckdb:///{self._disk / 'store.duckdb'}", settings)

    def open_again(self):
        self.opened.close()
        self.opened = self._open()

    def commit(self, number):
        text = self._noise.randbytes(5_000).hex()
        self.opened.catalog.commit(PutSetting(key=f"k{number}", value=text), Record(draft=draft()))
        self._commits.append((f"k{number}", text))

    def append(self, number):
        record = JournalRecord("r1", "done", f"p{number}", 1, number, self._noise.randbytes(10_000))
        self.opened.journal.sync(self.opened.journal.append(record))
        self._records.append(record)

    def put(self, number):
        data = self._noise.randbytes(20_000 + number)
        self._blobs.append((self.opened.blobs.put(data), data))

    def until_refused(self, work):
        """Do `work` until the disk is full; keep what was said."""
        for number in range(MOST):
            try:
                work(number)
            except (StoreUnreachable, JournalBroken) as error:
                self.told[work.__name__] = str(error)
                return number
        pytest.fail("the disk was never full")

    def check(self):
        """Look whether everything that was acknowledged is there."""
        kept = self.opened.catalog.settings()
        assert {key: kept.get(key) for key, _ in self._commits} == dict(self._commits)
        with self.opened.catalog.ledger() as (head, rows):
            found = verify(rows, head)
        assert found.ok
        assert found.entries >= len(self._commits)
        assert self.opened.journal.read("r1")[: len(self._records)] == self._records
        for sha256, data in self._blobs:
            assert self.opened.blobs.get(sha256) == data


@pytest.mark.parametrize("first", ["commit", "append", "put"])
@pytest.mark.parametrize("threshold", ["16MB", "300KB"], ids=["in its log", "in a checkpoint"])
def test_a_full_disk_loses_nothing_and_is_told(disk, first, threshold):
    (disk / "ballast").write_bytes(bytes(BALLAST_BYTES))
    written = Written(disk)
    written.opened.catalog.database._handle.cursor().execute(f"SET GLOBAL checkpoint_threshold = '{threshold}'")
    works = {"commit": written.commit, "append": written.append, "put": written.put}
    assert written.until_refused(works.pop(first)) > 0
    for work in works.values():
        written.until_refused(work)
    assert [words for words in written.told.values() if "the disk is full; make room" not in words] == []
    assert all(str(disk) in words for words in written.told.values())

    (disk / "ballast").unlink()
    written.commit(MOST)
    written.put(MOST)
    written.open_again()
    written.check()
    for work in (written.commit, written.append, written.put):
        work(MOST + 1)
    written.open_again()
    written.check()
    written.opened.close()


def test_a_store_is_not_half_made_on_a_full_disk(disk):
    filling = disk / "ballast"
    filling.write_bytes(bytes(DISK_BYTES - 1_000_000))
    with pytest.raises(StoreUnreachable, match="the disk is full; make room"):
        Written(disk)
    assert [each.name for each in disk.iterdir() if each.name != "home"] == ["ballast"]
    filling.unlink()
    written = Written(disk)
    written.commit(1)
    written.open_again()
    written.check()
    written.opened.close()
