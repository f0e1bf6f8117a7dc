"""Readiness: would every step have what it needs, if the model ran now?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from engine.domain.canonical import Json, as_list, as_object
from engine.domain.contracts import problems
from engine.domain.nodes import Action, AgentTask, Tether
from engine.domain.rules.findings import Finding, finding
from engine.domain.rules.nested import nested
from engine.domain.rules.survey import Survey, TetherFacts
from engine.domain.schemas import types_of, why_not
from engine.domain.values import Port, Schema

_SECRET_NAME = re.compile(
    r"(?i)(^|[-_. ])(authorization|api[-_]?key|x[-_]api[-_]key|token|secret|password|passwd|credentials?)$"
)
_SECRET_VALUE = re.compile(
    r"(?i)^(bearer|basic|token)\s+\S{8,}$|^(sk|pk|ghp|gho|github_pat|xox[abp]|glpat)[-_][\w-]{12,}$|^AKIA[0-9A-Z]{16}$"
    r"|^eyJ[\w-]{10,}\.[\w-]{10,}\."
)
_SECRET_ADDRESS = re.compile(r"^[a-zA-Z][\w+.-]*://[^/?#@\s:]*:[^/?#@\s]+@")


def readiness(survey: Survey) -> Iterator[Finding]:
    """Yield what would keep the model from running, or from running well."""
    yield from _inputs(survey)
    yield from _outputs(survey)
    yield from _impossible(survey)
    yield from nested(survey)
    for key, stage in survey.stages:
        if stage.on_failure == "compensate" and not any(action.compensation for _, action in survey.actions):
            message = f"A failure in {survey.name(key)} undoes what was done, but no action says how."
            mend = "Choose a compensating action for the steps that have an effect."
            yield finding("readiness.failure-rule", key, message, mend, field="on_failure")
    for key, action in survey.actions:
        if isinstance(action, AgentTask):
            message = f"{survey.name(key)} is an agent task: it needs a provider for agents."
            yield finding("readiness.no-provider", key, message, "Configure a provider, replace it, or switch it off.")
        if isinstance(action, Tether):
            yield from _tether(survey, key, action)
        if action.parameters:
            yield from _parameters(survey, key, action)
            yield from _secrets(survey, key, "parameters", action.parameters.items())


def _inputs(survey: Survey) -> Iterator[Finding]:
    for key, action in survey.actions:
        if key in survey.on_call or survey.is_off(key):
            continue
        for port in action.inputs:
            if port.required and not survey.is_filled(key, port):
                yield from _unfilled(survey, key, port)


def _outputs(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.boundaries:
        if "output" in node.boundary:
            for port in survey.ports(key, "input").values():
                if port.required:
                    yield from _unfilled(survey, key, port)


def _unfilled(survey: Survey, key: str, port: Port) -> Iterator[Finding]:
    sources = [wire.source for _, wire in survey.wires_into.get((key, port.name), ())]
    if not sources:
        message = f"{survey.name(key)} needs a value for {port.name!r}, but nothing is connected."
        yield finding("readiness.missing-input", key, message, "Connect a wire, or give a value.", field=port.name)
    elif all(survey.is_off(source) for source in sources):
        message = f"{survey.name(key)} takes {port.name!r} from {survey.names(sources)}, switched off."
        yield finding("readiness.source-off", key, message, "Switch it on, or connect another.", field=port.name)


def _impossible(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.boundaries:
        for field, contract in (("input_contract", node.input_contract), ("output_contract", node.output_contract)):
            if not contract:
                continue
            fields = as_object(contract.get("properties"))
            needed = [name for name in as_list(contract.get("required")) if isinstance(name, str) and name in fields]
            impossible = next((name for name in needed if _why_impossible(fields[name])), None)
            if impossible is not None:
                reason = _why_impossible(fields[impossible])
                message = f"No value can meet the contract of {survey.name(key)}: {impossible!r} {reason}."
                yield finding("readiness.contract-impossible", key, message, "Widen the schema there.", field=field)


def _why_impossible(schema: Json) -> str | None:
    if not types_of(schema):
        return "allows no type at all"
    if isinstance(schema, dict) and why_not(schema, {**as_object(schema), "title": "another"}):
        return "allows a range in which nothing lies"
    return None


def _tether(survey: Survey, key: str, action: Tether) -> Iterator[Finding]:
    yield from _secrets(survey, key, "headers", action.headers.items())
    if action.endpoint is not None and _SECRET_ADDRESS.search(action.endpoint):
        message = f"The endpoint of {survey.name(key)} holds a user's password."
        yield finding("readiness.secret-in-text", key, message, "Name a secret under authentication.", field="endpoint")
    if action.timeout_s is None and not survey.is_off(key) and (action.binding == "http" or survey.is_effect(action)):
        message = f"{survey.name(key)} leaves the process, but may take as long as it likes."
        yield finding("readiness.no-timeout", key, message, "Set a timeout.", field="timeout_s")
    if not survey.knows_tethers:
        return
    spec = survey.spec(action.reference)
    if spec is None or isinstance(spec, str):
        yield _unknown_tether(survey, key, action, spec)
    elif action.binding != "code":
        yield from _ports(survey, key, action, spec)
        yield from _settings(survey, key, action, spec)


def _unknown_tether(survey: Survey, key: str, action: Tether, reason: str | None) -> Finding:
    close = get_close_matches(action.reference, survey.references, n=1)
    message = f"{survey.name(key)} calls {action.reference!r}, but no such function is registered."
    if reason is not None:
        message = f"{survey.name(key)} can't run: {reason}"
    mend = f"Did you mean {close[0]!r}?" if close else "Choose another function, or load the module that has it."
    return finding("readiness.unknown-tether", key, message, mend, field="reference")


def _ports(survey: Survey, key: str, action: Tether, spec: TetherFacts) -> Iterator[Finding]:
    if action.inputs == spec.inputs and action.outputs == spec.outputs:
        return
    ours = survey.ports(key, "input")
    for port in spec.inputs:
        if port.required and port.name not in ours and port.name not in action.parameters:
            message = f"The function of {survey.name(key)} needs the input {port.name!r}, which the node lacks."
            mend = "Reset the node's ports to those of its function."
            yield finding("readiness.port-lost", key, message, mend, field=port.name)
    taken = {port.name: port.port_schema for port in spec.inputs}
    given = {port.name: port.port_schema for port in spec.outputs}
    mapped = set(action.output_mapping)
    node_defined = spec.settings.get("additionalProperties") is True
    for port in action.inputs:
        own = node_defined and port.name not in taken
        reason = None if own else _why_changed(port, taken, "input")
        if reason:
            yield _changed(survey, key, port.name, reason)
    for port in action.outputs:
        reason = None if port.name in mapped else _why_changed(port, given, "output")
        if reason:
            yield _changed(survey, key, port.name, reason)


def _why_changed(port: Port, known: dict[str, Schema], side: str) -> str | None:
    if port.name not in known:
        return f"its function has no such {side}"
    if known[port.name] == port.port_schema:
        return None
    ours, theirs = port.port_schema, known[port.name]
    reason = why_not(ours, theirs) if side == "input" else why_not(theirs, ours)
    return f"its function has another type there: {reason}" if reason else None


def _changed(survey: Survey, key: str, port: str, reason: str) -> Finding:
    message = f"The port {port!r} of {survey.name(key)} is out of date: {reason}."
    mend = "Reset the node's ports to those of its function."
    return finding("readiness.port-changed", key, message, mend, field=port)


def _settings(survey: Survey, key: str, action: Tether, spec: TetherFacts) -> Iterator[Finding]:
    ports = survey.ports(key, "input")
    settings = {name: value for name, value in action.parameters.items() if name not in ports}
    schema = spec.settings
    if not schema:
        return
    computed = {name for name, value in settings.items() if _is_expression(value)}
    if settings or schema.get("required"):
        plain = {name: value for name, value in settings.items() if name not in computed}
        for where, reason in _setting_problems(schema, plain, computed):
            place = f", {where}" if where else ""
            message = f"The settings of {survey.name(key)} are not right{place}: {reason}."
            field = next((name for name in plain if where.startswith(name)), None)
            yield finding("readiness.settings", key, message, "Correct the setting.", field=field)
    known = as_object(schema.get("properties"))
    if not isinstance(schema.get("properties"), dict) or schema.get("additionalProperties") not in (None, False):
        return
    taken = {port.name for port in spec.inputs}
    for name in settings:
        if name not in known and name not in taken:
            close = get_close_matches(name, known, n=1)
            message = f"{survey.name(key)} has the setting {name!r}, which its function does not know."
            mend = f"Did you mean {close[0]!r}?" if close else "Take it out."
            yield finding("readiness.unknown-setting", key, message, mend, field=name)


def _setting_problems(schema: Schema, plain: dict[str, Json], computed: set[str]) -> Iterable[tuple[str, str]]:
    """Check settings by their schema; what an expression will give, and what is unknown, is left out."""
    if isinstance(schema.get("properties"), dict):
        known = as_object(schema["properties"])
        plain = {name: value for name, value in plain.items() if name in known}
    if computed and "required" in schema:
        schema = {**schema, "required": [name for name in as_list(schema["required"]) if name not in computed]}
    return problems(schema, plain)


def _parameters(survey: Survey, key: str, action: Action) -> Iterator[Finding]:
    ports = survey.ports(key, "input")
    for name, value in action.parameters.items():
        port = ports.get(name)
        if port is None or not port.port_schema or _is_expression(value) or (key, name) in survey.wires_into:
            continue
        schema = port.port_schema if name != action.for_each else {"type": "array", "items": port.port_schema}
        found = problems(schema, value)
        if found and not (port.many and not problems({"type": "array", "items": schema}, value)):
            where, reason = found[0]
            place = f" ({where})" if where else ""
            message = f"The value of {name!r} in {survey.name(key)}{place} can't be taken: {reason}."
            yield finding("readiness.parameter", key, message, "Give another value.", field=name)


def _secrets(survey: Survey, key: str, field: str, items: Iterable[tuple[str, Any]]) -> Iterator[Finding]:
    for name, value in items:
        if not isinstance(value, str) or not value.strip() or _is_reference(value):
            continue
        if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value.strip()) or _SECRET_ADDRESS.search(value):
            message = f"{name!r} in the {field} of {survey.name(key)} looks like a secret in plain text."
            mend = "Keep it as a secret, and name that under authentication."
            yield finding("readiness.secret-in-text", key, message, mend, field=name)


def _is_reference(value: str) -> bool:
    """Return whether a text names where a secret is, such as `${secret:name}`."""
    return value.startswith(("${", "{{")) and value.endswith("}")


def _is_expression(value: Json) -> bool:
    return len(as_object(value)) == 1 and isinstance(as_object(value).get("$cel"), str)
