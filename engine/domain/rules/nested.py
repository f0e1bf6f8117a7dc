"""Nested models: there, in the right version, not too deep, and never reaching the model they are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.domain.contracts import ports_of_nested
from engine.domain.model import FunctionModel
from engine.domain.nodes import NestedModel
from engine.domain.rules.findings import Finding, finding
from engine.domain.rules.survey import FindNested, Survey

_DEPTH_LIMIT = 100
_MODELS_LIMIT = 2_000
_Key = tuple[str, str]


@dataclass
class _Child:
    """A nested model that was looked up, and what is below it."""

    model: FunctionModel
    steps: list[NestedModel]
    height: int = 1
    """Models from this one down, itself included."""
    circle: list[str] = field(default_factory=list[str])
    """Names from this one down to a model that stands on the way already."""
    missing: list[str] = field(default_factory=list[str])
    """Names from this one down to a reference that leads nowhere."""


def nested(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with nested steps. Without a lookup only what the steps themselves say is checked."""
    steps = [(key, node) for key, node in survey.actions if isinstance(node, NestedModel)]
    if not steps:
        return
    lookup = None if survey.nested is None else _Lookup(survey.model, survey.nested)
    for key, node in steps:
        if node.version is None:
            message = f"{survey.name(key)} calls {node.reference!r} in whatever version is there."
            yield finding("readiness.nested-unpinned", key, message, "Choose a version.", field="version")
        if node.reference == survey.model.id:
            yield _self(survey, key, [survey.model.name, survey.model.name])
        elif lookup is not None:
            yield from _step(survey, lookup, key, node)


def _step(survey: Survey, lookup: _Lookup, key: str, node: NestedModel) -> Iterator[Finding]:
    child = lookup.explored(node)
    if child is None:
        message = f"{survey.name(key)} calls the model {node.reference!r}, which is not there."
        yield finding("readiness.nested-unknown", key, message, "Choose another model, or add it.", field="reference")
        return
    if child.circle:
        yield _self(survey, key, [survey.model.name, *child.circle])
        return
    if child.missing:
        message = f"{survey.name(key)} leads to a model that is not there: {_way(child.missing)}."
        yield finding("readiness.nested-unknown", key, message, "Mend the models it calls.", field="reference")
    if node.version is not None and child.model.version is not None and child.model.version != node.version:
        there = child.model.version
        message = f"{survey.name(key)} calls version {node.version} of {node.reference!r}, but {there} is there."
        yield finding("readiness.nested-version", key, message, "Choose a version that is there.", field="version")
    if child.height > node.max_depth:
        message = f"{survey.name(key)} nests {child.height} levels deep, but allows {node.max_depth}."
        yield finding("readiness.nested-depth", key, message, "Allow more levels, or flatten it.", field="max_depth")
    yield from _ports(survey, key, node, child.model)


def _self(survey: Survey, key: str, names: list[str]) -> Finding:
    message = f"{survey.name(key)} lets a model reach itself: {_way(names)}."
    return finding("readiness.nested-self", key, message, "Call another model there.", field="reference")


def _way(names: list[str]) -> str:
    return " → ".join(map(repr, names))


def _ports(survey: Survey, key: str, node: NestedModel, child: FunctionModel) -> Iterator[Finding]:
    inputs, outputs = ports_of_nested(child)
    given = {*survey.ports(key, "input"), *node.parameters, *node.context_mapping}
    taken = {port.name for port in inputs}
    for port in inputs:
        if port.required and port.name not in given:
            message = f"The model that {survey.name(key)} calls needs {port.name!r}, which the step does not give."
            yield _mismatch(key, port.name, message)
    if not node.context_mapping:
        for name in survey.ports(key, "input"):
            if name not in taken:
                message = f"{survey.name(key)} has the input {name!r}, which the model it calls does not take."
                yield _mismatch(key, name, message)
    made = {port.name for port in outputs} | set(node.output_extraction)
    for name in survey.ports(key, "output"):
        if name not in made:
            message = f"{survey.name(key)} has the output {name!r}, which the model it calls does not give."
            yield _mismatch(key, name, message)


def _mismatch(key: str, name: str, message: str) -> Finding:
    mend = "Reset the step's ports to the contracts of the model it calls."
    return finding("readiness.nested-ports", key, message, mend, field=name)


class _Lookup:
    """Walks nested models depth first, without recursion; each model and version is looked up and walked once."""

    def __init__(self, model: FunctionModel, find: FindNested) -> None:
        self._root = model
        self._find = find
        self._found: dict[_Key, _Child | None] = {}
        self._path: list[tuple[_Child, Iterator[NestedModel]]] = []

    def explored(self, node: NestedModel) -> _Child | None:
        """Return the nested model with all below it walked; None if it is not there."""
        top = _key(node)
        if top not in self._found:
            self._enter(node)
            while self._path:
                child, left = self._path[-1]
                step = next(left, None)
                if step is not None:
                    self._descend(child, step)
                    continue
                self._path.pop()
                if self._path:
                    _tell(self._path[-1][0], child)
        return self._found[top]

    def _descend(self, child: _Child, step: NestedModel) -> None:
        below = _key(step)
        if below not in self._found:
            if len(self._path) >= _DEPTH_LIMIT:
                child.height = _DEPTH_LIMIT + 1
                return
            self._enter(step)
        known = self._found[below]
        if known is None:
            child.missing = child.missing or [child.model.name, step.reference]
        elif any(known is one for one, _ in self._path[:-1]) or known is child:
            child.circle = child.circle or [child.model.name, known.model.name]
        elif not any(known is one for one, _ in self._path):
            _tell(child, known)

    def _enter(self, node: NestedModel) -> None:
        """Look a model up and begin to walk it, unless it stands on the way already."""
        model = self._find(node.reference, node.version) if len(self._found) < _MODELS_LIMIT else None
        if model is None:
            self._found[_key(node)] = None
            return
        child = _Child(model, [inner for inner in model.actions() if isinstance(inner, NestedModel)])
        self._found[_key(node)] = child
        if model.id in (self._root.id, *(one.model.id for one, _ in self._path)):
            child.circle = [model.name]
        else:
            self._path.append((child, iter(child.steps)))


def _tell(above: _Child, below: _Child) -> None:
    above.height = max(above.height, below.height + 1)
    if below.circle and not above.circle:
        above.circle = [above.model.name, *below.circle]
    if below.missing and not above.missing:
        above.missing = [above.model.name, *below.missing]


def _key(node: NestedModel) -> _Key:
    return node.reference, "" if node.version is None else str(node.version)
