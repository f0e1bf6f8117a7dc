"""Columns of tables: their names as people give them, and as SQL needs them."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_NAMED = 20

Names: TypeAlias = list[str] | str
"""Several names: a list, or a text with commas between them."""


def quoted(name: str) -> str:
    """Return a name as an SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Names | Sequence[str]) -> list[str]:
    """Return names as a list: 'a, b' is the same as ['a', 'b']; a name that stands twice counts once."""
    parts = names.split(",") if isinstance(names, str) else [str(name) for name in names]
    cleaned = [part.strip() for part in parts] if isinstance(names, str) else parts
    return list(dict.fromkeys(part for part in cleaned if part))


def existing(rows: pa.Table, names: Names | Sequence[str], *, purpose: str = "") -> list[str]:
    """Return `names` as a list; raise ValueError if the table lacks one, or if none is given and `purpose` says why."""
    chosen = listed(names)
    if not chosen and purpose:
        raise ValueError(f"No column is given {purpose}. Name at least one of: {shown(rows.column_names)}.")
    known: list[str] = rows.column_names
    missing = next((name for name in chosen if name not in known), None)
    if missing is not None:
        raise ValueError(f"The table has no column {missing!r}. It has: {shown(known)}.")
    return chosen


def shown(names: Iterable[str]) -> str:
    """Return names for a sentence, the first twenty of them."""
    every = list(names)
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return (", ".join(every[:_MOST_NAMED]) + more) or "none"


def unique(names: Iterable[str]) -> list[str]:
    """Return names that SQL can tell apart: empty ones become column_3, repeated ones (without case) get a number."""
    taken: set[str] = set()
    result: list[str] = []
    for position, given in enumerate(names, start=1):
        first = given.strip() or f"column_{position}"
        name, number = first, 1
        while name.lower() in taken:
            number += 1
            name = f"{first}_{number}"
        taken.add(name.lower())
        result.append(name)
    return result


def measures_of(measures: Mapping[str, str] | str) -> dict[str, str]:
    """Return {name: SQL expression} from an object, or from a text like 'n=count(*), mean=avg(x)'."""
    if not isinstance(measures, str):
        return {str(name): str(expression) for name, expression in measures.items()}
    found: dict[str, str] = {}
    for part in _parts(measures):
        name, equals, expression = part.partition("=")
        if not equals or not name.strip() or not expression.strip():
            raise ValueError(f"The measure {part.strip()!r} is not like 'mean=avg(price)'. Write name=expression.")
        found[name.strip().strip('"')] = expression.strip()
    return found


def _parts(text: str) -> list[str]:
    """Split at commas that are not inside brackets or quotes."""
    parts, depth, quote, start = list[str](), 0, "", 0
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in (*parts, text[start:]) if part.strip()]


def as_tables(values: Iterable[Any]) -> list[pa.Table]:
    """Return tables from tables, lists of rows, and lists of either, as a step for each item gives them."""
    from engine.tethers.conversion import table_kind, to_arrow

    found: list[pa.Table] = []
    for value in values:
        if value is None:
            continue
        nested = cast("list[Any]", value) if isinstance(value, list | tuple) else []
        if nested and all(table_kind(type(item)) or isinstance(item, list | tuple) for item in nested):
            found.extend(as_tables(nested))
        else:
            found.append(to_arrow(value))
    return found
