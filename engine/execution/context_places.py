"""The places of one run about which something is known, and how they stand in each other."""

from __future__ import annotations

from collections.abc import Container, Iterator

from engine.domain.contexts import Place, place_of
from engine.domain.model import FunctionModel
from engine.domain.nodes import ActionFields, NestedModel
from engine.ports import ModelSource

_MOST_PLACES = 100_000
"""How many places are remembered before they are worked out anew."""


class Places:
    """The places of one run. The caller sees to it that one thread at a time uses it."""

    def __init__(self, model: FunctionModel, models: ModelSource | None) -> None:
        """Begin with none; `models`: where nested ones are found."""
        self._model, self._models = model, models
        self._places: dict[str, Place | None] = {}
        self._below: dict[str, dict[str, None]] = {}
        self._spares: dict[int, tuple[FunctionModel, set[str | None]]] = {}
        """By identity of a model (which is kept, so that it stays its), the actions that wait to stand in or undo."""

    def at(self, path: str) -> Place | None:
        """Return where the node at a path stands, None if no node can be there."""
        if path not in self._places:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[path] = place_of(self._model, path, self._inside)
        return self._places[path]

    def touch(self, path: str) -> None:
        """Remember that something is known of a place, below each that it stands in."""
        place, outer = self.at(path), ""
        for inner in place.chain if place is not None else ():
            self._below.setdefault(outer, {})[inner] = None
            outer = inner

    def below(self, path: str) -> Iterator[Place]:
        """Yield the places right below a path about which, or about what is below them, something is known."""
        for each in self._below.get(path, ()):
            place = self.at(each)
            if place is not None:
                yield place

    def members(self, container: str, known: Container[str]) -> dict[str, str]:
        """Return the paths of a container's actions by id.

        Actions that only stand in for others, or undo them, count when they are `known` to have run.
        """
        prefix, _, name = container.rpartition("/")
        model: FunctionModel | None = self._model
        for segment in prefix.split("/") if prefix else ():
            node = model.nodes.get(segment.partition("#")[0].partition("[")[0]) if model is not None else None
            model = self._inside(node) if isinstance(node, NestedModel) else None
        if model is None or isinstance(model.nodes.get(name), ActionFields):
            return {}
        spare = self._spare(model)
        found = {node.id: f"{prefix}/{node.id}" if prefix else node.id for node in model.children(name)}
        return {key: each for key, each in found.items() if key not in spare or each in known}

    def _spare(self, model: FunctionModel) -> set[str | None]:
        found = self._spares.get(id(model))
        if found is None:
            names = {each.compensation for each in model.actions()}
            names |= {each.fallback.action for each in model.actions() if each.fallback is not None}
            found = self._spares[id(model)] = (model, names)
        return found[1]

    def _inside(self, node: NestedModel) -> FunctionModel | None:
        return self._models.nested(node.reference, node.version) if self._models is not None else None
