"""The functions that generated models call. What they do follows from their settings, path and attempt alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from engine.domain.tether_spec import TetherSpec
from engine.errors import TetherUnknown
from engine.ports import Invoke, StepContext
from tests.simulation.world import FakeCrew, Life

_KINDS = {
    "sim.inline": ("inline", False),
    "sim.auto": ("auto", False),
    "sim.thread": ("thread", False),
    "sim.effect": ("thread", True),
    "sim.undo": ("thread", True),
}
_SPECS = {
    name: TetherSpec(reference=name, name=name, category="Simulation", runs=runs, effect=effect)  # type: ignore[arg-type]
    for name, (runs, effect) in _KINDS.items()
}


class Functions:
    """The functions by reference, bound to the life that is being lived."""

    def __init__(self) -> None:
        self.life: Life | None = None
        self.crew: FakeCrew | None = None
        self._calls = {name: self._bound(name, effect=effect) for name, (_, effect) in _KINDS.items()}

    def specs(self) -> list[TetherSpec]:
        return list(_SPECS.values())

    def spec(self, reference: str) -> TetherSpec:
        if reference not in _SPECS:
            raise TetherUnknown(reference=repr(reference), hint="")
        return _SPECS[reference]

    def function(self, reference: str) -> Invoke:
        return self._calls[reference]

    def load_all(self, sources: Iterable[str]) -> None:
        del sources

    def sources(self) -> tuple[str, ...]:
        return ()

    def _bound(self, name: str, *, effect: bool) -> Invoke:
        def call(inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext) -> Any:
            return self._call(name, inputs, settings, context, effect=effect)

        return call

    def _call(
        self, name: str, inputs: Mapping[str, Any], settings: Mapping[str, Any], context: StepContext, *, effect: bool
    ) -> Any:
        """Ask, have an effect, hang, fail or give a number made of everything that came."""
        life, path = self.life, context.path  # type: ignore[attr-defined]
        assert life is not None
        assert self.crew is not None
        told = [_asked(context, number, settings) for number in range(settings.get("asks", 0))]
        if effect:
            life.begin_effect(path, context.attempt, context.idempotency_key, undoes=name == "sim.undo")
        if context.attempt <= settings.get("hangs", 0):
            self.crew.hangs = True
        if context.attempt <= settings.get("fails", 0):
            message = "not yet"
            raise ConnectionError(message)
        if effect:
            life.end_effect()
        return {"result": (weight([inputs, told]) * 31 + len(name)) % 9_973}


def _asked(context: StepContext, number: int, settings: Mapping[str, Any]) -> str:
    within_s = settings.get("within_s")
    default = settings.get("default")
    options = [f"{number}{letter}" for letter in "abc"]
    return context.ask(f"Which, {number}?", options, within_s=within_s, default=default and f"{number}{default}")


def weight(value: Any) -> int:
    """Return a number that stands for a value of any shape."""
    if isinstance(value, Mapping):
        return sum(weight(key) * 7 + weight(each) for key, each in value.items()) % 9_973
    if isinstance(value, list | tuple):
        return sum((place + 3) * weight(each) for place, each in enumerate(value)) % 9_973
    if isinstance(value, str):
        return zlib.crc32(value.encode()) % 9_973
    return int(value or 0)
