"""Texts that no row can hold, in queries: they find nothing, where the driver or the server would fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Engine, event

READS = {"reads_only": True}
"""The execution options of a connection whose statements only ask."""
_NEVER = f"\uffff no text that is kept {random.getrandbits(128):032x} \uffff"
"""Stands in queries for a text that can't be kept: nothing equals or holds it."""


def let_all_be_asked(engine: Engine, can_be_kept: Callable[[str], bool]) -> None:
    """Exchange, in statements of connections with the options `READS`, the texts that can't be kept."""

    def exchanged(
        connection: Connection, _cursor: object, statement: str, parameters: Any, _context: object, _many: object
    ) -> tuple[str, Any]:
        if connection.get_execution_options().get("reads_only"):
            parameters = _exchange(parameters, can_be_kept)
        return statement, parameters

    event.listen(engine, "before_cursor_execute", exchanged, retval=True)


def is_whole(text: str) -> bool:
    """Say whether a text has no half of a surrogate pair, so that it can be written as UTF-8."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _exchange(parameters: Any, can_be_kept: Callable[[str], bool]) -> Any:
    def one(value: object) -> object:
        return _NEVER if isinstance(value, str) and not can_be_kept(value) else value

    if isinstance(parameters, dict):
        return {name: one(value) for name, value in cast("dict[str, object]", parameters).items()}
    if isinstance(parameters, list | tuple):
        found = [one(value) for value in cast("Sequence[object]", parameters)]
        return found if isinstance(parameters, list) else tuple(found)
    return parameters
