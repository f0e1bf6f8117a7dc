"""Taking nodes and wires out, with all that hangs on them."""

from __future__ import annotations

from collections.abc import Iterable

from engine.domain.edits import Change, Configure, Disconnect, Edit, RemoveNode, Undepend
from engine.domain.gestures.placing import is_frameless
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields
from engine.errors import EditRefused


def removal(model: FunctionModel, node_ids: Iterable[str], wire_ids: Iterable[str] = ()) -> tuple[Edit, ...]:
    """Take out nodes and wires (or dependencies, by id), and what can't stay without them.

    That is: the actions of a container, every wire and dependency of what goes, a frameless stage that has lost its
    last action, and other nodes' mentions of them as a fallback or compensation.
    """
    gone = _with_contents(model, node_ids)
    cut = set(wire_ids)
    unknown = next((key for key in sorted(cut) if key not in model.wires and key not in model.dependencies), None)
    if unknown is not None:
        raise EditRefused(edit="Disconnect", reason=f"there is no {unknown!r}")
    edits: list[Edit] = [
        Disconnect(id=key)
        for key in sorted(model.wires)
        if key in cut or model.wires[key].source in gone or model.wires[key].target in gone
    ]
    edits += [
        Undepend(id=key)
        for key in sorted(model.dependencies)
        if key in cut or model.dependencies[key].source in gone or model.dependencies[key].target in gone
    ]
    edits += _unmentioned(model, gone)
    edits += [RemoveNode(id=key) for key in sorted(gone) if model.nodes[key].tier == "action"]
    edits += [RemoveNode(id=key) for key in sorted(gone) if model.nodes[key].tier == "container"]
    return tuple(edits)


def _with_contents(model: FunctionModel, node_ids: Iterable[str]) -> set[str]:
    gone = set(node_ids)
    unknown = next((key for key in sorted(gone) if key not in model.nodes), None)
    if unknown is not None:
        raise EditRefused(edit="RemoveNode", reason=f"there is no {unknown!r}")
    touched = {node.parent for key in gone if isinstance(node := model.nodes[key], ActionFields)}
    for key in tuple(gone):
        gone.update(child.id for child in model.children(key))
    for key in touched:
        if is_frameless(model.nodes.get(key)) and all(child.id in gone for child in model.children(key)):
            gone.add(key)
    return gone


def _unmentioned(model: FunctionModel, gone: set[str]) -> list[Edit]:
    edits: list[Edit] = []
    for key in sorted(model.nodes):
        node = model.nodes[key]
        if key in gone or not isinstance(node, ActionFields):
            continue
        mentions = {"fallback": node.fallback and node.fallback.action, "compensation": node.compensation}
        changes = tuple(Change(path=(field,), remove=True) for field, named in mentions.items() if named in gone)
        if changes:
            edits.append(Configure(id=key, changes=changes))
    return edits
