"""This machine, as it is when the step runs. What may not be read becomes a note, not a failure."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from engine.tethers.describe import tether

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY = "System"
_WARN_BELOW = 10.0
"""Percent below its limit from which a value is a warning."""
_PROCESS_WINDOW_S = 0.2

Seconds = Annotated[float, Field(ge=0.05, le=60)]
Percent = Annotated[float, Field(ge=0, le=100)]


@tether(
    reference="system.cpu",
    name="CPU",
    category=CATEGORY,
    icon="cpu",
    runs="thread",
    outputs=("cpu",),
    keywords=("processor", "load", "usage", "health"),
    example={"seconds": 0.05},
)
def cpu(*, seconds: Seconds = 0.3) -> dict[str, Any]:
    """Measure how busy the processor is.

    Args:
        seconds: How long to measure.
    """
    import psutil

    per_core = psutil.cpu_percent(interval=seconds, percpu=True)
    loads = psutil.getloadavg()
    return {
        "percent": round(sum(per_core) / len(per_core), 1) if per_core else 0.0,
        "per_core": per_core,
        "cores": psutil.cpu_count(logical=True),
        "physical_cores": psutil.cpu_count(logical=False),
        "load_1_min": round(loads[0], 2),
        "load_5_min": round(loads[1], 2),
        "load_15_min": round(loads[2], 2),
    }


@tether(
    reference="system.memory",
    name="Memory",
    category=CATEGORY,
    icon="memory-stick",
    runs="thread",
    outputs=("memory",),
    keywords=("ram", "swap", "usage", "health"),
)
def memory() -> dict[str, Any]:
    """Read how much memory is used."""
    import psutil

    found, swap = psutil.virtual_memory(), _swap()
    return {
        "percent": found.percent,
        "total_bytes": found.total,
        "used_bytes": found.used,
        "available_bytes": found.available,
        **swap,
    }


def _swap() -> dict[str, Any]:
    import warnings

    import psutil

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a container without /proc/vmstat has no swap traffic
            found = psutil.swap_memory()
    except (OSError, RuntimeError, psutil.Error):
        return {"swap_percent": None, "swap_total_bytes": None}
    return {"swap_percent": found.percent, "swap_total_bytes": found.total}


@tether(
    reference="system.disks",
    name="Disks",
    category=CATEGORY,
    icon="hard-drive",
    runs="thread",
    outputs=("disks",),
    keywords=("storage", "space", "volume", "mount", "health"),
)
def disks() -> pa.Table:
    """List the disks with how full they are."""
    import psutil

    places: dict[str, tuple[str, str]] = {}
    for part in psutil.disk_partitions(all=False):
        if part.device not in {device for device, _ in places.values()} and os.path.isdir(part.mountpoint):  # noqa: PTH112 - text from psutil
            places[part.mountpoint] = (part.device, part.fstype)
    if not places:  # a container shows no devices
        places[os.path.abspath(os.sep)] = ("", "")  # noqa: PTH100 - as above
    names = ("mount", "device", "kind", "percent", "total_bytes", "used_bytes", "free_bytes", "note")
    return _table(names, [[mount, *found, *_usage(mount)] for mount, found in places.items()])


def _usage(mount: str) -> list[Any]:
    import psutil

    try:
        found = psutil.disk_usage(mount)
    except OSError as error:
        return [None, None, None, None, f"not readable: {error.strerror or error}"]
    return [found.percent, found.total, found.used, found.free, None]


@tether(
    reference="system.processes",
    name="Processes",
    category=CATEGORY,
    icon="activity",
    runs="thread",
    outputs=("processes",),
    keywords=("tasks", "programs", "top", "cpu", "memory"),
    example={"top": 3},
)
def processes(*, top: Annotated[int, Field(ge=1, le=1_000)] = 10) -> pa.Table:
    """List the programs that use the processor and the memory most.

    Args:
        top: How many.
    """
    import psutil

    found = list(psutil.process_iter(["pid", "name", "username", "memory_percent", "memory_info"], ad_value=None))
    for process in found:
        _percent(process)
    time.sleep(_PROCESS_WINDOW_S)
    rows: list[list[Any]] = []
    for process in found:
        info: dict[str, Any] = process.info
        used = info["memory_info"].rss if info["memory_info"] is not None else None
        note = None if used is not None else "not readable without more rights"
        share = round(info["memory_percent"], 2) if info["memory_percent"] is not None else None
        rows.append([info["pid"], info["name"], info["username"], _percent(process), share, used, note])
    rows.sort(key=lambda row: (-(row[3] or 0.0), -(row[5] or 0), row[0]))
    names = ("pid", "name", "user", "cpu_percent", "memory_percent", "memory_bytes", "note")
    return _table(names, rows[:top])


def _percent(process: Any) -> float | None:
    import psutil

    try:
        return process.cpu_percent(interval=None)
    except (psutil.Error, OSError):
        return None


@tether(
    reference="system.listening_ports",
    name="Listening ports",
    category=CATEGORY,
    icon="ear",
    runs="thread",
    outputs=("ports",),
    keywords=("network", "tcp", "udp", "open ports", "security", "connections"),
)
def listening_ports() -> pa.Table:
    """List the network ports on which programs of this machine wait for connections."""
    import psutil

    names = ("port", "address", "protocol", "pid", "program", "note")
    try:
        found = psutil.net_connections(kind="inet")
    except (psutil.Error, OSError) as error:
        return _table(names, [[None, None, None, None, None, f"not readable without more rights ({error})"]])
    rows: dict[tuple[Any, ...], list[Any]] = {}
    for one in found:
        datagram = one.type == socket.SOCK_DGRAM
        if not one.laddr or (one.status != psutil.CONN_LISTEN and not (datagram and not one.raddr)):
            continue
        name = _program(one.pid)
        note = None if one.pid is not None else "the program is not readable without more rights"
        row = [one.laddr.port, one.laddr.ip, "udp" if datagram else "tcp", one.pid, name, note]
        rows[tuple(row[:4])] = row
    return _table(names, sorted(rows.values(), key=lambda row: (row[0], row[2], row[1], row[3] or 0)))


def _program(pid: int | None) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).name() if pid is not None else None
    except (psutil.Error, OSError):
        return None


@tether(
    reference="system.host",
    name="Host",
    category=CATEGORY,
    icon="server",
    runs="thread",
    outputs=("host",),
    keywords=("machine", "computer", "operating system", "uptime"),
)
def host() -> dict[str, Any]:
    """Read what machine this is and since when it runs."""
    import psutil

    booted = psutil.boot_time()
    return {
        "name": socket.gethostname(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": psutil.cpu_count(logical=True),
        "booted_at": datetime.fromtimestamp(booted, UTC).isoformat(timespec="seconds"),
        "uptime_hours": round(max(0.0, time.time() - booted) / 3600, 1),
    }


@tether(
    reference="system.judge",
    name="Judge the machine",
    category=CATEGORY,
    icon="stethoscope",
    outputs=("findings",),
    keywords=("health", "check", "limits", "alarm", "verdict"),
    example={"cpu": {"percent": 95}, "memory": {"percent": 50}, "disks": [{"mount": "/", "percent": 85}]},
)
def judge(
    cpu: dict[str, Any] | None = None,
    memory: dict[str, Any] | None = None,
    disks: pa.Table | None = None,
    *,
    cpu_percent: Percent = 90.0,
    memory_percent: Percent = 90.0,
    disk_percent: Percent = 90.0,
) -> pa.Table:
    """Compare what was measured with limits: 'bad' is at the limit or above, 'warn' less than ten percent below it.

    Args:
        cpu: What the step CPU gave.
        memory: What the step Memory gave.
        disks: What the step Disks gave.
        cpu_percent: The limit for the processor.
        memory_percent: The limit for the memory.
        disk_percent: The limit for each disk.
    """
    measured = [("processor", cpu.get("percent"), cpu_percent)] if cpu is not None else []
    measured += [("memory", memory.get("percent"), memory_percent)] if memory is not None else []
    for row in disks.to_pylist() if disks is not None else []:
        measured.append((f"disk {row.get('mount') or '?'}", row.get("percent"), disk_percent))
    return _table(
        ("what", "value", "limit", "verdict"),
        [[what, _as_float(value), limit, _verdict(_as_float(value), limit)] for what, value, limit in measured],
    )


def _as_float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _verdict(value: float | None, limit: float) -> str:
    if value is None:
        return "warn"
    return "bad" if value >= limit else "warn" if value > limit - _WARN_BELOW else "ok"


_INTEGERS = {"pid", "port", "total_bytes", "used_bytes", "free_bytes", "memory_bytes"}
_NUMBERS = {"percent", "cpu_percent", "memory_percent", "value", "limit"}


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return a table whose columns have the same kinds whatever was readable."""
    import pyarrow as pa

    kinds = {**dict.fromkeys(_INTEGERS, pa.int64()), **dict.fromkeys(_NUMBERS, pa.float64())}
    columns = {
        name: pa.array([row[place] for row in rows], kinds.get(name, pa.string())) for place, name in enumerate(names)
    }
    return pa.table(columns)
