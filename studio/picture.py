"""A still picture of a model, for where no editor runs: the canvas's own places and colours as an SVG."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from markupsafe import escape

from studio.editor.canvas import View, node_size
from studio.theme import palette

_MARGIN = 24
_HEAD, _ROW, _ROWS_PADDING, _FRAME_HEAD, _MOST_ROWS = 46, 22, 6, 40, 9
_COLLAPSED = (224, 78)
_LETTER_PX = 8
_EMPTY = (320, 96)
_CSS = """
text{font:11px "Inter Variable","Inter",system-ui,sans-serif;fill:INK2}
text.name{font-size:13px;font-weight:600;fill:INK}
.card{fill:SURFACE;stroke:LINE}.frame{fill:SURFACE;fill-opacity:.6;stroke:LINE}.off{stroke-dasharray:4 3;opacity:.6}
.wire{fill:none;stroke:MUTED;stroke-width:1.5}.order{fill:none;stroke:MUTED;stroke-width:1.5;stroke-dasharray:4 4}
"""


class _Box(NamedTuple):
    left: float
    top: float
    width: float
    height: float


def data_address(svg: str) -> str:
    """Return an SVG as an address that an `img` can show by itself: nothing in it runs or is fetched."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def picture(graph: View) -> str:
    """Return the picture that `Scene.graph` describes as an SVG. Names stay text, whatever they hold."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    known = set(nodes)
    stands = {key: _stand_in(nodes, key) for key in nodes}
    boxes = {key: _box(nodes, key) for key in nodes if stands[key] == key}
    frames = [key for key in boxes if _is_frame(nodes[key])]
    cards = [key for key in boxes if not _is_frame(nodes[key])]
    parts = [_frame(nodes[key], boxes[key]) for key in frames]
    parts += [_wire(wire, nodes, stands, boxes) for wire in graph["wires"] if {wire["source"], wire["target"]} <= known]
    parts += [_card(nodes[key], boxes[key]) for key in cards]
    if not parts:
        parts = [f'<text x="{_EMPTY[0] / 2}" y="{_EMPTY[1] / 2}" text-anchor="middle">An empty model</text>']
    around = _around(boxes.values())
    size = f"{around.left:g} {around.top:g} {around.width:g} {around.height:g}"
    ground = f'<rect x="{around.left:g}" y="{around.top:g}" width="100%" height="100%" fill="{_colour("canvas")}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" width="{around.width:g}" height="{around.height:g}">'
        f"<style>{_style()}</style>{ground}{''.join(parts)}</svg>"
    )


def _colour(token: str) -> str:
    return palette(dark=False)[token]


def _style() -> str:
    tokens = {"INK2": "ink-3", "INK": "ink", "SURFACE": "surface", "LINE": "line-strong", "MUTED": "ink-3"}
    css = _CSS
    for name, token in tokens.items():
        css = css.replace(name, _colour(token))
    return css.strip()


def _is_frame(node: View) -> bool:
    return node["container"] and not node["collapsed"]


def _stand_in(nodes: Mapping[str, View], key: str) -> str:
    """Return what is drawn for a node: itself, or the outermost collapsed container around it."""
    found, above = key, nodes[key]["parent"]
    while above in nodes:
        if nodes[above]["collapsed"]:
            found = above
        above = nodes[above]["parent"]
    return found


def _box(nodes: Mapping[str, View], key: str) -> _Box:
    node: View = nodes[key]
    left, top = 0.0, 0.0
    at: View | None = node
    while at is not None:
        left, top = left + at["position"]["x"], top + at["position"]["y"]
        at = nodes.get(at["parent"])
    if _is_frame(node):
        width, height = node["width"] or 320, node["height"] or 180
    else:
        width, height = _COLLAPSED if node["container"] else node_size(node)
    return _Box(left, top, width, height)


def _around(boxes: Iterable[_Box]) -> _Box:
    found = list(boxes)
    if not found:
        return _Box(0, 0, *_EMPTY)
    left, top = min(box.left for box in found) - _MARGIN, min(box.top for box in found) - _MARGIN
    right, bottom = max(box.left + box.width for box in found), max(box.top + box.height for box in found)
    return _Box(left, top, right + _MARGIN - left, bottom + _MARGIN - top)


def _frame(node: View, box: _Box) -> str:
    return _shape("frame", 12, node, box) + _words("name", node["name"], box.left + 14, box.top + 25, box.width - 28)


def _card(node: View, box: _Box) -> str:
    left, top = box.left, box.top
    chip = f'<rect x="{left + 10:g}" y="{top + 13:g}" width="20" height="20" rx="5" fill="{_colour(node["kind"])}"/>'
    name = _words("name", node["name"], left + 38, top + 21, box.width - 48)
    return f"{_shape('card', 8, node, box)}{chip}{name}" + _words(
        "", node["subtitle"], left + 38, top + 36, box.width - 48
    )


def _shape(css_class: str, radius: int, node: View, box: _Box) -> str:
    off = "" if node["enabled"] else " off"
    return (
        f'<rect class="{css_class}{off}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" '
        f'height="{box.height:g}" rx="{radius}"/>'
    )


def _words(css_class: str, text: str, x: float, y: float, room: float) -> str:
    most = max(1, int(room / _LETTER_PX))
    shown = text if len(text) <= most else text[: most - 1] + "…"
    # XML can't hold control characters, escaped or not.
    safe = escape("".join(letter if letter.isprintable() else " " for letter in shown))
    return f'<text class="{css_class}" x="{x:g}" y="{y:g}">{safe}</text>'


def _wire(wire: View, nodes: Mapping[str, View], stands: Mapping[str, str], boxes: Mapping[str, _Box]) -> str:
    source, target = stands[wire["source"]], stands[wire["target"]]
    if source == target:
        return ""
    ordered = wire["kind"] == "dependency"
    start, end = boxes[source], boxes[target]
    x1, y1 = start.left + start.width, start.top + _port_y(nodes[source], "outputs", wire["source_port"])
    x2, y2 = end.left, end.top + _port_y(nodes[target], "inputs", wire["target_port"])
    reach = max(24.0, min(160.0, abs(x2 - x1) / 2))
    path = f"M{x1:g},{y1:g}C{x1 + reach:g},{y1:g} {x2 - reach:g},{y2:g} {x2:g},{y2:g}"
    return f'<path class="{"order" if ordered else "wire"}" d="{path}"/>'


def _port_y(node: View, side: str, port: str) -> float:
    """Return how far below a node's top a port stands, as geometry.js computes it."""
    ports: list[Any] = [one["id"] for one in node[side]]
    if port not in ports:
        return _FRAME_HEAD / 2 if _is_frame(node) else _HEAD / 2
    row = min(ports.index(port), _MOST_ROWS - 1) * _ROW + _ROW / 2
    if _is_frame(node):
        return _FRAME_HEAD + row
    return _HEAD + _ROWS_PADDING + row if max(len(node["inputs"]), len(node["outputs"])) > 1 else _HEAD / 2
