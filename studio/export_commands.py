"""The command that writes a model for elsewhere: `treadle export MODEL --to python|treadle`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio import terminal
from studio.store_commands import StoreOption

if TYPE_CHECKING:
    from engine.domain.model import FunctionModel

FORMATS = ("python", "treadle")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(export)


def export(
    model: Annotated[str, typer.Argument(help="A model file, or the name of a model in the store.")],
    to: Annotated[str, typer.Option("--to", help="python or treadle.")] = "treadle",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write. Default: stdout.", show_default=False)
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write a model as Python source or as a model file."""
    if to not in FORMATS:
        terminal.stop(f"--to takes {' or '.join(FORMATS)}, not {to!r}.", terminal.USAGE)
    with terminal.reported():
        text = _text(_found(model, store), to)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        terminal.stop(f"{output} can't be written: {error.strerror or error}.", terminal.BAD)
    terminal.err.print(f"Wrote {output}.", markup=False)


def _found(model: str, store: str | None) -> FunctionModel:
    from engine.domain.model import FunctionModel

    path = Path(model)
    if path.suffix == ".json" or path.is_file():
        if path.suffix == ".py":
            from engine.interchange.python import model_from_source

            return model_from_source(path)
        return FunctionModel.load(path)
    import engine

    with engine.open(store) as opened:
        return opened.models.get(model)


def _text(model: FunctionModel, to: str) -> str:
    if to == "python":
        from engine.interchange.python import source_of

        return source_of(model)
    return json.dumps(json.loads(model.to_file()), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
