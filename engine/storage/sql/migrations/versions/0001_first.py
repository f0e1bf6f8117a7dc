"""The first schema. Stores were made with it as a whole, so there is nothing to do."""

from __future__ import annotations

revision = "0001"
down_revision = None
is_safe = True


def upgrade() -> None:
    """Do nothing."""
