/* Sizes of what is drawn, in canvas pixels. Known before anything is measured, so that 1,000 nodes
   need not be mounted to place their wires. React Flow takes our word for the handles: node.css must agree. */
export const GRID = 8;
export const HEAD = 46;
export const ROW = 22;
export const FOOT = 32;
export const FRAME_HEAD = 40;
export const FRAME_PADDING = 20;
export const NODE_WIDTH = 176;
export const WIDE_NODE_WIDTH = 224;
export const FOLD_AT = 10;
const ROWS_PADDING = 6;
const PORT = 12;

export const hasRows = (ports) => ports.inputs.length > 1 || ports.outputs.length > 1 || ports.folded > 0;

/* `wide` for a collapsed container, whose foot has more to say. */
export function nodeSize(ports, wide = false) {
  if (!hasRows(ports)) return { width: wide ? WIDE_NODE_WIDTH : NODE_WIDTH, height: HEAD + FOOT };
  const rows = Math.max(ports.inputs.length, ports.outputs.length) + (ports.folded || ports.unfolded ? 1 : 0);
  return { width: WIDE_NODE_WIDTH, height: HEAD + rows * ROW + 2 * ROWS_PADDING + FOOT };
}

/* Height of a port's middle below its node's top. */
export const portY = (rows, index) => (rows ? HEAD + ROWS_PADDING + index * ROW + ROW / 2 : HEAD / 2);

function handle(port, type, x, y) {
  const position = type === "target" ? "left" : "right";
  return { id: port.id, type, position, x: x - PORT / 2, y: y - PORT / 2, width: PORT, height: PORT };
}

export function handlesOf(ports, size) {
  const rows = hasRows(ports);
  return [
    ...ports.inputs.map((port, index) => handle(port, "target", 0, portY(rows, index))),
    ...ports.outputs.map((port, index) => handle(port, "source", size.width, portY(rows, index))),
  ];
}

export function frameSize(view) {
  return { width: view.width ?? 320, height: view.height ?? 180 };
}

/* The handles of an expanded container: its own ports down its sides, and those for the order. */
export function frameHandles(view, size) {
  const own = [
    ...view.inputs.map((port, index) => handle(port, "target", 0, framePortY(index))),
    ...view.outputs.map((port, index) => handle(port, "source", size.width, framePortY(index))),
  ];
  return [...own, ...orderHandles(size, FRAME_HEAD / 2)];
}

export const framePortY = (index) => FRAME_HEAD + index * ROW + ROW / 2;

/* In a frame's header, or in the foot of a collapsed one, whose header has ports. */
export function orderHandles(size, y) {
  return [
    handle({ id: "after" }, "target", 0, y),
    handle({ id: "before" }, "source", size.width, y),
  ];
}

/* Which ports a node shows: all of a few, else the first and every connected one. */
export function shownPorts(inputs, outputs, isConnected, unfolded) {
  const show = (ports, side) =>
    unfolded || ports.length <= FOLD_AT
      ? ports
      : ports.filter((port, index) => index < FOLD_AT - 2 || isConnected(side, port.id));
  const shown = { inputs: show(inputs, "target"), outputs: show(outputs, "source") };
  const folded = inputs.length + outputs.length - shown.inputs.length - shown.outputs.length;
  const foldable = inputs.length > FOLD_AT || outputs.length > FOLD_AT;
  return { ...shown, folded, unfolded: Boolean(unfolded) && foldable };
}
