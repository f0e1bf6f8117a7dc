"""The command that takes in models from files, of ours and of other programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ModelExists
from studio import terminal
from studio.store_commands import JsonOption, StoreOption

if TYPE_CHECKING:
    from engine.domain.model import FunctionModel
    from engine.engine import Engine
    from engine.interchange import Imported

_MOST_NAMES = 1_000
_LONGEST_NAME = 100
_MOST_FACTOR = 1_000_000.0

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A .json or .json.gz file; - for standard input.")]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="treadle or wfcommons. Default: found out.", show_default=False),
]
FactorOption = Annotated[
    float | None,
    typer.Option(help="What recorded times are multiplied by: 0.01 is a hundred times faster.", show_default=False),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write the loss report here, as JSON.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write a model file instead of saving into the store.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("import")(import_model)


def import_model(
    *,
    file: FileArgument,
    format_name: FormatOption = None,
    factor: FactorOption = None,
    report: ReportOption = None,
    output: OutputOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a model file, or another program's workflow, as a new model; say what it could not carry over.

    With --json nothing is saved unless -o or --store says where: the model itself is in what is printed.
    """
    from engine import interchange

    if format_name is not None and format_name not in interchange.FORMATS:
        known = ", ".join(interchange.FORMATS)
        terminal.stop(f"--format takes one of {known}, not {format_name!r}.", terminal.USAGE)
    if factor is not None and not 0 <= factor <= _MOST_FACTOR:
        terminal.stop(f"--factor takes a number from 0 to {_MOST_FACTOR:,.0f}, not {factor:g}.", terminal.USAGE)
    if output is not None and store is not None:
        terminal.stop("Give -o or --store: a model goes into a file or into a store.", terminal.USAGE)
    with terminal.reported():
        source = "Standard input" if file == "-" else Path(file).name
        imported = interchange.read_model(_bytes(file), format_name=format_name, factor=factor, source=source)
        if report is not None:
            _write(report, {"source": source, "model": imported.model.name, **imported.figures()})
        model, place = imported.model, None
        if output is not None:
            _write(output, model.to_json())
            place = str(output)
        elif store is not None or not as_json:
            model, place = _saved(model, store)
    if as_json:
        found = {**imported.to_json(), "model": model.to_json(), "saved": place}
        terminal.document(found)
    else:
        _tell(imported, model, place)


def _bytes(file: str) -> bytes:
    from engine.interchange import reading

    if file == "-":
        return reading.read_stream(sys.stdin.buffer, source="Standard input")
    return reading.read(Path(file))


def _saved(model: FunctionModel, store: str | None) -> tuple[FunctionModel, str]:
    """Save a model as a new one of the store; return it and the store's address."""
    import engine

    with engine.open(store) as opened:
        return _under_a_free_name(opened, model), opened.url


def _under_a_free_name(opened: Engine, model: FunctionModel) -> FunctionModel:
    name = model.name
    for number in range(2, _MOST_NAMES):
        try:
            return opened.models.add(model, name=name)
        except ModelExists:
            ending = f" {number}"
            name = model.name[: _LONGEST_NAME - len(ending)] + ending
    raise ModelExists(name=repr(model.name))


def _write(path: Path, value: Any) -> None:
    """Write JSON to a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)
    except (OSError, ValueError) as error:
        draft.unlink(missing_ok=True)
        terminal.stop(f"{path} can't be written: {error}.", terminal.ENVIRONMENT)


def _tell(imported: Imported, model: FunctionModel, place: str | None) -> None:
    figures = (
        f"{imported.tasks:,} steps, {imported.edges:,} links, {imported.depth:,} levels, at most {imported.width:,} "
        f"steps at one level, {imported.critical_path_s:,.6g} s on the longest path"
    )
    terminal.out.print(f"{model.name}: {figures}.", markup=False)
    for loss in imported.losses:
        terminal.out.print(f"  {loss}", markup=False)
    terminal.out.print(f"Saved in {place}.", markup=False)
