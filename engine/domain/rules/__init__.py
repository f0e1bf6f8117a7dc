"""Validation: everything that is wrong with a model, whatever the model. See docs/validation.md for the codes."""

from __future__ import annotations

from collections.abc import Mapping

from engine.domain.model import FunctionModel
from engine.domain.rules.business import business
from engine.domain.rules.context import context
from engine.domain.rules.findings import CODES, Category, Code, Finding, Severity, in_order
from engine.domain.rules.readiness import readiness
from engine.domain.rules.structure import structure
from engine.domain.rules.survey import CheckExpression, FindNested, FindTether, Survey, TetherFacts

__all__ = ["CODES", "Category", "Code", "Finding", "Severity", "TetherFacts", "errors_in", "validate"]


def validate(
    model: FunctionModel,
    *,
    tethers: Mapping[str, TetherFacts] | FindTether | None = None,
    nested: FindNested | None = None,
    check_expression: CheckExpression | None = None,
) -> tuple[Finding, ...]:
    """Return what is wrong with `model`, the gravest first, then by node and code. Never raises.

    What the caller does not know is not checked: `tethers` are the registered functions by reference (or a function
    that finds one or None), `nested` finds a nested model by reference and version, `check_expression` returns why
    a CEL text does not compile with these variables, or None.
    """
    survey = Survey(model, tethers=tethers, nested=nested, check_expression=check_expression)
    return in_order([*structure(survey), *business(survey), *readiness(survey), *context(survey)])


def errors_in(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings that keep a model from being published."""
    return tuple(found for found in findings if found.severity == "error")
