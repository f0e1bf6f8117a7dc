"""What the body of a model can't say."""

from __future__ import annotations

from engine.errors import ModelError


class BodyRefused(ModelError):
    """{what}. {mend}."""
