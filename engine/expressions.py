"""CEL expressions: conditions, parameters, mappings and rules.

CEL reaches no Python, loops over data only and has a budget of 10,000 iterations. What the budget does not bound
(comparing large values in a loop, texts that grow by being doubled) is estimated beforehand from the text and the
data; what may take long is evaluated in a process of its own, which can be ended and has memory of its own to run out
of: the evaluator holds Python's lock, so a thread could not be stopped.

Values mean in CEL what they mean in JSON. Tables become lists of objects, dates and times ISO texts, decimals numbers;
bytes are bytes inside and base64 text when they come out.
"""

from __future__ import annotations

import base64
import difflib
import json
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, cast

from engine.errors import ExpressionFailed, ExpressionInvalid, TreadleError

_LENGTH_LIMIT = 10_000
_CACHE_SIZE = 2_000
_DEPTH_LIMIT = 100
_VALUES_LIMIT = 2_000_000
_TEXT_LIMIT = 64_000_000
_INT64 = 2**63
_COST_INLINE = 50_000_000
"""Elementary operations that are let run in this process; 16 ns each were measured, so at most about 0.8 s."""
_ITERATIONS = 10_000
_CPU_S = 1
_WALL_S = 5.0
_MEMORY_BYTES = 2 << 30

_TOKEN = re.compile(
    r"""(?P<text>[bBrR]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))"""
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<sign>[=!<>]=|&&|\|\||\.\?|\S)",
    re.DOTALL,
)
_LITERALS = frozenset({"true", "false", "null"})
_WORDS = _LITERALS | {"in"}
_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map", "optMap", "optFlatMap"})
_GROWING = frozenset({"replace", "join", "format"})
_SEARCHING = frozenset({"matches", "contains", "startsWith", "endsWith", "indexOf", "lastIndexOf", "split"})
_OPERATORS = {
    "_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%", "_<_": "<", "_>_": ">", "_<=_": "<=", "_>=_": ">=",
    "_==_": "==", "_!=_": "!=", "@in": "in", "-_": "-", "!_": "!", "_[_]": "[…]", "_&&_": "&&", "_||_": "||",
}  # fmt: skip
_KINDS = {
    "int64": "a whole number", "uint64": "an unsigned number", "double": "a decimal number", "string": "text",
    "bool": "true or false", "list": "a list", "map": "an object", "null_type": "nothing", "bytes": "bytes",
}  # fmt: skip


class _Token(NamedTuple):
    kind: str
    text: str


class _Compiled(NamedTuple):
    program: Any
    tokens: tuple[_Token, ...]


class Cel:
    """Compiles and evaluates CEL; see `engine.ports.Expressions`. One may be shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, frozenset[str]], _Compiled] = OrderedDict()

    def check(self, text: str, names: Sequence[str]) -> None:
        """Raise `ExpressionInvalid` if `text` does not compile with these variables."""
        self._compiled(text, names)

    def evaluate(self, text: str, scope: Mapping[str, Any]) -> Any:
        """Return the value of `text` as plain JSON-like Python.

        Raise `ExpressionInvalid` if it does not compile with the names of `scope`, `ExpressionFailed` if it can't be
        evaluated, or not within about a second.
        """
        compiled = self._compiled(text, scope)
        measure = _Measure()
        try:
            data = {name: _used(name, scope[name], compiled.tokens, measure) for name in _mentioned(compiled, scope)}
        except ValueError as error:
            raise _failed(text, str(error)) from None
        if _cost(text, compiled.tokens, measure) > _COST_INLINE:
            return _evaluate_apart(text, data)
        return _evaluate_here(text, compiled.program, data)

    def _compiled(self, text: str, names: Iterable[str]) -> _Compiled:
        tokens = _tokens(text)
        key = (text, frozenset(names) & _identifiers(tokens))
        with self._lock:
            found = self._cache.get(key)
            if found is not None:
                self._cache.move_to_end(key)
                return found
        compiled = _Compiled(_compile(text, key[1], names), tokens)
        with self._lock:
            self._cache[key] = compiled
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return compiled


def variables(text: str) -> set[str]:
    """Return the free names of an expression: not its functions, nor what its macros bind.

    Raise `ExpressionInvalid` if it can't be read.
    """
    try:
        _environment(()).compile(_readable(text))
    except RuntimeError as error:
        lines, found = text.split("\n"), set[str]()
        for line, column, name in _undeclared(str(error)):
            is_function = lines[line - 1][column - 1 : column] == "(" and "." not in name
            if not is_function:
                found.add(name.partition(".")[0])
        if "Syntax error" in str(error) or not found:
            raise _invalid(text, str(error), ()) from None
        return found
    return set()


def _environment(names: Iterable[str]) -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext.ext_math import ExtMath
    from cel_expr_python.ext.ext_optional import ExtOptional
    from cel_expr_python.ext.ext_strings import ExtStrings

    extensions = cast("Any", [ExtMath(), ExtOptional(), ExtStrings()])
    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=extensions)


def _compile(text: str, declared: frozenset[str], names: Iterable[str]) -> Any:
    try:
        return _environment(declared).compile(_readable(text))
    except RuntimeError as error:
        raise _invalid(text, str(error), names) from None


def _readable(text: str) -> str:
    if len(text) > _LENGTH_LIMIT:
        raise ExpressionInvalid(text=repr(text[:40] + "…"), reason=f"it is longer than {_LENGTH_LIMIT:,} characters")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ExpressionInvalid(text=repr(text[:40]), reason="it holds a character that is not text")
    return text


def _tokens(text: str) -> tuple[_Token, ...]:
    found = _TOKEN.finditer(_readable(text))
    return tuple(_Token(str(match.lastgroup), match.group()) for match in found)


def _identifiers(tokens: tuple[_Token, ...]) -> frozenset[str]:
    pairs = zip((_Token("sign", ""), *tokens), tokens, strict=False)
    return frozenset(
        token.text for before, token in pairs if token.kind == "name" and before.text not in {".", ".?"}
    ) - frozenset(_WORDS)


def _mentioned(compiled: _Compiled, scope: Mapping[str, Any]) -> frozenset[str]:
    return _identifiers(compiled.tokens) & frozenset(scope)


def _used(name: str, value: Any, tokens: tuple[_Token, ...], measure: _Measure) -> Any:
    """Return `value` as CEL takes it, as far as the expression looks into it.

    An object of which only fields are named gives those alone; a table of which only the size is asked gives as many
    nothings: so `inputs.rows.size() > 0` does not copy the rows.
    """
    paths = _paths(name, tokens)
    if isinstance(value, Mapping) and paths and all(path and path[0] != "size()" for path in paths):
        given = cast("Mapping[Any, Any]", value)
        return {
            key: _measured_rows(given[key], [path[1:] for path in paths if path[0] == key], measure)
            for key in {path[0] for path in paths}
            if key in given
        }
    return _measured_rows(value, paths, measure)


def _measured_rows(value: Any, paths: list[tuple[str, ...]], measure: _Measure) -> Any:
    if _is_table(value) and paths and all(path[:1] == ("size()",) for path in paths):
        return [None] * len(value)
    return measure.plain(value, 0)


def _paths(name: str, tokens: tuple[_Token, ...]) -> list[tuple[str, ...]]:
    """Return what follows each mention of `name`: fields by name, and 'size()'; empty where it is used whole."""
    texts = [token.text for token in tokens]
    found: list[tuple[str, ...]] = []
    for at, token in enumerate(tokens):
        if token == ("name", name) and (at == 0 or texts[at - 1] not in {".", ".?"}):
            sized = texts[max(0, at - 2) : at] == ["size", "("] and texts[at + 1 : at + 2] == [")"]
            found.append(("size()",) if sized else _path_after(tokens, at + 1))
    return found


def _path_after(tokens: tuple[_Token, ...], start: int) -> tuple[str, ...]:
    path: list[str] = []
    at = start
    while at + 1 < len(tokens):
        sign, following = tokens[at].text, tokens[at + 1]
        after = tokens[at + 2].text if at + 2 < len(tokens) else ""
        if sign == "." and following.kind == "name":
            if after == "(":
                return (*path, "size()") if following.text == "size" else tuple(path)
            path.append(following.text)
            at += 2
        elif sign == "[" and following.kind == "text" and after == "]" and "\\" not in following.text:
            path.append(following.text.lstrip("bBrR").strip("'\""))
            at += 3
        else:
            break
    return tuple(path)


def _is_table(value: Any) -> bool:
    kind = type(value)
    return (kind.__name__, kind.__module__.partition(".")[0]) in {("Table", "pyarrow"), ("DataFrame", "pandas")}


class _Measure:
    """Makes values plain and counts them on the way."""

    def __init__(self) -> None:
        self.values = 0
        self.characters = 0
        self.longest = 0

    def plain(self, value: Any, depth: int) -> Any:
        """Return `value` as CEL takes it; raise ValueError, worded as a reason, for what it can't."""
        self.values += 1
        if self.values > _VALUES_LIMIT or self.characters > _TEXT_LIMIT:
            message = "the data is too large for an expression; ask it of a SQL step"
            raise ValueError(message)
        if value is None or isinstance(value, bool | float):
            return float(value) if isinstance(value, float) else value
        if isinstance(value, int):
            return int(value) if -_INT64 <= value < _INT64 else float(value)
        if isinstance(value, str | bytes | bytearray | memoryview):
            return self._text(value)
        if depth > _DEPTH_LIMIT:
            message = f"the data nests deeper than {_DEPTH_LIMIT} levels"
            raise ValueError(message)
        if isinstance(value, Mapping):
            items = cast("Mapping[Any, Any]", value).items()
            return {self._text(str(key)): self.plain(item, depth + 1) for key, item in items}
        if _is_table(value):
            self.values += int(len(value) * value.shape[1])
            rows = value.to_pylist() if hasattr(value, "to_pylist") else value.to_dict("records")
            self.values -= sum(map(len, rows))
            return [self.plain(row, depth + 1) for row in rows]
        if isinstance(value, list | tuple | set | frozenset):
            return [self.plain(item, depth + 1) for item in cast("Iterable[Any]", value)]
        return self._scalar(value, depth)

    def _text(self, value: str | bytes | bytearray | memoryview) -> str | bytes:
        self.characters += len(value)
        self.longest = max(self.longest, len(value))
        if not isinstance(value, str):
            return bytes(value)
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")

    def _scalar(self, value: Any, depth: int) -> Any:
        if isinstance(value, date | datetime | time):
            return self._text(value.isoformat())
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Decimal):
            return int(value) if value == value.to_integral_value() and abs(value) < _INT64 else float(value)
        for method in ("item", "tolist"):
            if hasattr(value, method) and type(value).__module__.partition(".")[0] in {"numpy", "pandas"}:
                return self.plain(getattr(value, method)(), depth + 1)
        if callable(getattr(value, "model_dump", None)):
            return self.plain(value.model_dump(mode="json"), depth + 1)
        message = f"a {type(value).__name__} can't be used in an expression"
        raise ValueError(message)


def _cost(text: str, tokens: tuple[_Token, ...], measure: _Measure) -> float:
    """Return a bound of the work in elementary operations, from what the expression repeats and on how much data.

    Loops repeat what is inside; comparing with anything but a constant may walk all the data; every sum and every list
    written inside a loop may multiply the size of its part, once per loop.
    """
    signs = [token.text for token in tokens]
    loops = sum(sign in _MACROS for sign in signs)
    longest = max(measure.longest, len(text), 1)
    size = measure.values + measure.characters / 64 + len(text)
    called = sum(sign in _SEARCHING for sign in signs)
    growers = sum(sign in _GROWING for sign in signs)
    compared = sum(_is_open(tokens, at) for at, sign in enumerate(signs) if sign in {"==", "!=", "in", "<", ">"})
    branches = sum(_is_open(tokens, at) for at, sign in enumerate(signs) if sign == "+") + max(
        0, signs.count(",") - loops
    )
    times = min(_ITERATIONS, float(measure.values + len(tokens)) ** loops) if loops else 1
    grown = float(branches + 1) ** min(loops, 40) * float(longest) ** min(growers, 20)
    searched = called * longest * min(longest, 1_000) / 64
    return times * (1 + (compared * size if loops else 0) + searched) * grown + (size * grown if loops else 0)


def _is_open(tokens: tuple[_Token, ...], at: int) -> bool:
    """Say whether both sides of an operator are something else than a constant."""
    sides = tokens[max(0, at - 1) : at] + tokens[at + 1 : at + 2]
    return not any(side.kind in {"text", "number"} or side.text in _LITERALS | {"["} for side in sides)


def _evaluate_here(text: str, program: Any, data: dict[str, Any]) -> Any:
    try:
        result = program.eval(data=data)
        return _Result().python(result)
    except RuntimeError as error:
        raise _failed(text, str(error)) from None
    except ValueError as error:
        raise _failed(text, str(error)) from None


class _Result:
    """Turns CEL's values into Python's, up to a bound: parts that are shared inside become copies outside."""

    def __init__(self) -> None:
        self._values = 0
        self._characters = 0

    def python(self, value: Any) -> Any:
        """Return one value; raise ValueError, worded as a reason, for an error or for too much."""
        self._count(1, 0)
        kind = value.type().name()
        if kind == "ERROR":
            raise ValueError(str(value.value()))
        inner = value.value()
        if isinstance(inner, list):
            return [self.python(item) for item in cast("list[Any]", inner)]
        if isinstance(inner, dict):
            return {_key(key): self.python(item) for key, item in cast("dict[Any, Any]", inner).items()}
        if isinstance(inner, datetime):
            return inner.isoformat().replace("+00:00", "Z")
        if isinstance(inner, timedelta):
            return inner.total_seconds()
        if isinstance(inner, str | bytes | bytearray):
            self._count(0, len(inner))
            return inner if isinstance(inner, str) else base64.b64encode(inner).decode("ascii")
        if inner is None or isinstance(inner, bool | int | float):
            return inner
        return str(kind).lower() if kind != "TYPE" else str(inner)

    def _count(self, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > _VALUES_LIMIT or self._characters > _TEXT_LIMIT:
            message = "its result is too large"
            raise ValueError(message)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)
