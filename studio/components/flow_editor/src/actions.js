/* What a person can do: each gesture ends here, as an intent or as a change of the view. */
import { GRID, HEAD, NODE_WIDTH } from "./geometry.js";
import { boxOf, containerAt, middleOf } from "./boxes.js";
import { nodeSize, shownPorts } from "./geometry.js";
import { portFor, possibleWires } from "./connect.js";
import { entryItems } from "./items.js";
import { layoutItems } from "./layout.js";
import { withSelection } from "./flow_elements.js";

const NUDGE_SETTLES_MS = 180;
const whole = ({ x, y }) => ({ x: Math.round(x), y: Math.round(y) });

/* Where a new node goes: the container under the point, and the place within it. */
function placeAt(session, point) {
  const frame = containerAt(session.lookup, point);
  const origin = frame?.internals.positionAbsolute ?? { x: 0, y: 0 };
  return { parent: frame?.id ?? null, position: whole({ x: point.x - origin.x, y: point.y - origin.y }) };
}

/* A place near `point` where no node starts already, so that repeated adds do not stack. */
function freePlace(session, point) {
  const starts = [...session.lookup.values()].map((node) => node.internals.positionAbsolute);
  const taken = ({ x, y }) => starts.some((start) => Math.abs(start.x - x) < GRID && Math.abs(start.y - y) < GRID);
  let place = whole(point);
  while (taken(place)) place = { x: place.x + 3 * GRID, y: place.y + 3 * GRID };
  return place;
}

function addActions(session) {
  const add = (entry, point, link = null) => {
    session.send({ type: "add", node_type: entry.type, ...placeAt(session, point), link });
    session.store.setState({ picker: null });
    session.focusCanvas();
  };
  return {
    add,
    addAtCentre: (entry) => {
      const { x, y } = session.flow.screenToFlowPosition(session.centre);
      add(entry, freePlace(session, { x: x - NODE_WIDTH / 2, y: y - HEAD }));
    },
    /* Search for a node to add; `link` is the loose end of a wire which it is to take. */
    quickAdd: (client, link = null) => {
      const entries = link ? session.catalog.filter((entry) => portFor(session.types, entry, link.side, link.type)) : session.catalog;
      const point = session.flow.screenToFlowPosition(client);
      const onPick = ({ entry }) => {
        if (!link) return add(entry, point);
        const own = portFor(session.types, entry, link.side, link.type);
        const left = link.side === "source" ? point.x : point.x - NODE_WIDTH;
        const end = { node: link.node, port: link.port, side: link.side, own_port: own.id };
        return add(entry, { x: left, y: point.y - HEAD / 2 }, end);
      };
      session.store.setState({
        picker: {
          at: session.local(client), items: entryItems(entries), onPick, title: "Add a node",
          placeholder: link ? `Add a node for this ${link.type}` : "Add a node",
          empty: link ? "Nothing in the catalog fits this wire." : "No node has that name.",
        },
      });
    },
  };
}

function wireActions(session) {
  const pick = (at, title, wires) =>
    session.store.setState({
      picker: {
        at, title, placeholder: title, empty: "Nothing here fits.",
        items: wires.map(({ wire, label, hint, view }, index) => ({
          key: String(index), label, hint, icon: view.icon, kind: view.kind, search: `${label} ${hint}`, wire,
        })),
        onPick: ({ wire }) => {
          session.send({ type: "connect", ...wire });
          session.store.setState({ picker: null });
          session.focusCanvas();
        },
      },
    });
  return {
    connect: (wire) => session.send({ type: "connect", ...wire }),
    depend: (source, target) => session.send({ type: "depend", source, target }),
    chooseWire: pick,
    /* The keyboard's way of drawing a wire: choose from what fits the selected node. */
    connectSelected: () => {
      const [id, ...others] = session.selectedNodes;
      if (!id || others.length) return;
      const box = boxOf(session.lookup, id);
      const client = session.flow.flowToScreenPosition({ x: box.right + 12, y: box.top });
      pick(session.local(client), "Connect to", possibleWires(session.truth, session.types, id));
    },
  };
}

function changeActions(session) {
  let settling = null;
  const settle = (ids) => {
    settling = null;
    const moved = session.nodes.filter((node) => ids.includes(node.id));
    session.send({ type: "move", items: moved.map((node) => ({ id: node.id, position: whole(node.position) })) });
  };
  return {
    remove: ({ nodes, wires }) => {
      if (nodes.length + wires.length === 0) return;
      session.send({ type: "remove", nodes, wires });
      session.focusCanvas();
    },
    removeSelected: () => session.actions.remove({ nodes: session.selectedNodes, wires: session.selectedWires }),
    move: (items) => session.send({ type: "move", items }),
    resize: (id, box) =>
      session.send({ type: "resize", id, width: Math.round(box.width), height: Math.round(box.height), position: whole(box) }),
    collapse: (id, collapsed) => session.send({ type: "collapse", id, collapsed }),
    /* Held keys are one move: it is sent when they have come to rest. */
    nudge: (dx, dy) => {
      const ids = topmost(session, session.selectedNodes);
      if (!ids.length) return;
      const shift = ({ x, y }) => ({ x: x + dx * GRID, y: y + dy * GRID });
      session.setNodes((nodes) => nodes.map((node) => (ids.includes(node.id) ? { ...node, position: shift(node.position) } : node)));
      clearTimeout(settling);
      settling = setTimeout(settle, NUDGE_SETTLES_MS, ids);
    },
    duplicate: (ids) => ids.length && session.send({ type: "duplicate", ids, offset: 3 * GRID }),
    copy: (ids) => {
      if (!ids.length) return;
      session.copying = true;
      session.send({ type: "copy", ids });
    },
    /* A paste that overtakes its copy waits for it. */
    paste: (text) => {
      session.pasteWhenCopied = session.copying;
      if (session.copying) return;
      const client = session.pointerClient ?? session.centre;
      if (text) session.send({ type: "paste", text, position: whole(session.flow.screenToFlowPosition(client)) });
    },
    startRename: (id) => session.store.setState({ renaming: id, menu: null }),
    cancelRename: () => {
      session.store.setState({ renaming: null });
      session.focusCanvas();
    },
    finishRename: (id, name, before) => {
      if (session.store.getState().renaming !== id) return;
      session.store.setState({ renaming: null });
      const trimmed = name.trim();
      if (trimmed && trimmed !== before) session.send({ type: "rename", id, name: trimmed });
      session.focusCanvas();
    },
  };
}

/* Those of `ids` which are not inside another of them: a parent carries its children along. */
function topmost(session, ids) {
  const chosen = new Set(ids);
  const parent = (id) => session.truth.nodes.get(id)?.parent;
  return ids.filter((id) => {
    for (let at = parent(id); at; at = parent(at)) if (chosen.has(at)) return false;
    return true;
  });
}

/* Whether a node is already where the layout puts it, and as large: then Python would have nothing to answer. */
function isPlaced(truth, { id, position, ...size }) {
  const view = truth.nodes.get(id);
  const same = view.position.x === position.x && view.position.y === position.y;
  return same && Object.entries(size).every(([name, value]) => view[name] === value);
}

function viewActions(session) {
  const fit = () => session.flow.fitView({ duration: 140, padding: 0.12, maxZoom: 1, minZoom: 0.1 });
  const sizeOf = (id) => {
    const box = boxOf(session.lookup, id);
    if (box) return { width: box.right - box.left, height: box.bottom - box.top };
    const view = session.truth.nodes.get(id);
    return nodeSize(shownPorts(view.inputs, view.outputs, () => false, false));
  };
  return {
    fit,
    zoom: (factor) => session.flow.zoomTo(session.flow.getZoom() * factor, { duration: 100 }),
    layout: () => {
      const items = layoutItems(session.truth, session.structure, sizeOf);
      if (!items.length) return;
      if (items.every((item) => isPlaced(session.truth, item))) return fit();
      session.fitAfterPatch = fit;
      session.send({ type: "layout", items });
    },
    toggleMinimap: () => session.store.setState(({ minimap }) => ({ minimap: !minimap })),
    toggleFold: (id) => {
      const unfolded = new Set(session.store.getState().unfolded);
      if (!unfolded.delete(id)) unfolded.add(id);
      session.store.setState({ unfolded });
      session.refresh();
    },
    selectAll: () => session.setNodes((nodes) => withSelection(nodes, new Set(nodes.filter((node) => !node.hidden).map((node) => node.id)))),
    selectOnly: (ids) => {
      session.setNodes((nodes) => withSelection(nodes, new Set(ids)));
      session.setEdges((edges) => withSelection(edges, new Set()));
    },
    /* Select the nearest node in a direction, from the selected one or the middle of the canvas. */
    selectTowards: (dx, dy) => {
      const [current] = session.selectedNodes;
      const start = current ? middleOf(session.lookup.get(current)) : session.flow.screenToFlowPosition(session.centre);
      const ranked = [...session.lookup.values()]
        .filter((node) => !node.hidden && node.id !== current)
        .map((node) => ({ node, cost: distanceTowards(start, middleOf(node), dx, dy) }))
        .filter(({ cost }) => cost < Infinity)
        .sort((a, b) => a.cost - b.cost);
      const next = ranked[0]?.node;
      if (!next) return;
      session.actions.selectOnly([next.id]);
      session.announce(next.ariaLabel);
    },
  };
}

/* Off the axis counts double; behind counts as never. */
function distanceTowards(start, end, dx, dy) {
  const [x, y] = [end.x - start.x, end.y - start.y];
  const along = dx * x + dy * y;
  return along <= 1 ? Infinity : along + 2 * Math.abs(dx ? y : x);
}

export function createActions(session) {
  const say = (type) => () => session.send({ type });
  return {
    ...addActions(session),
    ...wireActions(session),
    ...changeActions(session),
    ...viewActions(session),
    undo: say("undo"),
    redo: say("redo"),
    save: say("save"),
    run: say("run"),
    runTo: (id) => session.send({ type: "run_to", id }),
    open: (id) => session.send({ type: "open", id }),
    closeOverlays: () => session.store.setState({ picker: null, menu: null, refusal: null }),
  };
}
