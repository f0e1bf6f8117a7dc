/* The pointer's longer gestures: drawing a wire, dragging nodes, dropping from the palette. */
import { allowedEnds, whyNot, whyNotDepend } from "./connect.js";
import { findPort, realEnd } from "./graph.js";
import { containerAt, middleOf } from "./boxes.js";
import { showRefusal } from "./messages.js";

const pointOf = (event) => {
  const { clientX, clientY } = event.changedTouches?.[0] ?? event;
  return { x: clientX, y: clientY };
};

const isOrder = (handle) => handle === "before" || handle === "after";

/* Both ends of what React Flow calls a connection, in the graph's own terms. */
function wireOf(session, { source, sourceHandle, target, targetHandle }) {
  const from = realEnd(session.structure, source, sourceHandle);
  const to = realEnd(session.structure, target, targetHandle);
  return { source: from.node, source_port: from.port, target: to.node, target_port: to.port };
}

function refusalOf(session, connection) {
  const orders = [connection.sourceHandle, connection.targetHandle].filter(isOrder).length;
  if (orders === 1) return "Connect the order of a container to another container.";
  if (orders === 2) return whyNotDepend(session.truth, connection.source, connection.target);
  return whyNot(session.truth, session.types, wireOf(session, connection));
}

/* The card under a point of the window; frames let the pointer through, so they are never it. */
function cardAt(session, { x, y }) {
  const element = session.root.getRootNode().elementFromPoint(x, y);
  return element?.closest(".react-flow__node")?.dataset.id ?? null;
}

/* Both ends of a wire whose other end was dropped on a card's body rather than on a port. */
function wiresInto(session, from, card, allowed) {
  const other = from.side === "source" ? "target" : "source";
  return [...allowed]
    .map((key) => JSON.parse(key))
    .filter(([side, node]) => side === other && node === card)
    .map(([side, node, id]) => {
      const port = findPort(session.truth, side, node, id);
      const [source, target] = from.side === "source" ? [from, { node, port: id }] : [{ node, port: id }, from];
      const wire = { source: source.node, source_port: source.port, target: target.node, target_port: target.port };
      return { wire, label: port.label, hint: port.type, view: session.truth.nodes.get(node) };
    });
}

function dropOnCard(session, from, card, { allowed, client }) {
  const wires = wiresInto(session, from, card, allowed);
  const { name } = session.truth.nodes.get(card);
  const local = session.local(client);
  if (wires.length === 1) session.actions.connect(wires[0].wire);
  else if (wires.length) session.actions.chooseWire(local, `Connect to ${name}`, wires);
  else showRefusal(session, `Nothing free on ${name} ${from.side === "source" ? "takes" : "gives"} ${from.type}.`, local);
}

function dropOrder(session, from, client) {
  const frame = containerAt(session.lookup, session.flow.screenToFlowPosition(client), from.node);
  if (!frame) return;
  const [source, target] = from.side === "source" ? [from.node, frame.id] : [frame.id, from.node];
  const reason = whyNotDepend(session.truth, source, target);
  if (reason) showRefusal(session, reason, session.local(client));
  else session.actions.depend(source, target);
}

function dropOnHandle(session, { fromHandle, toHandle }, client) {
  if (fromHandle.nodeId === toHandle.nodeId && fromHandle.id === toHandle.id) return;
  const [source, target] = fromHandle.type === "source" ? [fromHandle, toHandle] : [toHandle, fromHandle];
  const connection = { source: source.nodeId, sourceHandle: source.id, target: target.nodeId, targetHandle: target.id };
  const same = fromHandle.type === toHandle.type;
  const reason = same ? "Connect an output to an input." : refusalOf(session, connection);
  if (reason) showRefusal(session, reason, session.local(client));
}

export function wireGestures(session) {
  return {
    isValidConnection: (connection) => refusalOf(session, connection) === null,
    onConnectStart: (_, { nodeId, handleId, handleType }) => {
      const dependency = isOrder(handleId) && session.truth.nodes.get(nodeId)?.container;
      const end = realEnd(session.structure, nodeId, handleId);
      const type = findPort(session.truth, handleType, end.node, end.port)?.type;
      const from = { ...end, side: handleType, type, dependency };
      const allowed = dependency ? new Set() : allowedEnds(session.truth, session.types, from);
      session.store.setState({ connecting: { from, allowed }, refusal: null, picker: null });
    },
    onConnect: (connection) => {
      if (isOrder(connection.sourceHandle)) session.actions.depend(connection.source, connection.target);
      else session.actions.connect(wireOf(session, connection));
    },
    onConnectEnd: (event, state) => {
      const { connecting } = session.store.getState();
      session.store.setState({ connecting: null });
      if (!connecting || state.isValid) return;
      const client = pointOf(event);
      session.pointer = session.local(client);
      const { from, allowed } = connecting;
      const card = cardAt(session, client);
      if (state.toHandle) dropOnHandle(session, state, client);
      else if (from.dependency) dropOrder(session, from, client);
      else if (card && card !== from.node) dropOnCard(session, from, card, { allowed, client });
      else if (!card) session.actions.quickAdd(client, from);
    },
  };
}

/* One dragged node as an item of the `move` intent, with its new parent when that has changed. */
function moved(session, node) {
  const internal = session.lookup.get(node.id);
  const position = { x: Math.round(node.position.x), y: Math.round(node.position.y) };
  const frame = containerAt(session.lookup, middleOf(internal), node.id);
  if ((frame?.id ?? null) === (node.parentId ?? null)) return { id: node.id, position };
  const origin = frame?.internals.positionAbsolute ?? { x: 0, y: 0 };
  const place = internal.internals.positionAbsolute;
  return {
    id: node.id,
    position: { x: Math.round(place.x - origin.x), y: Math.round(place.y - origin.y) },
    parent: frame?.id ?? null,
  };
}

export function dragGestures(session) {
  const target = (id) => {
    if (session.store.getState().dropTarget !== id) session.store.setState({ dropTarget: id });
  };
  return {
    onNodeDrag: (_, node) => {
      const frame = containerAt(session.lookup, middleOf(session.lookup.get(node.id)), node.id);
      target(frame && frame.id !== node.parentId ? frame.id : null);
    },
    onNodeDragStop: (_, node, nodes) => {
      target(null);
      const before = (id) => session.truth.nodes.get(id)?.position;
      const items = nodes.map((each) => moved(session, each));
      const changed = items.filter((item) => item.position.x !== before(item.id)?.x || item.position.y !== before(item.id)?.y);
      if (changed.length) session.actions.move(changed);
      session.focusCanvas();
    },
  };
}

const DRAG_STARTS_PX = 4;

/* Drag an entry of the palette with a ghost under the pointer; a click without a drag is not ours. */
export function startPaletteDrag(session, entry, down) {
  const start = pointOf(down);
  let dragging = false;
  const overCanvas = ({ x, y }) => session.root.getRootNode().elementFromPoint(x, y)?.closest(".fe-canvas");
  const target = (client) => {
    const frame = overCanvas(client) ? containerAt(session.lookup, session.flow.screenToFlowPosition(client)) : null;
    return frame?.id ?? null;
  };
  const move = (event) => {
    const client = pointOf(event);
    dragging ||= Math.hypot(client.x - start.x, client.y - start.y) > DRAG_STARTS_PX;
    if (dragging) session.store.setState({ ghost: { entry, ...session.local(client) }, dropTarget: target(client) });
  };
  const end = (event) => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", end);
    window.removeEventListener("pointercancel", end);
    window.removeEventListener("keydown", cancel, true);
    session.store.setState({ ghost: null, dropTarget: null });
    const client = pointOf(event);
    if (!dragging || event.type !== "pointerup" || !overCanvas(client)) return;
    const point = session.flow.screenToFlowPosition(client);
    session.actions.add(entry, { x: point.x - 24, y: point.y - 24 });
  };
  const cancel = (event) => {
    if (event.key === "Escape") end({ type: "cancel", clientX: 0, clientY: 0 });
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", end);
  window.addEventListener("pointercancel", end);
  window.addEventListener("keydown", cancel, true);
}
