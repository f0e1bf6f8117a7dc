"""The demo models: found beside the program, put into a store once, opened and run from the start page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.domain.canonical import loads
from engine.domain.model import FunctionModel
from engine.errors import FileMissing, ModelExists, ModelNotFound

if TYPE_CHECKING:
    from engine.engine import Engine

SETTING = "demos.installed"
"""The setting that remembers them: the model's id by the name of its file."""
OFFERED = ("penguins.json", "machine-health.json", "nested-etl.json")
_MOST_NAMES = 20
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Demo:
    """A demo as a card shows it."""

    file: str
    name: str
    sentence: str


def assets_folder() -> Path:
    """The folder of demos and data: packaged inside the studio, or beside it in a checkout."""
    packaged = Path(__file__).parent / "assets"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "assets"


def demos(folder: Path | None = None) -> list[Demo]:
    """The demos there are, in the order in which they are offered. `folder` replaces the assets' own."""
    place = _demo_folder(folder)
    found: list[Demo] = []
    for name in OFFERED:
        path = place / name
        if path.is_file():
            model = FunctionModel.load(path)
            found.append(Demo(name, model.name, _first_sentence(model.description)))
    return found


def install(engine: Engine, *, folder: Path | None = None) -> dict[str, str]:
    """Put the demos into the store unless that was done before; return their ids by file name.

    A demo that was deleted since stays deleted: `open_demo` brings it back when it is asked for.
    """
    kept = engine.settings.get(SETTING)
    if isinstance(kept, dict):
        return {str(name): str(model) for name, model in kept.items()}
    added: dict[str, str] = {}
    for demo in demos(folder):
        _add(engine, demo.file, _demo_folder(folder), added)
    engine.settings.put(SETTING, dict(added))
    return added


def open_demo(engine: Engine, file: str, *, folder: Path | None = None) -> FunctionModel:
    """Return a demo's model in the store; put it there, or back there, if it is not.

    Raises:
        FileMissing: there is no such demo.
    """
    if file not in OFFERED:
        raise FileMissing(path=file)
    installed = install(engine, folder=folder)
    model = _alive(engine, installed.get(file))
    if model is not None:
        return model
    added = {name: kept for name, kept in installed.items() if _alive(engine, kept) is not None}
    _add(engine, file, _demo_folder(folder), added)
    engine.settings.put(SETTING, dict(added))
    return engine.models.get(added[file])


def _add(engine: Engine, file: str, folder: Path, added: dict[str, str]) -> str:
    """Add a demo after the models nested in it, whose references become the ids they got."""
    if file in added:
        return added[file]
    path = folder / file
    try:
        form = loads(path.read_bytes(), source=file)
    except OSError:
        raise FileMissing(path=path) from None
    for node in _nested(form):
        child = str(node["reference"])
        if child != file and Path(child).name == child and (folder / child).is_file():
            node["reference"] = _add(engine, child, folder, added)
    model = FunctionModel.from_json(form, source=file)
    added[file] = _under_a_free_name(engine, model).id
    return added[file]


def _nested(form: Any) -> Iterator[dict[str, Any]]:
    nodes = form.get("nodes", []) if isinstance(form, dict) else []
    for node in nodes if isinstance(nodes, list) else []:
        if isinstance(node, dict) and node.get("kind") == "functionModelContainer":
            yield node


def _under_a_free_name(engine: Engine, model: FunctionModel) -> FunctionModel:
    name = model.name
    for number in range(2, _MOST_NAMES):
        try:
            return engine.models.add(model, name=name)
        except ModelExists:
            ending = f" {number}"
            name = model.name[: _LONGEST_NAME - len(ending)] + ending
    raise ModelExists(name=model.name)


def _alive(engine: Engine, model: str | None) -> FunctionModel | None:
    if model is None:
        return None
    try:
        found = engine.models.get(model)
    except ModelNotFound:
        return None
    return found if found.deleted_at is None else None


def _demo_folder(folder: Path | None) -> Path:
    return folder if folder is not None else assets_folder() / "demos"


def _first_sentence(text: str) -> str:
    first = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return f"{first}." if first else ""
