"""Functions as nodes: how they are marked, described, found and called."""

from engine.tethers.describe import tether
from engine.tethers.registry import Registry

__all__ = ["Registry", "tether"]
