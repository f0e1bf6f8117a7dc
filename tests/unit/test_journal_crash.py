"""A process killed at any moment loses no record that sync() answered for; another process takes its runs over."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from engine.ports import JournalRecord
from engine.storage.journal_sqlite import SqliteJournal
from engine.storage.process import Owner, is_alive, this_process

ROOT = Path(__file__).parents[2]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom engine.ports import JournalRecord\nfrom engine.storage.journal_sqlite import SqliteJournal\njournal = SqliteJournal(sys.argv[1])\n"  # noqa: E501
WRITE_ON = (
    START
    + """
import itertools
run = sys.argv[2]
print("open", flush=True)
for number in itertools.count(len(journal.read(run))):
    ticket = journal.append(JournalRecord(run, "done", f"step-{number}", 1, number, b"x" * (number % 300)))
    if number % 7 == 0:
        journal.sync(ticket)
        print(number, flush=True)
"""
)
CLAIM = (
    START
    + """
print(journal.claim("r1"), flush=True)
sys.stdin.read()
"""
)


def start(script, path, *arguments):
    command = [sys.executable, "-c", script, path, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)


def acknowledged(output):
    numbers = [int(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    return numbers[-1] + 1 if numbers else 0


def check(journal, run, least):
    kept = journal.read(run)
    assert len(kept) >= least
    assert kept == [JournalRecord(run, "done", f"step-{n}", 1, n, b"x" * (n % 300)) for n in range(len(kept))]


def test_kills_at_random_moments_lose_nothing_acknowledged(tmp_path):
    path, chance, least = tmp_path / "journal.db", random.Random(1), 0
    for _ in range(12):
        with start(WRITE_ON, path, "r1") as process:
            assert process.stdout.readline() == b"open\n"
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
            least = max(least, acknowledged(process.stdout.read()))
        journal = SqliteJournal(path)
        check(journal, "r1", least)
        journal.close()
    assert least > 0


def test_two_processes_write_the_same_journal_at_once(tmp_path):
    path = tmp_path / "journal.db"
    processes = [start(WRITE_ON, path, run) for run in ("r1", "r2")]
    for process in processes:
        assert process.stdout.readline() == b"open\n"
        assert process.stdout.readline() == b"0\n"
    mine = SqliteJournal(path)
    for number in range(100):
        mine.sync(mine.append(JournalRecord("mine", "done", f"step-{number}", 1, number, b"x" * (number % 300))))
    for process in processes:
        process.kill()
    for run, process in zip(("r1", "r2"), processes, strict=True):
        output = process.stdout.read()
        process.stdin.close()
        process.stdout.close()
        process.wait()
        check(mine, run, acknowledged(output))
    check(mine, "mine", 100)
    assert set(mine.unfinished()) == {"r1", "r2", "mine"}
    mine.close()


def test_a_run_of_a_live_process_is_its_own_and_that_of_a_dead_one_is_free(tmp_path):
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    with start(CLAIM, path) as process:
        assert process.stdout.readline() == b"True\n"
        assert not journal.claim("r1")
        assert journal.claim("r2")
        process.kill()
        process.wait()
        assert journal.claim("r1")
    with start(CLAIM, path) as process:
        assert process.stdout.readline() == b"False\n"
        journal.forget("r1")
        process.stdin.close()
    journal.close()


def test_a_process_id_used_again_is_another_process():
    me = this_process()
    assert is_alive(me)
    assert me.pid == os.getpid()
    assert not is_alive(me._replace(started="another boot:1"))
    assert not is_alive(me._replace(host="another host"))
    assert not is_alive(Owner(2**22 + 1, me.started, me.host))


def test_a_process_that_has_ended_but_was_not_waited_for_is_dead():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        from engine.storage.process import _started

        owner = Owner(process.pid, _started(process.pid), this_process().host)
        assert is_alive(owner)
        process.kill()
        deadline = time.monotonic() + 10
        while is_alive(owner) and time.monotonic() < deadline:
            pass
        assert not is_alive(owner)


def test_neither_the_journal_nor_memory_loads_a_database_library():
    script = "import sys, engine.storage.memory, engine.storage.journal_sqlite, engine.storage.blobs, engine.ledger.verification; print([m for m in ('sqlalchemy', 'duckdb', 'pandas', 'numpy', 'psutil') if m in sys.modules])"  # noqa: E501
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
