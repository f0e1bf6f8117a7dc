/* The view's own state: what the pointer and the keyboard are in the middle of. Nothing of the graph. */
import { createContext, useContext } from "react";
import { createStore, useStore } from "zustand";

const IDLE = {
  connecting: null, // {from: {node, port, side, type, dependency}, allowed: Set of endKey}
  dropTarget: null, // id of the container a dragged node would land in
  ghost: null, // {entry, x, y}: the palette entry being dragged, in the editor's pixels
  renaming: null, // id of the node whose name is being typed
  picker: null, // {at: {x, y}, title, placeholder, items, empty}
  menu: null, // {at: {x, y}, items}
  refusal: null, // {text, x, y, key}
  toast: null, // {text, kind, key}
  announcement: "",
  turn: 0, // grows when nodes have moved and wires must look for their way again
  unfolded: new Set(), // nodes which show all of their many ports
  minimap: true,
};

export const createEditorStore = () => createStore(() => ({ ...IDLE }));
export const EditorContext = createContext(null);
export const useEditor = () => useContext(EditorContext);
export const useEditorState = (select) => useStore(useEditor().store, select);
