"""A page with the flow editor and an owner that keeps the graph in memory; for the browser tests.

One file, though long: half of it is the demos it can show, which are data.

`python -m tests.browser.flow_editor_harness PORT` serves it on the loopback. Query arguments: `demo`
(`drawing`, `empty`, `ports`, `hostile`), `n` (a grid of so many nodes), `dark`, `read_only`, `state`
(`running`, `failed`).
"""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import panel as pn

from studio.components.flow_editor import FlowEditor

Item = dict[str, Any]

PORT_TYPES: dict[str, Item] = {
    "table": {"color": "var(--tether)", "into": ["rows"]},
    "rows": {"color": "var(--io)", "into": []},
    "text": {"color": "var(--agent)", "into": []},
    "notes": {"color": "var(--kb)", "into": ["text"]},
    "number": {"color": "var(--stage)", "into": ["text"]},
    "any": {"color": "var(--idle)", "into": []},
}


def port(name: str, kind: str, *, label: str = "", required: bool = False, many: bool = False) -> Item:
    """One port of a node."""
    return {"id": name, "label": label or name, "type": kind, "required": required, "many": many}


def entry(
    kind: str,
    label: str,
    category: str,
    family: str,
    icon: str,
    **rest: Any,
) -> Item:
    """One line of the palette."""
    defaults = {"description": "", "keywords": [], "container": False, "inputs": [], "outputs": []}
    return {
        "type": kind,
        "label": label,
        "category": category,
        "kind": family,
        "icon": icon,
        **defaults,
        **rest,
    }


TABLE_IN, TABLE_OUT = (
    port("rows", "table", label="Rows", required=True),
    port("table", "table", label="Table"),
)
CATALOG: list[Item] = [
    entry(
        "input",
        "Input",
        "Boundaries",
        "io",
        "log-in",
        outputs=[TABLE_OUT],
        starter=True,
        description="A value given when the workflow starts.",
    ),
    entry(
        "output",
        "Output",
        "Boundaries",
        "io",
        "log-out",
        inputs=[port("value", "any", label="Value", many=True)],
        starter=True,
        description="A result the workflow hands back.",
    ),
    entry(
        "stage",
        "Stage",
        "Structure",
        "stage",
        "frame",
        container=True,
        description="A frame around steps.",
    ),
    entry(
        "nested",
        "Nested model",
        "Structure",
        "nested",
        "boxes",
        inputs=[TABLE_IN],
        outputs=[TABLE_OUT],
    ),
    entry(
        "csv",
        "Read CSV",
        "Actions",
        "tether",
        "file-spreadsheet",
        outputs=[TABLE_OUT],
        starter=True,
        description="Rows from a file.",
        keywords=["file", "import"],
    ),
    entry(
        "python",
        "Python function",
        "Actions",
        "tether",
        "square-function",
        inputs=[TABLE_IN],
        outputs=[TABLE_OUT],
    ),
    entry(
        "sql",
        "SQL query",
        "Actions",
        "tether",
        "database",
        inputs=[TABLE_IN],
        outputs=[TABLE_OUT],
        keywords=["select", "filter"],
    ),
    entry(
        "join",
        "Join tables",
        "Actions",
        "tether",
        "combine",
        inputs=[
            port("left", "table", label="Left", required=True),
            port("right", "table", label="Right"),
        ],
        outputs=[port("table", "table", label="Joined"), port("count", "number", label="Count")],
    ),
    entry(
        "http",
        "HTTP request",
        "Actions",
        "tether",
        "globe",
        outputs=[port("body", "text", label="Body")],
    ),
    entry(
        "notes",
        "Knowledge",
        "Actions",
        "kb",
        "book-open",
        inputs=[TABLE_IN],
        outputs=[port("notes", "notes", label="Notes")],
    ),
    entry(
        "agent",
        "Agent task",
        "Actions",
        "agent",
        "bot",
        inputs=[port("prompt", "text", label="Prompt", required=True)],
        outputs=[port("text", "text", label="Text")],
    ),
    entry(
        "clean",
        "Clean table",
        "Your library",
        "nested",
        "boxes",
        inputs=[TABLE_IN],
        outputs=[TABLE_OUT],
    ),
]
TYPES = {item["type"]: item for item in CATALOG}
GIVEN = ("name", "subtitle", "badge", "parent", "width", "height", "problems", "inputs", "outputs")


class Owner:
    """Keeps a graph, applies intents without judgement but for one rule, and can undo by snapshot."""

    def __init__(self, graph: Item) -> None:
        """Start from a graph in the editor's own shape."""
        self.nodes: dict[str, Item] = {node["id"]: node for node in graph["nodes"]}
        self.wires: dict[str, Item] = {wire["id"]: wire for wire in graph["wires"]}
        self.revision = 1
        self.count = 0
        self.done: list[tuple[str, Item]] = []
        self.undone: list[tuple[str, Item]] = []
        self.chosen: list[str] = []
        self.editor = FlowEditor(
            catalog=CATALOG,
            port_types=PORT_TYPES,
            graph=self.view(),
            resync=self.view,
            sizing_mode="stretch_both",
        )
        self.editor.on_intent(self.hear)

    def view(self) -> Item:
        """The whole graph."""
        return copy.deepcopy(
            {
                "revision": self.revision,
                "nodes": [*self.nodes.values()],
                "wires": [*self.wires.values()],
            }
        )

    def hear(self, intent: Item) -> None:
        """Do what the person wants, as one undoable step."""
        act: Callable[[Item], None] | None = getattr(self, f"do_{intent['type']}", None)
        if act is None:
            return
        if intent["type"] in ("undo", "redo", "copy", "run"):
            act(intent)
            return
        before = self.view()
        self.chosen = []
        act(intent)
        if self.view() != before:
            self.done.append((str(intent["type"]).capitalize(), before))
            self.undone.clear()
            self.tell(before)
            if self.chosen:
                self.editor.select(self.chosen)

    def tell(self, before: Item) -> None:
        """Send what differs from `before`."""
        self.revision += 1
        old_nodes, old_wires = ({item["id"]: item for item in before[name]} for name in ("nodes", "wires"))
        self.editor.patch(
            revision=self.revision,
            nodes=copy.deepcopy([node for key, node in self.nodes.items() if old_nodes.get(key) != node]),
            wires=copy.deepcopy([wire for key, wire in self.wires.items() if old_wires.get(key) != wire]),
            removed_nodes=[key for key in old_nodes if key not in self.nodes],
            removed_wires=[key for key in old_wires if key not in self.wires],
        )
        self.editor.param.update(
            undo_name=self.done[-1][0] if self.done else None,
            redo_name=self.undone[-1][0] if self.undone else None,
        )

    def restore(self, source: list[tuple[str, Item]], target: list[tuple[str, Item]]) -> None:
        """Go back to what `source` remembers last; `target` remembers what is now."""
        if not source:
            return
        name, graph = source.pop()
        before = self.view()
        target.append((name, before))
        self.nodes = {node["id"]: node for node in copy.deepcopy(graph["nodes"])}
        self.wires = {wire["id"]: wire for wire in copy.deepcopy(graph["wires"])}
        self.tell(before)

    def fresh(self, prefix: str) -> str:
        """An id nobody has."""
        self.count += 1
        return f"{prefix}_{self.count}"

    def wire(self, source: str, source_port: str, target: str, target_port: str) -> None:
        """Add a wire."""
        self.add_wire(make_wire(self.fresh("wire"), source, source_port, target, target_port))

    def add_wire(self, wire: Item) -> None:
        """Keep a wire."""
        self.wires[wire["id"]] = wire

    def do_undo(self, _: Item) -> None:
        """Take back the last step."""
        self.restore(self.done, self.undone)

    def do_redo(self, _: Item) -> None:
        """Do it again."""
        self.restore(self.undone, self.done)

    def do_add(self, intent: Item) -> None:
        """Add a node, wired when a wire was dropped for it."""
        name = self.fresh(intent["node_type"])
        self.nodes[name] = make_node(name, intent["node_type"], intent["position"], parent=intent["parent"])
        self.chosen = [name]
        link = intent["link"]
        if link and link["side"] == "source":
            self.wire(link["node"], link["port"], name, link["own_port"])
        elif link:
            self.wire(name, link["own_port"], link["node"], link["port"])

    def do_connect(self, intent: Item) -> None:
        """Add a wire, unless its target is called Report and its source an HTTP request."""
        if self.nodes[intent["source"]]["type"] == "http" and self.nodes[intent["target"]]["type"] == "output":
            self.editor.refuse("A body must be read before it is reported.")
            return
        self.wire(intent["source"], intent["source_port"], intent["target"], intent["target_port"])

    def do_depend(self, intent: Item) -> None:
        """Put one container before another."""
        name = self.fresh("order")
        self.add_wire(
            {
                **make_wire(name, intent["source"], "before", intent["target"], "after"),
                "kind": "dependency",
            }
        )

    def do_remove(self, intent: Item) -> None:
        """Remove nodes with what is inside them and every wire that loses an end."""
        gone = set(intent["nodes"])
        while more := {key for key, node in self.nodes.items() if node["parent"] in gone} - gone:
            gone |= more
        self.nodes = {key: node for key, node in self.nodes.items() if key not in gone}
        self.wires = {
            key: wire
            for key, wire in self.wires.items()
            if key not in intent["wires"] and not {wire["source"], wire["target"]} & gone
        }

    def do_move(self, intent: Item) -> None:
        """Place nodes, in other containers too."""
        for item in intent["items"]:
            self.nodes[item["id"]] = {**self.nodes[item["id"]], **item}

    do_layout = do_move

    def do_resize(self, intent: Item) -> None:
        """Give a container another size."""
        self.do_move({"items": [{key: value for key, value in intent.items() if key != "type"}]})

    def do_collapse(self, intent: Item) -> None:
        """Fold a container or unfold it."""
        self.nodes[intent["id"]] = {**self.nodes[intent["id"]], "collapsed": intent["collapsed"]}

    def do_rename(self, intent: Item) -> None:
        """Give a node another name."""
        self.nodes[intent["id"]] = {**self.nodes[intent["id"]], "name": intent["name"]}

    def do_duplicate(self, intent: Item) -> None:
        """Put copies beside the originals."""
        self.insert([self.nodes[key] for key in intent["ids"]], intent["offset"])

    def do_copy(self, intent: Item) -> None:
        """Hand out the nodes as text."""
        self.editor.give_clipboard(json.dumps([self.nodes[key] for key in intent["ids"]]))

    def do_paste(self, intent: Item) -> None:
        """Insert nodes from text."""
        try:
            nodes = json.loads(intent["text"])
        except ValueError:
            self.editor.refuse("The clipboard holds no nodes.")
            return
        self.insert(nodes, 48)

    def insert(self, nodes: Iterable[Item], offset: float) -> None:
        """Add copies of nodes under new ids and select them."""
        names = []
        for node in nodes:
            name = self.fresh(node["type"])
            position = {axis: value + offset for axis, value in node["position"].items()}
            self.nodes[name] = {**copy.deepcopy(node), "id": name, "position": position}
            names.append(name)
        self.chosen = names

    def do_run(self, _: Item) -> None:
        """Show the run of the drawing."""
        self.editor.set_status(
            RUNNING if "field" in self.nodes else {key: dict(RUNNING["field"]) for key in self.nodes}
        )


def make_node(key: str, kind: str, position: Item, **rest: Any) -> Item:
    """A node of a catalog type at a place."""
    unknown = rest.keys() - set(GIVEN)
    if unknown:
        reason = f"no such fields: {unknown}"
        raise TypeError(reason)
    of = TYPES[kind]
    return {
        "id": key,
        "kind": of["kind"],
        "type": kind,
        "name": of["label"],
        "subtitle": of["label"],
        "icon": of["icon"],
        "parent": None,
        "position": dict(position),
        "width": 456 if of["container"] else None,
        "height": 154 if of["container"] else None,
        "container": of["container"],
        "collapsed": False,
        "badge": "",
        "enabled": True,
        "inputs": of["inputs"],
        "outputs": of["outputs"],
        "problems": [],
        **rest,
    }


def make_wire(name: str, source: str, source_port: str, target: str, target_port: str) -> Item:
    """A wire between two ports."""
    return {
        "id": name,
        "kind": "wire",
        "source": source,
        "source_port": source_port,
        "target": target,
        "target_port": target_port,
        "label": "",
    }


def at(x: float, y: float) -> Item:
    """A place on the canvas."""
    return {"x": x, "y": y}


def drawing() -> Item:
    """The field report of the drawing."""
    nodes = [
        make_node("field", "input", at(0, 56), name="Field table", subtitle="Input"),
        make_node("prepare", "stage", at(224, 8), name="Prepare", badge="sequential"),
        make_node("clean", "python", at(20, 48), parent="prepare", name="Clean rows"),
        make_node("group", "sql", at(256, 48), parent="prepare", name="Group by species"),
        make_node("explain", "stage", at(224, 208), name="Explain", badge="parallel · 4"),
        make_node("species", "notes", at(20, 48), parent="explain", name="Species notes"),
        make_node(
            "summary",
            "agent",
            at(256, 48),
            parent="explain",
            name="Write summary",
            subtitle="Agent · llama3",
        ),
        make_node("report", "output", at(728, 56), name="Report", subtitle="Output"),
    ]
    wires = [
        make_wire("w1", "field", "table", "clean", "rows"),
        make_wire("w2", "clean", "table", "group", "rows"),
        make_wire("w3", "group", "table", "report", "value"),
        make_wire("w4", "group", "table", "species", "rows"),
        make_wire("w5", "species", "notes", "summary", "prompt"),
        make_wire("w6", "summary", "text", "report", "value"),
    ]
    return {"nodes": nodes, "wires": wires}


def grid(count: int) -> Item:
    """A chain of `count` nodes laid out in a square."""
    side = max(1, math.isqrt(count))
    nodes = [
        make_node(f"n{index}", "sql", at(index % side * 240, index // side * 120), name=f"Query {index}")
        for index in range(count)
    ]
    wires = [make_wire(f"w{index}", f"n{index}", "table", f"n{index + 1}", "rows") for index in range(count - 1)]
    return {"nodes": nodes, "wires": wires}


def ports() -> Item:
    """A node with 60 inputs, one with few and a two-sided one."""
    many = [port(f"p{index}", "table", label=f"Column {index}") for index in range(60)]
    nodes = [
        make_node("source", "input", at(0, 0)),
        make_node("wide", "join", at(300, 0), name="Sixty inputs", inputs=many),
        make_node("join", "join", at(600, 0)),
        make_node(
            "quiet",
            "join",
            at(600, 240),
            problems=[{"severity": "error", "text": "Left is not connected."}],
        ),
    ]
    return {
        "nodes": nodes,
        "wires": [
            make_wire("w1", "source", "table", "wide", "p40"),
            make_wire("w2", "wide", "table", "join", "left"),
        ],
    }


def hostile() -> Item:
    """Labels which would break a careless page."""
    script = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
    odd = [
        port("a", "table", label=script, required=True),
        port("b", "table", label="عمود الأنواع"),
    ]
    nodes = [
        make_node(
            "long",
            "sql",
            at(0, 0),
            name="A very long name " * 12,
            subtitle="and a long subtitle " * 10,
            problems=[{"severity": "warning", "text": script}],
        ),
        make_node("rtl", "sql", at(240, 0), name="تجميع حسب الأنواع", subtitle="استعلام"),
        make_node("script", "join", at(480, 0), name=script, subtitle=script, inputs=odd),
        make_node("frame", "stage", at(0, 140), name=script, badge=script),
        make_node("emoji", "agent", at(760, 0), name="🐧 penguins", subtitle="a\nb"),
    ]
    return {
        "nodes": nodes,
        "wires": [{**make_wire("w1", "long", "table", "rtl", "rows"), "label": script}],
    }


DEMOS: dict[str, Callable[[], Item]] = {
    "drawing": drawing,
    "empty": lambda: {"nodes": [], "wires": []},
    "ports": ports,
    "hostile": hostile,
}
RUNNING: dict[str, Item] = {
    "field": {"state": "succeeded", "ms": 40, "detail": "344 rows"},
    "clean": {"state": "succeeded", "ms": 90, "detail": "11 rows dropped"},
    "group": {"state": "succeeded", "ms": 120, "detail": "3 rows · 5 cols"},
    "species": {"state": "cached", "detail": "3 documents"},
    "summary": {"state": "running", "progress": 0.62, "attempt": 2, "attempts": 3},
    "report": {"state": "queued", "detail": "waits for 1"},
}
FAILED: dict[str, Item] = {
    **RUNNING,
    "summary": {
        "state": "failed",
        "ms": 3870,
        "attempt": 3,
        "attempts": 3,
        "message": "The provider answered 429 each time. The breaker opened and will be tried again at 14:02:48.",
    },
    "report": {"state": "skipped"},
}
STATES = {"running": RUNNING, "failed": FAILED}


def argument(name: str) -> str:
    """A query argument of this page, or nothing."""
    values = (pn.state.session_args or {}).get(name, [b""])
    return values[0].decode()


def page() -> pn.viewable.Viewable:
    """The page of one session."""
    count = int(argument("n") or 0)
    owner = Owner(grid(count) if count else DEMOS[argument("demo") or "drawing"]())
    owner.editor.param.update(dark=bool(argument("dark")), read_only=bool(argument("read_only")))
    if argument("state"):
        owner.editor.set_status(STATES[argument("state")])
    return owner.editor


def serve(port_number: int) -> None:
    """Serve the page on the loopback until killed."""
    pn.extension()
    pn.serve({"app": page}, port=port_number, address="127.0.0.1", show=False, title="Flow editor")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
