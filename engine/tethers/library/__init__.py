"""The ready tethers. The registry loads the modules lazily; nothing heavy is imported until one of them is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

MODULES: tuple[str, ...] = tuple(
    f"engine.tethers.library.{name}"
    for name in (
        "files",
        "tables",
        "reshaping",
        "sql",
        "charts",
        "reports",
        "text",
        "values",
        "flow",
        "http",
        "system",
        "wfcommons",
    )
)


def functions() -> tuple[Callable[..., Any], ...]:
    """Return every tether of the library, module by module, in the order they are written in."""
    from engine.tethers.describe import marks_of

    modules = [importlib.import_module(name) for name in MODULES]
    return tuple(
        found
        for module in modules
        for found in vars(module).values()
        if marks_of(found) is not None and found.__module__ == module.__name__
    )
