"""Ports that depend on a node's settings: the tables that a query names, the parameters of code, names in a template.

Nothing is run to find them, and what can't be read yet, because it is still being written, has no ports of its own.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from engine.domain.schemas import TABLE
from engine.domain.tether_spec import TetherSpec
from engine.domain.values import Port
from engine.errors import TreadleError
from engine.expressions import variables

_AFTER_FROM = re.compile(
    r"\b(?:from|join|pivot|unpivot)\s+(\"(?:[^\"]|\"\")+\"|[A-Za-z_]\w*\b)(?!\s*[(.])", re.IGNORECASE
)
_NO_WORDS = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)


class NodePorts(NamedTuple):
    """The ports of one node."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def ports_for(spec: TetherSpec, parameters: Mapping[str, Any]) -> NodePorts:
    """Return the ports of a node bound to `spec` with these settings."""
    setting, read = _READERS.get(spec.reference, ("", None))
    text = parameters.get(setting)
    if read is None or not isinstance(text, str):
        return NodePorts(spec.inputs, spec.outputs)
    inputs, outputs = read(text)
    taken = {port.name for port in spec.inputs}
    return NodePorts((*spec.inputs, *(port for port in inputs if port.name not in taken)), outputs or spec.outputs)


def tables_in(sql: str) -> tuple[str, ...]:
    """Return the tables that a query names and does not define itself, in the order of their first mention."""
    if not sql.strip():
        return ()
    import duckdb

    with duckdb.connect(":memory:", config={"autoload_known_extensions": False}) as connection:
        row = cast("tuple[str] | None", connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone())
    tree: dict[str, Any] = json.loads(row[0]) if row is not None else {}
    if tree.get("error"):  # no SELECT, or still being written
        names = _AFTER_FROM.findall(_NO_WORDS.sub(" ", sql))
        return tuple(dict.fromkeys(name.strip('"').replace('""', '"') for name in names))
    parts = list(_parts(tree))
    defined = {entry["key"] for part in parts for entry in part.get("cte_map", {}).get("map", [])}
    named = (part["table_name"] for part in parts if part.get("type") == "BASE_TABLE" and not part.get("schema_name"))
    return tuple(name for name in dict.fromkeys(named) if name not in defined)


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield cast("dict[str, Any]", part)
            waiting.extend(reversed(list(cast("dict[str, Any]", part).values())))
        elif isinstance(part, list):
            waiting.extend(reversed(cast("list[Any]", part)))


def _of_query(sql: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    return tuple(Port(name=name, schema=TABLE) for name in tables_in(sql)), ()


def _of_code(source: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    from engine.tethers.code import ports_of_code

    try:
        return ports_of_code(source)
    except TreadleError:
        return (), ()


def _of_template(template: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    from engine.tethers.library.placeholders import pieces

    found: dict[str, None] = {}
    with contextlib.suppress(TreadleError):  # a template that is being typed: the ports found so far
        for piece in pieces(template):
            if piece.is_expression:
                found.update(dict.fromkeys(sorted(variables(piece.text) - {"inputs"}, key=piece.text.find)))
    return tuple(Port(name=name) for name in found), ()


_Reader = Callable[[str], tuple[tuple[Port, ...], tuple[Port, ...]]]
_READERS: dict[str, tuple[str, _Reader]] = {
    "sql.query": ("sql", _of_query),
    "python.code": ("code", _of_code),
    "text.template": ("template", _of_template),
    "reports.markdown": ("template", _of_template),
}
"""The setting that the ports come from and how they are read from it, by reference."""
