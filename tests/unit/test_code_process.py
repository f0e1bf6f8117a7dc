"""Code in a node runs in a process of its own, and whatever it does costs one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from engine import errors
from engine.errors import CodeFailed, NotSerializable, StepCancelled, StepTimedOut
from engine.execution.invocation import Context
from engine.tethers.code import code, ports_of_code, problem_of_code

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def context() -> Context:
    return Context("run", "step", 1, None)


def failure(source: str, context: Context, **values) -> str:
    with pytest.raises(CodeFailed) as caught:
        code(code=source, context=context, **values)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix("The code in the node failed: ")


def log(context: Context) -> str:
    return "\n".join(context.lines)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, *, within_s: float = 3.0) -> bool:
    until = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


@pytest.mark.parametrize(
    "value", [None, 3, 2.5, True, "täxt", b"\x00\xff", [1, [2]], {"a": {"b": []}}, [], {}, "", b""]
)
def test_values_arrive_and_return_as_they_are(value, context) -> None:
    given = code(code="def run(x):\n    return [x] if isinstance(x, dict) else x", x=value, context=context)
    assert given == ([value] if isinstance(value, dict) else value)


def test_tables_arrive_and_return_as_tables_rows_or_frames(context) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    source = """
import pandas as pd
def run(whole, rows: list[dict], frame: "pd.DataFrame"):
    assert type(rows) is list and type(frame) is pd.DataFrame
    return {"whole": whole, "rows": rows, "frame": frame[["a"]]}
"""
    given = code(code=source, whole=table, rows=table, frame=table, context=context)
    assert given["whole"] == table
    assert given["rows"] == table.to_pylist()
    assert given["frame"].to_pylist() == [{"a": 1}, {"a": 2}]
    assert set(given["result"]) == {"whole", "rows", "frame"}


def test_an_object_gives_its_fields_and_itself_and_its_own_result_wins(context) -> None:
    assert code(code="def run(): return {'a': 1}", context=context) == {"result": {"a": 1}, "a": 1}
    assert code(code="def run(): return {'result': 5, 'n': 1}", context=context) == {"result": 5, "n": 1}
    assert code(code="def run(): return {1: 2}", context=context)["result"] == {"1": 2}


def test_large_values_pass_both_ways(context) -> None:
    data = os.urandom(20 << 20)
    assert code(code="def run(x): return x", x=data, context=context) == data


def test_run_or_the_last_public_function_is_called_and_missing_values_use_defaults(context) -> None:
    assert code(code="def a(): return 1\ndef run(x=2): return x\ndef b(): return 3", context=context) == 2
    assert code(code="def a(): return 1\ndef b(): return 3\ndef _c(): return 4", context=context) == 3


def test_each_call_starts_from_nothing(context) -> None:
    source = "import builtins\ndef run():\n    builtins.n = getattr(builtins, 'n', 0) + 1\n    return builtins.n"
    assert [code(code=source, context=context) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def run():\n    y = 1\n    return x", "NameError: name 'x' is not defined (line 3)"),
        ("1 / 0\ndef run(): pass", "ZeroDivisionError: division by zero (line 1)"),
        ("def run():\n  raise ValueError", "ValueError (line 2)"),
        ("def run():\n  raise ValueError('a\\nb')", "ValueError: a (line 2)"),
        ("def run(): return (", "SyntaxError: '(' was never closed (line 1)"),
        ("def run(x): return x", "TypeError: run() missing 1 required positional argument: 'x'"),
        ("import sys\ndef run():\n    sys.exit(3)", "it called sys.exit(3) (line 3); return a value instead"),
        ("import os\ndef run(): os._exit(7)", "its process ended (status 7) before it gave a result"),
        ("def run(): raise KeyboardInterrupt", "KeyboardInterrupt (line 1)"),
        ("def run():\n    eval('1 +')", "SyntaxError: invalid syntax (line 2)"),
        ("def run():\n    return run()", "RecursionError: maximum recursion depth exceeded (line 2)"),
        ("del run\n" if False else "def run(): pass\ndel run", "NameError: the function run is gone"),
        ("class E(Exception):\n  def __str__(self): 1/0\ndef run(): raise E", "E (line 3)"),
        ("import os\ndef run(): os.kill(os.getpid(), 11)", "its process was killed (signal 11"),
    ],
)
def test_a_failure_is_one_sentence_with_the_line(source, sentence, context) -> None:
    assert failure(source, context).startswith(sentence)


def test_the_traceback_in_the_log_is_the_users_own(context) -> None:
    failure("def inner():\n    return x\ndef run():\n    return inner()", context)
    assert "line 4, in run\n    return inner()" in log(context)
    assert "code_worker" not in log(context)


def test_what_is_printed_goes_to_the_log_in_order(context) -> None:
    source = "import sys, os\ndef run():\n print('ä')\n print('b', file=sys.stderr)\n os.write(1, b'\\xff\\x00c')"
    assert code(code=source, context=context) is None
    assert context.lines == ["ä", "b", "\ufffd\x00c"]


def test_a_flood_of_output_is_cut_and_blocks_nothing(context) -> None:
    source = "def run():\n    for i in range(300_000): print('line', i, 'x' * 40)\n    return 'done'"
    assert code(code=source, context=context) == "done"
    assert len(log(context)) < 65_600
    assert "more bytes were printed and left out" in log(context)


def test_a_flood_without_end_ends_at_the_timeout(context) -> None:
    with pytest.raises(StepTimedOut):
        code(code="def run():\n    while True: print('x' * 1000)", timeout_s=0.5, context=context)
    assert len(log(context)) < 65_600


def test_what_never_ends_is_ended(context) -> None:
    began = time.monotonic()
    with pytest.raises(StepTimedOut, match=r"within 0.3 s"):
        code(code="import time\ndef run(): time.sleep(600)", timeout_s=0.3, context=context)
    assert time.monotonic() - began < 3


def test_cpu_time_is_limited(context) -> None:
    assert failure("def run():\n  while True: pass", context, cpu_s=1) == "it used more than 1 s of CPU time"


def test_a_cancelled_step_stops_soon(context) -> None:
    threading.Timer(0.2, lambda: setattr(context, "is_cancelled", True)).start()
    began = time.monotonic()
    with pytest.raises(StepCancelled):
        code(code="import signal\nsignal.signal(15, signal.SIG_IGN)\ndef run():\n  while True: pass", context=context)
    assert time.monotonic() - began < 3


def test_killing_itself_is_told(context) -> None:
    told = failure("import os\ndef run(): os.kill(os.getpid(), 9)", context)
    assert told.startswith("its process was killed (signal 9")


DETACHED = """
import os, sys, subprocess, time
def run():
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            time.sleep(600)
        os._exit(0)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return [int(os.read(read, 20)), child.pid]
"""


def test_children_and_those_that_detached_are_ended(context) -> None:
    pids = code(code=DETACHED, context=context)
    assert all(gone(pid) for pid in pids)


def test_a_fork_that_returns_too_gives_one_answer(context) -> None:
    assert code(code="import os\ndef run():\n    os.fork()\n    return 'x' * 200_000", context=context) == "x" * 200_000


def test_too_many_processes_end_it(context) -> None:
    source = (
        "import os, time\ndef run():\n    for _ in range(40):\n        if os.fork() == 0: break\n    time.sleep(60)"
    )
    assert failure(source, context) == "it started more than 32 processes"


@pytest.mark.parametrize(
    "source", ["def run(): return object()", "def run(): return [object()]", "def run(): return {'p': {1: {2j}}}"]
)
def test_what_cant_be_kept_is_refused(source, context) -> None:
    with pytest.raises(NotSerializable, match="can't be kept"):
        code(code=source, context=context)


@pytest.mark.parametrize("expression", ["float('nan')", "'\\ud800'", "(x for x in ())", "run", "__import__('sys')"])
def test_values_without_a_form_are_refused(expression, context) -> None:
    with pytest.raises(NotSerializable, match="on port result"):
        code(code=f"def run(): return {expression}", context=context)


def test_a_value_that_nests_too_deep_is_refused(context) -> None:
    with pytest.raises(NotSerializable, match="nests too deep"):
        code(code="def run():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x", context=context)


def test_a_result_of_a_gigabyte_is_refused_before_it_is_sent(context) -> None:
    told = failure("def run(): return bytes(10**9)", context, memory_mib=4096)
    assert told.startswith("it returned 954 MiB, and 256 MiB is the most")


def test_a_memory_bomb_is_told(context) -> None:
    told = failure("def run():\n    x = []\n    while True: x.append(bytes(10**7))", context, memory_mib=256)
    assert told == "MemoryError: it needs more than the 256 MiB it may use (line 3)"


def test_inputs_larger_than_its_memory_are_told(context) -> None:
    told = failure("def run(x): return 1", context, x=bytes(150 << 20), memory_mib=64)
    assert told == "MemoryError: its inputs need more memory than it may use"


def test_a_file_can_only_grow_so_far_and_its_folder_is_gone_afterwards(context) -> None:
    source = "import os\ndef run():\n    open('f', 'w').write('x')\n    return [os.getcwd(), os.environ['HOME']]"
    here, home = code(code=source, context=context)
    assert here == home
    assert here.startswith(tempfile.gettempdir())
    assert not Path(here).exists()
    large = "def run():\n    f = open('f', 'wb')\n    f.seek(2 << 30)\n    f.write(b'x' * 10)\n    f.flush()"
    assert "File too large" in failure(large, context)


def test_its_environment_has_no_secrets(context, monkeypatch) -> None:
    monkeypatch.setenv("TREADLE_SECRET", "hunter2")
    source = "import os\ndef run(): return sorted(os.environ)"
    assert code(code=source, context=context) == ["HOME", "LANG", "PATH", "TZ"]


def test_it_shares_nothing_with_the_engine(context) -> None:
    source = "import os, sys\ndef run(): return [os.getpid(), 'engine' in sys.modules, os.listdir('/proc/self/fd')]"
    pid, loaded, descriptors = code(code=source, context=context)
    assert pid != os.getpid()
    assert not loaded
    assert len(descriptors) <= 6
    poison = "def run():\n    import engine.errors as e\n    e.CodeFailed = None\n    return True"
    with contextlib.suppress(CodeFailed):  # importable only where the engine is installed
        code(code=poison, context=context)
    assert errors.CodeFailed is CodeFailed


@pytest.mark.parametrize(
    "mischief",
    ["sys.stdout.close()", "os.close(1)", "os.write(1, b'\\0' * 100)", "sys.stdout = None", "sys.stderr.close()"],
)
def test_mischief_with_standard_output_does_not_touch_the_answer(mischief, context) -> None:
    assert code(code=f"import os, sys\ndef run():\n    {mischief}\n    return 4", context=context) == 4


@pytest.mark.parametrize(
    ("junk", "sentence"),
    [
        ("b'\\xff' * 64", "it returned"),
        ("(3).to_bytes(8, 'big') + b'abc'", "its process gave an answer that can't be read"),
        ("(0).to_bytes(8, 'big')", "its process gave an answer that can't be read"),
    ],
)
def test_a_forged_answer_is_refused(junk, sentence, context) -> None:
    lines = ["import os", "def run():", "  for fd in range(3, 20):"]
    lines += [f"    try: os.write(fd, {junk})", "    except OSError: pass", "  os._exit(0)"]
    source = "\n".join(lines)
    told = failure(source, context)
    assert told.startswith(sentence) or "process ended" in told


def test_closing_every_descriptor_is_told(context) -> None:
    assert failure("import os\ndef run(): os.closerange(0, 64)", context).startswith("its process ended (status ")


@pytest.mark.skipif(sys.platform != "linux", reason="the signal on a lost pipe is Linux's")
def test_it_ends_with_the_engine(tmp_path) -> None:
    mark = tmp_path / "pid"
    source = f"import os, time\ndef run():\n    open({str(mark)!r}, 'w').write(str(os.getpid()))\n    time.sleep(600)"
    script = (
        "from engine.execution.invocation import Context\nfrom engine.tethers.code import code\n"
        f"code(code={source!r}, context=Context('r', 's', 1, None))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # killed like this, it leaves its folder behind
    engine = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment, start_new_session=True)
    until = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    pid = int(mark.read_text())
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    assert gone(pid)


def test_nothing_is_left_open(context) -> None:
    code(code="def run(): return 1", context=context)
    before = descriptors()
    for source in ("def run(): return 1", "def run(): 1/0", "import os\ndef run(): os._exit(0)"):
        try:
            code(code=source, context=context)
        except CodeFailed:
            continue
    assert descriptors() == before


def test_ports_come_from_the_signature_without_running_it() -> None:
    source = """
raise SystemExit
def run(rows: list[dict], name: str = "x", *, limit: int | None = None, table: pd.DataFrame, other, bad=ob()) -> dict:
    pass
"""
    inputs, outputs = ports_of_code(source)
    found = {port.name: (port.port_schema, port.required) for port in inputs}
    assert found["rows"] == ({"type": "array"}, True)
    assert found["name"] == ({"type": "string", "default": "x"}, False)
    assert found["limit"] == ({"type": ["integer", "null"], "default": None}, False)
    assert found["table"][0]["format"] == "table"
    assert found["other"] == ({}, True)
    assert found["bad"] == ({}, False)
    assert [(port.name, port.port_schema) for port in outputs] == [("result", {"type": "object"})]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def run(x): return x", None),
        ("x = 1", "it has no function"),
        ("", "it has no function"),
        ("def run(:\n", "SyntaxError: "),
        ("def run():\n    pass\n  x", "SyntaxError: unindent does not match any outer indentation level (line 3)"),
        ("async def run(): pass", "run is async"),
        ("def run(*rest): pass", "run takes / or *"),
        ("def run(timeout_s): pass", "the parameter timeout_s has the name of a setting"),
        ("x = '\0'", ""),
        ("(" * 5000, ""),
    ],
)
def test_problems_are_told_before_it_runs(source, problem) -> None:
    found = problem_of_code(source)
    assert found is None if problem is None else found is not None and found.startswith(problem)
