/* The graph as Python told it, and what of it is shown: pure functions. */

export const EMPTY = { revision: -1, nodes: new Map(), wires: new Map() };
const byId = (items) => new Map((items ?? []).map((item) => [item.id, item]));

export function fromSnapshot(graph) {
  return { revision: graph?.revision ?? -1, nodes: byId(graph?.nodes), wires: byId(graph?.wires) };
}

export function applyPatch(truth, patch) {
  const nodes = new Map(truth.nodes);
  const wires = new Map(truth.wires);
  patch.removed_wires?.forEach((id) => wires.delete(id));
  patch.removed_nodes?.forEach((id) => nodes.delete(id));
  patch.nodes?.forEach((node) => nodes.set(node.id, node));
  patch.wires?.forEach((wire) => wires.set(wire.id, wire));
  return { revision: patch.revision ?? truth.revision, nodes, wires };
}

const parentOf = (nodes, id) => {
  const parent = nodes.get(id)?.parent;
  return parent && nodes.has(parent) ? parent : null;
};

/* Ids from the node's parent outwards; a cycle of parents ends the walk. */
export function ancestors(nodes, id) {
  const found = [];
  for (let at = parentOf(nodes, id); at && !found.includes(at) && at !== id; at = parentOf(nodes, at)) found.push(at);
  return found;
}

function parentsFirst(nodes) {
  const order = [];
  const seen = new Set();
  const visit = (id) => {
    if (seen.has(id)) return;
    seen.add(id);
    const parent = parentOf(nodes, id);
    if (parent) visit(parent);
    order.push(id);
  };
  [...nodes.keys()].forEach(visit);
  return order;
}

/* For each node inside a collapsed container: the outermost such container. */
function hidingContainers(nodes, order) {
  const hiding = new Map();
  for (const id of order) {
    const parent = parentOf(nodes, id);
    if (!parent) continue;
    const by = hiding.get(parent) ?? (nodes.get(parent).collapsed ? parent : null);
    if (by) hiding.set(id, by);
  }
  return hiding;
}

function leavesOf(nodes) {
  const leaves = new Map();
  for (const [id, node] of nodes) {
    if (node.container) continue;
    for (const above of ancestors(nodes, id)) {
      if (!leaves.has(above)) leaves.set(above, []);
      leaves.get(above).push(id);
    }
  }
  return leaves;
}

export const endKey = (side, node, port) => JSON.stringify([side, node, port]);

/* One end of a wire as shown: at its node, or at a proxy port of the container which hides it. */
function shownEnd(context, side, id, port) {
  const container = context.hiding.get(id);
  if (!container) return { node: id, handle: port };
  const proxy = `${id}/${port}`;
  const list = side === "source" ? "outputs" : "inputs";
  const original = context.nodes.get(id)?.[list].find((candidate) => candidate.id === port);
  const proxies = context.proxies.get(container) ?? { inputs: [], outputs: [] };
  if (original && !proxies[list].some((known) => known.id === proxy)) {
    const label = `${context.nodes.get(id).name} · ${original.label}`;
    proxies[list].push({ ...original, id: proxy, label, of: { node: id, port } });
  }
  context.proxies.set(container, proxies);
  return { node: container, handle: proxy };
}

function shownWires(context, wires) {
  const shown = [];
  for (const wire of wires.values()) {
    if (!context.nodes.has(wire.source) || !context.nodes.has(wire.target)) continue;
    if (wire.kind === "dependency") {
      const source = context.hiding.get(wire.source) ?? wire.source;
      const target = context.hiding.get(wire.target) ?? wire.target;
      if (source !== target) shown.push({ wire, source, target, sourceHandle: "before", targetHandle: "after" });
      continue;
    }
    const from = context.hiding.get(wire.source);
    if (from && from === context.hiding.get(wire.target)) continue;
    const source = shownEnd(context, "source", wire.source, wire.source_port);
    const target = shownEnd(context, "target", wire.target, wire.target_port);
    const ends = { source: source.node, sourceHandle: source.handle, target: target.node, targetHandle: target.handle };
    shown.push({ wire, ...ends });
  }
  return shown;
}

/* Everything derived from the graph alone; computed once per change of it, not per drag. */
export function structureOf(truth) {
  const { nodes, wires } = truth;
  const order = parentsFirst(nodes);
  const context = { nodes, hiding: hidingContainers(nodes, order), proxies: new Map() };
  const shown = shownWires(context, wires);
  const connected = new Set();
  for (const wire of wires.values()) {
    connected.add(endKey("source", wire.source, wire.source_port));
    connected.add(endKey("target", wire.target, wire.target_port));
  }
  return { order, hiding: context.hiding, proxies: context.proxies, leaves: leavesOf(nodes), wires: shown, connected };
}

/* The real node and port behind a handle, which may be a proxy. */
export function realEnd(structure, node, handle) {
  const proxies = structure.proxies.get(node);
  const proxy = proxies && [...proxies.inputs, ...proxies.outputs].find((port) => port.id === handle);
  return proxy ? proxy.of : { node, port: handle };
}

export function findPort(truth, side, node, port) {
  return truth.nodes.get(node)?.[side === "source" ? "outputs" : "inputs"].find((item) => item.id === port);
}
