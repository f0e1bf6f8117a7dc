"""Digests of functions: whether one is still what it was when a result was made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import CodeType
from typing import Any


def digest_of(function: Callable[..., Any]) -> str:
    """Return a digest of a function's own code and defaults, in hex; empty for what has no Python code.

    It doesn't see what the function calls, and differs between versions of Python.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return ""
    told = hashlib.sha256()
    stack: list[object] = [code]
    while stack:
        each = stack.pop()
        if isinstance(each, CodeType):
            told.update(each.co_code)
            stack.extend((each.co_names, each.co_varnames, each.co_freevars, *each.co_consts))
        else:
            told.update(repr(each).encode("utf-8", "surrogatepass"))
    told.update(repr((getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))).encode())
    return told.hexdigest()[:16]
