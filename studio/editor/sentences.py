"""Errors as people read them beside what they did."""

from __future__ import annotations

import re

from engine.errors import EditRefused, ExpressionError, TreadleError, WireRefused

_WHERE = re.compile(r"^'[^']*', (?:[\w.]+: )?")


def sentence(error: TreadleError) -> str:
    """Return an error as one sentence, without the words that only programs need."""
    if not isinstance(error, EditRefused | WireRefused | ExpressionError):
        return str(error)
    reason = str(error.facts.get("reason", error))
    if isinstance(error, EditRefused):
        reason = _WHERE.sub("", reason)
    reason = reason.strip()
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith(('.', '!', '?')) else '.'}"
