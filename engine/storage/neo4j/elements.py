"""What a model is as a graph: its nodes, and what joins them; and back to the model.

Each element carries its own JSON in `body`, so that an edit writes the elements that differ and nothing else, and a
digest to tell by which those are. The digests of the whole are kept with the model: what is read is checked against
them, since another one's commit becomes visible piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from engine.domain.canonical import Json
from engine.domain.model import Dependency, FunctionModel, Wire, element_json
from engine.domain.nodes import NestedModel, Node
from engine.storage.documents import json_text, json_value, model_from, model_json
from engine.storage.folding import fold
from engine.storage.neo4j.database import Found

_ELEMENTS = ("nodes", "wires", "dependencies")


class Line(NamedTuple):
    """What joins two nodes: its type and id, its ends, and its properties."""

    type: str
    """WIRE, PRECEDES or IN."""
    id: str
    source: str
    target: str
    properties: Found

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the other lines of its model."""
        return self.type, self.id, self.properties["digest"]


class Elements(NamedTuple):
    """A model taken apart."""

    body: str
    """The model's own fields as JSON."""
    points: Mapping[str, Found]
    """The properties of each node by id. Those of missing nodes, where a wire ends that has lost its node, too."""
    lines: tuple[Line, ...]
    check: str
    """The digest of all bodies."""
    points_key: str
    lines_key: str


def elements_of(model: FunctionModel, organization: str) -> Elements:
    """Take a model apart."""
    lines = (
        *(_line("WIRE", wire, source_port=wire.source_port, target_port=wire.target_port)
          for wire in model.wires.values()),
        *(_line("PRECEDES", edge, necessity=edge.necessity, condition=edge.condition.cel if edge.condition else None)
          for edge in model.dependencies.values()),
        *(_membership(node.id, node.parent) for node in model.actions()),
    )  # fmt: skip
    bound = {"organization": organization, "model": model.id}
    ends = {end for line in lines for end in (line.source, line.target)}
    points = {node.id: {**bound, **_point(node)} for node in model.nodes.values()}
    points |= {end: {**bound, "id": end, "tier": "missing", "digest": ""} for end in sorted(ends - points.keys())}
    body = json_text({name: value for name, value in model_json(model).items() if name not in _ELEMENTS})
    bodies = [point["body"] for point in points.values() if "body" in point]
    return Elements(
        body=body,
        points=points,
        lines=lines,
        check=check_of(body, bodies, [line.properties["body"] for line in lines if "body" in line.properties]),
        points_key=_digest(sorted(f"{key} {point['tier']} {point['digest']}" for key, point in points.items())),
        lines_key=_digest(sorted(" ".join(line.key) for line in lines)),
    )


def check_of(body: str, nodes: Iterable[str], lines: Iterable[str]) -> str:
    """Return the digest of a model's bodies: the same as when it was written, or what was read is not one model."""
    return _digest([body, *sorted(nodes), "", *sorted(lines)])


def model_of(body: str, nodes: Iterable[str], wires: Iterable[str], dependencies: Iterable[str]) -> FunctionModel:
    """Put a model together; raises as `engine.storage.documents` says."""
    plain: dict[str, Json] = json_value(body)
    for name, texts in zip(_ELEMENTS, (nodes, wires, dependencies), strict=True):
        plain[name] = [json_value(text) for text in texts]
    return model_from(plain)


def _point(node: Node) -> Found:
    body = json_text(element_json(node))
    nests = {"nests": node.reference} if isinstance(node, NestedModel) else {}
    return {
        "id": node.id,
        "kind": node.kind,
        "tier": node.tier,
        "name": node.name,
        "search": fold(node.name),
        "tags": list(node.tags),
        "tag_keys": [fold(tag) for tag in node.tags],
        "body": body,
        "digest": _digest([body]),
        **nests,
    }


def _line(name: str, element: Wire | Dependency, **shown: Any) -> Line:
    body = json_text(element_json(element))
    properties = {"id": element.id, **shown, "body": body, "digest": _digest([body])}
    return Line(name, element.id, element.source, element.target, properties)


def _membership(action: str, container: str) -> Line:
    return Line("IN", action, action, container, {"id": action, "digest": _digest([container])})


def _digest(texts: Iterable[str]) -> str:
    return blake2b("\x00".join(texts).encode(), digest_size=12).hexdigest()
