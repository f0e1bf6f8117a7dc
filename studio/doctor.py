"""`treadle doctor`: what this installation has, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

import engine
from engine.errors import TreadleError
from engine.settings import Settings
from studio.demos import assets_folder

_PACKAGES = ("treadle", "panel", "bokeh", "duckdb", "sqlalchemy", "pydantic", "pyarrow", "cel-expr-python")
_LEAST_FREE_BYTES = 500_000_000


def examine(store: str | None) -> tuple[dict[str, Any], list[str]]:
    """Return facts by name, and a sentence with the mend for everything that is wrong."""
    facts: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    facts["processors"] = os.cpu_count()
    trouble: list[str] = []
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "missing"
            trouble.append(f"{package} is not installed. Run 'pip install -e .' in the folder of treadle.")
    facts["notebook support"] = (
        "yes" if importlib.util.find_spec("jupyter_bokeh") else "no: pip install treadle[notebook]"
    )
    _examine_store(store, facts, trouble)
    return facts, trouble


def _examine_store(store: str | None, facts: dict[str, Any], trouble: list[str]) -> None:
    try:
        settings = Settings.from_environment()
        facts["home"] = str(settings.home)
        with engine.open(store, roots=(assets_folder(),), settings=settings) as opened:
            for name, ask in _usual_reads(opened).items():
                begun = time.perf_counter()
                ask()
                facts[name] = f"read in {1_000 * (time.perf_counter() - begun):.1f} ms"
            facts.update(opened.describe())
            found = opened.ledger.verify()
            facts["ledger"] = f"{found.entries} entries verified" if found.ok else "does not verify"
            if not found.ok:
                trouble.append(f"The ledger does not verify: {found.reason}.")
            waiting = opened.runs.interrupted()
            facts["interrupted runs"] = len(waiting)
            if waiting:
                trouble.append(f"{len(waiting)} runs were interrupted. 'treadle resume' takes them up.")
        free = shutil.disk_usage(settings.home).free
        facts["free space"] = f"{free / 1e9:.1f} GB"
        if free < _LEAST_FREE_BYTES:
            trouble.append(f"The disk of {settings.home} is almost full. Make room, or set TREADLE_HOME elsewhere.")
    except TreadleError as error:
        trouble.append(str(error))


def _usual_reads(opened: engine.Engine) -> dict[str, Callable[[], object]]:
    """Return what the studio's pages ask first: with them the store's figures say something about this store."""
    return {
        "list of models": opened.models.list,
        "list of runs": opened.runs.list,
        "latest entries": lambda: opened.ledger.entries(newest_first=True, limit=100),
    }


def rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give facts as people read them: one row each, and one for every statement that was slow."""
    for name, value in facts.items():
        yield name.removesuffix("_bytes").replace("_", " "), _told(name, value)
        if isinstance(value, Mapping):
            for one in value.get("slow", ()):
                plan = f"\n{one['plan']}" if one["plan"] else ""
                yield "slow statement", f"{one['ms']} ms: {one['statement']}{plan}"


def _told(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(key)} {_told(key, each)}" for key, each in value.items() if each not in (None, {}))
    if isinstance(value, list):
        return str(len(value))
    if name.endswith("_ms"):
        return f"{value} ms"
    if name.endswith("_bytes"):
        return f"{value / 1e6:,.1f} MB"
    return f"{value:.0%}" if name.endswith("_ratio") else str(value)


def _label(key: str) -> str:
    return key.removesuffix("_ms").removesuffix("_bytes").removesuffix("_ratio").replace("_", " ")
