/* One view of one graph: what the gestures need to know at the moment they happen. It is mutable and
   not React state: reading it renders nothing, and its methods never change identity. */
import { Boxes } from "./boxes.js";
import { createEditorStore } from "./editor_store.js";
import { EMPTY, structureOf } from "./graph.js";
import { flowEdges, flowNodes } from "./flow_elements.js";
import { StatusStore } from "./status_store.js";

const SETTLED_AFTER_MS = 50;

export class Session {
  store = createEditorStore();
  status = new StatusStore();
  boxes = new Boxes();
  truth = EMPTY;
  structure = structureOf(EMPTY);
  types = {};
  catalog = [];
  readOnly = false;
  nodes = [];
  edges = [];
  pointer = { x: 0, y: 0 };
  clipboard = "";
  copying = false;
  pasteWhenCopied = false;
  root = null;
  flow = null;
  flowStore = null;

  constructor(model) {
    this.send = (intent) => model.send_msg(intent);
  }

  get lookup() {
    return this.flowStore.getState().nodeLookup;
  }

  get selectedNodes() {
    return this.nodes.filter((node) => node.selected && !node.hidden).map((node) => node.id);
  }

  get selectedWires() {
    return this.edges.filter((edge) => edge.selected).map((edge) => edge.id);
  }

  /* Show this graph; `setNodes` and `setEdges` are React's. */
  adopt(truth) {
    this.truth = truth;
    this.structure = structureOf(truth);
    this.refresh();
  }

  refresh() {
    const context = { truth: this.truth, structure: this.structure, unfolded: this.store.getState().unfolded };
    this.setNodes((current) => flowNodes(current, context));
    this.setEdges((current) => flowEdges(current, context));
  }

  /* When nodes have come to rest the wires look for their way again. */
  watchGeometry() {
    let timer = null;
    const settle = () => this.store.setState(({ turn }) => ({ turn: turn + 1 }));
    const stop = this.flowStore.subscribe((state, before) => {
      if (state.nodes === before.nodes) return;
      this.boxes.forget();
      clearTimeout(timer);
      timer = setTimeout(settle, SETTLED_AFTER_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }

  announce(text) {
    this.store.setState({ announcement: text });
  }

  /* The focus goes back to the canvas, wherever the focused thing has gone. */
  focusCanvas() {
    this.root?.focus({ preventScroll: true });
  }

  /* A point of the window in the editor's own pixels. */
  local({ x, y }) {
    const box = this.root.getBoundingClientRect();
    return { x: x - box.left, y: y - box.top };
  }

  /* The middle of the canvas, in window pixels. */
  get centre() {
    const box = this.root.querySelector(".fe-canvas").getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
  }
}
