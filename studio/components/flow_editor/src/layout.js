/* Automatic layout, left to right; a container is laid out first and then placed whole. */
import dagre from "@dagrejs/dagre";
import { FRAME_HEAD, FRAME_PADDING, GRID, NODE_WIDTH } from "./geometry.js";

const FAILURE_LINE = 8; // what a failed node's one line of message needs below it
const snap = (value) => Math.round(value / GRID) * GRID;
const SPACING = { rankdir: "LR", nodesep: 32, ranksep: 48, marginx: 0, marginy: 0 };

export function layoutItems(truth, structure, sizeOf) {
  const visible = structure.order.filter((id) => !structure.hiding.has(id)).map((id) => truth.nodes.get(id));
  const children = Map.groupBy(visible, (view) => (truth.nodes.has(view.parent) ? view.parent : ""));
  const items = [];
  arrange("", { truth, structure, sizeOf, children, items });
  return items;
}

/* The ancestor of `id` (or itself) that sits directly in `level`. */
function atLevel(truth, id, level) {
  for (let view = truth.nodes.get(id); view; view = truth.nodes.get(view.parent)) {
    if ((truth.nodes.has(view.parent) ? view.parent : "") === level) return view.id;
  }
  return null;
}

function arrange(level, context) {
  const { truth, structure, sizeOf, children, items } = context;
  const graph = new dagre.graphlib.Graph({ multigraph: false }).setGraph(SPACING).setDefaultEdgeLabel(() => ({}));
  const members = children.get(level) ?? [];
  const sizes = new Map();
  for (const view of members) {
    const inner = view.container && !view.collapsed && children.get(view.id);
    const size = inner ? arrange(view.id, context) : sizeOf(view.id);
    sizes.set(view.id, size);
    graph.setNode(view.id, { ...size });
  }
  for (const shown of structure.wires) {
    const [from, to] = [atLevel(truth, shown.source, level), atLevel(truth, shown.target, level)];
    if (from && to && from !== to) graph.setEdge(from, to);
  }
  dagre.layout(graph);
  const offset = level ? { x: FRAME_PADDING, y: FRAME_HEAD + 8 } : { x: 0, y: 0 };
  let [width, height] = [0, 0];
  for (const view of members) {
    const [place, size] = [graph.node(view.id), sizes.get(view.id)];
    const position = { x: snap(place.x - size.width / 2 + offset.x), y: snap(place.y - size.height / 2 + offset.y) };
    width = Math.max(width, position.x + size.width);
    height = Math.max(height, position.y + size.height);
    items.push({ id: view.id, position, ...(view.container && !view.collapsed ? size : {}) });
  }
  return { width: Math.max(NODE_WIDTH, width) + FRAME_PADDING, height: Math.max(96, height + FRAME_PADDING + FAILURE_LINE) };
}
