"""The commands about a store as a whole: migrate, backup, restore, copy, query."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.domain.writes import Answer
from studio import terminal

_ROWS_SHOWN = 1_000
_PLURALS = {
    "setting": "settings",
    "model": "models",
    "batch": "edits",
    "version": "versions",
    "run": "runs",
    "steps": "steps",
    "entity": "links, agents and others",
    "entry": "ledger entries",
    "record": "records of runs under way",
    "blob": "large values",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula."""

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", help="duckdb:///FILE, postgresql://…, neo4j://… Default: your own store.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (migrate, backup, restore, copy, query):
        app.command()(command)


def migrate(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Bring a store to the schema of this program. Most are when they are opened; a long one waits for this."""
    from engine import maintenance

    with terminal.reported():
        found = maintenance.migrate(store)
    if as_json:
        terminal.document({"schema_version": found})
    else:
        terminal.out.print(f"The store has schema {found}.")


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write everything in a store into one file: models, history, runs, ledger, values."""
    from engine import maintenance

    with terminal.reported():
        _tell(maintenance.back_up(file, store), f"written to {file}", as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'treadle backup' wrote.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill a new store from a backup, and prove that everything is there."""
    from engine import maintenance

    with terminal.reported():
        _tell(maintenance.restore(file, store), "restored and verified", as_json=as_json)


def copy(
    source: Annotated[str, typer.Option("--from", help="The store to copy.")],
    target: Annotated[str, typer.Option("--to", help="A new store, of any kind.")],
    as_json: JsonOption = False,
) -> None:
    """Fill a new store from another one, whatever their kinds, and prove that everything is there."""
    from engine import maintenance

    with terminal.reported():
        _tell(maintenance.copy(source, target), "copied and verified", as_json=as_json)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over the views of docs/sql.md.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
    to: Annotated[Path | None, typer.Option("--to", help="A .parquet, .json or .csv file.", show_default=False)] = None,
) -> None:
    """Answer SQL over models, versions, runs, steps, attempts, decisions and the ledger. Nothing can be changed."""
    import engine

    if to is not None and to.suffix not in (".parquet", ".json", ".csv"):
        terminal.stop(f"{to} is neither .parquet, .json nor .csv. Name the file so.", terminal.USAGE)
    with terminal.reported(), engine.open(store) as opened:
        found = opened.query(sql)
    if to is not None:
        _write(to, found)
        terminal.err.print(f"{len(found.rows):,} rows written to {to}.", markup=False)
    elif as_json:
        terminal.document(_objects(found))
    else:
        rows = [tuple("" if value is None else str(value) for value in row) for row in found.rows[:_ROWS_SHOWN]]
        terminal.table(found.columns, rows, empty="No rows.")
        if len(found.rows) > _ROWS_SHOWN:
            terminal.err.print(f"{len(found.rows) - _ROWS_SHOWN:,} more rows; --to or --json give them all.")


def _tell(summary: Any, done: str, *, as_json: bool) -> None:
    if as_json:
        terminal.document(summary._asdict())
        return
    counted = [f"{number:,} {_PLURALS[kind]}" for kind, number in summary.counts.items() if number]
    terminal.out.print(f"{', '.join(counted) or 'Nothing'}: {done}. Digest {summary.digest[:16]}.", markup=False)


def _objects(found: Answer) -> list[dict[str, Any]]:
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def _write(path: Path, found: Answer) -> None:
    """Write rows to a file, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    try:
        if path.suffix == ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            columns = [list(column) for column in zip(*found.rows, strict=True)] or [[] for _ in found.columns]
            parquet.write_table(pa.table(columns, names=list(found.columns)), draft)
        elif path.suffix == ".json":
            draft.write_text(json.dumps(terminal.plain(_objects(found)), ensure_ascii=False), "utf-8")
        else:
            draft.write_text(_csv(found), "utf-8")
        draft.replace(path)
    except (OSError, ValueError) as error:
        draft.unlink(missing_ok=True)
        terminal.stop(f"{path} can't be written: {error}.", terminal.ENVIRONMENT)


def _csv(found: Answer) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(found.columns)
    writer.writerows([_cell(value) for value in row] for row in found.rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
