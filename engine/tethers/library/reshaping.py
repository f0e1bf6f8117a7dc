"""Tables: bringing several together, and making others of them."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from engine.ports import StepContext
from engine.tethers.describe import tether
from engine.tethers.library.columns import Names, as_tables, existing, listed, measures_of, quoted, shown, unique
from engine.tethers.library.database import ask

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORY = "Tables"
_MOST_PIVOTED = 200
_SALES = [
    {"city": "Oslo", "year": 2025, "sold": 3},
    {"city": "Oslo", "year": 2026, "sold": 5},
    {"city": "Rome", "year": 2026, "sold": 2},
]


@tether(
    reference="tables.join_tables",
    name="Join tables",
    category=CATEGORY,
    icon="merge",
    outputs=("rows",),
    keywords=("merge", "lookup", "combine", "vlookup", "match"),
    example={"left": _SALES, "right": [{"city": "Oslo", "country": "Norway"}], "on": "city", "how": "left"},
)
def join_tables(
    left: pa.Table,
    right: pa.Table,
    *,
    on: Names,
    how: Literal["inner", "left", "right", "full", "semi", "anti"] = "inner",
    context: StepContext | None = None,
) -> pa.Table:
    """Match the rows of two tables by columns that both have.

    Columns of the right table that the left one has too get '_right' behind their name.

    Args:
        left: The first table; its order is kept.
        right: The second table.
        on: The columns that must be equal: a list, or their names with commas between.
        how: 'inner' keeps matches, 'left', 'right' and 'full' also keep the rows of that side that match nothing,
            'semi' keeps left rows that have a match, 'anti' those that have none.
        context: The step.
    """
    keys = existing(left, on, purpose="to join on")
    existing(right, keys)
    one_side = how in {"semi", "anti"}
    others = [name for name in right.column_names if name not in keys]
    renamed = unique([*left.column_names, *(f"{n}_right" if n in left.column_names else n for n in others)])
    names = renamed[left.num_columns :]
    chosen = [_key(name, how) if name in keys else f"l.{quoted(name)}" for name in left.column_names]
    chosen += (
        []
        if one_side
        else [f"r.{quoted(name)} AS {quoted(shown_as)}" for name, shown_as in zip(others, names, strict=True)]
    )
    place = unique([*left.column_names, *right.column_names, "row number"])[-1]
    matches = " AND ".join(f"l.{quoted(key)} = r.{quoted(key)}" for key in keys)
    order = [f"l.{quoted(place)} NULLS LAST"] + ([] if one_side else [f"r.{quoted(place)} NULLS LAST"])
    sql = f"SELECT {', '.join(chosen)} FROM l {how} JOIN r ON {matches} ORDER BY {', '.join(order)}"  # noqa: S608 - names are quoted
    numbered = {"l": _numbered(left, place), "r": _numbered(right, place)}
    return ask(sql, numbered, context=context, what="Join")


def _key(name: str, how: str) -> str:
    column = quoted(name)
    return (
        f"l.{column}" if how in {"inner", "left", "semi", "anti"} else f"coalesce(l.{column}, r.{column}) AS {column}"
    )


def _numbered(table: pa.Table, place: str) -> pa.Table:
    import pyarrow as pa

    return table.append_column(place, pa.array(range(table.num_rows), pa.int64()))


@tether(
    reference="tables.group_rows",
    name="Group rows",
    category=CATEGORY,
    icon="group",
    outputs=("rows",),
    keywords=("aggregate", "sum", "average", "count", "summarize", "sql"),
    example={"rows": _SALES, "by": ["city"], "measures": "n=count(*), sold=sum(sold)"},
)
def group_rows(
    rows: pa.Table, *, by: Names = "", measures: dict[str, str] | str = "n=count(*)", context: StepContext | None = None
) -> pa.Table:
    """Gather rows with equal values and measure each group; without columns to group by, the whole table is one.

    Args:
        rows: The table.
        by: The columns whose values make a group: a list, or their names with commas between.
        measures: What to compute for each group: names and SQL aggregates, like n=count(*), mean=avg(price).
        context: The step.
    """
    keys, computed = existing(rows, by), measures_of(measures)
    if not keys and not computed:
        raise ValueError("There is nothing to group by and nothing to measure. Name a column, or write n=count(*).")
    twice = next((name for name in computed if name in keys), None)
    if twice is not None:
        raise ValueError(f"The measure {twice!r} is called like a column to group by. Choose another name.")
    chosen = [quoted(key) for key in keys]
    chosen += [f"(\n{expression}\n) AS {quoted(name)}" for name, expression in computed.items()]
    places = ", ".join(str(place) for place in range(1, len(keys) + 1))
    grouped = f" GROUP BY {places} ORDER BY {places}" if keys else ""
    sql = f"SELECT {', '.join(chosen)} FROM rows{grouped}"  # noqa: S608 - names are quoted, measures are SQL on purpose
    return ask(sql, {"rows": rows}, context=context, what="Measure")


@tether(
    reference="tables.concat_tables",
    name="Concatenate tables",
    category=CATEGORY,
    icon="rows-3",
    outputs=("rows",),
    keywords=("append", "stack", "union", "combine", "all"),
    example={"tables": [[{"city": "Oslo"}], [{"city": "Rome"}]]},
)
def concat_tables(*tables: Any) -> pa.Table:
    """Put tables below each other; columns that one of them lacks are empty there.

    Args:
        tables: Tables, or lists of tables as a step for each item gives them.
    """
    import pyarrow as pa

    parts = [part for part in as_tables(tables) if part.column_names]
    if not parts:
        return pa.table({})
    try:
        return pa.concat_tables([_without_metadata(part) for part in parts], promote_options="permissive")
    except pa.ArrowException as error:
        reason = str(error).split("\n")[0][:200].rstrip(".")
        raise ValueError(
            f"The tables don't fit below each other: {reason}. Convert that column in one of them."
        ) from None


def _without_metadata(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata(None)


@tether(
    reference="tables.pivot_rows",
    name="Pivot rows",
    category=CATEGORY,
    icon="table-2",
    outputs=("rows",),
    keywords=("crosstab", "spread", "wide", "aggregate"),
    example={"rows": _SALES, "by": "city", "columns": "year", "values": "sold"},
)
def pivot_rows(
    rows: pa.Table,
    *,
    by: Names,
    columns: str,
    values: str,
    measure: Literal["sum", "avg", "count", "min", "max", "first"] = "sum",
    context: StepContext | None = None,
) -> pa.Table:
    """Make a column of each value of a column, with a measure of another one in the cells.

    Args:
        rows: The table.
        by: The columns that stay: a list, or their names with commas between.
        columns: The column whose values become columns.
        values: The column that is measured.
        measure: How the values of a cell become one.
        context: The step.
    """
    keys = existing(rows, by, purpose="to stay")
    existing(rows, [columns, values])
    sought = f"SELECT DISTINCT CAST({quoted(columns)} AS VARCHAR) AS v FROM rows WHERE v IS NOT NULL ORDER BY ALL"  # noqa: S608
    found = ask(sought, {"rows": rows}, context=context, what="Pivot")
    wide = [str(value) for value in found.column("v").to_pylist()]
    if len(wide) > _MOST_PIVOTED:
        raise ValueError(f"{columns!r} has {len(wide)} values, too many for columns. Group or filter the rows first.")
    names = unique([*keys, *wide])[len(keys) :]
    cells = [
        f"{measure}({quoted(values)}) FILTER (WHERE CAST({quoted(columns)} AS VARCHAR) = ?) AS {quoted(name)}"
        for name in names
    ]
    places = ", ".join(str(place) for place in range(1, len(keys) + 1))
    sql = f"SELECT {', '.join([*map(quoted, keys), *cells])} FROM rows GROUP BY {places} ORDER BY {places}"  # noqa: S608
    return ask(sql, {"rows": rows}, parameters=wide, context=context, what="Pivot")


@tether(
    reference="tables.unpivot_rows",
    name="Unpivot rows",
    category=CATEGORY,
    icon="table-rows-split",
    outputs=("rows",),
    keywords=("melt", "gather", "long", "tidy"),
    example={"rows": [{"city": "Oslo", "y2025": 3, "y2026": 5}], "keep": "city"},
)
def unpivot_rows(
    rows: pa.Table, *, keep: Names, names_to: str = "name", values_to: str = "value", context: StepContext | None = None
) -> pa.Table:
    """Make a row of each value: the columns that don't stay become names beside their values.

    Args:
        rows: The table.
        keep: The columns that stay: a list, or their names with commas between.
        names_to: The column that receives the names.
        values_to: The column that receives the values.
        context: The step.
    """
    keys = existing(rows, keep)
    others = [name for name in rows.column_names if name not in keys]
    if not others or listed([names_to, values_to]) != [names_to, values_to]:
        raise ValueError(f"There is nothing to unpivot beside {shown(keys)}, or the two names are equal.")
    taken = next((name for name in (names_to, values_to) if name in keys), None)
    if taken is not None:
        raise ValueError(f"There is a column {taken!r} already. Choose another name for it.")
    sql = f"UNPIVOT rows ON {', '.join(map(quoted, others))} INTO NAME {quoted(names_to)} VALUE {quoted(values_to)}"
    return ask(f"FROM ({sql})", {"rows": rows}, context=context, what="Unpivot")
