"""Text: filling in, taking apart, putting together."""

# pyarrow has no type stubs, so strict checking can't know what its functions take and give:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import Field

from engine.tethers.describe import tether
from engine.tethers.library.database import ask
from engine.tethers.library.placeholders import filled
from engine.tethers.library.plain import plain

CATEGORY = "Text"


class Matches(NamedTuple):
    """What a pattern matched."""

    first: str
    all: list[str]


@tether(
    reference="text.template",
    name="Text template",
    category=CATEGORY,
    icon="braces",
    outputs=("text",),
    keywords=("format", "fill", "placeholder", "message"),
    example={"template": "Hello {{ name }}", "name": "Ada"},
)
def template(*, template: Annotated[str, Field(json_schema_extra={"x-widget": "multiline"})], **values: Any) -> str:
    """Fill a text in: {{ name }} stands for what is wired in, {{ expression }} for CEL over it.

    Nothing is escaped; for a report use the Markdown report.

    Args:
        template: The text.
        values: What is wired in, by the name of its port.
    """
    return filled(template, values, _as_text)


@tether(
    reference="text.split",
    name="Split text",
    category=CATEGORY,
    icon="scissors",
    outputs=("parts",),
    keywords=("separate", "lines", "list", "tokens"),
    example={"text": "a, b, c", "separator": ","},
)
def split(text: str, *, separator: str = "\n", trim: bool = True, keep_empty: bool = False) -> list[str]:
    r"""Split a text into a list.

    Args:
        text: The text.
        separator: What stands between the parts; a line break if it is empty.
        trim: Whether blanks around the parts are removed.
        keep_empty: Whether empty parts stay in the list.
    """
    parts = text.split(separator) if separator and separator != "\n" else text.splitlines()
    trimmed = [part.strip() for part in parts] if trim else parts
    return trimmed if keep_empty else [part for part in trimmed if part]


@tether(
    reference="text.join",
    name="Join text",
    category=CATEGORY,
    icon="link",
    outputs=("text",),
    keywords=("concatenate", "combine", "list"),
    example={"parts": ["a", "b"], "separator": ", "},
)
def join(parts: list[Any], *, separator: str = ", ") -> str:
    """Put the items of a list together as one text.

    Args:
        parts: The items; numbers and others are written as JSON writes them.
        separator: What stands between them.
    """
    return separator.join(_as_text(part) for part in parts)


@tether(
    reference="text.regex_extract",
    name="Extract by pattern",
    category=CATEGORY,
    icon="regex",
    keywords=("regular expression", "regexp", "match", "find", "search"),
    example={"text": "Order A-17, order B-4", "pattern": r"[A-Z]-(\d+)", "group": 1},
)
def regex_extract(text: str, *, pattern: str, group: Annotated[int, Field(ge=0, le=9)] = 0) -> Matches:
    """Find the parts of a text that match a regular expression (RE2, whose time grows with the text alone).

    Args:
        text: The text.
        pattern: The regular expression.
        group: Which bracket of the pattern to give; 0 is the whole match.
    """
    import pyarrow as pa

    sql = "SELECT regexp_extract_all(t, ?, ?) AS found FROM text"
    found = ask(sql, {"text": pa.table({"t": [text]})}, parameters=(pattern, group), what="Pattern")
    every = [str(match) for match in cast("list[str]", found.column("found").to_pylist()[0])]
    return Matches(first=every[0] if every else "", all=every)


@tether(
    reference="text.change_case",
    name="Change case",
    category=CATEGORY,
    icon="case-sensitive",
    outputs=("text",),
    keywords=("upper", "lower", "title", "capital"),
    example={"text": "ada lovelace", "to": "title"},
)
def change_case(text: str, *, to: Literal["lower", "upper", "title", "sentence"] = "lower") -> str:
    """Write a text in small or capital letters.

    Args:
        text: The text.
        to: 'title' begins every word with a capital, 'sentence' the first one.
    """
    changed = {"lower": text.lower, "upper": text.upper, "title": text.title, "sentence": text.capitalize}
    return changed[to]()


@tether(
    reference="text.hash_text",
    name="Hash text",
    category=CATEGORY,
    icon="fingerprint-pattern",
    outputs=("digest",),
    keywords=("sha256", "checksum", "digest", "fingerprint"),
    example={"text": "treadle"},
)
def hash_text(text: str, *, algorithm: Literal["sha256", "sha512", "sha3_256", "blake2b"] = "sha256") -> str:
    """Compute the fingerprint of a text's UTF-8 bytes, in hexadecimal.

    Args:
        text: The text.
        algorithm: How.
    """
    return hashlib.new(algorithm, text.encode("utf-8", "surrogatepass")).hexdigest()


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
