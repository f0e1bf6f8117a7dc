"""Query arguments as pages see them: first values, short, printable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}\Z")
_LONGEST_VALUE = 512
_MOST = 32


def clean_query(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The first value of each well-named argument; too long or unprintable values are dropped."""
    cleaned: dict[str, str] = {}
    for name, value in pairs:
        if len(cleaned) == _MOST:
            break
        if name in cleaned or not _NAME.match(name):
            continue
        if len(value) <= _LONGEST_VALUE and value.isprintable():
            cleaned[name] = value
    return cleaned


def query_of(arguments: Mapping[str, Iterable[bytes | str]]) -> dict[str, str]:
    """The cleaned query from Bokeh's `request.arguments`, whose values are lists of bytes."""
    pairs: list[tuple[str, str]] = []
    for name, values in arguments.items():
        for value in values:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            pairs.append((name, text))
    return clean_query(pairs)
