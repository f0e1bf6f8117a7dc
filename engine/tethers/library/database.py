"""SQL over tables, in a DuckDB of its own in memory that reaches no files, no network and no Python variables."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine.errors import StepCancelled, TetherFailed
from engine.ports import StepContext
from engine.tethers.library.columns import shown

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_LOOK_EVERY_S = 0.05
_LONGEST_REASON = 300
_LOCKED_DOWN: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "temp_directory": "",
    "memory_limit": "2GB",
    "threads": 2,
    "lock_configuration": True,
}


def ask(
    sql: str,
    tables: Mapping[str, pa.Table],
    *,
    parameters: Sequence[Any] = (),
    context: StepContext | None = None,
    what: str = "SQL",
) -> pa.Table:
    """Return the rows of one SELECT over `tables`.

    Whole sums come back as 64-bit integers. Raises `TetherFailed` of the kind `what` with DuckDB's reason as one
    sentence, and `StepCancelled` if the run is cancelled meanwhile.
    """
    import duckdb

    with duckdb.connect(":memory:", config=_LOCKED_DOWN) as connection:
        try:
            for name, table in tables.items():
                connection.register(name, _readable(name, table))
            statement = _only_select(connection, sql, what)
            with _interrupted_when_cancelled(connection, context):
                return _tidy(connection.execute(statement, list(parameters) or None).to_arrow_table())
        except duckdb.InterruptException:
            raise StepCancelled from None
        except duckdb.OutOfMemoryException:
            reason = f"It needs more than {_LOCKED_DOWN['memory_limit']} of memory. Filter the rows first."
            raise TetherFailed(kind=what, reason=reason) from None
        except (duckdb.Error, RuntimeError) as error:
            if context is not None and context.cancelled:
                raise StepCancelled from None
            raise TetherFailed(kind=what, reason=_sentence(str(error), tables)) from None


def _only_select(connection: duckdb.DuckDBPyConnection, sql: str, what: str) -> duckdb.Statement:
    import duckdb

    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        reason = "Only one SELECT can be run here. Write a single query that starts with SELECT, WITH or FROM."
        raise TetherFailed(kind=what, reason=reason)
    return statements[0]


def _readable(name: str, table: pa.Table) -> pa.Table:
    """Refuse names that SQL would change or confuse, before results differ from what was meant."""
    seen: dict[str, str] = {}
    for column in table.column_names:
        if not column:
            raise TetherFailed(kind="Table", reason=f"A column of {name} has no name. Rename it first.")
        if column.lower() in seen:
            pair = f"{seen[column.lower()]!r} and {column!r}"
            reason = f"The columns {pair} of {name} are the same name to SQL. Rename one of them first."
            raise TetherFailed(kind="Table", reason=reason)
        seen[column.lower()] = column
    if not seen:
        reason = f"The table {name} has no columns, so nothing can be asked of it. Check the step it comes from."
        raise TetherFailed(kind="Table", reason=reason)
    return table


@contextmanager
def _interrupted_when_cancelled(connection: duckdb.DuckDBPyConnection, context: StepContext | None) -> Generator[None]:
    if context is None:
        yield
        return
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(_LOOK_EVERY_S):
            if context.cancelled:
                connection.interrupt()

    watcher = threading.Thread(target=watch, name="treadle-sql-watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _tidy(table: pa.Table) -> pa.Table:
    """Turn the wide decimals that DuckDB makes of whole sums into integers, where they fit."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            try:
                table = table.set_column(position, field.name, table.column(position).cast(pa.int64()))
            except pa.ArrowInvalid:
                continue
    return table


def _sentence(message: str, tables: Mapping[str, pa.Table]) -> str:
    """Return what DuckDB said in one short sentence, with what there is to choose from."""
    first, _, rest = message.partition("\n")
    _, colon, reason = first.partition(" Error: ")
    text = " ".join((reason if colon else first).split())[:_LONGEST_REASON].rstrip(".!") + "."
    if "Table with name" in text:
        return f"{text} The tables are: {shown(tables)}."
    if "Referenced column" in text:
        columns = list(dict.fromkeys(name for table in tables.values() for name in table.column_names))
        return f"{text} The columns are: {shown(columns)}."
    near = next((line.strip() for line in rest.splitlines() if line.startswith("LINE ")), "")
    return f"{text} ({near[:120]})" if near and "syntax error" in text else text
