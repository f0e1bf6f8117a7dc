"""Compiling and evaluating, with the cache of what was compiled."""

# pyright: reportMissingTypeStubs=false
# cel_expr_python has a stub for its one module, but none for the package

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from engine.errors import ExpressionFailed, ExpressionInvalid
from engine.expressions.apart import evaluate_apart
from engine.expressions.outline import Paths, Shape, cost, identifiers, paths_of, shape_of, tokens_of
from engine.expressions.reasons import is_call, undeclared, why_failed, why_not_compiled
from engine.expressions.values import Intake, Outcome

_LENGTH_LIMIT = 10_000
_CACHE_SIZE = 2_000
_COST_HERE = 50_000_000
"""Elementary operations that are let run in this process: 16 ns each were measured, so at most about 0.8 s."""


_TYPES = frozenset(
    {"bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "optional_type", "string"}
    | {"timestamp", "type", "uint"}
)
"""Names that CEL has for itself: data of these names is reached through `inputs["list"]`."""


class _Outline(NamedTuple):
    names: frozenset[str]
    paths: dict[str, Paths]
    shape: Shape


class _Compiled(NamedTuple):
    program: Any
    names: frozenset[str]
    outline: _Outline


class Cel:
    """Compiles and evaluates CEL; see `engine.ports.Expressions`. One may be shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outlines: OrderedDict[str, _Outline] = OrderedDict()
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
        intake = Intake()
        try:
            paths = compiled.outline.paths
            data = {name: intake.used(scope[name], paths[name]) for name in compiled.names}
            dear = cost(
                compiled.outline.shape,
                values=intake.values,
                characters=intake.characters,
                longest=intake.longest,
                items=intake.items,
            )
            if dear > _COST_HERE:
                return evaluate_apart(text, data)
            return evaluate_here(compiled.program, data)
        except (ValueError, RuntimeError) as error:
            raise ExpressionFailed(text=_shown(text), reason=why_failed(str(error))) from None

    def _compiled(self, text: str, names: Iterable[str]) -> _Compiled:
        outline = self._outline(text)
        declared = outline.names.intersection(names)
        with self._lock:
            compiled = self._cache.get((text, declared))
            if compiled is not None:
                self._cache.move_to_end((text, declared))
                return compiled
        try:
            compiled = _Compiled(compiled_with(text, declared), declared, outline)
        except RuntimeError as error:
            raise ExpressionInvalid(text=_shown(text), reason=why_not_compiled(text, str(error), names)) from None
        with self._lock:
            _keep(self._cache, (text, declared), compiled)
        return compiled

    def _outline(self, text: str) -> _Outline:
        with self._lock:
            found = self._outlines.get(text)
        if found is None:
            tokens = tokens_of(_readable(text))
            names = identifiers(tokens) - _TYPES
            found = _Outline(names, {name: paths_of(name, tokens) for name in names}, shape_of(tokens))
            with self._lock:
                _keep(self._outlines, text, found)
        return found


def _keep(cache: OrderedDict[Any, Any], key: object, value: object) -> None:
    cache[key] = value
    if len(cache) > _CACHE_SIZE:
        cache.popitem(last=False)


def variables(text: str) -> set[str]:
    """Return the free names of an expression: not its functions, nor what its macros bind.

    Raise `ExpressionInvalid` if it can't be read.
    """
    try:
        compiled_with(_readable(text), frozenset())
    except RuntimeError as error:
        message = str(error)
        found = {
            name.partition(".")[0] for line, column, name in undeclared(message) if not is_call(text, line, column)
        }
        if "Syntax error" in message or not found:
            raise ExpressionInvalid(text=_shown(text), reason=why_not_compiled(text, message, ())) from None
        return found
    return set()


def compiled_with(text: str, names: frozenset[str]) -> Any:
    """Return the program of an expression; raise RuntimeError with CEL's message if it does not compile."""
    from cel_expr_python import cel
    from cel_expr_python.ext.ext_math import ExtMath
    from cel_expr_python.ext.ext_optional import ExtOptional
    from cel_expr_python.ext.ext_strings import ExtStrings

    extensions = cast("Any", [ExtMath(), ExtOptional(), ExtStrings()])
    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=extensions).compile(text)


def evaluate_here(program: Any, data: dict[str, Any]) -> Any:
    """Return the value of a program; raise ValueError or RuntimeError with the reason."""
    try:
        return Outcome().python(program.eval(data=data))
    except TypeError:
        message = "its result is of a kind that has no JSON form; end it with .orValue(…) if it may be missing"
        raise ValueError(message) from None


def _readable(text: str) -> str:
    if len(text) > _LENGTH_LIMIT:
        raise ExpressionInvalid(text=_shown(text), reason=f"it is longer than {_LENGTH_LIMIT:,} characters")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ExpressionInvalid(text=_shown(text), reason="it holds a character that is not text")
    return text


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return f"'{flat}'" if len(flat) <= 100 else f"'{flat[:100]} …'"
