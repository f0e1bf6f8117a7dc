"""What a new node of each palette type starts with: the fields of its JSON form, without id and place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.domain.canonical import Json
from engine.domain.contracts import ports_of_nested
from engine.domain.model import FunctionModel
from engine.domain.nodes import AgentTask, Boundary, Knowledge, NestedModel, Node, Stage, Tether
from engine.domain.schemas import TABLE
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import JsonObject, Port
from engine.errors import EditRefused

INPUT, OUTPUT, STAGE, GATEWAY, KNOWLEDGE, AGENT = "input", "output", "stage", "gateway", "knowledge", "agent"
TETHER, NESTED = "tether:", "model:"
_TEXT: JsonObject = {"type": "string"}
_CONTAINERS: Mapping[str, JsonObject] = {
    INPUT: {
        "kind": "ioNode",
        "name": "Input",
        "boundary": "input",
        "input_contract": {"type": "object", "properties": {"value": {}}, "required": ["value"]},
    },
    OUTPUT: {
        "kind": "ioNode",
        "name": "Output",
        "boundary": "output",
        "output_contract": {"type": "object", "properties": {"value": {}}, "required": ["value"]},
    },
    STAGE: {"kind": "stageNode", "name": "Stage", "visual": {"width": 456, "height": 180}},
    GATEWAY: {
        "kind": "stageNode",
        "name": "Gateway",
        "stage": "gateway",
        "mode": "conditional",
        "visual": {"width": 456, "height": 180},
    },
}
_ACTIONS: Mapping[str, JsonObject] = {
    KNOWLEDGE: {
        "kind": "kbNode",
        "name": "Knowledge",
        "reference": "note",
        "outputs": [{"name": "content", "schema": _TEXT}],
    },
    AGENT: {
        "kind": "agentNode",
        "name": "Agent task",
        "capabilities": ["text"],
        "inputs": [{"name": "prompt", "schema": _TEXT}],
        "outputs": [{"name": "text", "schema": _TEXT}],
    },
}


def type_of(node: Node) -> str:
    """Return the palette type of a node: what adding another of its kind would name."""
    match node:
        case Boundary():
            return OUTPUT if node.boundary == "output" else INPUT
        case Stage():
            return GATEWAY if node.stage == "gateway" else STAGE
        case Tether():
            return f"{TETHER}{node.reference}"
        case Knowledge():
            return KNOWLEDGE
        case NestedModel():
            return f"{NESTED}{node.reference}"
        case AgentTask():
            return AGENT


def is_container(node_type: str) -> bool:
    """Return whether a type is a boundary or a stage."""
    return node_type in _CONTAINERS


def fields_of(
    node_type: str, specs: Mapping[str, TetherSpec], nested: Callable[[str], FunctionModel | None]
) -> JsonObject:
    """Return what a new node of a type starts with; raise `EditRefused` for a type that is not there any more."""
    fixed = _CONTAINERS.get(node_type) or _ACTIONS.get(node_type)
    if fixed is not None:
        return dict(fixed)
    if node_type.startswith(TETHER):
        spec = specs.get(node_type.removeprefix(TETHER))
        if spec is not None:
            return tether_fields(spec)
    if node_type.startswith(NESTED):
        child = nested(node_type.removeprefix(NESTED))
        if child is not None:
            return nested_fields(child)
    raise EditRefused(edit="AddNode", reason=f"{node_type.partition(':')[2] or node_type!r} is not there any more")


def tether_fields(spec: TetherSpec) -> JsonObject:
    """Return what a node bound to a function starts with: its ports, and the settings that it must have."""
    fields: JsonObject = {
        "kind": "tetherNode",
        "name": spec.name[:200],
        "binding": spec.binding,
        "reference": spec.reference,
        "inputs": ports_json(spec.inputs) or _free_ports(spec),
        "outputs": ports_json(spec.outputs),
    }
    starting = _starting_settings(spec)
    return {**fields, "parameters": starting} if starting else fields


def has_free_ports(spec: TetherSpec) -> bool:
    """Return whether a node of this function may have any inputs: it takes whatever is wired in by name."""
    return spec.settings.get("additionalProperties") is True


def _free_ports(spec: TetherSpec) -> list[Json]:
    """Return the first input of a function that takes any: a table for a query, else anything."""
    if not has_free_ports(spec):
        return []
    return (
        [{"name": "rows", "schema": dict(TABLE)}] if spec.binding == "sql" else [{"name": "value", "required": False}]
    )


def nested_fields(child: FunctionModel) -> JsonObject:
    """Return what a step that runs another model starts with: the ports of its contracts, its published version."""
    inputs, outputs = ports_of_nested(child)
    fields: JsonObject = {
        "kind": "functionModelContainer",
        "name": child.name,
        "reference": child.id,
        "inputs": ports_json(inputs),
        "outputs": ports_json(outputs),
    }
    return {**fields, "version": str(child.version)} if child.version is not None else fields


def ports_json(ports: tuple[Port, ...]) -> list[Json]:
    """Return ports in their JSON form."""
    return [port.model_dump(mode="json", exclude_defaults=True) for port in ports]


def _starting_settings(spec: TetherSpec) -> JsonObject:
    """Return the settings that are needed and have no default, from the function's own example where it has them."""
    properties, required = spec.settings.get("properties"), spec.settings.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    example = spec.example.get("settings") if isinstance(spec.example.get("settings"), dict) else spec.example
    return {
        name: example[name]
        for name in required
        if isinstance(name, str) and isinstance(example, dict) and name in example and _lacks_default(properties, name)
    }


def _lacks_default(properties: JsonObject, name: str) -> bool:
    schema = properties.get(name)
    return not (isinstance(schema, dict) and "default" in schema)
