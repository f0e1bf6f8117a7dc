"""Modules and files with functions of one's own: loading them, and reading them again once they have changed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from engine.errors import TetherSourceBroken, TetherUndescribed
from engine.tethers.describe import Described, describe, marks_of


class _Fresh(SourceFileLoader):
    """Compiles a file from its text every time: cached bytecode is told apart by whole seconds, which is too coarse."""

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002 - the loader's own signature
        """Return the code of the text as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


class Source(NamedTuple):
    """One module or file, as it was loaded."""

    name: str
    """'package.module', or the absolute path of a file."""
    module: ModuleType
    stamp: tuple[int, int]
    """Time of change (ns) and size of its file, (0, 0) without one."""
    functions: tuple[Described, ...]


def load_source(name: str) -> Source:
    """Load a module or a file and describe its marked functions; raise `TetherSourceBroken`."""
    if not _is_file(name):
        return _described(name, _attempted(name, lambda: importlib.import_module(name)))
    path = Path(name)
    if not path.is_file():
        raise TetherSourceBroken(source=name, reason="there is no such file")
    return _described(str(path.resolve()), _attempted(name, lambda: _run_file(path.resolve())))


def read_again(source: Source) -> Source | None:
    """Return a source read again, or None if its file has not changed; raise `TetherSourceBroken`."""
    if _stamp(source.module) == source.stamp:
        return None
    importlib.invalidate_caches()
    if _is_file(source.name):
        return load_source(source.name)
    return _described(source.name, _attempted(source.name, lambda: importlib.reload(source.module)))


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name or "\\" in name


def _described(name: str, module: ModuleType) -> Source:
    """Describe the marked functions that were written in a module, not those it imports from elsewhere."""
    own = [value for value in vars(module).values() if callable(value) and marks_of(value) and _is_own(value, module)]
    if not own:
        raise TetherSourceBroken(source=name, reason="it has no function marked with @engine.tether")
    try:
        functions = tuple(describe(function) for function in dict.fromkeys(own))
    except TetherUndescribed as error:
        raise TetherSourceBroken(source=name, reason=str(error).removesuffix(".")) from None
    return Source(name, module, _stamp(module), functions)


def _is_own(function: object, module: ModuleType) -> bool:
    home = str(getattr(function, "__module__", ""))
    return home == module.__name__ or home.startswith(f"{module.__name__}.")


def _run_file(path: Path) -> ModuleType:
    """Run a file as a module named after its place, so that two files of one name don't collide."""
    name = f"treadle_file_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.{path.stem}"
    loader = _Fresh(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise TetherSourceBroken(source=path, reason="it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module


def _attempted(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except TetherSourceBroken:
        raise
    except ModuleNotFoundError as error:
        missing = error.name is not None and (name == error.name or name.startswith(f"{error.name}."))
        reason = "there is no such module; a file needs its path" if missing else _why(error, name)
        raise TetherSourceBroken(source=name, reason=reason) from error
    except (Exception, SystemExit) as error:
        raise TetherSourceBroken(source=name, reason=_why(error, name)) from error


def _stamp(module: ModuleType) -> tuple[int, int]:
    try:
        found = Path(module.__file__ or "").stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _why(error: BaseException, name: str) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, SystemExit):
        return "it tried to end the program"
    said = str(error).strip().split("\n")[0].removesuffix(".")
    stem = Path(name).stem if _is_file(name) else name.rpartition(".")[2]
    frame: Any = error.__traceback__
    line = 0
    while frame is not None:
        if Path(frame.tb_frame.f_code.co_filename).stem == stem:
            line = frame.tb_lineno
        frame = frame.tb_next
    place = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {said}{place}" if said else f"{type(error).__name__}{place}"
