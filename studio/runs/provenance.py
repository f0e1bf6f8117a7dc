"""Where the inputs of a step came from: its wires, the model as it ran, and what the steps before it gave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, Boundary, NestedModel
from engine.domain.runs import Run, Step, StoredValue

_SEGMENT = re.compile(r"([^/\[\]#]+)(?:\[(\d+)\])?(?:#\d+)?$")
_BINDINGS = {
    "function": "Function",
    "code": "Python code",
    "http": "HTTP request",
    "sql": "SQL query",
    "mcp": "MCP tool",
    "spindle": "Spindle workflow",
}
_KINDS = {"kbNode": "Knowledge", "functionModelContainer": "Nested model", "agentNode": "Agent task"}


@dataclass(frozen=True)
class Given:
    """One input of a step: the port, where it came from in words, and the value, stored or written in the node."""

    port: str
    origin: str
    stored: StoredValue | None = None
    plain: Any = None


class RunModels:
    """The model of a run and the models nested in it, found by the path of a step."""

    def __init__(self, run: Run, model: FunctionModel) -> None:
        """`run` must carry its model file, as `engine.runs.get` gives it."""
        self._run, self._model = run, model
        self._nested: dict[str, FunctionModel | None] = {}

    def place(self, path: str) -> tuple[FunctionModel, ActionFields] | None:
        """Return the model a step is in and its node; None for one that is not there any more."""
        model: FunctionModel | None = self._model
        inside, node = self._model, None
        for segment in path.split("/"):
            match = _SEGMENT.match(segment)
            if match is None or model is None:
                return None
            node, inside = model.nodes.get(match[1]), model
            model = self._child(node) if isinstance(node, NestedModel) else None
        return (inside, node) if isinstance(node, ActionFields) else None

    def kind_word(self, step: Step) -> str:
        """Return what kind of step it is, in a person's words."""
        if step.kind != "tetherNode":
            return _KINDS.get(step.kind, "Step")
        found = self.place(step.path)
        return _BINDINGS.get(getattr(found[1], "binding", ""), "Function") if found else "Function"

    def inputs(self, path: str, steps: Mapping[str, Step]) -> list[Given]:
        """Return what the step at `path` was given, port by port; ports that got nothing say so."""
        found = self.place(path)
        if found is None:
            return []
        model, node = found
        outer = path.rpartition("/")[0]
        given: list[Given] = []
        for port in node.inputs:
            wires = [wire for wire in model.wires_into(node.id) if wire.target_port == port.name]
            given += [self._by_wire(model, wire, outer, steps, port.name) for wire in wires]
            if not wires and port.name in node.parameters:
                given.append(Given(port.name, "set in the node", plain=node.parameters[port.name]))
            elif not wires:
                given.append(Given(port.name, "nothing is connected"))
        return given

    def settings(self, path: str) -> dict[str, Any]:
        """Return the node's parameters that are not inputs."""
        found = self.place(path)
        if found is None:
            return {}
        ports = {port.name for port in found[1].inputs}
        return {name: value for name, value in found[1].parameters.items() if name not in ports}

    def _by_wire(self, model: FunctionModel, wire: Any, outer: str, steps: Mapping[str, Step], port: str) -> Given:
        source = model.nodes.get(wire.source)
        name = source.name if source is not None else wire.source
        if isinstance(source, Boundary):
            if outer:
                return self._from_outside(outer, wire.source_port, steps, port)
            return Given(port, f"input {wire.source_port} of the run", self._run.inputs.get(wire.source_port))
        step = steps.get(f"{outer}/{wire.source}" if outer else wire.source)
        origin = f"{name} → {wire.source_port}"
        return Given(port, origin, step.outputs.get(wire.source_port) if step is not None else None)

    def _from_outside(self, outer: str, name: str, steps: Mapping[str, Step], port: str) -> Given:
        """The value came through the boundary of a nested model: look at what its step was given."""
        found = self.place(outer)
        if found is None:
            return Given(port, f"input {name} of the nested model")
        mapping = getattr(found[1], "context_mapping", {})
        if name in mapping:
            return Given(port, f"{found[1].name}: {mapping[name].cel}")
        same = next((one for one in self.inputs(outer, steps) if one.port == name), None)
        origin = f"{found[1].name} → {name}"
        return Given(port, origin, same.stored if same else None, same.plain if same else None)

    def _child(self, node: NestedModel) -> FunctionModel | None:
        key = f"{node.reference}@{node.version or ''}"
        if key not in self._nested:
            kept = self._run.model_file.get("nested", {}) if isinstance(self._run.model_file, dict) else {}
            form = kept.get(key) if isinstance(kept, dict) else None
            self._nested[key] = FunctionModel.from_json(form, source=key) if form is not None else None
        return self._nested[key]
