"""The graph editor: a Panel widget which knows nodes, ports and wires, and nothing of the engine."""

from __future__ import annotations

from studio.components.flow_editor.flow_editor import FlowEditor

__all__ = ["FlowEditor"]
