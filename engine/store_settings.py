"""Settings kept in the store: small values by key, shared by everybody who opens it."""

from __future__ import annotations

from engine.domain.canonical import Json, canonical_bytes
from engine.domain.events import Draft
from engine.domain.writes import PutSetting, Record
from engine.ports import Catalog, Clock


class StoreSettings:
    """The settings of one store; every change is in the ledger."""

    def __init__(self, catalog: Catalog, clock: Clock, *, actor: str = "you") -> None:
        self._catalog, self._clock, self._actor = catalog, clock, actor

    def get(self, key: str) -> Json:
        """Return a setting, or None."""
        return self._catalog.setting(key)

    def put(self, key: str, value: Json) -> None:
        """Keep a setting instead of what was kept before."""
        patch = [{"op": "add", "path": "/value", "value": value, "was": self.get(key)}]
        draft = Draft(
            ts=self._clock.now(),
            actor=self._actor,
            action="setting.changed",
            entity_kind="setting",
            entity=key,
            patch=canonical_bytes(patch).decode(),
        )
        self._catalog.commit(PutSetting(key=key, value=value), Record(draft=draft))
