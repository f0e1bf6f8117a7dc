/* What fits what: the hints while a wire is drawn. Python decides; these rules only spare a round trip. */
import { ancestors, endKey, findPort } from "./graph.js";

export function fits(types, from, to) {
  return from === to || from === "any" || to === "any" || Boolean(types[from]?.into?.includes(to));
}

/* All nodes that `start` feeds, itself included, following wires. */
function downstream(truth, start, forward) {
  const next = new Map();
  for (const wire of truth.wires.values()) {
    const [from, to] = forward ? [wire.source, wire.target] : [wire.target, wire.source];
    if (!next.has(from)) next.set(from, []);
    next.get(from).push(to);
  }
  const seen = new Set([start]);
  for (const id of seen) next.get(id)?.forEach((other) => seen.add(other));
  return seen;
}

const isTaken = (truth, node, port) =>
  [...truth.wires.values()].some((wire) => wire.target === node && wire.target_port === port);

/* Why this wire may not be, as a sentence; null when it may. */
export function whyNot(truth, types, { source, source_port, target, target_port }) {
  const from = findPort(truth, "source", source, source_port);
  const to = findPort(truth, "target", target, target_port);
  if (!from || !to) return "Connect an output to an input.";
  if (source === target) return "A node cannot feed itself.";
  if (!fits(types, from.type, to.type)) return `${from.label} gives ${from.type}, but ${to.label} takes ${to.type}.`;
  if (!to.many && isTaken(truth, target, target_port)) return `${to.label} already has a wire. Remove it first.`;
  if (downstream(truth, target, true).has(source)) {
    return `That would close a loop: ${truth.nodes.get(target).name} already feeds ${truth.nodes.get(source).name}.`;
  }
  return null;
}

export function whyNotDepend(truth, source, target) {
  if (source === target) return "A container cannot wait for itself.";
  if (ancestors(truth.nodes, source).includes(target) || ancestors(truth.nodes, target).includes(source)) {
    return "A container cannot wait for one it is part of.";
  }
  return null;
}

/* Every port the end being dragged may go to, as keys of `endKey`. */
export function allowedEnds(truth, types, { node, port, side }) {
  const own = findPort(truth, side, node, port);
  const other = side === "source" ? "target" : "source";
  const list = side === "source" ? "inputs" : "outputs";
  const barred = downstream(truth, node, side === "target");
  const taken = new Set([...truth.wires.values()].map((wire) => endKey("target", wire.target, wire.target_port)));
  const allowed = new Set();
  for (const [id, view] of truth.nodes) {
    if (!own || barred.has(id)) continue;
    for (const candidate of view[list]) {
      const pair = side === "source" ? [own.type, candidate.type] : [candidate.type, own.type];
      const key = endKey(other, id, candidate.id);
      const free = other === "source" || candidate.many || !taken.has(key);
      if (free && fits(types, ...pair)) allowed.add(key);
    }
  }
  return allowed;
}

/* The port by which a new node of this type would take the wire, best first; null when none fits. */
export function portFor(types, entry, side, type) {
  const ports = side === "source" ? entry.inputs : entry.outputs;
  const fitting = ports.filter((port) => (side === "source" ? fits(types, type, port.type) : fits(types, port.type, type)));
  return fitting.find((port) => port.type === type) ?? fitting[0] ?? null;
}

/* Wires that could be drawn from or to these nodes, for the list behind the C key. */
export function possibleWires(truth, types, node) {
  const view = truth.nodes.get(node);
  const found = [];
  for (const [side, list] of [["source", "outputs"], ["target", "inputs"]]) {
    for (const own of view?.[list] ?? []) {
      const free = side === "source" || own.many || !isTaken(truth, node, own.id);
      if (!free) continue;
      for (const key of allowedEnds(truth, types, { node, port: own.id, side })) {
        const [, other, port] = JSON.parse(key);
        found.push(describe(truth, side, { node, port: own }, { node: other, port }));
      }
    }
  }
  return found;
}

function describe(truth, side, own, other) {
  const theirs = findPort(truth, side === "source" ? "target" : "source", other.node, other.port);
  const name = truth.nodes.get(other.node).name;
  const wire =
    side === "source"
      ? { source: own.node, source_port: own.port.id, target: other.node, target_port: other.port }
      : { source: other.node, source_port: other.port, target: own.node, target_port: own.port.id };
  const label = side === "source" ? `${own.port.label} → ${name}` : `${name} → ${own.port.label}`;
  return { wire, label, hint: `${theirs.label} · ${theirs.type}`, view: truth.nodes.get(other.node) };
}
