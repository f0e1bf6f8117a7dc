"""Hypothesis strategies: JSON, schemas, nodes, models that edits can make, models that make no sense, and edits."""

from __future__ import annotations

from typing import Any

from engine.domain.edits import (
    AddNode,
    Change,
    Configure,
    Connect,
    Depend,
    Describe,
    Disconnect,
    Edit,
    Move,
    RemoveNode,
    Reparent,
    Undepend,
    apply,
    blank,
)
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import NODE, ActionFields, Node
from engine.domain.values import Position
from engine.errors import EditRefused
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

TABLE = {"type": "array", "items": {"type": "object"}, "format": "table"}
PORTS = ("a", "b", "rows")
IDS = tuple("nmopq")
KINDS = ("ioNode", "stageNode", "tetherNode", "kbNode", "functionModelContainer", "agentNode")

texts: SearchStrategy[str] = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
names: SearchStrategy[str] = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
model_names: SearchStrategy[str] = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=3, max_size=20)
numbers: SearchStrategy[float] = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
json_values: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)
positions = st.builds(Position, x=st.integers(-500, 500), y=st.floats(-500, 500))


def schemas(*, wild: bool = False) -> SearchStrategy[dict[str, Any]]:
    """Schemas of everyday keywords; with `wild` also some whose keywords have senseless values."""
    plain = st.sampled_from(
        [
            {},
            {"type": "string"},
            {"type": "string", "minLength": 2},
            {"type": "integer", "minimum": 0},
            {"type": "number", "maximum": 10},
            {"type": "boolean"},
            {"type": ["string", "null"]},
            {"enum": ["x", "y"]},
            {"const": 3},
            TABLE,
        ]
    )
    if wild:
        plain |= st.dictionaries(
            st.sampled_from(["type", "items", "properties", "required", "enum", "anyOf", "minimum", "$ref", "pattern"]),
            json_values,
            max_size=3,
        )
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.builds(lambda item: {"type": "array", "items": item}, inner),
            st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=2)),
            st.builds(_object_schema, st.dictionaries(st.sampled_from(PORTS), inner, max_size=3), st.booleans()),
        ),
        max_leaves=4,
    )


def _object_schema(properties: dict[str, Any], closed: bool) -> dict[str, Any]:  # noqa: FBT001 - drawn
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
    return {**schema, "additionalProperties": False} if closed else schema


def ports(*, wild: bool = False) -> SearchStrategy[list[dict[str, Any]]]:
    """Lists of ports in their JSON form."""
    port = st.fixed_dictionaries(
        {"name": st.sampled_from(PORTS), "schema": schemas(wild=wild)},
        optional={"required": st.booleans(), "many": st.booleans()},
    )
    return st.lists(port, max_size=3, unique_by=None if wild else (lambda one: one["name"]))


def expressions() -> SearchStrategy[dict[str, str]]:
    """CEL in its JSON form."""
    return st.sampled_from([{"$cel": "true"}, {"$cel": "a > 1"}, {"$cel": "((("}])


@st.composite
def node_json(draw: DrawFn, key: str, parent: str | None, *, wild: bool = False) -> dict[str, Any]:
    """Draw the JSON form of a node: a container without `parent`, else an action in it."""
    common = {
        "description": texts,
        "metadata": json_objects,
        "visual": st.dictionaries(st.sampled_from(["frame", "width"]), json_values, max_size=2),
        "tags": st.lists(names, max_size=2),
        "status": st.sampled_from(["draft", "configured", "inactive"]),
    }
    fields: dict[str, Any] = {"id": key, "name": draw(names), "position": {"x": draw(st.integers(-9, 9)), "y": 0}}
    if parent is None:
        fields |= draw(_container(common, wild=wild))
    else:
        fields |= {"parent": parent, **draw(_action(common, wild=wild))}
    return fields


def _container(common: dict[str, Any], *, wild: bool) -> SearchStrategy[dict[str, Any]]:
    contract = st.builds(_object_schema, st.dictionaries(st.sampled_from(PORTS), schemas(wild=wild)), st.booleans())
    if wild:
        contract |= schemas(wild=True)
    boundary = st.fixed_dictionaries(
        {"kind": st.just("ioNode"), "boundary": st.sampled_from(["input", "output", "input-output"])},
        optional={**common, "input_contract": contract, "output_contract": contract},
    )
    stage = st.fixed_dictionaries(
        {"kind": st.just("stageNode")},
        optional={
            **common,
            "mode": st.sampled_from(["sequential", "parallel", "conditional"]),
            "stage": st.sampled_from(["process", "gateway"]),
            "on_failure": st.sampled_from(["fail", "compensate"]),
            "completion": expressions(),
        },
    )
    return boundary | stage


def _action(common: dict[str, Any], *, wild: bool) -> SearchStrategy[dict[str, Any]]:
    optional: dict[str, SearchStrategy[Any]] = {
        **common,
        "inputs": ports(wild=wild),
        "outputs": ports(wild=wild),
        "order": st.integers(0, 4),
        "parameters": st.dictionaries(st.sampled_from(PORTS) | texts, json_values | expressions(), max_size=2),
        "condition": expressions(),
        "retry": st.fixed_dictionaries({"max_attempts": st.integers(1, 10)}),
        "timeout_s": st.floats(0.1, 100),
        "for_each": st.sampled_from(PORTS),
        "compensation": st.sampled_from(IDS),
        "fallback": st.sampled_from([{"use": "cached"}, {"use": "constant", "constant": 1}])
        | st.builds(lambda key: {"use": "action", "action": key}, st.sampled_from(IDS)),
    }
    if not wild:
        del optional["compensation"], optional["fallback"]
    mapping = st.dictionaries(st.sampled_from(PORTS), expressions(), max_size=2)
    tether = st.fixed_dictionaries(
        {"kind": st.just("tetherNode"), "reference": st.sampled_from(["files.read", "files.reed", "x"])},
        optional={**optional, "headers": st.dictionaries(names, texts, max_size=2), "output_mapping": mapping},
    )
    knowledge = st.fixed_dictionaries({"kind": st.just("kbNode"), "reference": st.just("k")}, optional=optional)
    agent = st.fixed_dictionaries({"kind": st.just("agentNode"), "agent": st.just("helper")}, optional=optional)
    nested = st.fixed_dictionaries(
        {"kind": st.just("functionModelContainer"), "reference": st.sampled_from(["m", "child", "nowhere"])},
        optional={**optional, "version": st.sampled_from(["1.0.0", "2.1.0"]), "context_mapping": mapping},
    )
    return tether | tether | knowledge | agent | nested


@st.composite
def models(draw: DrawFn, *, steps: int = 8) -> FunctionModel:
    """Draw a model that edits can make: every parent and end exists, references may be wrong in other ways."""
    model = blank("m", draw(model_names))
    for _ in range(draw(st.integers(0, steps))):
        model = _tried(model, draw(edits(model)))
    return model


@st.composite
def batches(draw: DrawFn, model: FunctionModel, *, steps: int = 4) -> tuple[Edit, ...]:
    """Draw a batch of edits that applies to `model`."""
    batch: list[Edit] = []
    for _ in range(draw(st.integers(1, steps))):
        edit = draw(edits(model))
        after = _tried(model, edit)
        if after is not model:
            batch.append(edit)
            model = after
    return tuple(batch)


@st.composite
def edits(draw: DrawFn, model: FunctionModel) -> Edit:
    """Draw an edit that could apply to `model`; some are refused because of their values."""
    containers = sorted(node.id for node in model.containers())
    actions = sorted(node.id for node in model.actions())
    makers: list[SearchStrategy[Any]] = [_additions(model, containers), st.builds(_describe, _model_changes())]
    if model.nodes:
        some = st.sampled_from(sorted(model.nodes))
        makers += [
            st.builds(RemoveNode, id=some),
            st.builds(lambda key, to: Move(id=key, to=to), some, positions),
            some.flatmap(lambda key: st.builds(lambda changes: _configure(key, changes), _changes(model.nodes[key]))),
        ]
    if actions:
        makers += [
            st.builds(Reparent, id=st.sampled_from(actions), parent=st.sampled_from(containers), to=positions),
            _connections(model),
        ]
    if containers:
        ends = {"source": st.sampled_from(containers), "target": st.sampled_from(containers)}
        makers.append(st.builds(Depend, dependency=st.builds(Dependency, id=st.sampled_from(["d", "e", "f"]), **ends)))
    if model.wires:
        makers.append(st.builds(Disconnect, id=st.sampled_from(sorted(model.wires))))
    if model.dependencies:
        makers.append(st.builds(Undepend, id=st.sampled_from(sorted(model.dependencies))))
    return draw(st.one_of(makers))


def _additions(model: FunctionModel, containers: list[str]) -> SearchStrategy[Edit]:
    free = st.sampled_from([key for key in (*IDS, "r", "s", "t", "u") if key not in model.nodes] or ["v"])
    parents = st.none() if not containers else st.none() | st.sampled_from(containers) | st.sampled_from(containers)
    drawn = st.tuples(free, parents).flatmap(lambda pair: node_json(*pair))
    return st.builds(lambda fields: AddNode(node=NODE.validate_python(fields)), drawn)


def _connections(model: FunctionModel) -> SearchStrategy[Edit]:
    ends = st.sampled_from(sorted(model.nodes))
    return st.builds(
        lambda key, source, one, target, other: Connect(
            wire=Wire(id=key, source=source, source_port=one, target=target, target_port=other)
        ),
        st.sampled_from(["w", "x", "y", "z"]),
        ends,
        st.sampled_from(PORTS),
        ends,
        st.sampled_from(PORTS),
    )


def _changes(node: Node) -> SearchStrategy[list[Change]]:
    paths: dict[tuple[str, ...], SearchStrategy[Any]] = {
        ("name",): names,
        ("description",): texts,
        ("metadata", "k"): json_values,
        ("metadata", "k", "deep"): json_values,
        ("metadata",): json_objects,
        ("visual", "frame"): st.booleans(),
        ("tags",): st.lists(names, max_size=2),
    }
    if isinstance(node, ActionFields):
        paths |= {
            ("order",): st.integers(0, 3),
            ("inputs",): ports(),
            ("parameters", "a"): json_values,
            ("parameters",): json_objects,
            ("retry", "max_attempts"): st.integers(0, 11),
            ("priority",): st.integers(1, 10),
        }
    one = st.sampled_from(sorted(paths)).flatmap(
        lambda path: st.builds(Change, path=st.just(path), value=paths[path])
        | st.builds(Change, path=st.just(path), remove=st.just(path != ("name",)))
    )
    return st.lists(one, min_size=1, max_size=3)


def _model_changes() -> SearchStrategy[list[Change]]:
    name = st.builds(Change, path=st.just(("name",)), value=model_names)
    text = st.builds(Change, path=st.just(("description",)), value=texts)
    tags = st.builds(Change, path=st.just(("tags",)), value=st.lists(names, max_size=2))
    return st.lists(name | text | tags, min_size=1, max_size=2)


def _configure(key: str, changes: list[Change]) -> Configure:
    return Configure(id=key, changes=tuple(changes))


def _describe(changes: list[Change]) -> Describe:
    return Describe(changes=tuple(changes))


def _tried(model: FunctionModel, edit: Edit) -> FunctionModel:
    try:
        return apply(model, (edit,))
    except EditRefused:
        return model


@st.composite
def wild_models(draw: DrawFn) -> FunctionModel:
    """Draw a model that still is one, but of which nothing need make sense: everything may dangle or contradict."""
    keys = st.sampled_from([*IDS, "gone"])
    nodes: dict[str, Any] = {}
    for key in draw(st.sets(st.sampled_from(IDS))):
        parent = draw(st.none() | keys)
        nodes[key] = draw(node_json(key, parent, wild=True))
    port = st.sampled_from([*PORTS, "gone"])
    wires = draw(
        st.lists(st.builds(Wire, id=names, source=keys, source_port=port, target=keys, target_port=port), max_size=6)
    )
    dependencies = draw(
        st.lists(
            st.builds(
                Dependency, id=names, source=keys, target=keys, necessity=st.sampled_from(["required", "conditional"])
            ),
            max_size=4,
        )
    )
    return FunctionModel.model_validate(
        {
            "id": "m",
            "name": draw(model_names),
            "nodes": nodes,
            "wires": {wire.id: wire for wire in wires},
            "dependencies": {edge.id: edge for edge in dependencies},
        }
    )
