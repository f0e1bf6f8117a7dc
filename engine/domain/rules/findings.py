"""Findings: what is wrong with a model, in sentences for people and with codes for programs.

`CODES` is the register of all of them; docs/validation.md shows the same table.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, cast

from engine.domain.values import Frozen

Severity: TypeAlias = Literal["error", "warning", "hint"]
Category: TypeAlias = Literal["structure", "business", "readiness", "context", "links"]
_RANK = {"error": 0, "warning": 1, "hint": 2}


class Finding(Frozen):
    """One thing that is wrong, or could be better."""

    severity: Severity
    code: str
    """Stable, such as 'structure.cycle'; its first word is the category."""
    category: Category
    subject: str | None
    """The id of a node, wire or dependency; None for the model itself."""
    field: str | None = None
    """The field, port or parameter that it is about."""
    message: str
    """What is wrong, as a sentence."""
    mend: str
    """What would mend it, as a sentence."""


class Code(NamedTuple):
    """What a code stands for."""

    severity: Severity
    meaning: str


CODES: dict[str, Code] = {
    "structure.no-input": Code("error", "The model has no input boundary."),
    "structure.no-output": Code("error", "The model has no output boundary."),
    "structure.dangling-wire": Code("error", "A wire begins or ends at a node that is not there."),
    "structure.missing-port": Code("error", "A wire begins or ends at a port that its node does not have."),
    "structure.wire-type": Code("error", "What a wire brings can never fit the port it leads to."),
    "structure.many-producers": Code("error", "Several wires lead to a port that takes one."),
    "structure.same-port": Code("error", "A node has two ports of one name on one side."),
    "structure.dangling-parent": Code("error", "An action is in a container that is not there."),
    "structure.parent-kind": Code("error", "An action is in something that is not a stage."),
    "structure.dangling-dependency": Code("error", "A dependency begins or ends at a node that is not there."),
    "structure.dependency-kind": Code("error", "A dependency joins something that is not a container."),
    "structure.dangling-reference": Code("error", "A fallback or compensation names an action that is not there."),
    "structure.cycle": Code("error", "Nodes wait for one another in a circle."),
    "structure.order-cycle": Code("error", "The order in a sequential stage contradicts the wires."),
    "structure.orphan": Code("warning", "Nothing connects an action with an input or output of the model."),
    "structure.unreachable": Code("warning", "An action can never run."),
    "structure.empty-stage": Code("hint", "A stage holds no action."),
    "structure.same-name": Code("hint", "Two nodes have the same name."),
    "business.boundary-contract": Code("error", "A boundary has a contract for the other direction."),
    "business.input-waits": Code("error", "An input boundary depends on another container."),
    "business.output-unfed": Code("error", "Nothing leads to an output boundary."),
    "business.contract-schema": Code("error", "A contract is not a valid JSON Schema."),
    "business.contract-object": Code("error", "A contract does not describe an object."),
    "business.contract-port": Code("error", "A contract needs or names a field that can't be a port."),
    "business.contract-empty": Code("hint", "A contract names no fields, so its boundary has no ports."),
    "business.contract-clash": Code("error", "Two boundaries describe one field differently."),
    "business.port-schema": Code("error", "The schema of a port is not a valid JSON Schema."),
    "business.order-shared": Code("error", "Actions share a place in a stage whose order matters."),
    "business.order-shared-parallel": Code("hint", "Actions share a place in a parallel stage."),
    "business.condition-missing": Code("error", "An action in conditional mode has no condition."),
    "business.gateway-mode": Code("hint", "A gateway does not choose: its mode is not conditional."),
    "business.dependency-condition": Code("error", "A conditional dependency has no condition."),
    "business.edit-needs-view": Code("warning", "Somebody may edit knowledge without being allowed to view it."),
    "business.fallback-cycle": Code("error", "Fallbacks lead back to the action that failed."),
    "business.compensation-self": Code("error", "An action is its own compensation."),
    "business.compensation-missing": Code("warning", "An effect in a compensating stage has no compensation."),
    "business.for-each-port": Code("error", "An action works item by item through a port it does not have."),
    "business.timeout-short": Code("warning", "An action's timeout is shorter than its estimated duration."),
    "readiness.missing-input": Code("error", "A port that needs a value has no wire and no parameter."),
    "readiness.source-off": Code(
        "error", "A port that needs a value takes it only from actions that are switched off."
    ),
    "readiness.unknown-tether": Code("error", "No function is registered under an action's reference."),
    "readiness.port-lost": Code("error", "A function needs an input that its node lacks."),
    "readiness.port-changed": Code("warning", "A node's ports are no longer those of its function."),
    "readiness.settings": Code("error", "The settings of an action don't meet what its function asks."),
    "readiness.unknown-setting": Code("warning", "An action has a setting that its function does not know."),
    "readiness.parameter": Code("error", "A value given for a port can never be taken there."),
    "readiness.contract-impossible": Code("error", "No value can ever meet a contract."),
    "readiness.no-provider": Code(
        "warning", "An agent task needs a provider for agents; a run is refused without one."
    ),
    "readiness.failure-rule": Code("warning", "A stage compensates failures, but no action says how it is undone."),
    "readiness.nested-unknown": Code("error", "A nested model is not there."),
    "readiness.nested-version": Code("error", "A nested model is not there in the version that is asked for."),
    "readiness.nested-unpinned": Code("warning", "A nested model has no fixed version; publishing pins one."),
    "readiness.nested-self": Code("error", "A model reaches itself through its nested models."),
    "readiness.nested-depth": Code("error", "Models are nested deeper than allowed."),
    "readiness.nested-ports": Code("error", "The ports of a nested step don't match the nested model's contracts."),
    "readiness.secret-in-text": Code("warning", "A header, parameter or address seems to hold a secret itself."),
    "readiness.no-timeout": Code("hint", "An action that leaves the process has no timeout."),
    "context.expression": Code("error", "An expression does not compile with what it may see."),
    "context.mapping-port": Code("error", "A mapping fills a port that is not there."),
    "context.shared-parallel": Code("hint", "A nested model shares its context while it runs in parallel."),
    "links.duplicate": Code("warning", "The same two ends are connected twice."),
}
"""Every code, by category, with its severity and what it means."""


def finding(code: str, subject: str | None, message: str, mend: str, *, field: str | None = None) -> Finding:
    """Return the finding of a registered code."""
    category = cast("Category", code.partition(".")[0])
    return Finding(
        severity=CODES[code].severity,
        code=code,
        category=category,
        subject=subject,
        field=field,
        message=message,
        mend=mend,
    )


def in_order(found: list[Finding]) -> tuple[Finding, ...]:
    """Return findings with the gravest first, then by node and code."""
    return tuple(
        sorted(found, key=lambda one: (_RANK[one.severity], one.subject or "", one.code, one.field or "", one.message))
    )
