/* What Python says, and what the view does about it. */
import { EMPTY, applyPatch, fromSnapshot } from "./graph.js";
import { withSelection } from "./flow_elements.js";
import { plural, wordOf } from "./format.js";

const SPOKEN_STATES = new Set(["succeeded", "cached", "failed", "waiting", "cancelled"]);
const SPEAK_AFTER_MS = 600;
let keys = 0;

/* One sentence about a patch, for the live region. */
function describePatch(truth, patch) {
  const added = (patch.nodes ?? []).filter((node) => !truth.nodes.has(node.id)).map((node) => node.name);
  const wires = (patch.wires ?? []).filter((wire) => !truth.wires.has(wire.id));
  const gone = (patch.removed_nodes ?? []).filter((id) => truth.nodes.has(id)).map((id) => truth.nodes.get(id).name);
  const cut = patch.removed_wires?.length ?? 0;
  const name = (id) => truth.nodes.get(id)?.name ?? patch.nodes?.find((node) => node.id === id)?.name ?? "node";
  const parts = [];
  if (added.length) parts.push(`Added ${added.length > 3 ? plural(added.length, "node") : added.join(", ")}.`);
  if (wires.length === 1) parts.push(`Connected ${name(wires[0].source)} to ${name(wires[0].target)}.`);
  if (wires.length > 1) parts.push(`Connected ${plural(wires.length, "wire")}.`);
  if (gone.length) parts.push(`Removed ${gone.length > 3 ? plural(gone.length, "node") : gone.join(", ")}.`);
  else if (cut) parts.push(`Removed ${plural(cut, "wire")}.`);
  return parts.join(" ");
}

export function showRefusal(session, text, at) {
  session.store.setState({ refusal: { text, ...at, key: (keys += 1) } });
  session.announce(text);
}

export function showToast(session, text, kind) {
  session.store.setState({ toast: { text, kind, key: (keys += 1) } });
  session.announce(text);
}

function select(session, ids) {
  const wanted = new Set(ids);
  session.setNodes((nodes) => withSelection(nodes, wanted));
  session.setEdges((edges) => withSelection(edges, new Set()));
}

function focus(session, ids) {
  const nodes = ids.filter((id) => session.truth.nodes.has(id)).map((id) => ({ id }));
  if (nodes.length) session.flow.fitView({ nodes, duration: 140, padding: 0.4, minZoom: 0.7, maxZoom: 1.2 });
}

function takeClipboard(session, text) {
  session.clipboard = text;
  // Refused outside secure pages; the view's own copy still serves this tab.
  navigator.clipboard?.writeText(text).catch(() => {});
  session.copying = false;
  if (session.pasteWhenCopied) session.actions.paste(text);
}

const HANDLERS = {
  hello: () => {},
  snapshot: (session, { graph }) => session.adopt(fromSnapshot(graph)),
  patch: (session, patch) => {
    session.announce(describePatch(session.truth, patch));
    session.adopt(applyPatch(session.truth, patch));
    const { fitAfterPatch } = session;
    session.fitAfterPatch = null;
    // One frame for React, one for React Flow: then the new places are known.
    if (fitAfterPatch) requestAnimationFrame(() => requestAnimationFrame(fitAfterPatch));
  },
  status: (session, { s }) => session.status.apply(s),
  status_clear: (session) => session.status.clear(),
  refused: (session, { text, x, y }) => showRefusal(session, text, x == null ? session.pointer : { x, y }),
  toast: (session, { text, kind }) => showToast(session, text, kind),
  select: (session, { ids }) => select(session, ids),
  focus: (session, { ids }) => focus(session, ids),
  clipboard: (session, { text }) => takeClipboard(session, text),
};

export function receive(session, message) {
  HANDLERS[message.type]?.(session, message);
}

/* State changes are said in one breath: a run of many nodes would otherwise drown the reader. */
export function speakStates(session) {
  const changed = new Map();
  let timer = null;
  const speak = () => {
    timer = null;
    const names = [...changed].map(([id, state]) => `${session.truth.nodes.get(id)?.name ?? id} ${wordOf(state)}`);
    const rest = names.length > 4 ? ` and ${plural(names.length - 4, "more node")}` : "";
    changed.clear();
    session.announce(`${names.slice(0, 4).join(", ")}${rest}.`);
  };
  const stop = session.status.watch((changes, before) => {
    for (const [id, entry] of Object.entries(changes)) {
      if (entry && SPOKEN_STATES.has(entry.state) && before.get(id)?.state !== entry.state) changed.set(id, entry.state);
    }
    if (changed.size && timer === null) timer = setTimeout(speak, SPEAK_AFTER_MS);
  });
  return () => {
    stop();
    clearTimeout(timer);
  };
}

export const firstGraph = (graph) => (graph?.nodes ? fromSnapshot(graph) : EMPTY);
