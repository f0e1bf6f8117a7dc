"""Business rules: what the tables of the domain ask of boundaries, stages and actions."""

from __future__ import annotations

from collections.abc import Iterator

from engine.domain.canonical import as_list, as_object
from engine.domain.contracts import why_not_schema
from engine.domain.nodes import Knowledge
from engine.domain.rules.findings import Finding, finding
from engine.domain.rules.survey import Survey
from engine.domain.values import Schema


def business(survey: Survey) -> Iterator[Finding]:
    """Yield what is wrong with contracts, orders, conditions and stand-ins."""
    yield from _boundaries(survey)
    yield from _contracts(survey)
    yield from _clashes(survey)
    yield from _port_schemas(survey)
    yield from _orders(survey)
    yield from _conditions(survey)
    yield from _knowledge(survey)
    yield from _fallbacks(survey)
    yield from _compensations(survey)
    yield from _actions(survey)


def _boundaries(survey: Survey) -> Iterator[Finding]:
    waiting = {edge.target for edge in survey.model.dependencies.values() if edge.source in survey.nodes}
    fed = {wire.target for wire in survey.model.wires.values() if wire.source in survey.nodes}
    for key, node in survey.boundaries:
        name = survey.name(key)
        for side, contract in (("output", node.output_contract), ("input", node.input_contract)):
            if contract is not None and side not in node.boundary:
                message = f"{name} is an {node.boundary} boundary, but has an {side} contract."
                mend = f"Take the contract out, or make it an {side} boundary."
                yield finding("business.boundary-contract", key, message, mend, field=f"{side}_contract")
        if node.boundary == "input" and key in waiting:
            message = f"{name} is an input of the model, but waits for another container."
            yield finding("business.input-waits", key, message, "Take the dependency out.")
        if node.boundary == "output" and key not in waiting and key not in fed:
            message = f"Nothing leads to the output {name}."
            yield finding("business.output-unfed", key, message, "Connect a result to it, or let it wait for a stage.")


def _contracts(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.boundaries:
        for field, contract in (("input_contract", node.input_contract), ("output_contract", node.output_contract)):
            if contract is not None:
                yield from _contract(survey, key, field, contract)


def _contract(survey: Survey, key: str, field: str, contract: Schema) -> Iterator[Finding]:
    told = f"The {field.replace('_', ' ')} of {survey.name(key)}"
    reason = why_not_schema(contract)
    if reason is not None:
        message = f"{told} is not a valid JSON Schema: {reason}."
        yield finding("business.contract-schema", key, message, "Mend the schema there.", field=field)
        return
    if contract.get("type") != "object":
        message = f"{told} does not describe an object."
        yield finding("business.contract-object", key, message, 'Give it "type": "object".', field=field)
    properties = as_object(contract.get("properties"))
    if not properties:
        message = f"{told} names no fields, so it has no ports."
        yield finding("business.contract-empty", key, message, "Add the fields under properties.", field=field)
    ports = survey.ports(key, "output" if field == "input_contract" else "input")
    for name in properties:
        if name not in ports:
            message = f"{told} has the field {name[:80]!r}, which can't be a port's name."
            mend = "Use 1 to 200 characters and no control characters."
            yield finding("business.contract-port", key, message, mend, field=field)
    for name in as_list(contract.get("required")):
        if name not in properties:
            message = f"{told} needs the field {name!r}, which is not among its fields."
            mend = "Add it under properties, or don't require it."
            yield finding("business.contract-port", key, message, mend, field=field)


def _clashes(survey: Survey) -> Iterator[Finding]:
    for side in ("input", "output"):
        first: dict[str, tuple[str, Schema]] = {}
        for key, node in sorted(survey.boundaries):
            if side not in node.boundary:
                continue
            for port in survey.ports(key, "output" if side == "input" else "input").values():
                other, schema = first.setdefault(port.name, (key, port.port_schema))
                if other != key and schema != port.port_schema:
                    message = (
                        f"{survey.name(other)} and {survey.name(key)} describe the field {port.name!r} differently."
                    )
                    mend = "Describe it the same way, or rename one."
                    yield finding("business.contract-clash", key, message, mend, field=port.name)


def _port_schemas(survey: Survey) -> Iterator[Finding]:
    known: dict[int, str | None] = {}
    for key, node in survey.actions:
        for port in (*node.inputs, *node.outputs):
            if not port.port_schema:
                continue
            place = id(port.port_schema)
            if place not in known:
                known[place] = why_not_schema(port.port_schema)
            if known[place] is not None:
                message = f"The schema of port {port.name!r} of {survey.name(key)} is not valid: {known[place]}."
                yield finding("business.port-schema", key, message, "Mend the schema there.", field=port.name)


def _orders(survey: Survey) -> Iterator[Finding]:
    for key, stage in survey.stages:
        places: dict[int, list[str]] = {}
        for member, action in survey.members.get(key, ()):
            if member not in survey.on_call:
                places.setdefault(action.order, []).append(member)
        code = "business.order-shared-parallel" if stage.mode == "parallel" else "business.order-shared"
        for place, members in places.items():
            if len(members) > 1:
                message = f"{survey.names(members)} share place {place} in {survey.name(key)}."
                yield finding(code, members[1], message, "Give each its own place.", field="order")


def _conditions(survey: Survey) -> Iterator[Finding]:
    for key, stage in survey.stages:
        chosen = [
            (member, action)
            for member, action in survey.members.get(key, ())
            if survey.mode(action) == "conditional" and member not in survey.on_call
        ]
        if stage.stage == "gateway" and not chosen and key in survey.members:
            message = f"The gateway {survey.name(key)} chooses nothing: its mode is {stage.mode}."
            yield finding("business.gateway-mode", key, message, "Set its mode to conditional.", field="mode")
        for place, (member, action) in enumerate(chosen):
            otherwise = stage.match == "first" and place == len(chosen) - 1 > 0
            if action.condition is None and not otherwise:
                message = f"{survey.name(member)} runs on a condition, but has none."
                mend = "Write the condition; only the last choice of a first match may do without."
                yield finding("business.condition-missing", member, message, mend, field="condition")
    for key, edge in survey.model.dependencies.items():
        if edge.necessity == "conditional" and edge.condition is None:
            message = (
                f"{survey.name(edge.target)} waits for {survey.name(edge.source)} on a condition that is not there."
            )
            mend = "Write the condition, or make the dependency required."
            yield finding("business.dependency-condition", key, message, mend, field="condition")


def _knowledge(survey: Survey) -> Iterator[Finding]:
    for key, node in survey.actions:
        if not isinstance(node, Knowledge):
            continue
        blind = next((who for who in node.edit if who not in node.view), None)
        if blind is not None:
            message = f"{blind!r} may edit {survey.name(key)}, but is not among those who may view it."
            yield finding("business.edit-needs-view", key, message, f"Let {blind!r} view it too.", field="view")


def _fallbacks(survey: Survey) -> Iterator[Finding]:
    after = {
        key: action.fallback.action
        for key, action in survey.actions
        if action.fallback is not None and action.fallback.action is not None
    }
    settled: set[str] = set()
    for start in sorted(after):
        path: dict[str, None] = {}
        key: str | None = start
        while key is not None and key not in settled and key not in path:
            path[key] = None
            key = after.get(key)
        if key is not None and key in path:
            circle = list(path)[list(path).index(key) :]
            told = " → ".join(survey.name(one) for one in [*circle, key])
            message = f"The fallbacks lead back to where they began: {told}."
            yield finding("business.fallback-cycle", key, message, "Choose another fallback.", field="fallback")
        settled.update(path)


def _compensations(survey: Survey) -> Iterator[Finding]:
    compensating = {key for key, stage in survey.stages if stage.on_failure == "compensate"}
    for key, action in survey.actions:
        if action.compensation == key:
            message = f"{survey.name(key)} is its own compensation."
            mend = "Choose the action that undoes it, or none."
            yield finding("business.compensation-self", key, message, mend, field="compensation")
        if (
            action.parent in compensating
            and action.compensation is None
            and key not in survey.on_call
            and survey.is_effect(action)
        ):
            message = f"{survey.name(key)} leaves an effect, but nothing undoes it when its stage compensates."
            yield finding("business.compensation-missing", key, message, "Choose a compensation.", field="compensation")


def _actions(survey: Survey) -> Iterator[Finding]:
    for key, action in survey.actions:
        if action.for_each is not None and action.for_each not in survey.ports(key, "input"):
            message = f"{survey.name(key)} works item by item through {action.for_each!r}, but has no such input."
            yield finding("business.for-each-port", key, message, "Choose one of its inputs.", field="for_each")
        timeout_s, estimated_s = action.timeout_s, action.estimated_s
        if timeout_s is not None and estimated_s is not None and estimated_s > timeout_s:
            message = f"{survey.name(key)} should take {estimated_s:g} s, but is stopped after {timeout_s:g} s."
            yield finding("business.timeout-short", key, message, "Raise the timeout.", field="timeout_s")
