"""Ports that depend on a node's settings: the tables a query names, the parameters of code, the fields of a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.domain.values import Port
from engine.ports import TetherSpec


class NodePorts(NamedTuple):
    """The ports of one node."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def ports_for(spec: TetherSpec, parameters: Mapping[str, Any]) -> NodePorts:
    """Return the ports of a node bound to `spec` with these settings."""
    return NodePorts(spec.inputs, spec.outputs)
