"""Models for measurements: steps in layers or in a row, that add one to the greatest input."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from engine.domain.model import FunctionModel, Wire
from engine.domain.nodes import Boundary, Stage, Tether
from engine.domain.values import Port

_LAYER = 100


def layered(count: int, *, reference: str = "bench.inline", seed: int = 7, **fields: Any) -> FunctionModel:
    """Return a model of `count` steps in layers of 100, each fed by three of the layer before."""
    dice = random.Random(seed)  # noqa: S311 - the shape of a graph, not a secret
    edges = [
        (base - _LAYER + other, base + place)
        for base in range(_LAYER, count, _LAYER)
        for place in range(_LAYER)
        for other in dice.sample(range(_LAYER), 3)
    ]
    return model_of_edges(count, edges, reference, **fields)


def chain(count: int, *, reference: str = "bench.inline", **fields: Any) -> FunctionModel:
    """Return a model of `count` steps in a row."""
    return model_of_edges(count, ((number, number + 1) for number in range(count - 1)), reference, **fields)


def model_of_edges(
    count: int, edges: Iterable[tuple[int, int]], reference: str, *, results: Iterable[int] = (), **fields: Any
) -> FunctionModel:
    """Return a model of `count` steps n0, n1, … that feed each other; what the steps `results` give comes out."""
    ports = {"inputs": (Port(name="values", many=True, required=False),), "outputs": (Port(name="result"),)}
    stage = Stage(id="work", name="Work", parallelism=100)
    nodes: dict[str, Any] = {"work": stage}
    for number in range(count):
        name = f"n{number}"
        nodes[name] = Tether(id=name, name=name, parent="work", reference=reference, **ports, **fields)
    wires = {
        (key := f"w{number:07}"): Wire(
            id=key, source=f"n{source}", source_port="result", target=f"n{target}", target_port="values"
        )
        for number, (source, target) in enumerate(edges)
    }
    given: dict[str, Any] = {f"n{number}": {} for number in results}
    if given:
        contract: dict[str, Any] = {"type": "object", "properties": given}
        nodes["out"] = Boundary(id="out", name="Out", boundary="output", output_contract=contract)
        wires |= {
            (key := f"out-{name}"): Wire(id=key, source=name, source_port="result", target="out", target_port=name)
            for name in given
        }
    return FunctionModel(id="bench", name="Benchmark", nodes=nodes, wires=wires)
