"""The graph editor: a Panel widget of nodes, ports and wires which knows nothing of the engine."""

from __future__ import annotations

from studio.components.flow_editor.flow_editor import FlowEditor

__all__ = ["FlowEditor"]
