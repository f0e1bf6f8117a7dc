"""Treadle's own model files, with the same figures as an imported one."""

from __future__ import annotations

from engine.domain.canonical import Json
from engine.domain.model import FunctionModel
from engine.errors import ImportRefused
from engine.interchange.imported import Imported
from engine.interchange.shape import shape_of


def import_treadle(value: Json, *, source: str = "The file") -> Imported:
    """Return a model file's model and figures; raise `UnknownFormat`, `NotAModel` or `ImportRefused`."""
    model = FunctionModel.from_json(value, source=source)
    actions = list(model.actions())
    numbers = {action.id: number for number, action in enumerate(actions)}
    before: list[dict[int, None]] = [{} for _ in actions]
    for wire in model.wires.values():
        if wire.source in numbers and wire.target in numbers:
            before[numbers[wire.target]][numbers[wire.source]] = None
    parents = [list(found) for found in before]
    shape = shape_of(parents, [action.estimated_s or 0.0 for action in actions])
    if shape.circle:
        names = " → ".join(repr(actions[number].name[:60]) for number in shape.circle[:10])
        reason = f"its steps wait for one another in a circle: {names}"
        raise ImportRefused(source=source, reason=reason, mend="Take out one of the wires between them.")
    edges = sum(map(len, parents))
    return Imported(model, "treadle", len(actions), edges, shape.depth, shape.width, shape.critical_path_s)
