"""Where functions come from: modules by name, files by path, and what installed packages offer."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from engine.errors import TetherSourceBroken
from engine.tethers.describe import Described, describe, marks_of

GROUP = "treadle.tethers"


class Source(NamedTuple):
    """One module or file, as it was loaded."""

    name: str
    """What was named: 'package.module', or the absolute path of a file."""
    module: ModuleType
    stamp: tuple[int, int]
    """Time of change (ns) and size of its file, (0, 0) without one."""
    functions: tuple[Described, ...]


def load_source(name: str) -> Source:
    """Load a module or a file and describe its functions; raise `TetherSourceBroken`."""
    module = _module_of_file(Path(name)) if is_file_name(name) else _module_by_name(name)
    found = described_in(module, name)
    if not found:
        raise TetherSourceBroken(source=name, reason="no function in it is marked with @tether")
    label = str(Path(name).resolve()) if is_file_name(name) else name
    return Source(label, module, _stamp(module), found)


def reload_source(source: Source) -> Source | None:
    """Return a source read again, or None if its file has not changed; raise `TetherSourceBroken`."""
    if _stamp(source.module) == source.stamp:
        return None
    importlib.invalidate_caches()
    if is_file_name(source.name):
        return load_source(source.name)
    try:
        importlib.reload(source.module)
    except Exception as error:  # noqa: BLE001 - code of somebody else may raise anything
        raise TetherSourceBroken(source=source.name, reason=_why(error)) from None
    return load_source(source.name)


def described_in(module: ModuleType, source: str) -> tuple[Described, ...]:
    """Return the marked functions of a module, in the order they are written."""
    marked = {id(value): value for value in vars(module).values() if callable(value) and marks_of(value)}
    try:
        return tuple(describe(function) for function in marked.values())
    except Exception as error:
        raise TetherSourceBroken(source=source, reason=_why(error)) from None


def is_file_name(name: str) -> bool:
    """Say whether a source is named as a file rather than as a module."""
    return name.endswith(".py") or "/" in name or "\\" in name


def installed() -> list[EntryPoint]:
    """Return what installed packages offer, the engine's own library aside."""
    return [found for found in entry_points(group=GROUP) if not found.value.startswith("engine.tethers.")]


def load_installed(entry: EntryPoint) -> tuple[Described, ...]:
    """Return the functions behind an entry point: a module's marked ones, or the callable itself."""
    try:
        found: Any = entry.load()
    except Exception as error:  # noqa: BLE001 - code of somebody else may raise anything
        raise TetherSourceBroken(source=entry.value, reason=_why(error)) from None
    if isinstance(found, ModuleType):
        return described_in(found, entry.value)
    if not callable(found):
        raise TetherSourceBroken(source=entry.value, reason="it is neither a module nor a function")
    function: Callable[..., Any] = found
    return (describe(function),)


def _module_by_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name == name or name.startswith(f"{error.name}.")
        reason = "there is no such module; a file needs its path" if missing else _why(error)
        raise TetherSourceBroken(source=name, reason=reason) from None
    except Exception as error:  # noqa: BLE001 - as above
        raise TetherSourceBroken(source=name, reason=_why(error)) from None


def _module_of_file(path: Path) -> ModuleType:
    """Run a file as a module of its own, named after the file and its place, so that two files can't collide."""
    if not path.is_file():
        raise TetherSourceBroken(source=path, reason="there is no such file")
    full = path.resolve()
    name = f"treadle_file_{hashlib.sha256(str(full).encode()).hexdigest()[:8]}.{full.stem}"
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise TetherSourceBroken(source=path, reason="it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, KeyboardInterrupt):
            raise
        raise TetherSourceBroken(source=path, reason=_why(error)) from None
    return module


def _stamp(module: ModuleType) -> tuple[int, int]:
    try:
        found = Path(module.__file__ or "").stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _why(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, SystemExit):
        return "it tried to end the program"
    text = str(error).strip().split("\n")[0].removesuffix(".")
    frame, line = error.__traceback__, 0
    while frame is not None:
        if not frame.tb_frame.f_code.co_filename.startswith("<") and "importlib" not in frame.tb_frame.f_code.co_name:
            line = frame.tb_lineno
        frame = frame.tb_next
    return f"{type(error).__name__}: {text}" + (f" (line {line})" if line else "")
