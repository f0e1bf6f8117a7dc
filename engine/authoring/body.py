"""A body being traced: its steps, stages and order, and the model that comes of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from engine.authoring.drafts import Draft, Link, named
from engine.authoring.handles import Handle, output_of
from engine.authoring.layout import Arrangement, arranged
from engine.authoring.refusals import BodyRefused
from engine.domain.canonical import as_list
from engine.domain.ids import slug
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.values import Port

_CURRENT: ContextVar[Body | None] = ContextVar("body", default=None)


@dataclass(frozen=True, slots=True)
class Order:
    """A dependency to be."""

    earlier: Draft
    later: Draft
    fields: dict[str, Any]


@dataclass(slots=True, eq=False)
class Body:
    """What the body of one model has said so far."""

    entry: Draft
    exit: Draft
    actions: list[Draft] = field(default_factory=list[Draft])
    stages: list[Draft] = field(default_factory=list[Draft])
    orders: list[Order] = field(default_factory=list[Order])
    functions: list[Callable[..., Any]] = field(default_factory=list["Callable[..., Any]"])
    """Tethers that were called as functions."""
    nested: list[FunctionModel] = field(default_factory=list[FunctionModel])
    open_stage: Draft | None = None
    default_stage: Draft | None = None
    _own: set[Draft] = field(default_factory=set[Draft])
    _places: dict[Draft, int] = field(default_factory=dict[Draft, int])

    def __post_init__(self) -> None:
        self._own |= {self.entry, self.exit}

    @contextmanager
    def being_traced(self) -> Generator[None]:
        """Be the body that calls add to."""
        before = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(before)

    def add(self, draft: Draft) -> Handle:
        """Take in an action and return its handle; it goes to the stage that is open, or to the default one."""
        stage = self.open_stage or self._default_stage()
        draft.stage = stage
        draft.order = self._places.get(stage, 0)
        draft.node(lambda _: "x")
        self._places[stage] = draft.order + 1
        self._own.add(draft)
        self.actions.append(draft)
        return Handle(draft)

    def add_stage(self, draft: Draft) -> None:
        """Take in a stage."""
        self._own.add(draft)
        self.stages.append(draft)

    def connect(self, draft: Draft, port: str, value: Handle) -> None:
        """Wire what a handle gives to a port of a draft."""
        source, output = output_of(value)
        self.require_own(source)
        draft.links.append(Link(source, output.name, port))

    def require_own(self, draft: Draft) -> None:
        """Raise `BodyRefused` for a step of another body."""
        if draft not in self._own:
            mend = "Give the other model an output, and call it here"
            raise BodyRefused(what=f"{draft.name!r} is a step of another model", mend=mend)

    def _default_stage(self) -> Draft:
        if self.default_stage is None:
            self.default_stage = Draft("stageNode", "steps", "Steps")
            self.add_stage(self.default_stage)
        return self.default_stage


def current(what: str) -> Body:
    """Return the body being traced; raise `BodyRefused` outside of one. `what` begins the sentence."""
    body = _CURRENT.get()
    if body is None:
        mend = "Call it there; run a model with engine.open() as eng: eng.run(…)"
        raise BodyRefused(what=f"{what} stands in the body of an @engine.model", mend=mend)
    return body


def is_tracing() -> bool:
    """Whether a body is being traced."""
    return _CURRENT.get() is not None


def give(body: Body, result: Any, announced: tuple[Port, ...] | None) -> None:
    """Wire what a body returned to the model's outputs; `announced` are those that its annotation names."""
    given = _named_results(result)
    names = [port.name for port in announced or ()]
    if announced is not None and set(names) != set(given):
        what = f"The body gives {named(list(given))}, but its return annotation says {named(names)}"
        raise BodyRefused(what=what, mend="Make them agree")
    known = {port.name: dict(port.port_schema) for port in announced or ()}
    properties: dict[str, Any] = {}
    for name, value in given.items():
        sources = cast("list[Any]", value) if isinstance(value, list) else [value]
        for source in sources:
            if not isinstance(source, Handle):
                what = f"The body returns {source!r} as {name!r}, which no step gives"
                raise BodyRefused(what=what, mend="Return what steps give; a constant comes from values.constant")
            body.connect(body.exit, name, source)
        properties[name] = known.get(name, {} if len(sources) != 1 else schema_of(sources[0]))
    contract: dict[str, Any] = {"type": "object", "properties": properties}
    needed = [name for name, schema in known.items() if not _admits_null(schema)]
    body.exit.fields.setdefault("output_contract", {**contract, "required": needed} if needed else contract)


def schema_of(handle: Handle) -> dict[str, Any]:
    """Return the schema of what a handle stands for."""
    draft, port = output_of(handle)
    return {"type": "array"} if "for_each" in draft.fields else dict(port.port_schema)


def _named_results(result: Any) -> dict[str, Any]:
    if result is None:
        return {}
    if isinstance(result, Mapping):
        return {str(name): value for name, value in cast("Mapping[object, Any]", result).items()}
    if isinstance(result, tuple) and hasattr(cast("Any", result), "_asdict"):
        return cast("Any", result)._asdict()
    if isinstance(result, tuple):
        mend = "Return a dict of them, or a NamedTuple, so that the outputs have names"
        raise BodyRefused(what="The body returns several values without names", mend=mend)
    return {"result": result}


def _admits_null(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    options = [dict(option).get("type") for option in as_list(schema.get("anyOf"))]
    return not schema or "null" in options or (isinstance(kind, list) and "null" in kind)


def finished(body: Body, facts: Mapping[str, Any]) -> tuple[FunctionModel, dict[Draft, str]]:
    """Return the model of a body and the id of each draft. `facts` are the model's own fields."""
    drafts = [body.entry, *body.stages, *body.actions, body.exit]
    ids = _ids(drafts)
    _name(drafts)
    nodes = {ids[draft]: draft.node(ids.__getitem__) for draft in drafts}
    wires = {wire.id: wire for draft in drafts for wire in _wires(draft, ids)}
    orders = {order.id: order for order in _dependencies(body, ids)}
    places = arranged([nodes[ids[draft]] for draft in drafts], list(wires.values()), list(orders.values()))
    for draft in drafts:
        nodes[ids[draft]] = _placed(draft, nodes[ids[draft]], places[ids[draft]])
    try:
        model = FunctionModel.model_validate({**facts, "nodes": nodes, "wires": wires, "dependencies": orders})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise BodyRefused(what=f"The model can't be so: {where}: {first['msg']}", mend="Change that value") from None
    return model, ids


def _ids(drafts: list[Draft]) -> dict[Draft, str]:
    taken: set[str] = set()
    for draft in drafts:
        if draft.id is not None:
            if draft.id in taken:
                raise BodyRefused(what=f"Two nodes have the id {draft.id!r}", mend="Give one of them another id")
            taken.add(draft.id)
    found: dict[Draft, str] = {}
    for draft in drafts:
        found[draft] = draft.id if draft.id is not None else slug(draft.stem.replace("_", " "), taken)
        taken.add(found[draft])
    return found


def _name(drafts: list[Draft]) -> None:
    """Number the names that nobody chose where they would stand twice."""
    taken = {draft.name.casefold() for draft in drafts if "name" in draft.fields}
    last: dict[str, int] = {}
    for draft in drafts:
        if "name" not in draft.fields:
            stem = draft.title
            while draft.title.casefold() in taken:
                last[stem] = last.get(stem, 1) + 1
                draft.title = f"{stem[:190]} {last[stem]}"
            taken.add(draft.title.casefold())


def _wires(draft: Draft, ids: Mapping[Draft, str]) -> Iterator[Wire]:
    left = {port: list(given) for port, given in draft.wire_ids.items()}
    for link in draft.links:
        source, target = ids[link.source], ids[draft]
        stated = left.get(link.port)
        key = stated.pop(0) if stated else f"{source}.{link.source_port}-{target}.{link.port}"[:200]
        yield Wire(id=key, source=source, source_port=link.source_port, target=target, target_port=link.port)


def _dependencies(body: Body, ids: Mapping[Draft, str]) -> Iterator[Dependency]:
    for order in body.orders:
        source, target = ids[order.earlier], ids[order.later]
        plain = {"id": f"{source}-{target}"[:200], "source": source, "target": target, **order.fields}
        try:
            yield Dependency.model_validate(plain)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]
            what = f"The order of {order.earlier.name!r} and {order.later.name!r} can't be so: {said['msg']}"
            raise BodyRefused(what=what, mend="Change its id, necessity or condition") from None


def _placed(draft: Draft, node: Any, place: Arrangement) -> Any:
    changes: dict[str, Any] = {}
    if "position" not in draft.fields:
        changes["position"] = place.position
    if place.frame is not None and "visual" not in draft.fields:
        changes["visual"] = place.frame
    return node.model_copy(update=changes)
