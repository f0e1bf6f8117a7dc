"""The palette: what can be added, by category, in the order shown."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.domain.canonical import Json
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port
from engine.domain.writes import ModelRow
from engine.tethers import library
from engine.tethers.describe import describe
from studio.editor.canvas import ports_view
from studio.editor.templates import (
    AGENT,
    GATEWAY,
    INPUT,
    KNOWLEDGE,
    NESTED,
    OUTPUT,
    STAGE,
    TETHER,
    fields_of,
    tether_fields,
)

Entry = dict[str, Any]
ACTION_BINDINGS = ("code", "sql", "http", "mcp", "spindle")
"""Functions of these bindings stand under Actions, in this order, before the library."""
_STARTERS = ("files.read_csv",)


def catalog(specs: Iterable[TetherSpec], models: Sequence[ModelRow], *, model: str) -> list[Entry]:
    """Return the entries for a model: kinds of node, then the library by category, own functions, other models."""
    known = list(specs)
    bound = [spec for binding in ACTION_BINDINGS for spec in known if spec.binding == binding]
    rest = [spec for spec in known if spec.binding not in ACTION_BINDINGS]
    library = sorted((spec for spec in rest if not is_own(spec)), key=lambda spec: (spec.category, spec.name))
    own = sorted((spec for spec in rest if is_own(spec)), key=lambda spec: spec.name)
    return [
        *_frames(),
        *(_of_spec(spec, "Actions") for spec in bound),
        _kind(
            KNOWLEDGE, "Knowledge", "Actions", "kb", icon="book-open", description="A note that other steps can read."
        ),
        _kind(AGENT, "Agent task", "Actions", "agent", icon="bot", description="Work for an AI agent."),
        *(_of_spec(spec, spec.category) for spec in library),
        *(_of_spec(spec, "Your functions") for spec in own),
        *(_of_model(row) for row in models if row.id != model and row.status != "archived"),
    ]


def _frames() -> list[Entry]:
    """Return the containers: boundaries and stages."""
    return [
        _kind(
            INPUT,
            "Input",
            "Boundaries",
            "io",
            icon="log-in",
            description="A value given when the model starts.",
            starter=True,
        ),
        _kind(
            OUTPUT,
            "Output",
            "Boundaries",
            "io",
            icon="log-out",
            description="A result the model gives back.",
            starter=True,
        ),
        _kind(
            STAGE,
            "Stage",
            "Structure",
            "stage",
            icon="frame",
            description="A frame around steps: their order, limits and failures.",
        ),
        _kind(
            GATEWAY,
            "Gateway",
            "Structure",
            "stage",
            icon="git-fork",
            description="Chooses among its steps by their conditions.",
        ),
    ]


def is_own(spec: TetherSpec) -> bool:
    """Return whether a function is the user's own: not of the library."""
    return spec.reference not in _library_references()


@functools.cache
def _library_references() -> frozenset[str]:
    return frozenset(describe(function).spec.reference for function in library.functions())


def _kind(
    node_type: str, label: str, category: str, kind: str, *, icon: str, description: str, starter: bool = False
) -> Entry:
    fields = fields_of(node_type, {}, lambda _: None)
    inputs, outputs = _ports(fields.get("inputs")), _ports(fields.get("outputs"))
    if node_type == INPUT:
        outputs = _ports([{"name": "value"}])
    if node_type == OUTPUT:
        inputs = _ports([{"name": "value"}])
    return {
        "type": node_type,
        "label": label,
        "category": category,
        "kind": kind,
        "icon": icon,
        "description": description,
        "keywords": [],
        "container": kind == "stage",
        "inputs": ports_view(inputs),
        "outputs": ports_view(outputs),
        "starter": starter,
    }


def _ports(plain: Json) -> tuple[Port, ...]:
    return tuple(Port.model_validate(port) for port in plain) if isinstance(plain, list) else ()


def _of_spec(spec: TetherSpec, category: str) -> Entry:
    return {
        "type": f"{TETHER}{spec.reference}",
        "label": spec.name,
        "category": category,
        "kind": "tether",
        "icon": spec.icon,
        "description": spec.description,
        "keywords": [*spec.keywords, spec.reference],
        "container": False,
        "inputs": ports_view(_ports(tether_fields(spec)["inputs"])),
        "outputs": ports_view(spec.outputs),
        "starter": spec.reference in _STARTERS,
    }


def _of_model(row: ModelRow) -> Entry:
    return {
        "type": f"{NESTED}{row.id}",
        "label": row.name,
        "category": "Your models",
        "kind": "nested",
        "icon": "boxes",
        "description": row.description or f"Runs the model {row.name}.",
        "keywords": list(row.tags),
        "container": False,
        # Ports are known once it is added: reading every model for its contracts would make opening slow.
        "inputs": [],
        "outputs": [],
    }


def specs_by_reference(specs: Iterable[TetherSpec]) -> Mapping[str, TetherSpec]:
    """Return functions by their reference."""
    return {spec.reference: spec for spec in specs}
