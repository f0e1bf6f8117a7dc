"""Tables: choosing rows and columns. What is SQL runs in a locked-down DuckDB; the rest is Arrow."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from engine.ports import StepContext
from engine.tethers.describe import tether
from engine.tethers.library.columns import Names, existing, quoted, shown
from engine.tethers.library.database import ask

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY = "Tables"
_ROWS = [{"name": "Ada", "price": 12.5}, {"name": "Bo", "price": None}, {"name": "Cy", "price": 3.0}]


class Parted(NamedTuple):
    """A table in two parts."""

    kept: pa.Table
    dropped: pa.Table


@tether(
    reference="tables.filter_rows",
    name="Filter rows",
    category=CATEGORY,
    icon="filter",
    outputs=("rows",),
    keywords=("where", "select", "condition", "sql"),
    example={"rows": _ROWS, "where": "price > 5"},
)
def filter_rows(
    rows: pa.Table,
    *,
    where: Annotated[str, Field(json_schema_extra={"x-widget": "sql"})],
    context: StepContext | None = None,
) -> pa.Table:
    """Keep the rows that meet a condition.

    Args:
        rows: The table.
        where: An SQL condition over the columns, like price > 10 AND name LIKE 'A%'.
        context: The step.
    """
    if not rows.column_names:
        return rows
    _check_given(where, "condition", "price > 10")
    sql = f"SELECT * FROM rows WHERE (\n{where}\n)"  # noqa: S608 - the condition is SQL on purpose, locked down
    return ask(sql, {"rows": rows}, context=context, what="Condition")


@tether(
    reference="tables.select_columns",
    name="Select columns",
    category=CATEGORY,
    icon="columns-3",
    outputs=("rows",),
    keywords=("columns", "fields", "keep", "order"),
    example={"rows": _ROWS, "columns": "name"},
)
def select_columns(rows: pa.Table, *, columns: Names) -> pa.Table:
    """Keep some columns, in the order they are named in.

    Args:
        rows: The table.
        columns: The columns to keep: a list, or their names with commas between.
    """
    return rows.select(existing(rows, columns, purpose="to keep"))


@tether(
    reference="tables.rename_columns",
    name="Rename columns",
    category=CATEGORY,
    icon="pencil-line",
    outputs=("rows",),
    keywords=("columns", "names", "header"),
    example={"rows": _ROWS, "names": {"price": "cost"}},
)
def rename_columns(rows: pa.Table, *, names: dict[str, str]) -> pa.Table:
    """Give columns other names.

    Args:
        rows: The table.
        names: For each column to rename, its name now and the one it gets.
    """
    existing(rows, list(names))
    after = [names.get(name, name) for name in rows.column_names]
    twice = next((name for name in after if after.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"Two columns would be called {twice!r}. Choose another name for one of them.")
    return rows.rename_columns(after)


@tether(
    reference="tables.sort_rows",
    name="Sort rows",
    category=CATEGORY,
    icon="arrow-up-down",
    outputs=("rows",),
    keywords=("order", "rank", "top"),
    example={"rows": _ROWS, "by": "price", "descending": True},
)
def sort_rows(rows: pa.Table, *, by: Names, descending: bool = False) -> pa.Table:
    """Sort the rows; rows that are equal keep their order, missing values come last.

    Args:
        rows: The table.
        by: The columns to sort by: a list, or their names with commas between.
        descending: Whether the largest comes first.
    """
    import pyarrow as pa

    if not rows.column_names:
        return rows
    direction = "descending" if descending else "ascending"
    keys = existing(rows, by, purpose="to sort by")
    chosen = rows.select(keys).rename_columns([str(place) for place in range(len(keys))])
    chosen = chosen.append_column("place", pa.array(range(rows.num_rows), pa.int64()))
    from pyarrow import compute

    order: Any = [*((str(place), direction) for place in range(len(keys))), ("place", "ascending")]
    try:
        return rows.take(compute.sort_indices(chosen, sort_keys=order))
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise ValueError(f"The columns {shown(keys)} hold values that have no order. Sort by others.") from None


@tether(
    reference="tables.sample_rows",
    name="Sample rows",
    category=CATEGORY,
    icon="dices",
    outputs=("rows",),
    keywords=("random", "subset", "some", "limit"),
    example={"rows": _ROWS, "n": 2, "seed": 7},
)
def sample_rows(rows: pa.Table, *, n: Annotated[int, Field(ge=0)] = 100, seed: int = 0) -> pa.Table:
    """Take rows by chance, in the order they had; the same seed takes the same rows.

    Args:
        rows: The table.
        n: How many rows; all of them if there are fewer.
        seed: The number that decides which.
    """
    if n < 0:
        raise ValueError(f"n is {n}, but a number of rows is 0 or more. Raise it.")
    if n >= rows.num_rows:
        return rows
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    return rows.take(sorted(chance.sample(range(rows.num_rows), n)))


@tether(
    reference="tables.drop_missing",
    name="Drop missing",
    category=CATEGORY,
    icon="eraser",
    keywords=("null", "na", "empty", "clean", "nan"),
    example={"rows": _ROWS, "columns": "price"},
)
def drop_missing(rows: pa.Table, *, columns: Names = "") -> Parted:
    """Part the rows that have every value from those where one is missing.

    Args:
        rows: The table.
        columns: The columns to look at: a list, or their names with commas between; all of them if none is named.
    """
    import pyarrow as pa
    from pyarrow import compute

    complete = pa.array([True] * rows.num_rows, pa.bool_())
    for name in existing(rows, columns) or dict.fromkeys(rows.column_names):
        for place in rows.schema.get_all_field_indices(name):
            there = compute.invert(compute.is_null(rows.column(place), nan_is_null=True))
            complete = compute.and_(complete, there)
    return Parted(kept=rows.filter(complete), dropped=rows.filter(compute.invert(complete)))


@tether(
    reference="tables.add_column",
    name="Add column",
    category=CATEGORY,
    icon="between-vertical-start",
    outputs=("rows",),
    keywords=("compute", "formula", "derive", "expression", "sql"),
    example={"rows": _ROWS, "name": "double", "expression": "price * 2"},
)
def add_column(
    rows: pa.Table,
    *,
    name: str,
    expression: Annotated[str, Field(json_schema_extra={"x-widget": "sql"})],
    context: StepContext | None = None,
) -> pa.Table:
    """Add a column computed from the others; one of this name is replaced.

    Args:
        rows: The table.
        name: The name of the column.
        expression: An SQL expression over the columns, like price * quantity.
        context: The step.
    """
    _check_given(name, "name", "total")
    _check_given(expression, "expression", "price * quantity")
    computed = f"(\n{expression}\n) AS {quoted(name)}"
    there = next((known for known in rows.column_names if known.lower() == name.lower()), None)
    columns = f"* REPLACE ({computed})" if there == name else f"*, {computed}"
    if there is not None and there != name:
        raise ValueError(f"There is a column {there!r}, which SQL can't tell from {name!r}. Choose another name.")
    sql = f"SELECT {columns} FROM rows"  # noqa: S608 - the expression is SQL on purpose, locked down
    return ask(sql, {"rows": rows}, context=context, what="Expression")


@tether(
    reference="tables.count_rows",
    name="Count rows",
    category=CATEGORY,
    icon="hash",
    outputs=("count",),
    keywords=("number", "size", "length"),
    example={"rows": _ROWS},
)
def count_rows(rows: pa.Table) -> int:
    """Count the rows of a table.

    Args:
        rows: The table.
    """
    return rows.num_rows


def _check_given(text: str, what: str, example: str) -> None:
    if not text.strip():
        raise ValueError(f"The {what} is empty. Write one, for example: {example}")
