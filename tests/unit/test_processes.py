"""Steps that run in other processes: whatever one of them does costs that step one sentence, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from engine.errors import NotSerializable, PortMissing, StepCancelled, TetherFailed, TetherSourceBroken, TetherUnknown
from engine.execution import process_wire
from engine.execution.invocation import Context
from engine.execution.processes import Ended, ProcessCall, Processes
from engine.execution.waits import StepWaits

ROOT = Path(__file__).parent.parent.parent
OWN = '''
import os, signal, sys, time, ctypes, threading
from pathlib import Path
from typing import Any
from engine import StepContext, errors, tether

@tether
def same(value: Any) -> Any:
    return value

@tether
def add(a: int, b: int = 1) -> int:
    return a + b

@tether
async def later(a: int) -> int:
    return a + 1

@tether
def talk(context: StepContext) -> int:
    context.log("one")
    print("two")
    print("three", end="")
    context.progress(0.5, "half")
    os.write(1, b"")
    return context.attempt

@tether
def disturb() -> int:
    os.write(1, b"rubbish")
    os.system("echo rubbish from a shell")
    sys.__stdout__.write("more rubbish")
    assert sys.stdin is None or sys.stdin.read() == ""
    return 1

@tether
def closes_everything() -> int:
    os.closerange(3, 100)
    return 1

@tether
def exits(code: int = 3) -> int:
    os._exit(code)

@tether
def leaves() -> int:
    sys.exit(4)

@tether
def crashes() -> int:
    ctypes.string_at(0)

@tether
def killed() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)

@tether
def forks() -> int:
    if os.fork() == 0:
        return 7
    os.wait()
    return 1

@tether
def forks_and_exits(marker: str) -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    Path(marker).write_text(str(pid))
    os._exit(5)

@tether
def hangs(marker: str = "") -> int:
    if marker:
        Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(60)

@tether
def obeys(marker: str, context: StepContext) -> str:
    Path(marker).write_text("")
    while not context.cancelled:
        time.sleep(0.001)
    return "stopped"

@tether
def hangs_after(times: int, marker: str) -> int:
    with open(marker, "ab") as file:
        file.write(b".")
    if Path(marker).stat().st_size == times:
        time.sleep(60)
    return 1

@tether
def dies_for(value: int, bad: int) -> int:
    if value == bad:
        os._exit(9)
    return value

@tether
def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds

@tether
def thing() -> Any:
    return {"a": object()}

@tether
def nan() -> float:
    return float("nan")

@tether
def large(mib: int) -> bytes:
    return bytes(mib << 20)

@tether
def wrong() -> int:
    raise ValueError("no such thing\\nand more")

@tether
def permanently() -> int:
    raise errors.TetherFailed(kind="Not so", reason="never", permanent=True)

@tether
def missing() -> int:
    raise errors.PortMissing(port="'a'", given="nothing")

class Own(errors.TreadleError):
    """It is {how}."""

@tether
def our_own() -> int:
    raise Own(how="odd")

@tether
def asks(context: StepContext) -> str:
    return context.ask("Which one?", ["this", "that"], default="that", within_s=60)
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return str(path)


@pytest.fixture(scope="module")
def shared(own):
    """A pool that is shared by tests that leave it as it was, or nearly."""
    pool = Processes(lambda: (own,), size=2, grace_s=0.2)
    yield pool
    pool.close()


class Waited:
    """What came of some calls, in the order of their ends."""

    def __init__(self, pool: Processes) -> None:
        self.pool, self.ended, self.names = pool, [], []
        self._news = threading.Condition()

    def submit(self, name: str, inputs=None, settings=None, *, effect=False, context=None, begun=None):
        number = len(self.names)
        self.names.append(name)
        context = context or Context("run", f"n{number}", 1, None)
        call = ProcessCall(
            f"own.{name}", inputs or {}, settings or {}, "run", f"n{number}", context.attempt, context, effect, begun
        )

        def done(ended: Ended) -> None:
            with self._news:
                self.ended.append((number, ended))
                self._news.notify_all()

        return self.pool.submit(call, done)

    def all(self, within_s: float = 15) -> list[Ended]:
        with self._news:
            assert self._news.wait_for(lambda: len(self.ended) == len(self.names), within_s), self.pool.figures()
        return [ended for _, ended in sorted(self.ended, key=lambda found: found[0])]


def outcome(pool: Processes, name: str, inputs=None, **options) -> Ended:
    waited = Waited(pool)
    waited.submit(name, inputs, **options)
    return waited.all()[0]


def sentence(pool: Processes, name: str, inputs=None, **options) -> str:
    ended = outcome(pool, name, inputs, **options)
    assert ended.outputs is None
    text = str(ended.failure)
    assert "\n" not in text
    return text


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    return bool(condition())


def children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, 3, 2.5, True, "täxt", "", b"\x00\xff", b"", [1, [2]], {"a": {"b": []}}, [], {}, "x" * 200_000, 2**70],
    ids=lambda value: repr(value)[:20],
)
def test_values_arrive_and_return_as_they_are(shared, value) -> None:
    assert outcome(shared, "same", {"value": value}) == Ended({"result": value}, None)


def test_tables_arrive_and_return_as_tables(shared) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    assert outcome(shared, "same", {"value": table}).outputs == {"result": table}
    assert outcome(shared, "same", {"value": pd.DataFrame({"a": [1]})}).outputs == {"result": pa.table({"a": [1]})}


def test_other_values_are_sent_as_they_are_kept(shared) -> None:
    moment = datetime(2024, 1, 2, tzinfo=UTC)
    given = outcome(shared, "same", {"value": {"at": moment, "price": Decimal("1.5")}})
    assert given.outputs == {"result": {"at": moment.isoformat(), "price": 1.5}}
    assert outcome(shared, "same", {"value": moment}).outputs == {"result": moment.isoformat()}


def test_defaults_settings_and_coroutines_work(shared) -> None:
    assert outcome(shared, "add", {"a": 1}).outputs == {"result": 2}
    assert outcome(shared, "add", {"a": 1, "b": 5}).outputs == {"result": 6}
    assert outcome(shared, "later", {"a": 1}).outputs == {"result": 2}


def test_large_values_go_both_ways_and_are_bounded(shared) -> None:
    data = os.urandom(1 << 20) * 40
    assert outcome(shared, "same", {"value": data}).outputs == {"result": data}
    text = sentence(shared, "large", {"mib": 1024})
    assert text == (
        "Too large: it returned 1,024 MiB, and 256 MiB is the most for a step in a process; "
        "return less, or write a file and return its path"
    )
    huge = memoryview(data)[:0].tobytes() + bytes(process_wire.LIMIT_BYTES + 1)
    assert "it was given 256 MiB" in sentence(shared, "same", {"value": huge})


def test_what_cannot_be_kept_or_sent_is_named(shared) -> None:
    ended = outcome(shared, "thing")
    assert isinstance(ended.failure, NotSerializable)
    assert "on port result" in str(ended.failure)
    assert isinstance(outcome(shared, "nan").failure, NotSerializable)
    text = sentence(shared, "same", {"value": object()})
    assert text == "Not sent: it was given a object, which can't be sent to a process"
    assert "surrogate" in sentence(shared, "same", {"value": "\ud800"})


def test_one_call_that_cannot_be_sent_does_not_hold_up_its_neighbours(shared) -> None:
    outcome(shared, "same", {"value": 1})
    waited = Waited(shared)
    for number in range(20):
        waited.submit("same", {"value": {"x": object() if number == 7 else number}})
    ended = waited.all()
    assert [number for number, found in enumerate(ended) if found.failure] == [7]


# ---- context --------------------------------------------------------------------------------------------------------


def test_progress_log_and_what_is_printed_come_back(shared) -> None:
    told, begun = [], []
    context = Context("run", "n0", 3, lambda share, text: told.append((share, text)))
    ended = outcome(shared, "talk", context=context, begun=lambda: begun.append(1))
    assert ended.outputs == {"result": 3}
    assert (context.lines, told, begun) == (["one", "two", "three"], [(0.5, "half")], [1])


def test_a_step_cannot_disturb_the_conversation(shared) -> None:
    assert outcome(shared, "disturb").outputs == {"result": 1}
    assert outcome(shared, "add", {"a": 1}).outputs == {"result": 2}


def test_a_step_that_asks_is_left_and_called_again_with_the_answer(shared) -> None:
    context = Context("run", "n0", 1, None)
    failure = outcome(shared, "asks", context=context).failure
    assert isinstance(failure, StepWaits)
    request = failure.request
    assert (request.awaits, request.question, request.default) == ("choice", "Which one?", "that")
    assert [option.id for option in request.options] == ["this", "that"]
    context.answers = [("this", "you", None)]
    assert outcome(shared, "asks", context=context).outputs == {"result": "this"}


# ---- failures -------------------------------------------------------------------------------------------------------


def test_errors_come_back_as_one_sentence_of_their_kind(shared) -> None:
    assert sentence(shared, "wrong") == "ValueError: no such thing"
    assert sentence(shared, "leaves") == "SystemExit: it tried to end the program"
    lasting = outcome(shared, "permanently").failure
    assert isinstance(lasting, TetherFailed)
    assert lasting.facts["permanent"] is True
    assert isinstance(outcome(shared, "missing").failure, PortMissing)
    strange = outcome(shared, "our_own").failure
    assert (str(strange), strange.facts["permanent"]) == ("Own: It is odd.", True)
    assert isinstance(outcome(shared, "nowhere").failure, TetherUnknown)
    assert "'a'" in sentence(shared, "add")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("exits", "it ended the process it ran in (exit code 3), before it gave a result"),
        ("crashes", "the process it ran in was killed (SIGSEGV: a library in it crashed, or it recursed too deep)"),
        ("killed", "the process it ran in was killed (SIGKILL: by another program, or because the machine ran out"),
        ("closes_everything", "it closed or disturbed the pipe through which its process answers, before"),
    ],
)
def test_a_step_that_takes_its_process_with_it_fails_alone(shared, name, says) -> None:
    waited = Waited(shared)
    for number in range(6):
        waited.submit("add", {"a": number})
    waited.submit(name)
    waited.submit("slow", {"seconds": 0.01})
    *first, gone, last = waited.all()
    assert [ended.outputs for ended in first] == [{"result": number + 1} for number in range(6)]
    assert last.outputs == {"result": 0.01}
    assert str(gone.failure).startswith(f"Its process is gone: {says}")
    assert isinstance(gone.failure, TetherFailed)
    assert not gone.failure.facts.get("permanent")


def test_a_step_that_ends_its_process_each_time_does_not_take_the_pool_down(shared) -> None:
    before = shared.figures().restarts
    waited = Waited(shared)
    for _ in range(3):
        waited.submit("exits")
    assert all(ended.failure for ended in waited.all())
    assert shared.figures().restarts == before + 3
    assert outcome(shared, "add", {"a": 1}).outputs == {"result": 2}


def test_in_a_chunk_only_the_one_that_ended_the_process_fails(shared) -> None:
    outcome(shared, "dies_for", {"value": 0, "bad": 1})
    waited = Waited(shared)
    for number in range(200):
        waited.submit("dies_for", {"value": number, "bad": 77})
    ended = waited.all()
    assert [number for number, found in enumerate(ended) if found.failure] == [77]
    assert [found.outputs["result"] for found in ended if found.outputs] == [n for n in range(200) if n != 77]


def test_forks_answer_once_and_are_gone_with_their_process(shared, tmp_path) -> None:
    assert outcome(shared, "forks").outputs == {"result": 1}
    marker = tmp_path / "pid"
    began = time.monotonic()
    assert "exit code 5" in sentence(shared, "forks_and_exits", {"marker": str(marker)})
    assert time.monotonic() - began < 10  # though the copy holds the pipes for a minute
    assert eventually(lambda: not is_alive(int(marker.read_text())))


# ---- cancelling -----------------------------------------------------------------------------------------------------


def test_a_call_that_waits_is_dropped(own, tmp_path) -> None:
    pool = Processes(lambda: (own,), size=1, grace_s=0.2)
    waited = Waited(pool)
    waited.submit("slow", {"seconds": 0.3})
    marker = tmp_path / "pid"
    cancel = waited.submit("hangs", {"marker": str(marker)})
    cancel()
    cancel()
    first, second = waited.all()
    assert first.outputs == {"result": 0.3}
    assert isinstance(second.failure, StepCancelled)
    assert not marker.exists()
    assert pool.figures().restarts == 0
    pool.close()


@pytest.mark.parametrize("effect", [False, True])
def test_a_call_that_hangs_is_killed_after_the_grace(shared, tmp_path, effect) -> None:
    marker = tmp_path / "pid"
    waited = Waited(shared)
    cancel = waited.submit("hangs", {"marker": str(marker)}, effect=effect)
    assert eventually(lambda: marker.exists() and marker.read_text())
    cancel()
    assert isinstance(waited.all()[0].failure, StepCancelled)
    assert eventually(lambda: not is_alive(int(marker.read_text())))
    assert outcome(shared, "add", {"a": 1}).outputs == {"result": 2}


def test_a_call_that_obeys_ends_by_itself(shared, tmp_path) -> None:
    before = shared.figures().restarts
    waited = Waited(shared)
    cancel = waited.submit("obeys", {"marker": str(tmp_path / "begun")})
    assert eventually((tmp_path / "begun").exists)
    cancel()
    assert waited.all()[0].outputs == {"result": "stopped"}
    assert shared.figures().restarts == before


def test_a_call_of_a_chunk_that_hangs_holds_nobody_up_and_can_be_killed(own, tmp_path) -> None:
    pool = Processes(lambda: (own,), size=2, grace_s=0.1)
    marker = tmp_path / "count"
    warm = Waited(pool)
    warm.submit("hangs_after", {"times": 50, "marker": str(marker)})
    warm.all()
    for _ in range(12):  # until it is known to be quick
        warm.submit("hangs_after", {"times": 50, "marker": str(marker)})
        warm.all()
    waited = Waited(pool)
    cancels = [waited.submit("hangs_after", {"times": 50, "marker": str(marker)}) for _ in range(150)]
    assert eventually(lambda: len(waited.ended) == 149)
    (hanging,) = set(range(150)) - {number for number, _ in waited.ended}
    cancels[hanging]()
    assert isinstance(waited.all()[hanging].failure, StepCancelled)
    assert sum(ended.failure is not None for ended in waited.all()) == 1
    assert pool.figures().restarts == 1
    pool.close()


def test_a_slow_call_is_not_in_the_way_of_quick_ones(shared) -> None:
    for _ in range(2):
        outcome(shared, "add", {"a": 1})
    waited = Waited(shared)
    waited.submit("slow", {"seconds": 0.5})
    for number in range(50):
        waited.submit("add", {"a": number})
    waited.all()
    assert waited.ended[-1][0] == 0


# ---- the pool -------------------------------------------------------------------------------------------------------


def test_quick_calls_cost_little(shared) -> None:
    for _ in range(40):
        outcome(shared, "add", {"a": 1})
    took = []
    for _ in range(3):
        waited = Waited(shared)
        began = time.perf_counter()
        for number in range(2_000):
            waited.submit("add", {"a": number})
        ended = waited.all()
        took.append((time.perf_counter() - began) / 2_000 * 1e6)
        assert [found.outputs["result"] for found in ended] == list(range(1, 2_001))
    print(f"{min(took):.1f} us a call")
    assert min(took) < 150


def test_calls_from_several_threads_all_come_back(shared) -> None:
    waits = [Waited(shared) for _ in range(4)]

    def work(waited: Waited) -> None:
        for number in range(200):
            waited.submit("add", {"a": number})

    threads = [threading.Thread(target=work, args=(waited,)) for waited in waits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for waited in waits:
        assert [ended.outputs["result"] for ended in waited.all()] == list(range(1, 201))


def test_files_loaded_later_and_changed_files_are_known(own, tmp_path) -> None:
    sources = [own]
    pool = Processes(lambda: tuple(sources), size=1)
    assert outcome(pool, "add", {"a": 1}).outputs == {"result": 2}
    more = tmp_path / "more.py"
    more.write_text("from engine import tether\n@tether(reference='own.more')\ndef more(a: int) -> int:\n    return a")
    assert isinstance(outcome(pool, "more", {"a": 1}).failure, TetherUnknown)
    sources.append(str(more))
    assert outcome(pool, "more", {"a": 1}).outputs == {"result": 1}
    more.write_text(more.read_text().replace("return a", "return -a"))
    pool.reload()
    assert outcome(pool, "more", {"a": 1}).outputs == {"result": -1}
    pool.close()


def test_a_broken_file_is_told_by_those_who_miss_its_functions(own, tmp_path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError('not here')")
    pool = Processes(lambda: (own, str(broken)), size=1)
    assert outcome(pool, "add", {"a": 1}).outputs == {"result": 2}
    failure = outcome(pool, "elsewhere").failure
    assert isinstance(failure, TetherSourceBroken)
    assert "not here" in str(failure)
    pool.close()


def test_a_process_that_cannot_start_is_told(own, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    pool = Processes(lambda: (own,), size=1)
    assert sentence(pool, "add", {"a": 1}).startswith("No process: a process for it can't be started (No such file")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool.close()
    pool = Processes(lambda: (own,), size=1)
    assert "did not start: it ended the process it ran in (exit code 1)" in sentence(pool, "add", {"a": 1})
    pool.close()


def test_nothing_is_left_after_close(own, tmp_path) -> None:
    before, descriptors = children(), len(list(Path("/proc/self/fd").iterdir()))
    pool = Processes(lambda: (own,), size=2)
    assert pool.figures().children == 0
    assert outcome(pool, "add", {"a": 1}).outputs == {"result": 2}
    waited = Waited(pool)
    marker = tmp_path / "pid"
    waited.submit("hangs", {"marker": str(marker)})
    for _ in range(3):
        waited.submit("hangs")
    assert eventually(lambda: marker.exists() and marker.read_text() and pool.figures().busy == 2)
    figures = pool.figures()
    assert (figures.children, figures.queued, figures.calls, figures.restarts) == (2, 2, 1, 0)
    pool.close()
    pool.close()
    assert all(isinstance(ended.failure, StepCancelled) for ended in waited.all())
    assert children() == before
    assert not is_alive(int(marker.read_text()))
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert isinstance(outcome(pool, "add", {"a": 1}).failure, StepCancelled)
    assert pool.figures() == (0, 0, 0, 6, 0)


def test_processes_end_when_the_engine_is_killed(own, tmp_path) -> None:
    script = f"""
import time
from engine.execution.invocation import Context
from engine.execution.processes import ProcessCall, Processes
pool = Processes(lambda: ({own!r},), size=2)
for name in "ab":
    context = Context("r", "n", 1, None)
    call = ProcessCall("own.hangs", {{"marker": {str(tmp_path)!r} + "/" + name}}, {{}}, "r", "n", 1, context)
    pool.submit(call, print)
time.sleep(60)
"""
    engine = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    markers = [tmp_path / "a", tmp_path / "b"]
    assert eventually(lambda: all(marker.exists() and marker.read_text() for marker in markers), 15)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    assert eventually(lambda: not any(is_alive(int(marker.read_text())) for marker in markers))
