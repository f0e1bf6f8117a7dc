"""Access keys: what programs authenticate with. Only a digest is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from engine.domain.entities.entity import NamedEntity
from engine.domain.values import Identifier, Timestamp


class AccessKey(NamedEntity):
    """A key of a person or program; whoever reads the store can't use it."""

    kind: Literal["key"] = "key"
    actor: Identifier
    """Who acts when it is used."""
    role: Literal["viewer", "editor", "operator", "admin"] = "viewer"
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 (hex) of the key, which has 256 random bits: a slow hash would add nothing."""
    created_at: Timestamp
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None
    last_used_at: Timestamp | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """Its actor and its digest: it is found by either."""
        return (self.actor, self.digest)
