"""CEL's messages as the end of a sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_OPERATORS = {
    "_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "_<_": "<", "_>_": ">", "_<=_": "<=", "_>=_": ">=",
    "_==_": "==", "_!=_": "!=", "@in": "in", "-_": "-", "!_": "!", "_[_]": "[…]", "_&&_": "&&", "_||_": "||",
}  # fmt: skip
_KINDS = {
    "int": "a whole number", "int64": "a whole number", "uint64": "an unsigned number", "uint": "an unsigned number",
    "double": "a decimal number", "string": "text", "bool": "true or false", "list": "a list", "map": "an object",
    "null": "nothing", "null_type": "nothing", "bytes": "bytes", "timestamp": "a time", "duration": "a duration",
}  # fmt: skip
_FIRST = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_UNDECLARED = re.compile(r"ERROR: <input>:(\d+):(\d+): undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"No matching overloads found : (\([^)]*\)\.)?([^(]*)\((.*)\)")
_COMPILED_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'")
_MIXED = {"a whole number", "a decimal number"}


def undeclared(message: str) -> list[tuple[int, int, str]]:
    """Return (line, column, name) of everything that CEL did not know."""
    return [(int(line), int(column), name) for line, column, name in _UNDECLARED.findall(message)]


def why_not_compiled(text: str, message: str, names: Iterable[str]) -> str:
    """Return why `text` does not compile, given CEL's message and the names that there are."""
    if "recursion" in message:
        return "it nests too deep"
    for line, column, name in undeclared(message):
        if "Syntax error" in message:
            break
        if is_call(text, line, column):
            return f"there is no function called {name!r}"
        return _unknown(name.partition(".")[0], sorted(set(names)))
    if not text.strip():
        return "it is empty"
    first = _FIRST.search(message)
    if first is None:
        return message.partition("\n")[0].removeprefix("INVALID_ARGUMENT: ")
    line, column, said = first.groups()
    mismatch = _COMPILED_OVERLOAD.search(said)
    if mismatch:
        return _mismatch(*mismatch.groups())
    if "'<EOF>'" in said.partition(" expecting")[0]:
        return "it ends too early"
    said = re.sub(r" expecting \{.*|\(in container.*", "", said.removeprefix("Syntax error: "))
    said = re.sub(r"token recognition error at: '(.*)'?", r"unexpected \1", said).rstrip("' ")
    hint = "; equality is written ==" if re.search(r"[^=!<>]=[^=]", text) and "= " in said + " " else ""
    place = f"line {line}, column {column}" if "\n" in text else f"column {column}"
    return f"{said}{hint} ({place})"


def is_call(text: str, line: int, column: int) -> bool:
    """Say whether CEL points at the bracket of a call, as it does for a function that it does not know."""
    lines = text.split("\n")
    return 0 < line <= len(lines) and lines[line - 1][column - 1 : column] == "("


def why_failed(message: str) -> str:
    """Return why an evaluation failed, given CEL's message or a reason of ours."""
    if "budget exceeded" in message:
        return "it goes through more than 10,000 items; do that in a SQL step"
    missing = re.search(r'Key not found in map : "?([^"]*)"?', message)
    if missing:
        return f"there is no field {missing[1]!r}"
    mismatch = _OVERLOAD.search(message)
    if mismatch:
        receiver = (mismatch[1] or "").strip("().")
        return _mismatch(mismatch[2], ", ".join(part for part in (receiver, mismatch[3]) if part))
    if "SELECT to non-message" in message:
        return "a field was asked of something that is not an object"
    return re.sub(r"^[A-Z_]+: ", "", message.partition("\n")[0]).removesuffix(".").strip() or "no reason was given"


def _mismatch(function: str, arguments: str) -> str:
    kinds = [_kind(part) for part in arguments.strip("()").split(", ") if part]
    operator = _OPERATORS.get(function)
    if operator is None:
        return f"{function}() can't be used with {' and '.join(kinds) or 'nothing'}"
    mend = "; wrap the whole number in double(…)" if set(kinds) == _MIXED else ""
    return f"{operator} can't be used with {' and '.join(kinds)}{mend}"


def _kind(name: str) -> str:
    plain = name.strip().removeprefix("google.protobuf.").lower()
    if plain.startswith("type"):
        return "the name of a kind"
    return _KINDS.get(plain) or _KINDS.get(plain.partition("(")[0].partition("<")[0]) or name.strip()


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=2)
    if close:
        return f"there is no value called {name!r}, perhaps {' or '.join(map(repr, close))} is meant"
    if not known:
        return f"there is no value called {name!r}"
    listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return f"there is no value called {name!r}; there are: {listed}"
