"""`treadle doctor`: what this installation has, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
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
