"""Parts of pages that know no engine: escaped HTML that can be pressed, lists, slow work, the graph editor."""

from studio.components.clickable import COPY_CSS, Clickable, Navigator, copy_button
from studio.components.listing import BOX, LIST_CSS, QUIET_LABEL, table, when
from studio.components.loading import Latest, Repeat

__all__ = [
    "BOX",
    "COPY_CSS",
    "LIST_CSS",
    "QUIET_LABEL",
    "Clickable",
    "Latest",
    "Navigator",
    "Repeat",
    "copy_button",
    "table",
    "when",
]
