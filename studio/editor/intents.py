"""From what a person wants (an intent of the canvas) to the edits that do it, with the name that undo shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.domain import gestures
from engine.domain.edits import AddNode, Change, Configure, Edit, Move, apply
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import ActionFields, Stage
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Position
from engine.errors import EditRefused
from studio.components.flow_editor.intents import Intent
from studio.editor import templates
from studio.editor.canvas import undrawn_stages


class Step(NamedTuple):
    """What to do as one step of undo, and which nodes to select after it."""

    name: str
    edits: tuple[Edit, ...]
    select: tuple[str, ...] = ()


@dataclass(frozen=True)
class World:
    """What a asked may draw on: the functions, and the other models of the store."""

    specs: Mapping[str, TetherSpec]
    nested: Callable[[str], FunctionModel | None]


def step_for(model: FunctionModel, intent: Intent, world: World) -> Step | None:
    """Return the step that an intent asks for, None for one that changes nothing in the model.

    Raises:
        EditError: it can't be done; the message says why.
        FileError: the clipboard holds no nodes.
    """
    asked: Any = intent
    do = _GESTURES.get(asked["type"])
    return None if do is None else do(model, asked, world)


def _add(model: FunctionModel, asked: Any, world: World) -> Step:
    fields = templates.fields_of(asked["node_type"], world.specs, world.nested)
    new_id = gestures.fresh_ids(model)
    at, parent = _position(asked["position"]), asked["parent"]
    if templates.is_container(asked["node_type"]):
        edits = gestures.add_container(model, fields, at=_absolute(model, at, parent), new_id=new_id)
    else:
        inside = parent if isinstance(model.nodes.get(parent), Stage) else None
        edits = gestures.add_action(
            model, fields, at=at if inside else _absolute(model, at, parent), new_id=new_id, parent=inside
        )
    added = next(edit.node for edit in reversed(edits) if isinstance(edit, AddNode))
    if asked["link"] is not None:
        edits = (*edits, *_link(apply(model, edits), added.id, asked["link"], new_id("wire")))
    return Step(f"Add {added.name}", edits, (added.id,))


def _link(model: FunctionModel, added: str, link: Any, wire: str) -> tuple[Edit, ...]:
    ends = (link["node"], link["port"], added, link["own_port"])
    if link["side"] == "target":
        ends = (added, link["own_port"], link["node"], link["port"])
    source, source_port, target, target_port = ends
    return gestures.connect(
        model, Wire(id=wire, source=source, source_port=source_port, target=target, target_port=target_port)
    )


def _connect(model: FunctionModel, asked: Any, _world: World) -> Step:
    ends = {name: asked[name] for name in ("source", "source_port", "target", "target_port")}
    edits = gestures.connect(model, Wire(id=gestures.fresh_ids(model)("wire"), **ends))
    return Step(f"Connect {model.nodes[ends['source']].name} to {model.nodes[ends['target']].name}", edits)


def _depend(model: FunctionModel, asked: Any, _world: World) -> Step:
    edge = Dependency(id=gestures.fresh_ids(model)("order"), source=asked["source"], target=asked["target"])
    return Step("Put in order", gestures.depend(model, edge))


def _remove(model: FunctionModel, asked: Any, _world: World) -> Step:
    nodes, wires = asked["nodes"], asked["wires"]
    edits = gestures.removal(model, nodes, wires)
    if not nodes:
        return Step("Disconnect" if len(wires) == 1 else f"Disconnect {len(wires)} wires", edits)
    return Step(f"Remove {_named(model, nodes)}", edits)


def _move(model: FunctionModel, asked: Any, _world: World) -> Step:
    items: Sequence[Any] = asked["items"]
    changed, edits = model, []
    new_id = gestures.fresh_ids(model)
    for item in items:
        node = changed.nodes.get(item["id"])
        if node is None:
            raise EditRefused(edit="Move", reason="it is not there any more")
        more = _moved(changed, node.id, item, new_id)
        changed = apply(changed, more)
        edits += more
    verb = "Arrange" if asked["type"] == "layout" else "Move"
    return Step(f"{verb} {_named(model, [item['id'] for item in items])}", tuple(edits))


def _moved(model: FunctionModel, key: str, item: Any, new_id: gestures.NewId) -> tuple[Edit, ...]:
    node, at = model.nodes[key], _position(item["position"])
    if not isinstance(node, ActionFields):
        sized = _size_changes(item) if "width" in item else ()
        place: tuple[Edit, ...] = (Move(id=key, to=_absolute(model, at, item.get("parent"))),)
        return (*place, Configure(id=key, changes=sized)) if sized else place
    drawn_bare = node.parent in undrawn_stages(model)
    parent = item.get("parent", None if drawn_bare else node.parent)
    if parent is None and drawn_bare:
        return gestures.move(model, key, to=at)
    return gestures.reparent(model, key, parent, at=at, new_id=new_id)


def _resize(model: FunctionModel, asked: Any, _world: World) -> Step:
    key = asked["id"]
    edits: tuple[Edit, ...] = (Configure(id=key, changes=_size_changes(asked)),)
    node = model.nodes.get(key)
    if node is not None and node.position != (at := _position(asked["position"])):
        edits = (Move(id=key, to=at), *edits)
    return Step(f"Resize {_named(model, [key])}", edits)


def _collapse(model: FunctionModel, asked: Any, _world: World) -> Step:
    folded = asked["collapsed"]
    change = Change(path=("visual", "collapsed"), value=True) if folded else _without("visual", "collapsed")
    verb = "Collapse" if folded else "Expand"
    return Step(f"{verb} {_named(model, [asked['id']])}", (Configure(id=asked["id"], changes=(change,)),))


def _duplicate(model: FunctionModel, asked: Any, _world: World) -> Step:
    offset = Position(x=asked["offset"], y=asked["offset"])
    edits = gestures.duplicate(model, asked["ids"], offset=offset, new_id=gestures.fresh_ids(model))
    return Step(f"Duplicate {_named(model, asked['ids'])}", edits, _added(model, edits))


def _paste(model: FunctionModel, asked: Any, _world: World) -> Step:
    at = _position(asked["position"])
    edits = gestures.paste(model, asked["text"], at=at, new_id=gestures.fresh_ids(model))
    return Step("Paste", edits, _added(model, edits))


def _rename(model: FunctionModel, asked: Any, _world: World) -> Step:
    return Step(f"Rename {_named(model, [asked['id']])}", gestures.rename(model, asked["id"], asked["name"]))


_GESTURES: Mapping[str, Callable[[FunctionModel, Any, World], Step]] = {
    "add": _add,
    "connect": _connect,
    "depend": _depend,
    "remove": _remove,
    "move": _move,
    "layout": _move,
    "resize": _resize,
    "collapse": _collapse,
    "duplicate": _duplicate,
    "paste": _paste,
    "rename": _rename,
}


def _added(model: FunctionModel, edits: Sequence[Edit]) -> tuple[str, ...]:
    """Return what can be seen of the nodes that edits add, those inside others left out."""
    after = apply(model, edits)
    undrawn = undrawn_stages(after)
    added = {edit.node.id for edit in edits if isinstance(edit, AddNode)}
    return tuple(
        key
        for key in added - undrawn
        if (parent := getattr(after.nodes[key], "parent", None)) not in added or parent in undrawn
    )


def _named(model: FunctionModel, keys: Sequence[str]) -> str:
    if len(keys) != 1:
        return f"{len(keys)} nodes"
    node = model.nodes.get(keys[0])
    return keys[0] if node is None else node.name


def _position(plain: Any) -> Position:
    return Position(x=plain["x"], y=plain["y"])


def _absolute(model: FunctionModel, at: Position, parent: Any) -> Position:
    """Return a place on the canvas; containers stand there even if they were dropped over another one."""
    frame = model.nodes.get(parent) if isinstance(parent, str) else None
    return at if frame is None else Position(x=frame.position.x + at.x, y=frame.position.y + at.y)


def _size_changes(item: Any) -> tuple[Change, ...]:
    return tuple(Change(path=("visual", name), value=item[name]) for name in ("width", "height") if name in item)


def _without(*path: str) -> Change:
    return Change(path=path, remove=True)
