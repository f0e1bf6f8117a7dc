"""The workflow engine: models, runs, stores and the ledger. It knows no user interface.

Names are loaded when first used, so that importing the engine costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.authoring import call, call_model, cel, each, model, options, stage
    from engine.domain.model import FunctionModel
    from engine.domain.rules import Finding
    from engine.engine import Engine
    from engine.errors import TreadleError
    from engine.ports import StepContext
    from engine.run_handle import RunHandle
    from engine.tethers import tether
    from engine.wiring import open_engine as open  # noqa: A004 - engine.open() reads as it should

_HOMES = {
    "Engine": ("engine.engine", "Engine"),
    "Finding": ("engine.domain.rules", "Finding"),
    "FunctionModel": ("engine.domain.model", "FunctionModel"),
    "RunHandle": ("engine.run_handle", "RunHandle"),
    "StepContext": ("engine.ports", "StepContext"),
    "TreadleError": ("engine.errors", "TreadleError"),
    "call": ("engine.authoring", "call"),
    "call_model": ("engine.authoring", "call_model"),
    "cel": ("engine.authoring", "cel"),
    "each": ("engine.authoring", "each"),
    "model": ("engine.authoring", "model"),
    "open": ("engine.wiring", "open_engine"),
    "options": ("engine.authoring", "options"),
    "stage": ("engine.authoring", "stage"),
    "tether": ("engine.tethers", "tether"),
}

__all__ = [
    "Engine",
    "Finding",
    "FunctionModel",
    "RunHandle",
    "StepContext",
    "TreadleError",
    "call",
    "call_model",
    "cel",
    "each",
    "model",
    "open",
    "options",
    "stage",
    "tether",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'engine' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(home[0]), home[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
