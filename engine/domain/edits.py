"""Edits: the only way a model changes. Each is a frozen value with a name, an inverse and a JSON form.

A model is the fold of its edits over `blank`. `apply` is strict: an edit whose precondition does not hold raises
`EditRefused`, so that the inverse of every applied edit is exact. Larger gestures (delete a node with its wires,
duplicate, convert) are batches of these, made by the functions in `engine.domain.gestures`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Field, TypeAdapter, ValidationError

from engine.domain.canonical import Json, as_object
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import NODE, Node, NodeFields
from engine.domain.values import DEFERRED, Frozen, Identifier, JsonObject, Position, Timestamp
from engine.errors import EditRefused

FieldPath: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
"""A field of a node or model, and below it a key of an object: ("name",), ("parameters", "path")."""

_FIXED = {"id", "kind", "parent", "position"}
_MODEL_FIELDS = {"name", "description", "tags", "permissions"}


class Change(Frozen):
    """One field's new value; `remove` takes a key out of an object, or sets a field back to its default."""

    path: FieldPath
    value: Json = None
    remove: bool = False


class AddNode(Frozen):
    """Put a node into the model; its container must be there."""

    edit: Literal["AddNode"] = "AddNode"
    node: Node


class RemoveNode(Frozen):
    """Take out a node that has no wires, dependencies or children."""

    edit: Literal["RemoveNode"] = "RemoveNode"
    id: Identifier


class Move(Frozen):
    """Put a node elsewhere on the canvas."""

    edit: Literal["Move"] = "Move"
    id: Identifier
    to: Position


class Reparent(Frozen):
    """Put an action into another container, at a place in it."""

    edit: Literal["Reparent"] = "Reparent"
    id: Identifier
    parent: Identifier
    to: Position


class Configure(Frozen):
    """Set fields of a node."""

    edit: Literal["Configure"] = "Configure"
    id: Identifier
    changes: Annotated[tuple[Change, ...], Field(min_length=1)]


class Describe(Frozen):
    """Set fields of the model itself: name, description, tags, permissions."""

    edit: Literal["Describe"] = "Describe"
    changes: Annotated[tuple[Change, ...], Field(min_length=1)]


class Connect(Frozen):
    """Add a wire between existing ports."""

    edit: Literal["Connect"] = "Connect"
    wire: Wire


class Disconnect(Frozen):
    """Take out a wire."""

    edit: Literal["Disconnect"] = "Disconnect"
    id: Identifier


class Depend(Frozen):
    """Add a dependency between two containers."""

    edit: Literal["Depend"] = "Depend"
    dependency: Dependency


class Undepend(Frozen):
    """Take out a dependency."""

    edit: Literal["Undepend"] = "Undepend"
    id: Identifier


Edit: TypeAlias = Annotated[
    AddNode | RemoveNode | Move | Reparent | Configure | Describe | Connect | Disconnect | Depend | Undepend,
    Field(discriminator="edit"),
]
EDIT: TypeAdapter[Any] = TypeAdapter(Edit, config=DEFERRED)
"""Reads one edit from its JSON form."""


class EditBatch(Frozen):
    """What one gesture or one save did: the unit of history, undo and merging."""

    id: Identifier
    model: Identifier
    name: Annotated[str, Field(min_length=1, max_length=200)]
    """What the person did, as the undo button says it: 'Add Clean rows'."""
    actor: Identifier
    ts: Timestamp
    base_revision: Annotated[int, Field(ge=0)]
    edits: Annotated[tuple[Edit, ...], Field(min_length=1)]


def edit_json(edit: Edit) -> JsonObject:
    """Return the JSON form of an edit; `EDIT.validate_python` reads it back."""
    plain: JsonObject = edit.model_dump(mode="json", exclude_defaults=True)
    if isinstance(edit, AddNode):
        plain["node"] = {**plain["node"], "kind": edit.node.kind}
    return {"edit": edit.edit, **plain}


def blank(model: str, name: str, **fields: Any) -> FunctionModel:
    """Return a model without nodes, at revision 0."""
    return FunctionModel(id=model, name=name, **fields)


def apply(model: FunctionModel, edits: Iterable[Edit]) -> FunctionModel:
    """Return the model after these edits, in order; raise `EditRefused` and change nothing if one can't be applied."""
    draft = _Draft(model)
    for edit in edits:
        draft.do(edit)
    return draft.done()


def inverse(model: FunctionModel, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return the edits which, applied to `apply(model, edits)`, give `model` back."""
    draft, undo = _Draft(model), list[Edit]()
    for edit in edits:
        undo.append(draft.opposite(edit))
        draft.do(edit)
    return tuple(reversed(undo))


class _Draft:
    """A model being changed: plain dicts, copied once for a whole batch."""

    def __init__(self, model: FunctionModel) -> None:
        self.model = model
        self.nodes: dict[str, Any] = dict(model.nodes)
        self.wires = dict(model.wires)
        self.dependencies = dict(model.dependencies)
        self._ties: Counter[str] | None = None

    def done(self) -> FunctionModel:
        return self.model.changed(**_frozen(self.nodes, self.wires, self.dependencies))

    def do(self, edit: Edit) -> None:  # noqa: C901 - one case for each edit
        match edit:
            case AddNode():
                self._add(edit)
            case RemoveNode():
                self._remove(edit)
            case Move():
                self._put(self._node(edit, edit.id).model_copy(update={"position": edit.to}))
            case Reparent():
                self._reparent(edit)
            case Configure():
                self._put(configured(self._node(edit, edit.id), edit))
            case Describe():
                self.model = _described(self.model, edit)
            case Connect():
                self._connect(edit)
            case Disconnect():
                self._take(edit, self.wires, edit.id)
            case Depend():
                self._depend(edit)
            case Undepend():
                self._take(edit, self.dependencies, edit.id)

    def opposite(self, edit: Edit) -> Edit:  # noqa: C901 - as above
        match edit:
            case AddNode():
                return RemoveNode(id=edit.node.id)
            case RemoveNode():
                return AddNode(node=self._node(edit, edit.id))
            case Move():
                return Move(id=edit.id, to=self._node(edit, edit.id).position)
            case Reparent():
                node = self._action(edit, edit.id)
                return Reparent(id=edit.id, parent=node.parent, to=node.position)
            case Configure():
                return Configure(id=edit.id, changes=_old(self._node(edit, edit.id), edit.changes))
            case Describe():
                return Describe(changes=_old(self.model, edit.changes))
            case Connect():
                return Disconnect(id=edit.wire.id)
            case Disconnect():
                return Connect(wire=_present(edit, self.wires, edit.id))
            case Depend():
                return Undepend(id=edit.dependency.id)
            case Undepend():
                return Depend(dependency=_present(edit, self.dependencies, edit.id))

    def _node(self, edit: Edit, key: str) -> Any:
        return _present(edit, self.nodes, key)

    def _action(self, edit: Edit, key: str) -> Any:
        node = self._node(edit, key)
        if node.tier != "action":
            raise EditRefused(edit=edit.edit, reason=f"{node.name!r} is a container and has no container of its own")
        return node

    def _put(self, node: Node) -> None:
        self.nodes[node.id] = node

    def _add(self, edit: AddNode) -> None:
        node = edit.node
        if node.id in self.nodes:
            raise EditRefused(edit=edit.edit, reason=f"there is a node {node.id!r} already")
        if node.tier == "action":
            self._container(edit, node.parent)  # type: ignore[union-attr]
            self._count(node.parent, by=1)  # type: ignore[union-attr]
        self.nodes[node.id] = node

    def _remove(self, edit: RemoveNode) -> None:
        node = self._node(edit, edit.id)
        if self._tied()[edit.id]:
            raise EditRefused(edit=edit.edit, reason=f"{node.name!r} {self._tie(edit.id)}")
        del self.nodes[edit.id]
        self._count(getattr(node, "parent", None), by=-1)

    def _tied(self) -> Counter[str]:
        """Return how many wires, dependencies and children hold each node; counted once a batch removes nodes."""
        if self._ties is None:
            edges = (*self.wires.values(), *self.dependencies.values())
            self._ties = Counter(edge.source for edge in edges)
            self._ties.update(edge.target for edge in edges)
            self._ties.update(node.parent for node in self.nodes.values() if node.tier == "action")
        return self._ties

    def _count(self, *keys: str | None, by: int) -> None:
        if self._ties is not None:
            for key in keys:
                if key is not None:
                    self._ties[key] += by

    def _tie(self, key: str) -> str:
        edges = (*self.wires.values(), *self.dependencies.values())
        tied = next((edge.id for edge in edges if key in (edge.source, edge.target)), None)
        if tied is not None:
            return f"is still connected by {tied!r}"
        return f"still holds {next(n.name for n in self.nodes.values() if getattr(n, 'parent', None) == key)!r}"

    def _reparent(self, edit: Reparent) -> None:
        node = self._action(edit, edit.id)
        self._container(edit, edit.parent)
        self.nodes[edit.id] = node.model_copy(update={"parent": edit.parent, "position": edit.to})
        self._count(node.parent, by=-1)
        self._count(edit.parent, by=1)

    def _container(self, edit: Edit, key: str) -> None:
        if self._node(edit, key).tier != "container":
            raise EditRefused(edit=edit.edit, reason=f"{key!r} is an action; actions live in stages")

    def _connect(self, edit: Connect) -> None:
        wire = edit.wire
        if wire.id in self.wires:
            raise EditRefused(edit=edit.edit, reason=f"there is a wire {wire.id!r} already")
        self._node(edit, wire.source)
        self._node(edit, wire.target)
        self.wires[wire.id] = wire
        self._count(wire.source, wire.target, by=1)

    def _depend(self, edit: Depend) -> None:
        dependency = edit.dependency
        if dependency.id in self.dependencies:
            raise EditRefused(edit=edit.edit, reason=f"there is a dependency {dependency.id!r} already")
        self._container(edit, dependency.source)
        self._container(edit, dependency.target)
        self.dependencies[dependency.id] = dependency
        self._count(dependency.source, dependency.target, by=1)

    def _take(self, edit: Edit, kept: dict[str, Any], key: str) -> None:
        edge = _present(edit, kept, key)
        del kept[key]
        self._count(edge.source, edge.target, by=-1)


def configured(node: Any, edit: Configure) -> Any:
    """Return `node` with the changes of `edit`, validated whole."""
    fixed = next((change.path[0] for change in edit.changes if change.path[0] in _FIXED), None)
    if fixed is not None:
        raise EditRefused(edit=edit.edit, reason=f"the field {fixed!r} can't be set this way")
    try:
        return NODE.validate_python(_with_changes(node, edit))
    except ValidationError as error:
        raise _refused(edit, node.name, error) from None


def _described(model: FunctionModel, edit: Describe) -> FunctionModel:
    foreign = next((change.path[0] for change in edit.changes if change.path[0] not in _MODEL_FIELDS), None)
    if foreign is not None:
        raise EditRefused(edit=edit.edit, reason=f"a model has no field {foreign!r} to set")
    plain = _with_changes(model.changed(nodes={}, wires={}, dependencies={}), edit)
    try:
        checked = FunctionModel.model_validate(plain)
    except ValidationError as error:
        raise _refused(edit, model.name, error) from None
    return model.changed(**{name: getattr(checked, name) for name in _MODEL_FIELDS})


def _with_changes(subject: Any, edit: Configure | Describe) -> JsonObject:
    plain: JsonObject = subject.model_dump(mode="json", exclude_defaults=True)
    if hasattr(subject, "kind"):
        plain["kind"] = subject.kind
    known = cast("type[NodeFields | FunctionModel]", type(subject)).model_fields
    for change in edit.changes:
        if change.path[0] not in known:
            raise EditRefused(edit=edit.edit, reason=f"{subject.name!r} has no field {change.path[0]!r}")
        place = plain
        for key in change.path[:-1]:
            place[key] = place = dict(as_object(place.get(key)))
        if change.remove:
            place.pop(change.path[-1], None)
        else:
            place[change.path[-1]] = change.value
    return plain


def _old(subject: Any, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes that bring back what `subject` has at the paths of `changes`, last first."""
    plain: JsonObject = subject.model_dump(mode="json", exclude_defaults=True)
    return tuple(_old_value(plain, change.path) for change in reversed(changes))


def _old_value(plain: JsonObject, path: tuple[str, ...]) -> Change:
    place: Json = plain
    for depth, key in enumerate(path):
        if not isinstance(place, dict):
            return Change(path=path[:depth], value=place)
        if key not in place:
            return Change(path=path[: depth + 1], remove=True)
        place = as_object(place)[key]
    return Change(path=path, value=place)


def _present(edit: Edit, kept: dict[str, Any], key: str) -> Any:
    if key not in kept:
        raise EditRefused(edit=edit.edit, reason=f"there is no {key!r}")
    return kept[key]


def _refused(edit: Configure | Describe, name: str, error: ValidationError) -> EditRefused:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return EditRefused(edit=edit.edit, reason=f"{name!r}, {where}: {first['msg']}")


def _frozen(nodes: dict[str, Any], wires: dict[str, Wire], dependencies: dict[str, Dependency]) -> dict[str, Any]:
    return {
        "nodes": MappingProxyType(nodes),
        "wires": MappingProxyType(wires),
        "dependencies": MappingProxyType(dependencies),
    }
