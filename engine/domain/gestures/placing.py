"""Putting nodes on the canvas, into stages and out of them, and naming them.

An action on the bare canvas has a stage of its own that is drawn without a frame (`visual.frame` is false) until a
second action joins it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from pydantic import ValidationError

from engine.domain.canonical import Json
from engine.domain.edits import AddNode, Change, Configure, Edit, Move, RemoveNode, Reparent, Undepend, apply
from engine.domain.graph import cycle
from engine.domain.ids import slug
from engine.domain.model import FunctionModel
from engine.domain.nodes import NODE, Action, ActionFields, Boundary, Node, Stage
from engine.domain.values import Position
from engine.errors import EditRefused

NewId: TypeAlias = Callable[[str], str]
"""Gives an id that was never used, for something of this name."""

INSET = Position(x=20, y=60)
"""Where the first action of a stage stands in it: below the frame's head, even while no frame is drawn."""
_NAME_LIMIT = 200


def fresh_ids(model: FunctionModel) -> NewId:
    """Return a function that gives readable ids which are neither in `model` nor given before."""
    taken = {*model.nodes, *model.wires, *model.dependencies}

    def new_id(name: str) -> str:
        found = slug(name, taken)
        taken.add(found)
        return found

    return new_id


def is_frameless(node: Node | None) -> bool:
    """Return whether `node` is a stage that is drawn without a frame."""
    return isinstance(node, Stage) and node.visual.get("frame") is False


def absolute_position(model: FunctionModel, node_id: str) -> Position:
    """Return where a node stands on the canvas, whatever it is in."""
    node = model.nodes[node_id]
    parent = model.nodes.get(node.parent) if isinstance(node, ActionFields) else None
    return node.position if parent is None else plus(parent.position, node.position)


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or 'name 2', 'name 3'… whichever is not in `taken` (compared without case)."""
    used = {other.casefold() for other in taken}
    if name.casefold() not in used:
        return name
    stem, _, last = name.rpartition(" ")
    if not stem or not (last.isascii() and last.isdigit() and len(last) <= len("9999")):
        stem, last = name, "1"
    number = int(last) + 1
    while f"{stem[: _NAME_LIMIT - 8]} {number}".casefold() in used:
        number += 1
    return f"{stem[: _NAME_LIMIT - 8]} {number}"


def add_container(model: FunctionModel, fields: Mapping[str, Json], *, at: Position, new_id: NewId) -> tuple[Edit, ...]:
    """Add a boundary or stage. `fields` is its JSON form without id and position; its name is made unique."""
    return (AddNode(node=made(_named(model, fields), position=at, new_id=new_id)),)


def add_action(
    model: FunctionModel,
    fields: Mapping[str, Json],
    *,
    at: Position,
    new_id: NewId,
    parent: str | None = None,
) -> tuple[Edit, ...]:
    """Add an action to the stage `parent`, or to the bare canvas, where it gets a frameless stage of its own.

    `fields` is its JSON form without id, parent, position and order; its name is made unique. `at` is relative to
    `parent`, or on the canvas.
    """
    named = _named(model, fields)
    if parent is None:
        stage = frameless_stage(str(named.get("name", "")), at, new_id)
        return (AddNode(node=stage), AddNode(node=made(named, position=INSET, new_id=new_id, parent=stage.id)))
    _stage(model, parent)
    node = made(named, position=at, new_id=new_id, parent=parent, order=next_order(model, parent))
    return (*_framed(model, parent), AddNode(node=node))


def reparent(
    model: FunctionModel, node_id: str, parent: str | None, *, at: Position, new_id: NewId
) -> tuple[Edit, ...]:
    """Put an action into the stage `parent` (`at` relative to it), or with None on the bare canvas.

    It goes to the end of the stage's order. The stage it leaves goes too if it was frameless and has nothing left.
    """
    action = _action(model, node_id)
    alone = is_frameless(model.nodes.get(action.parent)) and len(model.children(action.parent)) == 1
    if parent == action.parent:
        return (Move(id=node_id, to=at),)
    if parent is None and alone:
        return move(model, node_id, to=at)
    edits: list[Edit] = []
    if parent is None:
        stage = frameless_stage(action.name, at, new_id)
        edits += [AddNode(node=stage), Reparent(id=node_id, parent=stage.id, to=INSET)]
        last = 0
    else:
        _stage(model, parent)
        edits += [*_framed(model, parent), Reparent(id=node_id, parent=parent, to=at)]
        last = next_order(model, parent)
    if action.order != last:
        edits.append(Configure(id=node_id, changes=(Change(path=("order",), value=last),)))
    if alone:
        edits += without_container(model, action.parent)
    _refuse_cycle(model, edits, action)
    return tuple(edits)


def move(model: FunctionModel, node_id: str, *, to: Position) -> tuple[Edit, ...]:
    """Put a node at a place on the canvas; the only action of a frameless stage takes its stage along."""
    node = model.nodes.get(node_id)
    if node is None:
        raise EditRefused(edit="Move", reason=f"there is no {node_id!r}")
    parent = model.nodes.get(node.parent) if isinstance(node, ActionFields) else None
    if parent is None:
        return (Move(id=node_id, to=to),)
    if is_frameless(parent) and len(model.children(parent.id)) == 1:
        return (Move(id=parent.id, to=minus(to, node.position)),)
    return (Move(id=node_id, to=minus(to, parent.position)),)


def rename(model: FunctionModel, node_id: str, name: str) -> tuple[Edit, ...]:
    """Give a node another name; a frameless stage that bears its action's name goes along."""
    node = model.nodes.get(node_id)
    if node is None:
        raise EditRefused(edit="Configure", reason=f"there is no {node_id!r}")
    change = (Change(path=("name",), value=name.strip()),)
    edits: list[Edit] = [Configure(id=node_id, changes=change)]
    parent = model.nodes.get(node.parent) if isinstance(node, ActionFields) else None
    if parent is not None and is_frameless(parent) and parent.name == node.name:
        edits.append(Configure(id=parent.id, changes=change))
    apply(model, edits)  # A name that can't be is refused here, not when the batch is saved.
    return tuple(edits)


def frameless_stage(name: str, at: Position, new_id: NewId) -> Stage:
    """Return the stage that an action on the bare canvas at `at` gets."""
    named = name or "Stage"
    try:
        return Stage(id=new_id(f"{named} stage"), name=named, visual={"frame": False}, position=minus(at, INSET))
    except ValidationError as error:
        raise _refused(named, error) from None


def made(fields: Mapping[str, Json], *, position: Position, new_id: NewId, **fixed: Json) -> Node:
    """Return the node of this JSON form with a new id; raise `EditRefused` if it can't be one."""
    name = fields.get("name")
    plain = {**fields, **fixed, "position": position, "id": new_id(name if isinstance(name, str) else "node")}
    try:
        return NODE.validate_python(plain)
    except ValidationError as error:
        raise _refused(name, error) from None


def without_container(model: FunctionModel, container: str) -> list[Edit]:
    """Return the edits that take out a container which holds nothing any more and has no wires."""
    tied = [key for key, edge in model.dependencies.items() if container in (edge.source, edge.target)]
    return [*(Undepend(id=key) for key in sorted(tied)), RemoveNode(id=container)]


def next_order(model: FunctionModel, container: str) -> int:
    """Return the order after the last action of a container."""
    return max((node.order for node in model.children(container)), default=-1) + 1


def plus(one: Position, other: Position) -> Position:
    """Return the place `other` further on from `one`."""
    return Position(x=one.x + other.x, y=one.y + other.y)


def minus(one: Position, other: Position) -> Position:
    """Return `one` as seen from `other`."""
    return Position(x=one.x - other.x, y=one.y - other.y)


def _refused(name: Json, error: ValidationError) -> EditRefused:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return EditRefused(edit="AddNode", reason=f"{name!r}, {where}: {first['msg']}")


def _named(model: FunctionModel, fields: Mapping[str, Json]) -> Mapping[str, Json]:
    name = fields.get("name")
    if not isinstance(name, str):
        return fields
    return {**fields, "name": unique_name(name, [node.name for node in model.nodes.values()])}


def _framed(model: FunctionModel, container: str) -> tuple[Edit, ...]:
    """Return the edit that gives a stage its frame, if it has none yet and holds an action."""
    if not is_frameless(model.nodes[container]) or not model.children(container):
        return ()
    return (Configure(id=container, changes=(Change(path=("visual", "frame"), remove=True),)),)


def _stage(model: FunctionModel, container: str) -> None:
    node = model.nodes.get(container)
    if node is None:
        raise EditRefused(edit="Reparent", reason=f"there is no {container!r}")
    if not isinstance(node, Stage):
        kind = "a boundary" if isinstance(node, Boundary) else "an action"
        raise EditRefused(edit="Reparent", reason=f"{node.name!r} is {kind}; actions live in stages")


def _action(model: FunctionModel, node_id: str) -> Action:
    node = model.nodes.get(node_id)
    if node is None:
        raise EditRefused(edit="Reparent", reason=f"there is no {node_id!r}")
    if not isinstance(node, ActionFields):
        raise EditRefused(edit="Reparent", reason=f"{node.name!r} is a container and has no container of its own")
    return node


def _refuse_cycle(model: FunctionModel, edits: list[Edit], action: Action) -> None:
    after = apply(model, edits)
    found = cycle(after)
    if found is not None and cycle(model) is None:
        names = " → ".join(after.nodes[key].name for key in [*found, found[0]])
        raise EditRefused(edit="Reparent", reason=f"{action.name!r} would then wait for itself: {names}")
