"""What a docstring says: the description, and a sentence for each argument (Google style)."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Example|Examples|Note|Notes):\s*$")
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


class Docs(NamedTuple):
    """A docstring, taken apart."""

    description: str
    arguments: dict[str, str]


def docs_of(function: object) -> Docs:
    """Return the parts of a function's docstring; empty ones if it has none."""
    text = inspect.getdoc(function) or ""
    described: list[str] = []
    arguments: dict[str, str] = {}
    section, last = "", ""
    for line in text.split("\n"):
        header = _SECTION.match(line)
        if header:
            section = header[1]
        elif not section:
            described.append(line)
        elif section in {"Args", "Arguments", "Parameters"}:
            last = _argument(line, last, arguments)
    return Docs(_paragraphs(described), arguments)


def _argument(line: str, last: str, arguments: dict[str, str]) -> str:
    match = _ARGUMENT.match(line.strip())
    indent = len(line) - len(line.lstrip())
    if match and 0 < indent <= 4:
        arguments[match[1]] = match[2].strip()
        return match[1]
    if last and line.strip():
        arguments[last] = f"{arguments[last]} {line.strip()}".strip()
    return last


def _paragraphs(lines: list[str]) -> str:
    blocks = "\n".join(lines).strip().split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks if block.strip())
