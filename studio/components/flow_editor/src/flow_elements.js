/* From the graph to React Flow's nodes and edges. An element that did not change keeps its identity,
   so that a patch to one node renders one node. */
import { FOOT, frameHandles, frameSize, handlesOf, nodeSize, orderHandles, shownPorts } from "./geometry.js";
import { endKey } from "./graph.js";

const NONE = [];

function portsOf(view, { structure, unfolded }) {
  const proxies = view.container && view.collapsed ? structure.proxies.get(view.id) : null;
  const inputs = proxies ? [...view.inputs, ...proxies.inputs] : view.inputs;
  const outputs = proxies ? [...view.outputs, ...proxies.outputs] : view.outputs;
  const isConnected = (side, port) => proxies !== null || structure.connected.has(endKey(side, view.id, port));
  return shownPorts(inputs, outputs, isConnected, unfolded.has(view.id));
}

/* What a node shows beyond its own view. For most that is little, and comparing it must be cheap. */
function signature(view, ports, leaves, hidden) {
  const shows = view.container || ports.folded || ports.unfolded ? JSON.stringify([ports, leaves]) : "";
  return `${hidden}${shows}`;
}

function dimensions(view, ports) {
  if (view.container && !view.collapsed) {
    const size = frameSize(view);
    return { ...size, handles: frameHandles(view, size), style: { pointerEvents: "none" }, dragHandle: ".fe-frame__head" };
  }
  const size = nodeSize(ports, view.container);
  const handles = handlesOf(ports, size);
  const all = view.container ? [...handles, ...orderHandles(size, size.height - FOOT / 2)] : handles;
  return { initialWidth: size.width, initialHeight: size.height, handles: all };
}

function flowNode(view, previous, context) {
  const { structure, nodes } = context;
  const ports = portsOf(view, context);
  const leaves = structure.leaves.get(view.id) ?? NONE;
  const hidden = structure.hiding.has(view.id);
  const mark = signature(view, ports, leaves, hidden);
  if (previous?.data.view === view && previous.data.mark === mark) return previous;
  return {
    id: view.id,
    type: view.container ? "container" : "step",
    position: view.position,
    parentId: nodes.has(view.parent) ? view.parent : undefined,
    hidden,
    selected: previous?.selected ?? false,
    measured: previous?.data.view.collapsed === view.collapsed ? previous?.measured : undefined,
    ariaLabel: [view.name, view.subtitle].filter(Boolean).join(", "),
    data: { view, ports, leaves, mark },
    ...dimensions(view, ports),
  };
}

export function flowNodes(current, { truth, structure, unfolded }) {
  const previous = new Map(current.map((node) => [node.id, node]));
  const context = { structure, unfolded, nodes: truth.nodes };
  return structure.order.map((id) => flowNode(truth.nodes.get(id), previous.get(id), context));
}

function flowEdge(shown, previous, truth) {
  const { wire, source, target, sourceHandle, targetHandle } = shown;
  const known = previous?.data.wire === wire && previous.source === source && previous.target === target;
  if (known) return previous;
  const [from, to] = [truth.nodes.get(wire.source).name, truth.nodes.get(wire.target).name];
  return {
    id: wire.id,
    type: "wire",
    source,
    target,
    sourceHandle,
    targetHandle,
    selected: previous?.selected ?? false,
    ariaLabel: wire.kind === "dependency" ? `${from} runs before ${to}` : `Wire from ${from} to ${to}`,
    data: { wire, from: wire.source },
  };
}

export function flowEdges(current, { truth, structure }) {
  const previous = new Map(current.map((edge) => [edge.id, edge]));
  return structure.wires.map((shown) => flowEdge(shown, previous.get(shown.wire.id), truth));
}

/* The same elements with exactly these selected. */
export function withSelection(elements, ids) {
  return elements.map((item) => (Boolean(item.selected) === ids.has(item.id) ? item : { ...item, selected: ids.has(item.id) }));
}
