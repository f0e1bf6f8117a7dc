"""Texts, reports, trees of JSON and bytes. Whatever they hold, it stays text."""

from __future__ import annotations

import functools
import io
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import panel as pn
from markdown_it import MarkdownIt
from markupsafe import Markup

from studio.theme import html, icon, number, size
from studio.values.kinds import is_arrow, is_frame

LONGEST_TEXT = 40_000
_LONGEST_REPORT = 200_000
_MOST_ITEMS = 100
_MOST_NODES = 4_000
_LONGEST_STRING = 2_000
_OPEN_UP_TO = 60

_TEXT_CSS = """
:host{--tall:420px}
pre{margin:0;max-height:var(--tall);white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
.note{margin:6px 0 0;font-size:var(--t1);color:var(--ink-3)}
.scalar{display:block;padding:10px 12px;border:1px solid var(--line);border-radius:var(--r2);background:var(--bg);
  font:var(--t3)/1.5 var(--mono);overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.file{display:flex;align-items:center;gap:10px;padding:12px;border:1px solid var(--line);border-radius:var(--r2);
  color:var(--ink-2)}
.file b{display:block;color:var(--ink);font-weight:600}
"""
_REPORT_CSS = """
.report{max-width:76ch;font-size:var(--t3);line-height:1.6;overflow-wrap:anywhere}
.report>:first-child{margin-top:0}.report>:last-child{margin-bottom:0}
.report h1{font-size:var(--t5);margin:18px 0 8px}.report h2{font-size:var(--t4);margin:16px 0 6px}
.report h3{font-size:var(--t3);margin:14px 0 4px}.report p{margin:0 0 10px}.report :is(ul,ol){margin:0 0 10px;
  padding-left:20px}
.report table{display:block;overflow-x:auto;border-collapse:collapse;font-size:var(--t2);margin:0 0 12px}
.report :is(th,td){padding:5px 12px 5px 0;border-bottom:1px solid var(--line);text-align:left;
  font-variant-numeric:tabular-nums}
.report th{color:var(--ink-2);font-weight:600}
.report .picture{padding:1px 6px;border-radius:var(--r1);background:var(--idle-soft);color:var(--ink-2);
  font-size:var(--t2)}
.report pre{white-space:pre-wrap;overflow-wrap:anywhere}
.note{margin:6px 0 0;font-size:var(--t1);color:var(--ink-3)}
"""


def text_view(text: str) -> pn.viewable.Viewable:
    """Return a text as it stands; a long one is cut, and says so."""
    if not text:
        return html(Markup('<span class="muted">An empty text.</span>'))
    shown = Markup('<pre tabindex="0">{}</pre>').format(text[:LONGEST_TEXT])
    note = _cut_note(len(text), LONGEST_TEXT)
    return html(shown + note, stylesheets=[_TEXT_CSS], sizing_mode="stretch_width")


def scalar_view(value: Any) -> pn.viewable.Viewable:
    """Return one number, truth value or short text."""
    text = value if isinstance(value, str) else json.dumps(value)
    return html(
        Markup('<span class="scalar">{}</span>').format(text), stylesheets=[_TEXT_CSS], sizing_mode="stretch_width"
    )


def nothing_view() -> pn.viewable.Viewable:
    """Return what stands for the absence of a value."""
    return html(Markup('<span class="muted">Nothing: the value is null.</span>'))


def report_view(text: str) -> pn.viewable.Viewable:
    """Return Markdown as a page. Raw HTML stays text, images become their descriptions, links leave no trace."""
    body = Markup(_markdown().render(text[:_LONGEST_REPORT]))  # noqa: S704  html is off: the renderer escapes
    page = Markup('<article class="report">{}</article>').format(body)
    return html(page + _cut_note(len(text), _LONGEST_REPORT), stylesheets=[_REPORT_CSS], sizing_mode="stretch_width")


def bytes_view(data: bytes, summary: str = "") -> pn.viewable.Viewable:
    """Return how many bytes there are and how they begin; the download is beside it."""
    start = " ".join(f"{byte:02x}" for byte in data[:16])
    words = Markup('<div class="file">{}<span><b>{}</b><span class="mono">{}{}</span></span></div>').format(
        icon("file", 20),
        summary or size(len(data)),
        start,
        " …" if len(data) > 16 else "",
    )
    return html(words, stylesheets=[_TEXT_CSS], sizing_mode="stretch_width")


def tree_view(value: Any) -> pn.viewable.Viewable:
    """Return JSON as a tree to open and close; a large one is thinned out, and says so."""
    pruned = Pruned(value)
    depth = 1 if pruned.nodes > _OPEN_UP_TO else 4
    tree = pn.pane.JSON(
        json.dumps(pruned.value), depth=depth, hover_preview=False, theme="light", sizing_mode="stretch_width", margin=0
    )
    box = pn.Column(tree, sizing_mode="stretch_width", margin=0, max_height=420, scroll="y-auto")
    if not pruned.left_out:
        return box
    note = Markup('<p class="note">Shortened: {} parts are left out here; the download has all.</p>')
    words = html(note.format(number(pruned.left_out)), stylesheets=[_TEXT_CSS])
    return pn.Column(box, words, sizing_mode="stretch_width", margin=0)


class Pruned:
    """A value small enough for a browser, as JSON. `left_out` counts what was dropped or cut."""

    def __init__(self, value: Any) -> None:
        """Thin out `value`: at most 100 items a level, 4,000 in all."""
        self.nodes = 0
        self.left_out = 0
        self.value = self._prune(plain_of(value, rows=_MOST_ITEMS + 1))

    def _prune(self, value: Any) -> Any:
        self.nodes += 1
        if isinstance(value, Mapping):
            kept = list(value.items())[: self._room(len(value))]
            self.left_out += len(value) - len(kept)
            pruned: Any = {_shortened(str(key)): self._prune(item) for key, item in kept}
        elif isinstance(value, list | tuple):
            kept = value[: self._room(len(value))]
            self.left_out += len(value) - len(kept)
            pruned = [self._prune(item) for item in kept]
        elif isinstance(value, str):
            pruned = _shortened(value)
            self.left_out += pruned is not value
        elif isinstance(value, float) and not math.isfinite(value):
            pruned = str(value)
        elif value is None or isinstance(value, bool | int | float):
            pruned = value
        else:
            pruned = _shortened(str(value))
        return pruned

    def _room(self, wanted: int) -> int:
        return max(0, min(wanted, _MOST_ITEMS, _MOST_NODES - self.nodes))


def plain_of(value: Any, *, rows: int | None = None) -> Any:
    """Return a table as a list of objects (its first `rows`); anything else as it is."""
    if is_arrow(value):
        return (value if rows is None else value.slice(0, rows)).to_pylist()
    if is_frame(value):
        return (value if rows is None else value.head(rows)).to_dict("records")
    return value


def download(value: Any, *, name: str) -> pn.widgets.FileDownload:
    """Return a quiet button that hands the whole value over as a file; its bytes are made when it is pressed."""
    suffix, make = _file_of(value)
    return pn.widgets.FileDownload(
        callback=lambda: io.BytesIO(make()),
        filename=f"{_file_name(name)}.{suffix}",
        label="Download",
        icon=str(icon("download", 14)),
        icon_size="14px",
        color="light",
        css_classes=["tr-ghost"],
        description=None,
        margin=0,
        align="center",
    )


def _file_of(value: Any) -> tuple[str, Callable[[], bytes]]:
    if isinstance(value, bytes | bytearray | memoryview):
        return "bin", lambda: bytes(value)
    if isinstance(value, str):
        return "txt", value.encode
    if is_arrow(value) or is_frame(value):
        return "csv", lambda: csv_bytes(value)
    return "json", lambda: json.dumps(value, ensure_ascii=False, indent=2, default=str).encode()


def csv_bytes(value: Any) -> bytes:
    """Return a table as CSV. A text that a spreadsheet would take for a formula gets a quote in front."""
    frame = value.to_pandas() if is_arrow(value) else value.copy()
    for position in range(frame.shape[1]):
        if frame.iloc[:, position].dtype.kind not in "biufM":
            frame.isetitem(position, frame.iloc[:, position].map(harmless))
    return frame.rename(columns=harmless).to_csv(index=False).encode()


def harmless(cell: Any) -> Any:
    """Return `cell` so that no spreadsheet runs it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:60].strip("-.")
    return kept or f"value-{datetime.now(UTC):%Y%m%d}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_STRING else text[:_LONGEST_STRING] + "…"


def _cut_note(length: int, limit: int) -> Markup:
    if length <= limit:
        return Markup("")
    words = "The first {} of {} characters; the download has all."
    return Markup('<p class="note">{}</p>').format(words.format(number(limit), number(length)))


@functools.cache
def _markdown() -> MarkdownIt:
    """CommonMark and tables, without raw HTML; addresses are checked by the parser (no scripts, no files)."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(tokens: Any, index: int, _options: Any, _env: Any) -> str:
        return str(Markup('<span class="picture">{}</span>').format(tokens[index].content or "picture"))

    def link_open(tokens: Any, index: int, options: Any, env: Any) -> str:
        tokens[index].attrSet("rel", "noopener noreferrer nofollow")
        tokens[index].attrSet("target", "_blank")
        return parser.renderer.renderToken(tokens, index, options, env)

    parser.renderer.rules["image"] = image  # type: ignore[attr-defined]
    parser.renderer.rules["link_open"] = link_open  # type: ignore[attr-defined]
    return parser
