"""Copies of a part of a model: in the model itself, or by way of the clipboard as text.

The text is JSON: `{"format": "treadle/clip/1", "nodes": […], "wires": […], "dependencies": […]}` with each element as
in a model file. An action whose container was not copied has no `parent`, and its position is that on the canvas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from engine.domain.canonical import Json, as_list, as_object, canonical_bytes, loads
from engine.domain.edits import AddNode, Change, Configure, Connect, Depend, Edit
from engine.domain.gestures.placing import (
    INSET,
    NewId,
    absolute_position,
    frameless_stage,
    is_frameless,
    minus,
    next_order,
    plus,
    unique_name,
)
from engine.domain.model import Dependency, FunctionModel, Wire, element_json
from engine.domain.nodes import NODE, ActionFields, Node, Stage
from engine.domain.values import JsonObject, Position
from engine.errors import EditRefused, NotAModel, UnknownFormat

CLIP_FORMAT = "treadle/clip/1"
_CLIPBOARD = "The clipboard"
_FIELDS = {"nodes", "wires", "dependencies"}
_LOOSE = "the-canvas"
"""Stands for the parent of a loose action while its other fields are checked."""


@dataclass(frozen=True)
class _Piece:
    """Part of a model. Loose actions have no container in it: their position is on the canvas."""

    nodes: Mapping[str, Node]
    wires: tuple[Wire, ...]
    dependencies: tuple[Dependency, ...]
    loose: frozenset[str]

    def tops(self) -> list[Node]:
        """Return the nodes that are in no other node of the piece, by id."""
        return [
            self.nodes[key]
            for key in sorted(self.nodes)
            if key in self.loose or not isinstance(self.nodes[key], ActionFields)
        ]


def copy_text(model: FunctionModel, ids: Iterable[str]) -> str:
    """Return the clipboard's text for these nodes, what is in them, and the wires among them."""
    piece = _cut_out(model, ids)
    nodes: list[Json] = []
    for key in sorted(piece.nodes):
        plain = element_json(piece.nodes[key])
        if key in piece.loose:
            plain = {name: value for name, value in plain.items() if name != "parent"}
        nodes.append(plain)
    clip = {
        "format": CLIP_FORMAT,
        "nodes": nodes,
        "wires": [element_json(wire) for wire in piece.wires],
        "dependencies": [element_json(dependency) for dependency in piece.dependencies],
    }
    return canonical_bytes(clip).decode()


def paste(
    model: FunctionModel, text: str | bytes, *, at: Position, new_id: NewId, parent: str | None = None
) -> tuple[Edit, ...]:
    """Add what the clipboard's text holds, its upper left corner at `at` (on the canvas).

    Actions that were copied without their container go into the stage `parent`, or each into a frameless one.
    Raises `NotJson`, `TooDeep`, `UnknownFormat` or `NotAModel` for a text that `copy_text` did not make.
    """
    piece = _read(text)
    tops = piece.tops()
    if not tops:
        return ()
    corner = Position(x=min(node.position.x for node in tops), y=min(node.position.y for node in tops))
    if parent is not None and not isinstance(model.nodes.get(parent), Stage):
        raise EditRefused(edit="AddNode", reason=f"{parent!r} is no stage; actions live in stages")
    return _added(model, piece, minus(at, corner), dict.fromkeys(piece.loose, parent), new_id)


def duplicate(model: FunctionModel, ids: Iterable[str], *, offset: Position, new_id: NewId) -> tuple[Edit, ...]:
    """Add copies of these nodes, what is in them and the wires among them, moved by `offset`, with unique names."""
    piece = _cut_out(model, ids)
    homes: dict[str, str | None] = {}
    for key in piece.loose:
        node = model.nodes[key]
        homes[key] = node.parent if isinstance(node, ActionFields) else None
    return _added(model, piece, offset, homes, new_id)


def _cut_out(model: FunctionModel, ids: Iterable[str]) -> _Piece:
    chosen = set(ids)
    unknown = next((key for key in sorted(chosen) if key not in model.nodes), None)
    if unknown is not None:
        raise EditRefused(edit="AddNode", reason=f"there is no {unknown!r}")
    for key in tuple(chosen):
        node = model.nodes[key]
        chosen.update(child.id for child in model.children(key))
        if isinstance(node, ActionFields) and is_frameless(model.nodes.get(node.parent)):
            chosen.add(node.parent)
    nodes: dict[str, Node] = {}
    loose: set[str] = set()
    for key in chosen:
        node = nodes[key] = model.nodes[key]
        if isinstance(node, ActionFields) and node.parent not in chosen:
            loose.add(key)
            nodes[key] = node.model_copy(update={"position": absolute_position(model, key)})
    return _Piece(
        nodes=nodes,
        wires=tuple(w for _, w in sorted(model.wires.items()) if w.source in chosen and w.target in chosen),
        dependencies=tuple(
            d for _, d in sorted(model.dependencies.items()) if d.source in chosen and d.target in chosen
        ),
        loose=frozenset(loose),
    )


def _added(
    model: FunctionModel, piece: _Piece, shift: Position, homes: Mapping[str, str | None], new_id: NewId
) -> tuple[Edit, ...]:
    """Return the edits that add `piece` with new ids, its loose actions to their home or to the bare canvas."""
    names = _unique_names(model, piece)
    ids = {key: new_id(names[key] + " stage" * is_frameless(piece.nodes[key])) for key in sorted(piece.nodes)}
    orders: dict[str, int] = {}
    containers: list[Edit] = []
    actions: list[Edit] = []
    for key in sorted(piece.nodes, key=lambda key: (getattr(piece.nodes[key], "order", 0), key)):
        node = piece.nodes[key]
        fields: dict[str, Any] = {"id": ids[key], "name": names[key]}
        if not isinstance(node, ActionFields):
            fields["position"] = plus(node.position, shift)
            containers.append(AddNode(node=node.model_copy(update=fields)))
            continue
        home = homes.get(key)
        if key not in piece.loose:
            fields["parent"] = ids[node.parent]
        elif home is None:
            stage = frameless_stage(names[key], plus(node.position, shift), new_id)
            containers.append(AddNode(node=stage))
            fields |= {"parent": stage.id, "position": INSET, "order": 0}
        else:
            orders.setdefault(home, next_order(model, home))
            place = minus(plus(node.position, shift), model.nodes[home].position)
            fields |= {"parent": home, "position": place, "order": orders[home]}
            orders[home] += 1
        actions.append(AddNode(node=node.model_copy(update={**fields, **_references(model, node, ids)})))
    framed = [_with_frame(home) for home in sorted(orders) if is_frameless(model.nodes[home])]
    return (*containers, *framed, *actions, *_edges(piece, ids, new_id))


def _edges(piece: _Piece, ids: Mapping[str, str], new_id: NewId) -> list[Edit]:
    edits: list[Edit] = []
    for wire in piece.wires:
        ends = {"source": ids[wire.source], "target": ids[wire.target]}
        edits.append(Connect(wire=wire.model_copy(update={"id": new_id("wire"), **ends})))
    for dependency in piece.dependencies:
        ends = {"source": ids[dependency.source], "target": ids[dependency.target]}
        edits.append(Depend(dependency=dependency.model_copy(update={"id": new_id("dependency"), **ends})))
    return edits


def _with_frame(stage: str) -> Configure:
    return Configure(id=stage, changes=(Change(path=("visual", "frame"), remove=True),))


def _unique_names(model: FunctionModel, piece: _Piece) -> dict[str, str]:
    taken = {node.name.casefold() for node in model.nodes.values()}
    names: dict[str, str] = {}
    for key in sorted(piece.nodes):
        node = piece.nodes[key]
        if is_frameless(node):
            continue
        names[key] = unique_name(node.name, taken)
        taken.add(names[key].casefold())
    for key, node in piece.nodes.items():
        if key not in names:  # a frameless stage is called as its action
            inner = [other for other, child in piece.nodes.items() if getattr(child, "parent", None) == key]
            names[key] = names[inner[0]] if inner else node.name
    return names


def _references(model: FunctionModel, node: ActionFields, ids: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields in which `node` names other actions: their copies, or the originals where there is none."""
    fields: dict[str, Any] = {}
    if node.compensation is not None:
        fields["compensation"] = _reference(model, node.compensation, ids)
    if node.fallback is not None and node.fallback.action is not None:
        named = _reference(model, node.fallback.action, ids)
        fields["fallback"] = None if named is None else node.fallback.model_copy(update={"action": named})
    return fields


def _reference(model: FunctionModel, named: str, ids: Mapping[str, str]) -> str | None:
    return ids.get(named, named if named in model.nodes else None)


def _read(text: str | bytes) -> _Piece:
    clip = loads(text, source=_CLIPBOARD)
    if not isinstance(clip, dict):
        raise NotAModel(source=_CLIPBOARD, where="top level", reason="it is not an object")
    fields = dict(as_object(clip))
    found = fields.pop("format", None)
    if found != CLIP_FORMAT:
        raise UnknownFormat(source=_CLIPBOARD, format=repr(found) if found is not None else "no format field")
    unknown = min(fields.keys() - _FIELDS, default=None)
    if unknown is not None:
        raise NotAModel(source=_CLIPBOARD, where=unknown, reason="there is no such field")
    nodes, loose = _read_nodes(_list(fields, "nodes"))
    wires = tuple(_read_one(Wire.model_validate, item, "wires") for item in _list(fields, "wires"))
    dependencies = tuple(
        _read_one(Dependency.model_validate, item, "dependencies") for item in _list(fields, "dependencies")
    )
    piece = _Piece(nodes=nodes, wires=wires, dependencies=dependencies, loose=frozenset(loose))
    _check_ends(piece)
    return piece


def _list(clip: JsonObject, field: str) -> list[Any]:
    value = clip.get(field, [])
    if not isinstance(value, list):
        raise NotAModel(source=_CLIPBOARD, where=field, reason="it is not a list")
    return as_list(value)


def _read_nodes(items: list[Any]) -> tuple[dict[str, Node], set[str]]:
    nodes: dict[str, Node] = {}
    loose: set[str] = set()
    for item in items:
        fields = as_object(item)
        is_loose = fields.get("kind") not in (None, "ioNode", "stageNode") and "parent" not in fields
        node: Node = _read_one(NODE.validate_python, {**fields, "parent": _LOOSE} if is_loose else item, "nodes")
        if node.id in nodes:
            raise NotAModel(source=_CLIPBOARD, where="nodes", reason=f"the id {node.id!r} stands twice")
        nodes[node.id] = node
        if is_loose:
            loose.add(node.id)
    return nodes, loose


def _read_one(read: Any, item: Json, field: str) -> Any:
    try:
        return read(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join([field, *(str(part) for part in first["loc"])])
        raise NotAModel(source=_CLIPBOARD, where=where, reason=first["msg"]) from None


def _check_ends(piece: _Piece) -> None:
    for node in piece.nodes.values():
        if isinstance(node, ActionFields) and node.id not in piece.loose:
            parent = piece.nodes.get(node.parent)
            if parent is None or isinstance(parent, ActionFields):
                raise NotAModel(source=_CLIPBOARD, where=f"nodes.{node.id}", reason="its container is not there")
    for edge in piece.wires:
        if edge.source not in piece.nodes or edge.target not in piece.nodes:
            raise NotAModel(source=_CLIPBOARD, where=f"wires.{edge.id}", reason="an end of it is not there")
    for edge in piece.dependencies:
        ends = (piece.nodes.get(edge.source), piece.nodes.get(edge.target))
        if any(end is None or isinstance(end, ActionFields) for end in ends):
            raise NotAModel(source=_CLIPBOARD, where=f"dependencies.{edge.id}", reason="an end of it is no container")
