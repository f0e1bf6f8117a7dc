"""SQL over any number of tables."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from engine.ports import StepContext
from engine.tethers.describe import tether
from engine.tethers.library.database import ask

if TYPE_CHECKING:
    import pyarrow as pa


@tether(
    reference="sql.query",
    name="SQL query",
    category="SQL",
    icon="database",
    binding="sql",
    runs="thread",
    outputs=("rows",),
    keywords=("select", "join", "duckdb", "database", "group by"),
    example={"sql": "SELECT 'Oslo' AS city"},
)
def query(
    *,
    sql: Annotated[str, Field(json_schema_extra={"x-widget": "sql"})],
    context: StepContext | None = None,
    **tables: pa.Table,
) -> pa.Table:
    """Ask a question in SQL; every table that is wired in is there under the name of its port.

    It is DuckDB's SQL: one SELECT, which sees these tables alone, no files and no network.

    Args:
        sql: The query, like SELECT city, count(*) AS n FROM orders GROUP BY city.
        context: The step; the query stops when it is cancelled.
        tables: The tables by name.
    """
    if not sql.strip():
        raise ValueError("The query is empty. Write one, for example: SELECT * FROM rows")
    return ask(sql, tables, context=context)
