"""Functions as nodes: how they are marked, described, found and called."""

from engine.tethers.chart import Chart
from engine.tethers.describe import tether
from engine.tethers.node_ports import NodePorts, ports_for
from engine.tethers.registry import Registry

__all__ = ["Chart", "NodePorts", "Registry", "ports_for", "tether"]
