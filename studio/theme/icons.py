"""Lucide icons as inline SVG; only those in `icons.json` are bundled (see NOTICE.txt)."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from markupsafe import Markup

_FILE = Path(__file__).parent / "icons.json"


@functools.cache
def _bodies() -> dict[str, str]:
    return json.loads(_FILE.read_text(encoding="utf-8"))


def icon_names() -> tuple[str, ...]:
    """The bundled icons, sorted."""
    return tuple(sorted(_bodies()))


@functools.lru_cache(maxsize=512)
def icon(name: str, size: int = 16, stroke: float = 1.75) -> Markup:
    """The icon `name` as an SVG of `size` pixels in the colour of the text around it.

    It is hidden from screen readers: put the word beside it, or an `aria-label` on what holds it.

    Raises:
        LookupError: no icon is bundled under `name`.
    """
    body = _bodies().get(name)
    if body is None:
        message = f"No icon {name!r} is bundled; see studio/theme/icons.json."
        raise LookupError(message)
    return Markup(  # noqa: S704  our own file and numbers
        f'<svg class="icon" xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" '
        f'viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="{stroke}" '
        f'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{body}</svg>'
    )
