"""What the commands print: documents for programs on stdout, words for people, progress on stderr."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.errors import (
    FileMissing,
    ModelInvalid,
    ModelNotFound,
    QueryRefused,
    RunNotFound,
    SettingInvalid,
    StoreError,
    TetherSourceBroken,
    TransferRefused,
    TreadleError,
    VersionNotFound,
)
from engine.execution.frames import RunEvent, Watch

DONE, BAD, USAGE, ENVIRONMENT = 0, 1, 2, 3
_USAGE_ERRORS = (FileMissing, ModelNotFound, QueryRefused, RunNotFound, VersionNotFound, TetherSourceBroken)
_TONES = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "skipped": "dim", "running": "blue"}

_PIPE_WIDTH = 200
_WHOLE = frozenset({"run", "id", "status", "took", "started (UTC)"})
_ROWS_SHOWN = 20

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def exit_code(error: TreadleError) -> int:
    """Return the exit code that an error asks for: 1 what was asked about is bad, 2 usage, 3 environment."""
    if isinstance(error, _USAGE_ERRORS):
        return USAGE
    if isinstance(error, TransferRefused):
        return BAD
    return ENVIRONMENT if isinstance(error, StoreError | SettingInvalid) else BAD


def stop(sentence: str, code: int) -> NoReturn:
    """Say what is wrong on stderr and leave with an exit code."""
    err.print("[bold red]Error[/]", end=" ")
    err.print(sentence, markup=False)
    raise typer.Exit(code)


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors of ours into one sentence and an exit code; Ctrl+C into 130."""
    try:
        yield
    except TreadleError as error:
        stop(f"{error}{_hint(error)}", getattr(error, "exit_code", exit_code(error)))
    except KeyboardInterrupt:
        stop("Stopped.", 130)


def _hint(error: TreadleError) -> str:
    """Return which command says more, or nothing."""
    return " 'treadle validate' lists them." if isinstance(error, ModelInvalid) and error.facts.get("others") else ""


def document(value: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return a value as JSON: tables as lists of objects, bytes as base64, times as ISO text, NaN as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN is not itself
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "to_pylist"):
        return plain(value.to_pylist())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict("records"))
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print rows for people, or one sentence when there are none."""
    if not rows:
        out.print(empty, markup=False)
        return
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(
            column, overflow="fold", justify="right" if column in ("took", "nodes", "revision") else "left"
        )
    for row in rows:
        shown.add_row(*(_styled(cell) for cell in row))
    out.print(shown)


def value(name: str, found: Any) -> None:
    """Print an output for people: text as it is, tables in columns, charts by their title."""
    out.print(f"\n[bold]{name.replace('[', '(')}[/]")
    shown = plain(found)
    if isinstance(shown, list) and shown and all(isinstance(row, dict) for row in shown):
        columns = list(dict.fromkeys(key for row in shown for key in row))
        rows = [[str(row.get(column, "")) for column in columns] for row in shown[:_ROWS_SHOWN]]
        table(columns, rows, empty="")
        if len(shown) > _ROWS_SHOWN:
            out.print(f"… {len(shown) - _ROWS_SHOWN:,} more rows; --json prints them all")
    elif isinstance(shown, dict) and "chart" in shown:
        out.print(f"a {shown['chart']} chart, {shown.get('title', '')!r}: the studio draws it", markup=False)
    else:
        out.print(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, indent=2), markup=False)


def _styled(cell: str) -> str:
    tone = _TONES.get(cell)
    escaped = cell.replace("[", "\\[")
    return f"[{tone}]{escaped}[/]" if tone else escaped


@contextmanager
def progress(total: int) -> Iterator[Watch | None]:
    """Show a progress bar of steps while a run goes on, on a terminal only; give what the run reports to."""
    if not err.is_terminal:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting", total=total)
        ended: set[str] = set()

        def watch(events: list[RunEvent]) -> None:
            for event in events:
                if event.state in ("succeeded", "failed", "skipped", "cancelled") and "/" not in event.path:
                    ended.add(event.node)
                elif event.state == "running":
                    bar.update(task, description=event.node)
            bar.update(task, completed=min(total, len(ended)))

        yield watch
