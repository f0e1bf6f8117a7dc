"""A model as the canvas draws it: view nodes, view wires, and what differs between two pictures of it.

A stage without a frame (`visual.frame` is false) that holds one action is not drawn; its action stands in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.domain.gestures import absolute_position, is_frameless
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, AgentTask, Boundary, Knowledge, NestedModel, Node, Stage, Tether
from engine.domain.rules import Finding
from engine.domain.schemas import short_name, why_not
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port
from studio.editor import templates

View = dict[str, Any]

NODE_WIDTH, WIDE_NODE_WIDTH = 176, 224
_HEAD, _ROW, _FOOT, _ROWS_PADDING, _FOLD_AT = 46, 22, 32, 6, 10
_FRAME_PADDING, _FRAME_WIDTH, _FRAME_HEIGHT = 20, 320, 180
_OFF = ("inactive", "archived")
_BOUNDARY_WORDS = {"input": "Input", "output": "Output", "input-output": "Input and output"}
_BINDING_WORDS = {
    "function": "Function",
    "code": "Python code",
    "http": "HTTP request",
    "sql": "SQL query",
    "mcp": "MCP tool",
    "spindle": "Spindle workflow",
}
_BINDING_ICONS = {"code": "code", "http": "globe", "sql": "database", "mcp": "plug", "spindle": "workflow"}
_SAMPLES: Mapping[str, Any] = {
    "any": {},
    "table": {"type": "array", "items": {"type": "object"}, "format": "table"},
    "chart": {"type": "object", "format": "chart"},
    "text": {"type": "string"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "list": {"type": "array"},
}
_COLOURS = {
    "any": "var(--idle)",
    "table": "var(--tether)",
    "chart": "var(--agent)",
    "text": "var(--kb)",
    "number": "var(--stage)",
    "integer": "var(--stage)",
    "boolean": "var(--warn)",
    "object": "var(--io)",
    "list": "var(--nested)",
}


def port_types() -> dict[str, View]:
    """Return each port type with its colour and the types whose ports may take it: the rule the engine refuses by."""
    return {
        name: {
            "color": _COLOURS[name],
            "into": [other for other, wanted in _SAMPLES.items() if other != name and why_not(schema, wanted) is None],
        }
        for name, schema in _SAMPLES.items()
    }


@dataclass(frozen=True)
class Names:
    """What the canvas has to know beside the model: functions by reference, other models' names by id."""

    specs: Mapping[str, TetherSpec] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)


class Change(NamedTuple):
    """What leads from one picture to the next, as the widget's `patch` takes it."""

    nodes: list[View]
    wires: list[View]
    removed_nodes: list[str]
    removed_wires: list[str]

    def __bool__(self) -> bool:
        return any(self[:])


class Scene:
    """The picture of one model. `show` takes the model a step further and returns what changed in the picture."""

    def __init__(self, model: FunctionModel, names: Names) -> None:
        self.names = names
        self.revision = 1
        self.nodes: dict[str, View] = {}
        self.wires: dict[str, View] = {}
        self._cards: dict[str, tuple[Node, View]] = {}
        self.show(model, ())

    def graph(self) -> View:
        """Return the whole picture, as a new view of it paints first."""
        return {"revision": self.revision, "nodes": [*self.nodes.values()], "wires": [*self.wires.values()]}

    def show(self, model: FunctionModel, findings: Iterable[Finding]) -> Change:
        """Draw `model` and return the difference to what was drawn before."""
        nodes, wires = self._draw(model, problems_by_node(model, findings)), _wires(model)
        change = Change(
            [view for key, view in nodes.items() if self.nodes.get(key) != view],
            [view for key, view in wires.items() if self.wires.get(key) != view],
            [key for key in self.nodes if key not in nodes],
            [key for key in self.wires if key not in wires],
        )
        self.nodes, self.wires = nodes, wires
        if change:
            self.revision += 1
        return change

    def _draw(self, model: FunctionModel, problems: Mapping[str, list[View]]) -> dict[str, View]:
        undrawn = undrawn_stages(model)
        nodes: dict[str, View] = {}
        cards: dict[str, tuple[Node, View]] = {}
        for key, node in model.nodes.items():
            if key in undrawn:
                continue
            known = self._cards.get(key)
            card = known[1] if known is not None and known[0] is node else card_of(node, self.names)
            cards[key] = (node, card)
            bare = not isinstance(node, ActionFields) or node.parent in undrawn
            place = absolute_position(model, key) if bare else node.position
            nodes[key] = {
                **card,
                "parent": None if bare else node.parent,
                "position": {"x": place.x, "y": place.y},
                "problems": problems.get(key, []),
            }
            if isinstance(node, Stage):
                nodes[key] |= _frame_size(model, node, cards, self.names)
        self._cards = cards
        return nodes


def undrawn_stages(model: FunctionModel) -> set[str]:
    """Return the stages that are not drawn: without a frame, with one action, and in no dependency."""
    ordered = {end for edge in model.dependencies.values() for end in (edge.source, edge.target)}
    return {
        key
        for key, node in model.nodes.items()
        if is_frameless(node) and key not in ordered and len(model.children(key)) == 1
    }


def drawn_id(model: FunctionModel, key: str) -> str:
    """Return the id of what stands for a node on the canvas: for an undrawn stage its action."""
    if is_frameless(model.nodes.get(key)) and key in undrawn_stages(model):
        return model.children(key)[0].id
    return key


def problems_by_node(model: FunctionModel, findings: Iterable[Finding]) -> dict[str, list[View]]:
    """Return findings as the nodes show them; one about a wire is shown at its target."""
    found: dict[str, list[View]] = {}
    for finding in findings:
        key = subject_node(model, finding.subject)
        if key is not None:
            text = f"{finding.message} {finding.mend}".strip()
            found.setdefault(key, []).append({"severity": finding.severity, "text": text})
    return found


def subject_node(model: FunctionModel, subject: str | None) -> str | None:
    """Return the drawn node that a finding is about; None for the model itself or what is not there."""
    if subject in model.nodes:
        return drawn_id(model, subject)
    edge = model.wires.get(subject or "") or model.dependencies.get(subject or "")
    return drawn_id(model, edge.target) if edge is not None and edge.target in model.nodes else None


def card_of(node: Node, names: Names) -> View:
    """Return what a node shows by itself, wherever it stands."""
    return {
        "id": node.id,
        "kind": _KINDS[node.kind],
        "type": templates.type_of(node),
        "name": node.name,
        "subtitle": subtitle_of(node, names),
        "icon": icon_of(node, names),
        "width": None,
        "height": None,
        "container": isinstance(node, Stage),
        "collapsed": isinstance(node, Stage) and node.visual.get("collapsed") is True,
        "badge": _badge(node) if isinstance(node, Stage) else "",
        "enabled": node.status not in _OFF,
        "inputs": ports_view(node.inputs),
        "outputs": ports_view(node.outputs),
    }


_KINDS = {
    "ioNode": "io",
    "stageNode": "stage",
    "tetherNode": "tether",
    "kbNode": "kb",
    "functionModelContainer": "nested",
    "agentNode": "agent",
}


def ports_view(ports: Sequence[Port]) -> list[View]:
    """Return ports as the widget draws them."""
    return [
        {
            "id": port.name,
            "label": port.name,
            "type": short_name(port.port_schema),
            "required": port.required and "default" not in port.port_schema,
            "many": port.many,
        }
        for port in ports
    ]


def subtitle_of(node: Node, names: Names) -> str:
    """Return what a node is, in a few words."""
    match node:
        case Boundary():
            return _BOUNDARY_WORDS[node.boundary]
        case Stage():
            return "Gateway" if node.stage == "gateway" else "Stage"
        case Tether():
            spec = names.specs.get(node.reference)
            return spec.name if spec is not None else _BINDING_WORDS[node.binding]
        case Knowledge():
            return "Knowledge"
        case NestedModel():
            name = names.models.get(node.reference, node.reference)
            return f"Model · {name}" + (f" {node.version}" if node.version else "")
        case AgentTask():
            return f"Agent · {node.agent or ', '.join(node.capabilities)}"


def icon_of(node: Node, names: Names) -> str:
    """Return the Lucide name of a node's icon."""
    match node:
        case Boundary():
            return "log-out" if node.boundary == "output" else "log-in"
        case Stage():
            return "git-fork" if node.stage == "gateway" else "frame"
        case Tether():
            spec = names.specs.get(node.reference)
            return spec.icon if spec is not None else _BINDING_ICONS.get(node.binding, "square-function")
        case Knowledge():
            return "book-open"
        case NestedModel():
            return "boxes"
        case AgentTask():
            return "bot"


def node_size(card: View) -> tuple[int, int]:
    """Return the width and height of a card, as geometry.js computes them."""
    rows = max(len(card["inputs"]), len(card["outputs"]))
    if rows <= 1:
        return NODE_WIDTH, _HEAD + _FOOT
    shown = rows if rows <= _FOLD_AT else _FOLD_AT - 1
    return WIDE_NODE_WIDTH, _HEAD + shown * _ROW + 2 * _ROWS_PADDING + _FOOT


def _badge(stage: Stage) -> str:
    if stage.mode == "parallel":
        return f"parallel · {stage.parallelism}"
    if stage.mode == "conditional":
        return "first match" if stage.match == "first" else "every match"
    return "sequential"


def _frame_size(
    model: FunctionModel, stage: Stage, cards: Mapping[str, tuple[Node, View]], names: Names
) -> dict[str, float | None]:
    """Return a frame's size: what the person gave it, but never too small for what is in it."""
    width, height = (_length(stage.visual.get(name)) for name in ("width", "height"))
    children = model.children(stage.id)
    if not children:
        return {"width": width or _FRAME_WIDTH, "height": height or _FRAME_HEIGHT}
    for child in children:
        known = cards.get(child.id)
        size = node_size(known[1] if known is not None and known[0] is child else card_of(child, names))
        width = max(width, child.position.x + size[0] + _FRAME_PADDING)
        height = max(height, child.position.y + size[1] + _FRAME_PADDING)
    return {"width": width, "height": height}


def _length(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0.0


def _wires(model: FunctionModel) -> dict[str, View]:
    views: dict[str, View] = {}
    for key, wire in model.wires.items():
        views[key] = {
            "id": key,
            "kind": "wire",
            "source": wire.source,
            "source_port": wire.source_port,
            "target": wire.target,
            "target_port": wire.target_port,
            "label": "",
        }
    for key, edge in model.dependencies.items():
        views[key] = {
            "id": key,
            "kind": "dependency",
            "source": edge.source,
            "source_port": "before",
            "target": edge.target,
            "target_port": "after",
            "label": "" if edge.necessity == "required" else edge.necessity,
        }
    return views
