"""Context: expressions see what is theirs to see, and mappings fill what is there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from engine.domain.canonical import Json, as_object
from engine.domain.contracts import ports_of_nested
from engine.domain.nodes import Action, NestedModel, Tether
from engine.domain.rules.findings import Finding, finding
from engine.domain.rules.survey import Survey
from engine.domain.values import Expression

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def context(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with mappings and expressions."""
    for key, action in survey.actions:
        if isinstance(action, Tether) and action.output_mapping:
            yield from _mapped(survey, key, "output_mapping", action.output_mapping, survey.ports(key, "output"))
        if isinstance(action, NestedModel):
            yield from _nested(survey, key, action)
    if survey.check_expression is not None:
        yield from _expressions(survey)


def _nested(survey: Survey, key: str, action: NestedModel) -> Iterator[Finding]:
    outputs = survey.ports(key, "output")
    yield from _mapped(survey, key, "output_extraction", action.output_extraction, outputs)
    if action.context_mapping and survey.nested is not None:
        child = survey.nested(action.reference, action.version)
        if child is not None:
            inputs = [port.name for port in ports_of_nested(child)[0]]
            yield from _mapped(survey, key, "context_mapping", action.context_mapping, inputs)
    if action.inheritance == "shared" and action.orchestration == "parallel":
        message = f"{survey.name(key)} shares its context with a model that runs beside it: who writes last wins."
        yield finding("context.shared-parallel", key, message, "Isolate its context.", field="inheritance")


def _mapped(survey: Survey, key: str, field: str, mapping: Iterable[str], ports: Iterable[str]) -> Iterator[Finding]:
    there = set(ports)
    for name in mapping:
        if name not in there:
            what = "input of the model it calls" if field == "context_mapping" else "output of the node"
            message = f"The {field.replace('_', ' ')} of {survey.name(key)} fills {name!r}, which is no {what}."
            yield finding("context.mapping-port", key, message, "Take the mapping out, or add the port.", field=field)


def _expressions(survey: Survey) -> Iterator[Finding]:
    for key, action in survey.actions:
        yield from _of_action(survey, key, action)
    for key, stage in survey.stages:
        if stage.completion is not None:
            yield from _checked(survey, key, "completion", stage.completion.cel, ("steps", "run"))
    for key, boundary in survey.boundaries:
        ports = _identifiers((*survey.ports(key, "input"), *survey.ports(key, "output")))
        for place, rule in enumerate(boundary.rules):
            yield from _checked(survey, key, f"rules.{place}", rule.expression.cel, (*ports, "inputs"))
    for key, edge in survey.model.dependencies.items():
        if edge.condition is not None:
            yield from _checked(survey, key, "condition", edge.condition.cel, ("steps", "run"))


def _of_action(survey: Survey, key: str, action: Action) -> Iterator[Finding]:
    names = _visible(survey, key, action)
    if action.condition is not None:
        yield from _checked(survey, key, "condition", action.condition.cel, names)
    for name, value in action.parameters.items():
        text = _cel(value)
        if text is not None:
            yield from _checked(survey, key, f"parameters.{name}", text, names)
    for field, more in (("output_mapping", "result"), ("context_mapping", None), ("output_extraction", "outputs")):
        mapping: Mapping[str, Expression] = getattr(action, field, {})
        for port, expression in mapping.items():
            seen = names if more is None else (*names, more)
            yield from _checked(survey, key, f"{field}.{port}", expression.cel, seen)


def _visible(survey: Survey, key: str, action: Action) -> tuple[str, ...]:
    """Return the names an action's expressions see: its inputs and constants, all of them, and the run."""
    return (*_identifiers((*survey.ports(key, "input"), *action.parameters)), "inputs", "run")


def _identifiers(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if _IDENTIFIER.fullmatch(name)))


def _checked(survey: Survey, key: str, field: str, text: str, names: tuple[str, ...]) -> Iterator[Finding]:
    reason = None if survey.check_expression is None else survey.check_expression(text, names)
    if reason:
        where = survey.name(key) if key in survey.nodes else f"the dependency {key!r}"
        message = f"The expression in {field} of {where} does not compile: {reason.rstrip('.')}."
        yield finding("context.expression", key, message, f"It may use: {', '.join(names)}.", field=field)


def _cel(value: Json) -> str | None:
    text = as_object(value).get("$cel") if len(as_object(value)) == 1 else None
    return text if isinstance(text, str) else None
