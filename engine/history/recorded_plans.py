"""The plan of a run as it was recorded, whether its functions are still there or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, AgentTask, Tether
from engine.domain.runs import Run
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Semver
from engine.errors import TetherUnknown
from engine.execution.compiling import compile_plan
from engine.execution.plan import Plan
from engine.models import Models
from engine.ports import Invoke, ModelSource
from engine.run_models import as_it_ran

AGENT = "history.agent"
"""What stands for the function of an agent's task."""


class AnyTethers:
    """Knows every function by name and calls none."""

    def specs(self) -> list[TetherSpec]:
        """Return none: there is no end of them."""
        return []

    def spec(self, reference: str) -> TetherSpec:
        """Return what little is known."""
        return TetherSpec(reference=reference, name=reference, category="")

    def function(self, reference: str) -> Invoke:
        """Return something that refuses to be called."""

        def refuse(*_: Any) -> Any:
            raise TetherUnknown(reference=repr(reference), hint="")

        return refuse

    def load_all(self, sources: Iterable[str]) -> None:
        """Load nothing."""
        del sources

    def sources(self) -> tuple[str, ...]:
        """Return none."""
        return ()


@dataclass(frozen=True, slots=True)
class ChangedModels:
    """Nested models, each with its nodes changed on the way."""

    source: ModelSource
    change: Callable[[FunctionModel], FunctionModel]

    def nested(self, reference: str, version: Semver | None) -> FunctionModel | None:
        """Return the model that a nested step names, changed, or None."""
        found = self.source.nested(reference, version)
        return None if found is None else self.change(found)


def recorded_plan(run: Run, models: Models) -> Plan:
    """Return the plan of a run, to look things up in; its functions can't be called."""
    model, source = as_it_ran(run, models)
    return compile_plan(without_agents(model), AnyTethers(), ChangedModels(source, without_agents))


def without_agents(model: FunctionModel) -> FunctionModel:
    """Return a model in which tasks of agents are functions, so that it needs no provider."""
    agents = {node.id: as_tether(node) for node in model.actions() if isinstance(node, AgentTask)}
    return model.changed(nodes={**model.nodes, **agents}) if agents else model


def as_tether(node: AgentTask) -> Tether:
    """Return a function in the place of an agent's task, with all that a step is."""
    shared = {name: getattr(node, name) for name in ActionFields.model_fields}
    return Tether.model_construct(**shared, kind="tetherNode", binding="function", reference=AGENT, output_mapping={})
