/* The keyboard, as a table from key to action. */

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const READING = new Set(["selectAll", "copy", "fit", "zoomIn", "zoomOut", "escape", "towards", "minimap"]);

/* "mod+shift+z": mod is Ctrl, or Command on a Mac. */
function chord(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("mod");
  if (event.altKey) parts.push("alt");
  if (event.shiftKey) parts.push("shift");
  return [...parts, event.key.length === 1 ? event.key.toLowerCase() : event.key].join("+");
}

const CHORDS = {
  "mod+z": "undo", "mod+shift+z": "redo", "mod+y": "redo", "mod+c": "copy", "mod+x": "cut", "mod+d": "duplicate",
  "mod+a": "selectAll", "mod+s": "save", "mod+Enter": "run", Delete: "remove", Backspace: "remove", Tab: "quickAdd",
  Enter: "rename", F2: "rename", c: "connect", f: "fit", m: "minimap", "+": "zoomIn", "=": "zoomIn", "-": "zoomOut",
  "shift++": "zoomIn", Escape: "escape",
};

const COMMANDS = {
  // The owner knows whether there is anything to undo; our names of it may be a message behind.
  undo: ({ actions }) => actions.undo(),
  redo: ({ actions }) => actions.redo(),
  copy: ({ actions, selectedNodes }) => actions.copy(selectedNodes),
  cut: ({ actions, selectedNodes }) => {
    actions.copy(selectedNodes);
    actions.removeSelected();
  },
  duplicate: ({ actions, selectedNodes }) => actions.duplicate(selectedNodes),
  selectAll: ({ actions }) => actions.selectAll(),
  save: ({ actions }) => actions.save(),
  run: ({ actions }) => actions.run(),
  remove: ({ actions }) => actions.removeSelected(),
  quickAdd: ({ actions, pointerClient, centre }) => actions.quickAdd(pointerClient ?? centre),
  rename: ({ actions, selectedNodes }) => selectedNodes.length === 1 && actions.startRename(selectedNodes[0]),
  connect: ({ actions }) => actions.connectSelected(),
  fit: ({ actions }) => actions.fit(),
  minimap: ({ actions }) => actions.toggleMinimap(),
  zoomIn: ({ actions }) => actions.zoom(1.2),
  zoomOut: ({ actions }) => actions.zoom(1 / 1.2),
  escape: (session) => {
    session.actions.closeOverlays();
    session.actions.selectOnly([]);
    session.leaving = true;
  },
};

const isTyping = (element) => element.matches?.("input, textarea, select, [contenteditable]");

/* A button of the toolbar or a focused node keeps its own Enter, Space and Tab. */
function isOwn(element, key, session) {
  if (element.closest?.("button, [role=menu], [role=dialog]")) return ["Enter", " ", "Tab"].includes(key) || key in ARROWS;
  return key === "Tab" && session.leaving;
}

function focusedNode(element) {
  return element.closest?.(".react-flow__node")?.dataset.id ?? null;
}

/* Arrows move the selected nodes; with Alt they select the neighbour. */
function arrow(event, session) {
  const [dx, dy] = ARROWS[event.key];
  if (event.altKey) session.actions.selectTowards(dx, dy);
  else if (!session.readOnly) session.actions.nudge(dx * (event.shiftKey ? 4 : 1), dy * (event.shiftKey ? 4 : 1));
}

export function handleKey(event, session) {
  const element = event.nativeEvent.composedPath()[0];
  if (isTyping(element) || isOwn(element, event.key, session)) return;
  if (event.key !== "Escape") session.leaving = false;
  const node = focusedNode(element);
  if (node && (event.key === " " || event.key === "Enter") && !session.selectedNodes.includes(node)) {
    session.actions.selectOnly([node]);
  } else if (event.key in ARROWS && !event.ctrlKey && !event.metaKey) {
    arrow(event, session);
  } else {
    const command = CHORDS[chord(event)];
    if (!command || (session.readOnly && !READING.has(command))) return;
    COMMANDS[command](session);
  }
  event.preventDefault();
  event.stopPropagation();
}
