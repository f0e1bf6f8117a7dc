"""What can be told about an expression from its words alone: names, what is used of them, how dear it may become."""

from __future__ import annotations

import re
from typing import NamedTuple

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map", "optMap", "optFlatMap"})
SIZE = "size()"
_WORDS = frozenset({"true", "false", "null", "in"})
_CONSTANTS = _WORDS - {"in"}
_GROWING = frozenset({"replace", "join", "format"})
_SEARCHING = frozenset({"matches", "contains", "startsWith", "endsWith", "indexOf", "lastIndexOf", "split"})
_ITERATIONS = 10_000
_TOKEN = re.compile(
    r"//[^\n]*"
    r"|(?P<text>[bBrR]{0,2}(?:'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"))"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<sign>[=!<>]=|&&|\|\||\.\?|\[\?|\S)",
    re.DOTALL,
)


class Token(NamedTuple):
    """A word of the expression: a text, a name, a number or a sign."""

    kind: str
    text: str


Tokens = tuple[Token, ...]
_NOTHING = Token("sign", "")


def tokens_of(text: str) -> Tokens:
    """Return the words of an expression; what is no word is a sign of one character."""
    return tuple(Token(match.lastgroup, match.group()) for match in _TOKEN.finditer(text) if match.lastgroup)


def identifiers(tokens: Tokens) -> frozenset[str]:
    """Return every name that may be a variable: none that follows a dot."""
    pairs = zip((_NOTHING, *tokens), tokens, strict=False)
    found = {token.text for before, token in pairs if token.kind == "name" and before.text not in {".", ".?"}}
    return frozenset(found - _WORDS)


def paths_of(name: str, tokens: Tokens) -> list[tuple[str, ...]]:
    """Return what follows each mention of `name`: fields by name, and `SIZE`; empty where it is used whole."""
    texts = [token.text for token in tokens]
    found: list[tuple[str, ...]] = []
    for at, token in enumerate(tokens):
        if token == ("name", name) and (at == 0 or texts[at - 1] not in {".", ".?"}):
            sized = texts[max(0, at - 2) : at] == ["size", "("] and texts[at + 1 : at + 2] == [")"]
            found.append((SIZE,) if sized else _path_after(tokens, at + 1))
    return found


def _path_after(tokens: Tokens, start: int) -> tuple[str, ...]:
    path: list[str] = []
    at = start
    while at + 1 < len(tokens):
        sign, following = tokens[at].text, tokens[at + 1]
        after = tokens[at + 2].text if at + 2 < len(tokens) else ""
        if sign == "." and following.kind == "name" and after == "(":
            return (*path, SIZE) if following.text == "size" else tuple(path)
        if sign == "." and following.kind == "name":
            path.append(following.text)
            at += 2
        elif sign == "[" and after == "]" and _is_plain_text(following):
            path.append(following.text[1:-1])
            at += 3
        else:
            break
    return tuple(path)


def _is_plain_text(token: Token) -> bool:
    return token.kind == "text" and token.text[0] in "'\"" and token.text[1:2] != token.text[0] and "\\" not in token.text


def cost(tokens: Tokens, *, values: int, characters: int, longest: int) -> float:
    """Return a bound of the work in elementary operations, given how much data the expression looks at.

    Loops repeat what is inside; comparing with anything but a constant may walk all the data; every sum and every list
    written inside a loop may multiply the size of its part, once per loop; replacing, joining and formatting multiply
    lengths.
    """
    words = [token.text for token in tokens]
    loops = sum(word in MACROS for word in words)
    growing = sum(word in _GROWING for word in words)
    written = sum(len(word) for word in words)
    size, widest = values + characters / 64 + len(words), max(longest, written, 1)
    compared = sum(_is_open(tokens, at) for at, word in enumerate(words) if word in {"==", "!=", "in", "<", ">"})
    sums = sum(_is_open(tokens, at) for at, word in enumerate(words) if word == "+")
    branches = sums + max(0, words.count(",") - loops)
    searched = sum(word in _SEARCHING for word in words) * widest * min(widest, 1_000) / 64
    times = min(_ITERATIONS, float(size) ** min(loops, 10)) if loops else 1.0
    grown = float(branches + 1) ** min(loops, 40) * float(widest) ** min(growing, 20)
    each = 1 + (compared * size if loops else 0) + searched
    return times * each * grown + size * (grown if loops or growing else 0)


def _is_open(tokens: Tokens, at: int) -> bool:
    """Say whether both sides of an operator are something else than a constant."""
    sides = tokens[max(0, at - 1) : at] + tokens[at + 1 : at + 2]
    return not any(side.kind in {"text", "number"} or side.text in _CONSTANTS | {"["} for side in sides)
