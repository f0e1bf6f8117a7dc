"""Small models for tests, written as plain JSON: a finished one, and the pieces to make others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.domain.model import FunctionModel

TABLE = {"type": "array", "items": {"type": "object"}, "format": "table"}
TEXT = {"type": "string"}
JsonNode = dict[str, Any]


def port(name: str, schema: dict[str, Any] | None = None, **fields: Any) -> JsonNode:
    """Return a port."""
    return {"name": name, "schema": schema or {}, **fields}


def contract(*needed: str, **fields: Any) -> dict[str, Any]:
    """Return a contract with these fields, all of which are tables unless said otherwise; `needed` are required."""
    properties = {**dict.fromkeys(needed, TABLE), **fields}
    return {"type": "object", "properties": properties, "required": list(needed)}


def entry(key: str = "in", *, fields: dict[str, Any] | None = None, **more: Any) -> JsonNode:
    """Return an input boundary that gives `rows`."""
    return {
        "kind": "ioNode",
        "id": key,
        "name": key.title(),
        "boundary": "input",
        "input_contract": contract("rows") if fields is None else fields,
        **more,
    }


def exit_(key: str = "out", *, fields: dict[str, Any] | None = None, **more: Any) -> JsonNode:
    """Return an output boundary that takes `rows`."""
    return {
        "kind": "ioNode",
        "id": key,
        "name": key.title(),
        "boundary": "output",
        "output_contract": contract("rows") if fields is None else fields,
        **more,
    }


def stage(key: str = "work", **more: Any) -> JsonNode:
    """Return a stage."""
    return {"kind": "stageNode", "id": key, "name": key.title(), **more}


def action(key: str = "clean", parent: str = "work", **more: Any) -> JsonNode:
    """Return a tether from `rows` to `rows`."""
    return {
        "kind": "tetherNode",
        "id": key,
        "name": key.title(),
        "parent": parent,
        "reference": "tables.clean",
        "inputs": [port("rows", TABLE)],
        "outputs": [port("rows", TABLE)],
        **more,
    }


def nested(key: str = "inner", parent: str = "work", **more: Any) -> JsonNode:
    """Return a nested step from `rows` to `rows`."""
    node = {**action(key, parent), "kind": "functionModelContainer", "reference": "child", "version": "1.0.0"}
    return {**node, **more}


def wire(path: str) -> dict[str, str]:
    """Return the wire 'in.rows > clean.rows', whose id is its text."""
    source, target = path.split(" > ")
    ends = dict(zip(("source", "source_port"), source.split("."), strict=True))
    return {"id": path, **ends, **dict(zip(("target", "target_port"), target.split("."), strict=True))}


def waits(path: str, **more: Any) -> dict[str, Any]:
    """Return the dependency 'first > second', whose id is its text."""
    source, target = path.split(" > ")
    return {"id": path, "source": source, "target": target, **more}


def workflow(
    nodes: Iterable[JsonNode] = (),
    wires: Iterable[str] = (),
    dependencies: Iterable[dict[str, Any]] = (),
    **fields: Any,
) -> FunctionModel:
    """Return the model of these pieces."""
    return FunctionModel.model_validate(
        {
            "id": "m",
            "name": "model",
            "nodes": {node["id"]: node for node in nodes},
            "wires": {path: wire(path) for path in wires},
            "dependencies": {edge["id"]: edge for edge in dependencies},
            **fields,
        }
    )


def finished(**fields: Any) -> FunctionModel:
    """Return a model with nothing to find fault with: In -> Clean (in Work) -> Out."""
    return workflow([entry(), stage(), action(), exit_()], ["in.rows > clean.rows", "clean.rows > out.rows"], **fields)
