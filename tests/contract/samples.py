"""Values to keep: small ones to count with, and one of everything."""

import hashlib
from datetime import UTC, datetime, timedelta

from engine.domain.edits import AddNode, Configure, Connect, Depend, Describe, EditBatch, Move
from engine.domain.entities import (
    AccessKey,
    Agent,
    AgentMetrics,
    Checkpoint,
    DeadLetter,
    Decision,
    End,
    KnowledgeDocument,
    Link,
    Monitor,
    Option,
    Schedule,
    Subscription,
)
from engine.domain.events import Draft
from engine.domain.model import Dependency, FunctionModel, Wire
from engine.domain.nodes import AgentTask, Boundary, Knowledge, NestedModel, Stage, Tether
from engine.domain.runs import Attempt, Run, Step, StoredValue
from engine.domain.values import (
    Expression,
    Fallback,
    Permission,
    Port,
    Position,
    Raci,
    Resources,
    RetryPolicy,
    Semver,
)
from engine.domain.versions import Version

START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
ODD_TEXTS = (
    'it\'s "quoted" `ticked`',
    "$1 $$ %s %(name)s :name ?",
    "'; DROP TABLE models; --",
    "100 % _ \\ /",
    "ends in ü, ß, İ and ﬁ",
    "🧵🪡 👩‍👩‍👧",
    "line\u2028and paragraph\u2029separators",
    "__proto__",
    "constructor",
    "null",
    "عربى עברית 漢字",
    "n" * 100,
)


def at(minutes):
    return START + timedelta(minutes=minutes)


def model(number=1, *, name=None, **fields):
    return FunctionModel(id=f"m{number}", name=name or f"Model {number}", **fields)


def draft(number=1, **fields):
    given = {"ts": at(number), "actor": "you", "action": "model.edited", "entity_kind": "model", "entity": "m1"}
    return Draft(**{**given, "patch": f'[{{"op":"add","path":"/x","value":{number}}}]', **fields})


def batch(number=1, *, of="m1", **fields):
    given = {"id": f"b{number}", "model": of, "name": f"Edit {number}", "actor": "you", "ts": at(number)}
    return EditBatch(
        **{**given, "base_revision": number - 1, "edits": (Move(id="n", to=Position(x=number)),), **fields}
    )


def version(number="1.0.0", *, of="m1", **fields):
    snapshot = model(name="Kept").changed(id=of)
    given = {"model": of, "number": Semver.parse(number), "snapshot": snapshot, "author": "you", "ts": at(0)}
    return Version(**{**given, "content_hash": snapshot.content_hash, **fields})


def run(number=1, **fields):
    given = {"id": f"r{number}", "model": "m1", "model_name": "Model 1", "content_hash": "0" * 64}
    return Run(**{**given, "created_at": at(number), **fields})


def step(path="clean", *, of="r1", started=None, **fields):
    attempts = () if started is None else (Attempt(number=1, started_at=at(started)),)
    return Step(**{
        "run": of, "path": path, "node": path, "name": path, "kind": "tetherNode", "status": "pending",
        "attempts": attempts, **fields,
    })  # fmt: skip


def value(data=b'[1,2,"three"]', media_type="application/json"):
    digest = hashlib.sha256(data).hexdigest()
    return StoredValue(media_type=media_type, sha256=digest, size_bytes=len(data), summary="3 items", data=data)


def everything():
    """Return a model that uses every kind of node and most fields."""
    rows = Port(name="rows", schema={"type": "array", "items": {}, "x-odd": [1.5, None, True, "\u2028"]}, many=True)
    contract = {"type": "object", "properties": {"rows": {"type": "array"}}, "required": ["rows"]}
    condition = Expression(cel="1 < 2")
    nodes = [
        Boundary(id="in", name="Input", boundary="input", input_contract=contract, position=Position(x=-1.5, y=1e9)),
        Stage(id="stage", name="Größe 🧵", goals=("go",), completion=condition, resources=Resources(cpu_s=2)),
        Tether(
            id="clean", name="it's $1", parent="stage", reference="tables.clean", inputs=(rows,), outputs=(rows,),
            parameters={"__proto__": {"a": [1, 2.5, {"b": None}]}, "when": {"$cel": "x > 1"}}, headers={"a": "b"},
            retry=RetryPolicy(max_attempts=3), timeout_s=1.5, raci=Raci(responsible=("ada",)),
            fallback=Fallback(use="constant", constant=[]), output_mapping={"rows": Expression(cel="result")},
            metadata={"nul": "a\x00b"}, embedding=(0.1, -2.0),
        ),
        Knowledge(id="kb", name="Manual", parent="stage", order=1, reference="kb:1", view=("a", "b"), edit=("b",)),
        NestedModel(id="sub", name="Sub", parent="stage", order=2, reference="m2", version=Semver.parse("1.2.3")),
        AgentTask(id="agent", name="Agent", parent="stage", order=3, capabilities=("read",), condition=condition),
        Boundary(id="out", name="Output", boundary="output", output_contract=contract),
    ]  # fmt: skip
    wires = [Wire(id="w1", source="in", source_port="rows", target="clean", target_port="rows")]
    dependencies = [
        Dependency(id="d1", source="in", target="stage"),
        Dependency(id="d2", source="stage", target="out", necessity="conditional", condition=Expression(cel="true")),
    ]
    return FunctionModel(
        id="m-all", name="Everything", description="line\nand \u2028 more", tags=("Ärger", "b c"), status="published",
        revision=7, version=Semver.parse("2.0.1"), owner="ada", permissions=(Permission(subject="bob", role="viewer"),),
        nodes={node.id: node for node in nodes}, wires={wire.id: wire for wire in wires},
        dependencies={dependency.id: dependency for dependency in dependencies},
    )  # fmt: skip


def many_edits():
    """Return a batch with most kinds of edit."""
    whole = everything()
    edits = (
        AddNode(node=whole.nodes["stage"]),
        AddNode(node=whole.nodes["clean"]),
        Configure(id="clean", changes=({"path": ("parameters", "path"), "value": [1, {"a": None}]},)),
        Describe(changes=({"path": ("name",), "value": "Other"}, {"path": ("tags",), "remove": True})),
        Connect(wire=whole.wires["w1"]),
        Depend(dependency=whole.dependencies["d2"]),
    )
    return EditBatch(id="b", model="m-all", name="Much", actor="you", ts=START, base_revision=6, edits=edits)


def entities():
    """One of every kind, with everything set."""
    source, target = (
        End(feature="function-model", entity="m1", node="read"),
        End(feature="spindle", entity="s", node="n"),
    )
    numbers = (0.1, -1e-9, 3.0)
    return (
        Link(
            id="l1", source=source, target=target, type="triggers", base=0.1, interactions=7, similarity=0.25,
            relevance=1.0, description="It's $1", created_at=at(1), created_by="you", metadata={"k": [1, None]},
        ),
        Agent(
            id="a1", name="Straße", feature="ai-agent", entity="m1", node="read", description="Reads logs",
            instructions="Be brief", capabilities=("read", "analyze"), concurrency=3, data_types=("csv",),
            tags=("ops",), tools={"grep": {"max": 3}}, enabled=False, embedding=numbers,
            metrics=AgentMetrics(executions=3, successes=2, failures=1, mean_ms=1.5, p95_ms=2, tokens=9, cost_usd=0.1,
            last_run_at=at(2)), updated_at=at(3),
        ),
        KnowledgeDocument(
            id="k1", name="Guide", summary="How to", content="a\x00b", keywords=("one", "two"), tags=("t",),
            viewers=("you", "they"), editors=("you",), embedding=numbers, updated_at=at(1), updated_by="you",
        ),
        Decision(
            run="r1", path="per-file[3]/ask", question="Go on?", options=(Option(id="y", name="Yes"),
            Option(id="n", name="No", description="Stop")), choosers=("you",), opened_at=at(1), deadline=at(9),
            default="n", chosen="y", chosen_by="you", chosen_at=at(2), reason="it's fine",
        ),
        Monitor(run="r1", path="watch", watched="stage-2", told={"status": "failed", "n": 3}, ts=at(1)),
        Subscription(name="mails", position=42, updated_at=at(1), revision=5),
        DeadLetter(subscription="mails", sequence=7, attempts=5, error="no \x00 server", ts=at(1)),
        Schedule(
            id="c1", name="Nightly", model="m1", trigger="cron", spec="0 3 * * *", inputs={"a": 1}, overlap="queue",
            catch_up="all", next_at=at(5), last_at=at(1), updated_at=at(1),
        ),
        AccessKey(
            id="y1", name="CI", actor="bot", role="operator", digest="ab" * 32, created_at=at(1), expires_at=at(9),
            revoked_at=at(3), last_used_at=at(2),
        ),
        Checkpoint(sequence=12, hash="ab" * 32, ts=at(1), signature="cd" * 32),
    )  # fmt: skip
