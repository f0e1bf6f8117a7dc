"""What can be told about an expression from its words alone: names, what is used of them, how dear it may become."""

from __future__ import annotations

import re
from typing import NamedTuple

MACROS = frozenset({"all", "exists", "exists_one", "filter", "map", "optMap", "optFlatMap"})
SIZE = "size()"
_WORDS = frozenset({"true", "false", "null", "in"})
_CONSTANTS = _WORDS - {"in"}
_GROWING = frozenset({"replace", "join", "format"})
_SEARCHING = frozenset({"contains", "startsWith", "endsWith", "indexOf", "lastIndexOf", "split"})
_ITERATIONS = 10_000
_PATTERN_SIZE = 1_000
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
Paths = list[tuple[str, ...]]
"""What follows each mention of a name: fields by name, and `SIZE`; an empty one where it is used whole."""
_NOTHING = Token("sign", "")


def tokens_of(text: str) -> Tokens:
    """Return the words of an expression; what is no word is a sign of one character."""
    return tuple(Token(match.lastgroup, match.group()) for match in _TOKEN.finditer(text) if match.lastgroup)


def identifiers(tokens: Tokens) -> frozenset[str]:
    """Return every name that may be a variable: none that follows a dot."""
    pairs = zip((_NOTHING, *tokens), tokens, strict=False)
    found = {token.text for before, token in pairs if token.kind == "name" and before.text not in {".", ".?"}}
    return frozenset(found - _WORDS)


def paths_of(name: str, tokens: Tokens) -> Paths:
    """Return what follows each mention of `name`."""
    texts = [token.text for token in tokens]
    found: Paths = []
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
    text = token.text
    return token.kind == "text" and text[0] in "'\"" and text[1:2] != text[0] and "\\" not in text


class Shape(NamedTuple):
    """How often an expression does what may become dear."""

    words: int
    loops: int
    copies: int
    compared: int
    branches: int
    growing: int
    searching: int
    matching: int
    """Steps that the patterns of all `matches` may need for each character."""


def shape_of(tokens: Tokens) -> Shape:
    """Count what may become dear."""
    words = [token.text for token in tokens]
    loops = sum(word in MACROS for word in words)
    sums = sum(_is_open(tokens, at) for at, word in enumerate(words) if word == "+")
    return Shape(
        words=len(words) + sum(map(len, words)),
        loops=loops,
        copies=sum(word in {"map", "filter"} for word in words),
        compared=sum(_is_open(tokens, at) for at, word in enumerate(words) if word in {"==", "!=", "in", "<", ">"}),
        branches=sums + max(0, words.count(",") - loops),
        growing=sum(word in _GROWING for word in words),
        searching=sum(word in _SEARCHING for word in words),
        matching=sum(_pattern_size(tokens, at) for at, word in enumerate(words) if word == "matches"),
    )


def cost(shape: Shape, *, values: int, characters: int, longest: int, items: int) -> float:
    """Return a bound of the work in elementary operations.

    The data looked at is given by its values, its characters, its longest text and its longest list. Loops repeat what
    is inside; `map` and `filter` copy their list at every item; comparing with anything but a constant may walk all the
    data; every sum and every list written inside a loop may multiply the size of its part, once per loop; replacing,
    joining and formatting multiply lengths.
    """
    if not (shape.loops or shape.growing or shape.searching or shape.matching):
        return 0.0
    size, widest = values + characters / 64 + shape.words, max(longest, shape.words)
    times = min(_ITERATIONS, float(size) ** min(shape.loops, 10))
    copied = shape.copies * min(_ITERATIONS, max(items, shape.words)) ** 2
    grown = float(shape.branches + 1) ** min(shape.loops, 40) * float(widest) ** min(shape.growing, 20)
    searched = shape.searching * widest * min(widest, 1_000) / 64 + shape.matching * widest
    each = 1 + (shape.compared * size if shape.loops else 0) + searched
    return copied + times * each * grown + size * (grown - 1)


def _is_open(tokens: Tokens, at: int) -> bool:
    """Say whether both sides of an operator are something else than a constant."""
    sides = tokens[max(0, at - 1) : at] + tokens[at + 1 : at + 2]
    return not any(side.kind in {"text", "number"} or side.text in _CONSTANTS | {"["} for side in sides)


def _pattern_size(tokens: Tokens, at: int) -> int:
    """Return how large a pattern may become: its length, unless it counts repetitions or is not known yet."""
    pattern = tokens[at + 2] if tokens[at + 1 : at + 2] == (Token("sign", "("),) and at + 2 < len(tokens) else _NOTHING
    known = pattern.kind == "text" and "{" not in pattern.text
    return len(pattern.text) if known else _PATTERN_SIZE
