"""Drafts: what was typed and not yet saved, kept in the store so that no reload or restart loses it."""

from __future__ import annotations

from engine.domain.canonical import Json
from engine.domain.writes import PutSetting
from engine.ports import Catalog


class Drafts:
    """Unsaved work by model id. It is nobody's history: saving makes edits of it, and it is dropped."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get(self, model: str) -> Json:
        """Return what was put last, or None."""
        return self._catalog.setting(_key(model))

    def put(self, model: str, draft: Json) -> None:
        """Keep `draft` instead of what was kept before; None drops it."""
        self._catalog.commit(PutSetting(key=_key(model), value=draft))

    def drop(self, model: str) -> None:
        """Forget what was kept."""
        if self.get(model) is not None:
            self.put(model, None)


def _key(model: str) -> str:
    return f"draft.{model}"
