"""Which fields each kind of node has: the forms of the inspector's tabs, from the node and its function's schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.domain.canonical import Json
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, AgentTask, Boundary, Knowledge, NestedModel, Node, Stage, Tether
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import JsonObject, Port, Schema
from studio.editor.fields import Field, Kind, Section

_LONG_TEXT = ("markdown", "multiline", "textarea", "text")
_CODE = ("code", "python", "sql", "cel", "json", "html")


def options(*pairs: tuple[str, Json]) -> tuple[tuple[str, str], ...]:
    """Return (label, value) pairs of a select."""
    return tuple((label, json.dumps(value)) for label, value in pairs)


def settings_form(model: FunctionModel, node: Node, specs: Mapping[str, TetherSpec]) -> tuple[Section, ...]:
    """Return the form of the Settings tab, below name and description."""
    match node:
        case Stage():
            return _stage_form(node)
        case Tether():
            spec = specs.get(node.reference)
            schema = spec.settings if spec is not None else {}
            return (*_parameters(model, node, schema), *_binding_form(node, spec))
        case Knowledge():
            return (_KNOWLEDGE,)
        case NestedModel():
            return (*_parameters(model, node, {}), _nested_form(node))
        case AgentTask():
            return (_AGENT, *_parameters(model, node, {}))
        case _:
            return ()


def policy_form(model: FunctionModel, node: Node) -> tuple[Section, ...]:
    """Return the form of the Policy tab: when it runs, how often it is tried, what a failure does."""
    if isinstance(node, Boundary):
        return ()
    if isinstance(node, Stage):
        return (_STAGE_POLICY,)
    return (_when(node), _TRIES, Section("If it fails", _failure_fields(model, node)))


def _when(node: ActionFields) -> Section:
    names = variables(node)
    return Section(
        "When",
        (
            Field(
                ("condition",),
                "Runs when",
                "expression",
                placeholder="always",
                names=names,
                hint=f"An expression over {', '.join(names)}.",
            ),
            Field(("for_each",), "Once per item of", "select", options=_items(node), hint=""),
            Field(("mode",), "Mode", "select", options=_MODES, half=True),
            Field(("order",), "Order", "integer", default=0, low=0, high=1_000_000, half=True),
            Field(("priority",), "Priority", "integer", default=5, low=1, high=10, hint="10 goes first.", half=True),
            Field(("estimated_s",), "Estimated, s", "number", low=0, half=True),
        ),
    )


def notes_form(node: Node) -> tuple[Section, ...]:
    """Return the form of the Notes tab."""
    described = Section("", (Field(("tags",), "Tags", "tags", default=[], placeholder="comma, separated"),))
    if not isinstance(node, ActionFields):
        return (described,)
    people = tuple(
        Field(("raci", name), name.capitalize(), kind, default=[] if kind == "tags" else None, half=True)
        for name, kind in _RACI
    )
    return (Section("People", people), described)


_RACI: tuple[tuple[str, Kind], ...] = (
    ("responsible", "tags"), ("accountable", "text"), ("consulted", "tags"), ("informed", "tags"),
)  # fmt: skip


def variables(node: Node) -> tuple[str, ...]:
    """Return the names that an expression of a step may use."""
    return (*(port.name for port in node.inputs if port.name.isidentifier()), "inputs", "run")


def schema_field(
    name: str, schema: Any, *, path: tuple[str, ...], needed: bool = False, names: tuple[str, ...] = ()
) -> Field:
    """Return the field for a value of a JSON Schema: a switch, a select, a number with its bounds, text or JSON."""
    plain: JsonObject = schema if isinstance(schema, dict) else {}
    default = plain.get("default")
    common: dict[str, Any] = {
        "path": path,
        "label": str(plain.get("title") or name.replace("_", " ").capitalize()),
        "default": default,
        "hint": str(plain.get("description") or ""),
        "switchable": True,
        "names": names,
        "needed": False,
        "placeholder": "needed" if needed and default is None else "",
    }
    listed = plain.get("enum")
    if isinstance(listed, list) and listed:
        found = [(_word(value), value) for value in listed]
        if default is None and not needed:
            found.insert(0, ("–", None))
        return Field(kind="select", options=options(*found), **common)
    kind = _kind_of(plain, default)
    if kind in ("number", "integer"):
        exclusive = plain.get("exclusiveMinimum")
        low = exclusive if _is_number(exclusive) else plain.get("minimum")
        common |= {"low": low if _is_number(low) else None, "exclusive_low": _is_number(exclusive)}
        high = plain.get("maximum")
        common["high"] = high if _is_number(high) else None
    return Field(kind=kind, **common)


def _kind_of(schema: JsonObject, default: Json) -> Kind:
    named = schema.get("type")
    kinds = [one for one in (named if isinstance(named, list) else [named]) if one != "null"]
    only = kinds[0] if len(kinds) == 1 else None
    if _is_word_list(schema):
        return "tags"
    if only == "string":
        shape = str(schema.get("x-widget") or schema.get("format") or schema.get("contentMediaType") or "")
        if any(word in shape for word in _CODE):
            return "code"
        long = any(word in shape for word in _LONG_TEXT) or (isinstance(default, str) and "\n" in default)
        return "area" if long else "text"
    simple: dict[Any, Kind] = {"boolean": "switch", "integer": "integer", "number": "number"}
    return simple.get(only, "json")


def _is_word_list(schema: JsonObject) -> bool:
    """Return whether it is a list of words, which are quicker typed with commas than as JSON."""
    parts = schema.get("anyOf") if isinstance(schema.get("anyOf"), list) else [schema]
    lists = [part for part in parts if isinstance(part, dict) and part.get("type") == "array"]  # type: ignore[union-attr]
    items = lists[0].get("items") if len(lists) == 1 else None
    others = [part for part in parts if part not in lists and isinstance(part, dict) and part.get("type") != "string"]  # type: ignore[union-attr]
    default = schema.get("default")
    odd = isinstance(default, list) and "" in default
    return isinstance(items, dict) and items.get("type") == "string" and not others and not odd


def _word(value: Json) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parameters(model: FunctionModel, node: Tether | NestedModel | AgentTask, settings: Schema) -> tuple[Section, ...]:
    """Return the fields of a node's settings, and of those of its input ports that no wire fills."""
    names = variables(node)
    wired = {wire.target_port for wire in model.wires_into(node.id)}
    properties = settings.get("properties")
    required = settings.get("required")
    known = properties if isinstance(properties, dict) else {}
    must = required if isinstance(required, list) else []
    own = tuple(
        schema_field(name, schema, path=("parameters", name), needed=name in must, names=names)
        for name, schema in known.items()
    )
    rest = [name for name in node.parameters if name not in known and name not in {port.name for port in node.inputs}]
    own = (*own, *(schema_field(name, {}, path=("parameters", name), names=names) for name in rest))
    loose = tuple(_port_field(port, names) for port in node.inputs if port.name not in wired)
    sections = [Section("", own)] if own else []
    if loose:
        sections.append(Section("Inputs without a wire", loose))
    return tuple(sections)


def _port_field(port: Port, names: tuple[str, ...]) -> Field:
    schema = {"description": port.description, **port.port_schema} if port.description else port.port_schema
    others = tuple(name for name in names if name != port.name)
    field = schema_field(port.name, {"title": port.name, **schema}, path=("parameters", port.name), names=others)
    return Field(**{**field.__dict__, "placeholder": "needs a wire or a value" if port.required else "nothing"})


def _binding_form(node: Tether, spec: TetherSpec | None) -> tuple[Section, ...]:
    default = spec.effect if spec is not None else False
    effect = Field(
        ("effect",),
        "Effect",
        "select",
        options=options(
            (f"As the function says: {'an effect' if default else 'pure'}", None),
            ("Pure: may be recomputed", False),
            ("An effect: never repeated", True),
        ),
    )
    if node.binding == "http":
        fields = (
            Field(("endpoint",), "Endpoint", "text", placeholder="https://"),
            Field(("authentication",), "Secret", "text", hint="A secret's name, never its value."),
            Field(("headers",), "Headers", "json", default={}),
        )
        return (Section("Connection", fields), Section("", (effect,)))
    return (Section("", (effect,)),)


def _nested_form(node: NestedModel) -> Section:
    del node
    return Section(
        "Inside",
        (
            Field(("version",), "Version", "text", placeholder="the draft as it is now", half=True),
            Field(("max_depth",), "Deepest level", "integer", default=10, low=1, high=100, half=True),
            Field(
                ("context_mapping",),
                "What goes in",
                "json",
                default={},
                hint="Input → expression, if other than by name.",
            ),
            Field(("output_extraction",), "What comes out", "json", default={}, hint="Port → expression over outputs."),
            Field(("error_propagation",), "A failure inside fails this step", "switch", default=True),
        ),
    )


def _stage_form(node: Stage) -> tuple[Section, ...]:
    match_field = (Field(("match",), "Which run", "select", default="first", options=_MATCHES, half=True),)
    limit = (Field(("parallelism",), "At a time", "integer", default=4, low=1, high=100, half=True),)
    return (
        Section(
            "",
            (
                Field(("mode",), "Mode", "select", default="parallel", options=_STAGE_MODES, half=True),
                *(match_field if node.mode == "conditional" else limit),
                Field(("stage",), "Type", "select", default="process", options=_STAGES, half=True),
                Field(("on_failure",), "If a step fails", "select", default="fail", options=_RULES, half=True),
                Field(("goals",), "Goals", "lines", default=[], hint="One a line, up to 10."),
            ),
        ),
    )


def _failure_fields(model: FunctionModel, node: ActionFields) -> tuple[Field, ...]:
    others = [
        (f"Run {other.name}", {"use": "action", "action": other.id}) for other in model.actions() if other.id != node.id
    ]
    constant = node.fallback.constant if node.fallback is not None and node.fallback.use == "constant" else None
    choice = options(
        ("As the stage says", None),
        ("Use the last good result", {"use": "cached"}),
        ("Use a constant", {"use": "constant"} if constant is None else {"use": "constant", "constant": constant}),
        *others[:50],
    )
    fields = (Field(("fallback",), "Instead of the result", "select", options=choice),)
    if node.fallback is not None and node.fallback.use == "constant":
        fields = (*fields, Field(("fallback", "constant"), "Constant", "json"))
    undo = options(("Nothing", None), *((other.name, other.id) for other in model.actions() if other.id != node.id))
    return (*fields, Field(("compensation",), "Undone by", "select", options=undo[:50]))


def _items(node: ActionFields) -> tuple[tuple[str, str], ...]:
    return options(("– (once for all)", None), *((port.name, port.name) for port in node.inputs))


_MODES = options(
    ("As the stage", None), ("sequential", "sequential"), ("parallel", "parallel"), ("conditional", "conditional")
)
_STAGE_MODES = options(("parallel", "parallel"), ("sequential", "sequential"), ("conditional", "conditional"))
_MATCHES = options(("the first that holds", "first"), ("every one that holds", "every"))
_STAGES = options(
    ("process", "process"), ("gateway", "gateway"), ("milestone", "milestone"), ("checkpoint", "checkpoint")
)
_RULES = options(
    ("fail the run", "fail"), ("skip and go on", "skip"), ("compensate", "compensate"), ("wait for a person", "wait")
)
_BACKOFFS = options(("exponential", "exponential"), ("linear", "linear"), ("none", "immediate"))
_TRIES = Section(
    "Tries",
    (
        Field(("retry", "max_attempts"), "Attempts", "integer", default=1, low=1, high=10, half=True),
        Field(("timeout_s",), "Timeout, s", "number", low=0, high=31_536_000, exclusive_low=True, half=True),
        Field(("retry", "backoff"), "Wait between", "select", default="exponential", options=_BACKOFFS, half=True),
        Field(("retry", "base_delay_s"), "First wait, s", "number", default=1.0, low=0, high=86_400, half=True),
    ),
)
_STAGE_POLICY = Section(
    "",
    (
        Field(("completion",), "Complete when", "expression", placeholder="all steps have ended"),
        Field(("load_balancing",), "Who goes first", "select", default="priority",
              options=options(("by priority", "priority"), ("round-robin", "round-robin"), ("weighted", "weighted"))),
        Field(("resources", "cpu_s"), "Processor, s", "number", low=0, exclusive_low=True, half=True),
        Field(("resources", "memory_mib"), "Memory, MiB", "integer", low=16, half=True),
    ),
)  # fmt: skip
_KNOWLEDGE = Section(
    "",
    (
        Field(("reference",), "Entry", "text", needed=True),
        Field(("short_description",), "In short", "text"),
        Field(("documentation",), "Content", "area", hint="What other steps read."),
        Field(("search_keywords",), "Search words", "tags", default=[], placeholder="comma, separated"),
    ),
)
_AGENT = Section(
    "",
    (
        Field(("agent",), "Agent", "text", placeholder="found by capabilities", half=True),
        Field(("capabilities",), "Capabilities", "tags", default=[], half=True),
        Field(("instructions",), "Instructions", "area"),
    ),
)
