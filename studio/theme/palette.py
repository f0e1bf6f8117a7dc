"""The tokens of tokens.css as values, for what is drawn on a canvas and can't read CSS."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_FILE = Path(__file__).parent / "tokens.css"
_BLOCK = re.compile(r"(:root|\[data-theme=dark\])\s*\{([^}]*)\}")
_TOKEN = re.compile(r"--([\w-]+)\s*:\s*([^;]+)")


@functools.cache
def palette(*, dark: bool) -> Mapping[str, str]:
    """The tokens without their dashes: `palette(dark=True)["accent"]` is a colour such as `#8ea2ff`."""
    blocks = {
        name: {token: value.strip() for token, value in _TOKEN.findall(body)}
        for name, body in _BLOCK.findall(_FILE.read_text(encoding="utf-8"))
    }
    light = blocks[":root"]
    return MappingProxyType({**light, **blocks["[data-theme=dark]"]} if dark else light)
