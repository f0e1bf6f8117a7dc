"""What a run is made of: the model with its nested ones, and inputs and outputs that meet their contracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.domain import contracts
from engine.domain.canonical import Json, loads
from engine.domain.model import FunctionModel
from engine.domain.nodes import NestedModel
from engine.domain.runs import Run
from engine.domain.values import Semver
from engine.errors import InputRefused, OutputRefused
from engine.execution.frames import Outcome
from engine.models import Models
from engine.ports import ModelSource


@dataclass(frozen=True, slots=True)
class Sources:
    """Finds nested models: those that came with the run, those in the store, files beside the model's own file."""

    models: Models
    folder: Path | None = None
    embedded: Mapping[str, FunctionModel] | None = None

    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        """Return the model that a nested step names, or None."""
        key = f"{reference}@{version or ''}"
        if self.embedded is not None and key in self.embedded:
            return self.embedded[key]
        if self.folder is not None and reference.endswith(".json"):
            path = self.folder / reference
            if path.is_file():
                return FunctionModel.load(path)
        return self.models.nested(reference, version)


def as_it_ran(run: Run, models: Models) -> tuple[FunctionModel, ModelSource]:
    """Return the model of a run as it was then, and where its nested ones are."""
    kept = run.model_file
    model = FunctionModel.from_json(kept["model"], source=f"run {run.id}")
    found = {key: FunctionModel.from_json(value, source=key) for key, value in kept["nested"].items()}
    return model.changed(revision=run.revision), Sources(models, None, found)


def checked_inputs(model: FunctionModel, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs with the defaults of the contract filled in; `InputRefused` if they don't meet it."""
    schema = contracts.input_contract(model)
    given = contracts.with_defaults(schema, dict(inputs))
    known = schema.get("properties", {})
    strange = next((name for name in given if name not in known), None)
    if strange is not None:
        names = ", ".join(map(repr, known)) or "none"
        raise InputRefused(where=repr(strange), reason=f"the model has no such input; it has: {names}")
    found = contracts.problems(schema, given)
    if found:
        raise InputRefused(where=found[0][0] or "the inputs", reason=found[0][1])
    return given


def checked_outputs(model: FunctionModel, outcome: Outcome, run: Run) -> Outcome:
    """Turn a good outcome into a failed one when the outputs break their contract; a partial run is not checked."""
    if outcome.status != "succeeded" or run.options.get("until") or run.options.get("only"):
        return outcome
    found = contracts.problems(contracts.output_contract(model), outcome.outputs)
    if not found:
        return outcome
    error = OutputRefused(where=found[0][0] or "the outputs", reason=found[0][1])
    return Outcome("failed", outcome.outputs, str(error))


def embedded(model: FunctionModel, source: ModelSource) -> dict[str, Json]:
    """Return every nested model that can be reached, by 'reference@version', as model files."""
    found: dict[str, Json] = {}
    stack = [model]
    while stack:
        for node in stack.pop().actions():
            if isinstance(node, NestedModel):
                key = f"{node.reference}@{node.version or ''}"
                child = source.nested(node.reference, node.version) if key not in found else None
                if child is not None:
                    found[key] = loads(child.to_file())
                    stack.append(child)
    return found
