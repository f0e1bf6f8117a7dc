"""What commands share that open a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from studio import terminal

if TYPE_CHECKING:
    from engine.engine import Engine

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its unique beginning or end.")]
TethersOption = Annotated[
    list[str] | None,
    typer.Option("--tethers", help="A module or file with functions. May be given several times.", show_default=False),
]


@contextmanager
def opened(store: str | None, tethers: list[str] | None = None) -> Iterator[Engine]:
    """Open the store that a command names; errors become a sentence and an exit code."""
    import engine
    from studio.demos import assets_folder

    with (
        terminal.reported(),
        engine.open(store, tethers=tethers or (), roots=(assets_folder(),)) as found,
    ):
        yield found
