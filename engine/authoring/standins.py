"""A body as it is traced: where it names a tether, a stand-in is called that adds a step.

The functions themselves stay as they are, so that runs and other callers pay nothing for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from engine.authoring.calls import call_function
from engine.tethers.describe import marks_of


class StandIn:
    """A tether in a body."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *positional: Any, **arguments: Any) -> Any:
        """Add a step."""
        return call_function(self.function, positional, arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


class _Module:
    """A module in a body: its tethers are stand-ins."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return StandIn(found) if callable(found) and marks_of(found) is not None else found


def rebound(body: FunctionType) -> Callable[..., Any]:
    """Return the body with stand-ins for the tethers that it, and functions beside it that it calls, name."""
    return _Rebinding(body).function(body)


class _Rebinding:
    def __init__(self, body: FunctionType) -> None:
        self._home = body.__globals__
        self._globals = dict(self._home)
        self._done: dict[FunctionType, FunctionType] = {}

    def function(self, found: FunctionType) -> FunctionType:
        if found in self._done:
            return self._done[found]
        cells = tuple(CellType() for _ in found.__closure__ or ())
        copy = FunctionType(found.__code__, self._globals, found.__name__, found.__defaults__, cells or None)
        copy.__kwdefaults__ = found.__kwdefaults__
        self._done[found] = copy
        for cell, original in zip(cells, found.__closure__ or (), strict=True):
            try:
                cell.cell_contents = self._replaced(original.cell_contents)
            except ValueError:  # not assigned yet
                continue
        for name in _names(found.__code__):
            if name in self._home:
                self._globals[name] = self._replaced(self._home[name])
        return copy

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] != "engine":
            return _Module(value) if any(marks_of(found) is not None for found in vars(value).values()) else value
        if callable(value) and marks_of(value) is not None:
            return StandIn(value)
        if isinstance(value, FunctionType) and value.__globals__ is self._home:
            return self.function(value)
        return value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
