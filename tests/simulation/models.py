"""Models made from a seed: nested, mapped, conditional, failing, waiting, compensating."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from engine.domain.model import Dependency, FunctionModel
from engine.domain.nodes import NestedModel, Stage, Tether
from engine.domain.values import Fallback, Port, RetryPolicy
from tests.building import Nested, entrance, leave, model, nested, stage, step

INPUTS = {"n": 3, "items": [4, 1, 3]}


@dataclass(frozen=True, slots=True)
class Features:
    """What generated models may have; less than all of it when a fault is looked for elsewhere."""

    serial: bool | None = None
    """One call at a time and everything in order; None: some models."""
    parallel_compensation: bool = True
    timed_asks: bool = True
    """Steps with a timeout that ask."""
    inline_asks: int = 2
    """Questions of a step that is called on the run's own thread."""
    mapped_extras: bool = True
    """Fallbacks and waiting for steps that work through lists."""
    pure: bool = False
    """No effects, failures, questions or pauses."""
    all_steps: bool = True
    """Stepping through models in which steps are nested, fail, wait or are not run."""


ALL = Features()


@dataclass(frozen=True, slots=True)
class Case:
    """A model, what it nests and how it is run."""

    seed: int
    model: FunctionModel
    nested: dict[str, FunctionModel]
    durability: str = "pipelined"
    capacity: int = 4
    serial: bool = False
    breakpoints: tuple[str, ...] = ()
    steps: int | None = None

    def told(self) -> str:
        """Return all of it as JSON."""
        plain = {
            "durability": self.durability,
            "capacity": self.capacity,
            "breakpoints": self.breakpoints,
            "steps": self.steps,
            "model": self.model.to_json(),
            "nested": {name: child.to_json() for name, child in self.nested.items()},
        }
        return json.dumps(plain, indent=1, default=str)

    def without(self, home: str | None, node: str) -> Case:
        """Return the case without a node of its model (`home` None) or of a nested one."""
        if home is None:
            return replace(self, model=_without(self.model, node))
        return replace(self, nested={**self.nested, home: _without(self.nested[home], node)})

    @property
    def source(self) -> Nested:
        """The nested models, as the compiler wants them."""
        return Nested(**self.nested)


def make_case(seed: int, features: Features = ALL) -> Case:
    """Return the case of a seed."""
    dice = random.Random(seed)
    serial = dice.random() < 0.3 if features.serial is None else features.serial
    maker = _Maker(dice, features, serial=serial)
    found = maker.model("m", 0)
    actions = [node.id for node in found.nodes.values() if isinstance(node, Tether | NestedModel)]
    stepping = 0.5 if features.pure else dice.random()
    return Case(
        seed,
        found,
        maker.nested,
        durability="strict" if dice.random() < 0.1 else "pipelined",
        capacity=1 if serial else dice.choice([1, 2, 4, 8]),
        serial=serial,
        breakpoints=tuple(dice.sample(actions, 1)) if stepping < 0.1 else (),
        steps=dice.randint(1, 4) if stepping > 0.8 and (features.all_steps or _is_quiet(found)) else None,
    )


def _is_quiet(found: FunctionModel) -> bool:
    """Say whether every step of a model is done when it is run."""
    actions = [node for node in found.nodes.values() if isinstance(node, Tether | NestedModel)]
    return all(
        isinstance(node, Tether) and node.condition is None and not {"asks", "fails"} & set(node.parameters)
        for node in actions
    ) and not any(edge.necessity == "conditional" for edge in found.dependencies.values())


def _without(found: FunctionModel, node: str) -> FunctionModel:
    gone = {node, *(each.id for each in found.nodes.values() if getattr(each, "parent", None) == node)}
    nodes: dict[str, Any] = {}
    for key, each in found.nodes.items():
        if key in gone:
            continue
        changes: dict[str, Any] = {}
        if getattr(each, "compensation", None) in gone:
            changes["compensation"] = None
        if getattr(each, "fallback", None) is not None and each.fallback.action in gone:
            changes["fallback"] = None
        nodes[key] = each.model_copy(update=changes) if changes else each
    wires = {key: wire for key, wire in found.wires.items() if not {wire.source, wire.target} & gone}
    depends = {key: edge for key, edge in found.dependencies.items() if not {edge.source, edge.target} & gone}
    return found.model_copy(update={"nodes": nodes, "wires": wires, "dependencies": depends})


@dataclass(slots=True)
class _Draft:
    """The parts of one model while it is made."""

    level: int
    nodes: list[Any] = field(default_factory=list)
    wires: list[tuple[str, str, str, str]] = field(default_factory=list)
    depends: list[Any] = field(default_factory=list)
    before: list[tuple[str, str]] = field(default_factory=list)
    """Actions that later ones may be wired to, with their output port."""
    numbers: int = 0

    def name(self, letter: str) -> str:
        self.numbers += 1
        return f"{letter}{self.numbers}"


class _Maker:
    def __init__(self, dice: random.Random, features: Features, *, serial: bool) -> None:
        self._dice, self._features, self._serial = dice, features, serial
        self.nested: dict[str, FunctionModel] = {}
        self._models = 0

    def model(self, name: str, level: int) -> FunctionModel:
        dice, draft = self._dice, _Draft(level)
        previous: Stage | None = None
        for number in range(dice.randint(1, 3 if level == 0 else 2)):
            home = self._stage(f"s{number}")
            draft.nodes.append(home)
            if previous is not None and (self._serial or dice.random() < 0.6):
                draft.depends.append(self._dependency(previous, home, len(draft.depends)))
            previous = home
            for order in range(dice.randint(1, 4 if level == 0 else 2)):
                self._action(draft, home, order)
        outs = [place for place in draft.before if dice.random() < 0.6] or draft.before[-1:]
        names = [f"r{number}" for number in range(len(outs))]
        wires = [*draft.wires, *((*source, "out", port) for source, port in zip(outs, names, strict=True))]
        made = model(entrance("n", "items"), *draft.nodes, leave(*names), wires=wires, depends=draft.depends)
        return made.model_copy(update={"id": name, "name": name})

    def _chance(self, share: float) -> bool:
        return self._dice.random() < share

    def _stage(self, name: str) -> Stage:
        dice, features = self._dice, self._features
        mode = "sequential" if self._serial else dice.choice(["parallel", "parallel", "sequential", "conditional"])
        point = dice.random()
        compensates = 0.3 if self._serial or features.parallel_compensation else 0.0
        rules = [(compensates, "compensate"), (0.15, "wait"), (0.25, "skip")]
        on_failure = "fail"
        for share, rule in rules:
            if point < share:
                on_failure = rule
                break
            point -= share
        return stage(
            name,
            mode=mode,
            match=dice.choice(["first", "every"]),
            parallelism=dice.randint(1, 4),
            on_failure=on_failure,
        )

    def _dependency(self, previous: Stage, home: Stage, number: int) -> Dependency:
        dice = self._dice
        necessity = dice.choice(["required", "required", "optional", "conditional"])
        cel = dice.choice(["run.inputs.n > 2", "run.inputs.n > 3"])
        return Dependency(
            id=f"d{number}",
            source=previous.id,
            target=home.id,
            necessity=necessity,
            condition={"$cel": cel} if necessity == "conditional" else None,
        )

    # ---- actions ------------------------------------------------------------------------------------------------

    def _action(self, draft: _Draft, home: Stage, order: int) -> None:
        key = draft.name("a")
        fields: dict[str, Any] = {"parent": home.id, "order": order}
        if not self._serial:
            fields["priority"] = self._dice.randint(1, 10)
        if draft.level < 2 and self._chance(0.15):
            self._nested(draft, home, key, fields)
        else:
            self._tether(draft, home, key, fields)
        draft.before.append((key, "r" if isinstance(draft.nodes[-1], NestedModel) else "result"))

    def _nested(self, draft: _Draft, home: Stage, key: str, fields: dict[str, Any]) -> None:
        self._models += 1
        name = f"m{self._models}"
        self.nested[name] = child = self.model(name, draft.level + 1)
        outs = [port.name for port in child.nodes["out"].inputs]
        extraction = {"output_extraction": {"r": {"$cel": f"outputs.{outs[0]}"}}} if self._chance(0.3) else {}
        ports = (Port(name="n"), Port(name="items"))
        mapped = self._chance(0.3) and (self._features.mapped_extras or home.on_failure != "wait")
        fields |= {"for_each": "n"} if mapped else {}
        fields |= {"error_propagation": not self._chance(0.2), "retry": self._retry()} | extraction
        draft.nodes.append(nested(key, name, inputs=ports, outputs=(Port(name="r", required=False),), **fields))
        draft.wires += [("in", "items" if mapped else "n", key, "n"), ("in", "items", key, "items")]

    def _tether(self, draft: _Draft, home: Stage, key: str, fields: dict[str, Any]) -> None:
        dice, features = self._dice, self._features
        effect = self._chance(0.5) and not features.pure
        reference = "sim.effect" if effect else dice.choice(["sim.inline", "sim.auto", "sim.thread"])
        mapped = self._chance(0.15) and (features.mapped_extras or home.on_failure != "wait")
        fields["retry"] = retry = self._retry()
        fields["parameters"] = parameters = self._parameters(retry, inline=reference in ("sim.inline", "sim.auto"))
        if parameters.get("hangs"):
            fields["timeout_s"] = 4.0
        if home.mode == "conditional" or self._chance(0.1):
            fields["condition"] = {"$cel": dice.choice(["n > 2", "n > 3", "n > 0"])}
        if (features.mapped_extras or not mapped) and self._chance(0.2):
            fields["fallback"] = self._fallback(draft, home)
        if effect and "fallback" not in fields and (home.on_failure == "compensate" or self._chance(0.2)):
            fields["compensation"] = self._on_call(draft, home, "u", "sim.undo")
        if mapped:
            fields["for_each"] = "b"
        single, many = Port(name="n"), Port(name="a", many=True)
        ports = [single, many, *([Port(name="b")] if mapped or self._chance(0.4) else [])]
        draft.nodes.append(step(key, reference, inputs=tuple(ports), **fields))
        draft.wires.append(("in", "n", key, "n"))
        sources = draft.before[-6:]
        for source in dice.sample(sources, min(len(sources), dice.randint(0, 2))):
            draft.wires.append((*source, key, "a"))
        if len(ports) == 3:
            source = ("in", "items") if mapped or not sources else dice.choice(sources)
            draft.wires.append((*source, key, "b"))

    def _retry(self) -> RetryPolicy:
        dice = self._dice
        if dice.random() < 0.5:
            return RetryPolicy()
        return RetryPolicy(
            max_attempts=dice.randint(2, 3), backoff=dice.choice(["immediate", "linear"]), base_delay_s=1.0
        )

    def _parameters(self, retry: RetryPolicy, *, inline: bool) -> dict[str, Any]:
        dice, features = self._dice, self._features
        found: dict[str, Any] = {}
        if features.pure:
            return found
        if self._chance(0.12):
            found["fails"] = 99
        elif self._chance(0.3):
            found["fails"] = dice.randint(0, retry.max_attempts - 1)
        if self._chance(0.08):
            found["hangs"] = dice.randint(0, retry.max_attempts - 1)
        if self._chance(0.15) and (features.timed_asks or not found.get("hangs")):
            found["asks"] = dice.randint(1, features.inline_asks if inline else 2)
            if self._chance(0.4):
                found |= {"within_s": dice.choice([5, 20_000])} | ({"default": "b"} if self._chance(0.7) else {})
        return found

    def _fallback(self, draft: _Draft, home: Stage) -> Fallback:
        use = self._dice.choice(["action", "action", "constant", "cached"])
        if use == "action":
            reference = self._dice.choice(["sim.effect", "sim.inline", "sim.thread"])
            return Fallback(use="action", action=self._on_call(draft, home, "f", reference))
        return Fallback(use=use, constant=7 if use == "constant" else None)

    def _on_call(self, draft: _Draft, home: Stage, letter: str, reference: str) -> str:
        """Make an action that only another one asks for."""
        key, retry = draft.name(letter), self._retry()
        fails = self._dice.choice([0, 0, retry.max_attempts - 1, 99 if self._chance(0.3) else 0])
        ports = (Port(name="n", required=False), Port(name="a", many=True))
        parameters = {"fails": fails} if fails else {}
        draft.nodes.append(step(key, reference, parent=home.id, inputs=ports, parameters=parameters, retry=retry))
        return key
