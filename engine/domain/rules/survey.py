"""What the rules need to know of a model, gathered once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, cast

from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Action, ActionFields, Boundary, Stage, Tether
from engine.domain.values import Port, Schema, Semver

Side: TypeAlias = Literal["input", "output"]
OFF = ("inactive", "archived")
"""Actions of this status are not run."""
_NAMES_SHOWN = 4


class TetherFacts(Protocol):
    """What validation needs to know of a registered function; `engine.ports.TetherSpec` is one."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Ports that take values."""
        ...

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Ports that give values."""
        ...

    @property
    def settings(self) -> Schema:
        """JSON Schema of the settings that are not ports."""
        ...

    @property
    def effect(self) -> bool:
        """Whether it leaves the process."""
        ...


FindTether: TypeAlias = Callable[[str], TetherFacts | str | None]
"""Finds a function by its reference, or says in a sentence why it can't be used."""
FindNested: TypeAlias = Callable[[str, Semver | None], FunctionModel | None]
CheckExpression: TypeAlias = Callable[[str, tuple[str, ...]], str | None]


class Survey:
    """A model with its ports and wires by name, and what the caller knows of the world around it."""

    def __init__(
        self,
        model: FunctionModel,
        *,
        tethers: Mapping[str, TetherFacts] | FindTether | None,
        nested: FindNested | None,
        check_expression: CheckExpression | None,
    ) -> None:
        """Keep what the caller knows; each of them may be None: those rules are then left out."""
        self.model = model
        self.nodes = model.nodes
        self.nested = nested
        self.check_expression = check_expression
        self.references: tuple[str, ...] = ()
        self.knows_tethers = tethers is not None
        self._find: FindTether | None = None
        if isinstance(tethers, Mapping):
            known = cast("Mapping[str, TetherFacts]", tethers)
            self.references, self._find = tuple(known), known.get
        else:
            self._find = tethers
        self._specs: dict[str, TetherFacts | str | None] = {}
        self._ports: dict[tuple[str, Side], dict[str, Port]] = {}
        self.actions: list[tuple[str, Action]] = []
        self.stages: list[tuple[str, Stage]] = []
        self.boundaries: list[tuple[str, Boundary]] = []
        for key, node in model.nodes.items():
            if isinstance(node, ActionFields):
                self.actions.append((key, node))
            elif isinstance(node, Stage):
                self.stages.append((key, node))
            else:
                self.boundaries.append((key, node))

    def name(self, key: str) -> str:
        """Return a node's name in quotes, or its id if it is not there."""
        node = self.nodes.get(key)
        return repr(key if node is None else node.name)

    def names(self, keys: list[str]) -> str:
        """Return the names of some nodes, the first few of many."""
        shown = [self.name(key) for key in keys[:_NAMES_SHOWN]]
        more = len(keys) - len(shown)
        if more:
            return f"{', '.join(shown)} and {more} more"
        return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)

    def spec(self, reference: str) -> TetherFacts | str | None:
        """Return what is known of the function `reference`; None or the reason if there is none."""
        if reference not in self._specs:
            self._specs[reference] = None if self._find is None else self._find(reference)
        return self._specs[reference]

    def ports(self, key: str, side: Side) -> dict[str, Port]:
        """Return the ports of a node by name; none if it is not there."""
        place = (key, side)
        if place not in self._ports:
            node = self.nodes.get(key)
            found = () if node is None else node.inputs if side == "input" else node.outputs
            self._ports[place] = {port.name: port for port in found}
        return self._ports[place]

    def is_off(self, key: str) -> bool:
        """Return whether a node is an action that is not run."""
        node = self.nodes.get(key)
        return isinstance(node, ActionFields) and node.status in OFF

    def mode(self, action: Action) -> str:
        """Return the mode an action runs in: its own, or its stage's."""
        stage = self.nodes.get(action.parent)
        return action.mode or (stage.mode if isinstance(stage, Stage) else "parallel")

    def is_effect(self, action: Action) -> bool:
        """Return whether an action is known to leave the process."""
        if not isinstance(action, Tether):
            return False
        if action.effect is not None:
            return action.effect
        spec = self.spec(action.reference)
        return action.binding == "http" if spec is None or isinstance(spec, str) else spec.effect

    @cached_property
    def members(self) -> dict[str, list[tuple[str, Action]]]:
        """The actions of each parent, by order and id."""
        found: dict[str, list[tuple[str, Action]]] = {}
        for key, action in self.actions:
            found.setdefault(action.parent, []).append((key, action))
        for actions in found.values():
            actions.sort(key=lambda one: (one[1].order, one[0]))
        return found

    @cached_property
    def wires_into(self) -> dict[tuple[str, str], list[tuple[str, Wire]]]:
        """The wires by (target, port), whether these exist or not; by id."""
        found: dict[tuple[str, str], list[tuple[str, Wire]]] = {}
        for key in sorted(self.model.wires):
            wire = self.model.wires[key]
            found.setdefault((wire.target, wire.target_port), []).append((key, wire))
        return found

    @cached_property
    def on_call(self) -> set[str]:
        """The actions that run only in place of another one: as its fallback or compensation."""
        found: set[str] = set()
        for _, action in self.actions:
            if action.fallback is not None and action.fallback.action is not None:
                found.add(action.fallback.action)
            if action.compensation is not None:
                found.add(action.compensation)
        return found

    def is_filled(self, key: str, port: Port) -> bool:
        """Return whether an action's port has a value without any wire: a parameter or a default."""
        node: Any = self.nodes.get(key)
        given = node.parameters if isinstance(node, ActionFields) else {}
        return port.name in given or "default" in port.port_schema
