"""The six kinds of node: two containers (boundary, stage) and four actions.

The `kind` of each is its wire name in files, edits and the store.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, TypeAdapter, model_validator

from engine.domain.canonical import as_list, as_object
from engine.domain.values import (
    DEFERRED,
    Expression,
    Fallback,
    Frozen,
    FrozenMap,
    Identifier,
    JsonObject,
    Keyword,
    NodeId,
    NodeName,
    Port,
    Position,
    Raci,
    Resources,
    RetryPolicy,
    Schema,
    Semver,
    Text,
)

_PORT_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")

Mode: TypeAlias = Literal["sequential", "parallel", "conditional"]
ContainerStatus: TypeAlias = Literal["draft", "configured", "active", "inactive", "archived", "error"]
ActionStatus: TypeAlias = ContainerStatus | Literal["executing", "completed", "failed", "retrying"]


class Rule(Frozen):
    """A rule that data at a boundary must meet: a CEL expression over its ports and the sentence said otherwise."""

    expression: Expression
    message: Annotated[str, Field(min_length=1, max_length=500)]


class NodeFields(Frozen):
    """What every node has."""

    tier: ClassVar[Literal["container", "action"]]

    id: NodeId
    name: NodeName
    description: Text = ""
    position: Position = Position()
    metadata: JsonObject = Field(default_factory=dict)
    visual: JsonObject = Field(default_factory=dict)
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=100)] = ()
    tags: Annotated[tuple[Keyword, ...], Field(max_length=100)] = ()
    embedding: tuple[float, ...] | None = None


class Boundary(NodeFields):
    """Where data enters or leaves the model. Each property of a contract is a port."""

    tier: ClassVar[Literal["container", "action"]] = "container"

    kind: Literal["ioNode"] = "ioNode"
    status: ContainerStatus = "draft"
    boundary: Literal["input", "output", "input-output"]
    input_contract: Schema | None = None
    """JSON Schema of the object that enters here."""
    output_contract: Schema | None = None
    """JSON Schema of the object that leaves here."""
    rules: tuple[Rule, ...] = ()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Ports that take values from wires: the properties of the output contract."""
        return _contract_ports(self.output_contract)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Ports that give values to wires: the properties of the input contract."""
        return _contract_ports(self.input_contract)


class Stage(NodeFields):
    """A phase of the work: it holds actions and says how they are ordered, limited and what a failure does."""

    tier: ClassVar[Literal["container", "action"]] = "container"

    kind: Literal["stageNode"] = "stageNode"
    status: ContainerStatus = "draft"
    stage: Literal["milestone", "process", "gateway", "checkpoint"] = "process"
    mode: Mode = "parallel"
    match: Literal["first", "every"] = "first"
    """In conditional mode: only the first action whose condition holds runs, or every one."""
    goals: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], Field(max_length=10)] = ()
    completion: Expression | None = None
    resources: Resources = Resources()
    parallelism: Annotated[int, Field(ge=1, le=100)] = 4
    load_balancing: Literal["round-robin", "weighted", "priority"] = "priority"
    on_failure: Literal["fail", "skip", "compensate", "wait"] = "fail"
    inputs: ClassVar[tuple[Port, ...]] = ()
    outputs: ClassVar[tuple[Port, ...]] = ()


class ActionFields(NodeFields):
    """What every action has besides: where it stands, when it runs, what a failure does."""

    tier: ClassVar[Literal["container", "action"]] = "action"

    status: ActionStatus = "draft"
    parent: Identifier
    mode: Mode | None = None
    """None: as the container says."""
    order: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    estimated_s: Annotated[float, Field(ge=0)] | None = None
    retry: RetryPolicy = RetryPolicy()
    timeout_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    raci: Raci = Raci()
    condition: Expression | None = None
    fallback: Fallback | None = None
    compensation: Identifier | None = None
    """The action that undoes this one when the container compensates."""
    for_each: Identifier | None = None
    """The input port whose list is worked through item by item; every output is then the list of results."""
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    parameters: JsonObject = Field(default_factory=dict)
    """Values by name for settings and unwired ports: JSON, or an expression as `{"$cel": "…"}`."""


class Tether(ActionFields):
    """Binds to something outside the model: a function, code, an HTTP endpoint, a query, a tool, a workflow."""

    kind: Literal["tetherNode"] = "tetherNode"
    binding: Literal["function", "code", "http", "sql", "mcp", "spindle"] = "function"
    reference: Identifier
    output_mapping: FrozenMap[str, Expression] = Field(default_factory=dict, validate_default=True)
    """Output port -> expression over `result`; without one, results go to the ports of the same name."""
    triggers: tuple[JsonObject, ...] = ()
    limits: Resources = Resources()
    effect: bool | None = None
    """True: leaves the process, never repeated once done. None: as the tether says."""
    endpoint: Annotated[str, Field(max_length=2_000)] | None = None
    authentication: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """A secret's name, never its value."""
    headers: FrozenMap[str, str] = Field(default_factory=dict, validate_default=True)


class Knowledge(ActionFields):
    """Content of the knowledge base: running it yields the content, or the result of a search."""

    kind: Literal["kbNode"] = "kbNode"
    reference: Identifier
    short_description: Annotated[str, Field(max_length=500)] = ""
    documentation: Text = ""
    search_keywords: Annotated[tuple[Keyword, ...], Field(max_length=20)] = ()
    view: tuple[Keyword, ...] = ()
    edit: tuple[Keyword, ...] = ()

    @model_validator(mode="after")
    def _edit_needs_view(self) -> Knowledge:
        missing = [who for who in self.edit if self.view and who not in self.view]
        if missing:
            message = f"{missing[0]} may edit but not view; editing needs viewing"
            raise ValueError(message)
        return self


class NestedModel(ActionFields):
    """Another function model at an exact version, run inside this one."""

    kind: Literal["functionModelContainer"] = "functionModelContainer"
    reference: Identifier
    """The nested model's id or name, or a path relative to the file of this model."""
    version: Semver | None = None
    """None only in drafts and files: the version that is there now."""
    context_mapping: FrozenMap[str, Expression] = Field(default_factory=dict, validate_default=True)
    """Input of the nested model -> expression over this step's inputs."""
    output_extraction: FrozenMap[str, Expression] = Field(default_factory=dict, validate_default=True)
    """Output port -> expression over the nested model's `outputs`."""
    trigger: Literal["manual", "automatic", "conditional"] = "automatic"
    inheritance: Literal["inherited", "isolated", "shared"] = "isolated"
    orchestration: Literal["embedded", "parallel", "sequential"] = "embedded"
    error_propagation: bool = True
    """False: a failure inside becomes an empty result with an error text instead of failing the step."""
    max_depth: Annotated[int, Field(ge=1, le=100)] = 10


class AgentTask(ActionFields):
    """A task for an AI agent, named by id or found by capabilities."""

    kind: Literal["agentNode"] = "agentNode"
    agent: Identifier | None = None
    capabilities: tuple[Keyword, ...] = ()
    instructions: Text = ""

    @model_validator(mode="after")
    def _findable(self) -> AgentTask:
        if self.agent is None and not self.capabilities:
            message = "an agent task names an agent or the capabilities it needs"
            raise ValueError(message)
        return self


Container: TypeAlias = Boundary | Stage
Action: TypeAlias = Tether | Knowledge | NestedModel | AgentTask
Node: TypeAlias = Annotated[Container | Action, Field(discriminator="kind")]

NODE: TypeAdapter[Any] = TypeAdapter(Node, config=DEFERRED)
"""Reads one node of any kind from its JSON form."""


def _contract_ports(contract: Schema | None) -> tuple[Port, ...]:
    """Return the ports of a contract; a field whose name no port can have is left out (validation reports it)."""
    if not contract:
        return ()
    required = as_list(contract.get("required"))
    return tuple(
        Port.model_construct(name=name, port_schema=as_object(schema), required=name in required)
        for name, schema in as_object(contract.get("properties")).items()
        if _is_port_name(name)
    )


def _is_port_name(name: Any) -> bool:
    return isinstance(name, str) and _PORT_NAME.fullmatch(name) is not None
