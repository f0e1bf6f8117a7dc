/* The editor: session, messages and the parts of the window. */
import { useCallback, useEffect, useMemo, useState } from "react";
import { useReactFlow, useStoreApi } from "@xyflow/react";
import { Canvas } from "./canvas.jsx";
import { Menu } from "./menu.jsx";
import { Announcer, Banner, Refusal, Toast } from "./overlays.jsx";
import { Ghost, Palette } from "./palette.jsx";
import { QuickAdd } from "./quick_add.jsx";
import { EditorContext, useEditor } from "./editor_store.js";
import { Session } from "./session.js";
import { createActions } from "./actions.js";
import { handleKey } from "./keys.js";
import { firstGraph, receive, speakStates } from "./messages.js";
import { useStyled } from "./styled.js";
import { useTransport } from "./transport.js";

/* Dark when Python says so or the page's own theme is. */
function useDark(dark) {
  const [page, setPage] = useState(() => document.documentElement.dataset.theme);
  useEffect(() => {
    const observer = new MutationObserver(() => setPage(document.documentElement.dataset.theme));
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => observer.disconnect();
  }, []);
  return dark || page === "dark";
}

function useSession(model) {
  const session = useMemo(() => new Session(model), [model]);
  session.flow = useReactFlow();
  session.flowStore = useStoreApi();
  session.actions ??= createActions(session);
  [session.nodes, session.setNodes] = useState([]);
  [session.edges, session.setEdges] = useState([]);
  useEffect(() => speakStates(session), [session]);
  useEffect(() => session.watchGeometry(), [session]);
  return session;
}

function useGraphParameter(model, session) {
  const [graph] = model.useState("graph");
  useEffect(() => session.adopt(firstGraph(graph)), [graph, session]);
}

/* Whether something is part of what the owner put below the canvas: then its keys and pointers are not ours. */
const isBelow = (element) => Boolean(element?.closest?.(".fe-below"));

/* Remembers the pointer, for what appears beside it. */
function trackPointer(session) {
  return (event) => {
    if (isBelow(event.target)) return;
    session.pointerClient = { x: event.clientX, y: event.clientY };
    session.pointer = session.local(session.pointerClient);
  };
}

/* A browser sends `paste` to where the text cursor is, which on a canvas is nowhere: so we listen to the
   whole page, and act only while the focus is on this canvas. */
function usePaste(session) {
  useEffect(() => {
    const onPaste = (event) => {
      const focused = session.root.getRootNode().activeElement;
      if (session.readOnly || !session.root.contains(focused) || isBelow(focused) || focused.matches("input, textarea")) return;
      session.actions.paste(event.clipboardData.getData("text") || session.clipboard);
      event.preventDefault();
    };
    document.addEventListener("paste", onPaste);
    return () => document.removeEventListener("paste", onPaste);
  }, [session]);
}

function Parts({ session, below, undoName, redoName, connection }) {
  const { catalog, readOnly } = useEditor();
  const { nodes, edges, setNodes, setEdges } = session;
  return (
    <>
      {readOnly ? null : <Palette entries={catalog} />}
      <div className="fe-room">
        <Canvas nodes={nodes} edges={edges} setNodes={setNodes} setEdges={setEdges} undoName={undoName} redoName={redoName} />
        {below.length ? <div className="fe-below" tabIndex={-1}>{below}</div> : null}
      </div>
      <Banner connection={connection} />
      <QuickAdd />
      <Menu />
      <Refusal />
      <Toast />
      <Ghost />
      <Announcer />
    </>
  );
}

export function Editor({ model, view }) {
  const [catalog] = model.useState("catalog");
  const [types] = model.useState("port_types");
  const [darkParameter] = model.useState("dark");
  const [readOnly] = model.useState("read_only");
  const [undoName] = model.useState("undo_name");
  const [redoName] = model.useState("redo_name");
  const below = model.get_child("below");
  const dark = useDark(darkParameter);
  const session = useSession(model);
  const styled = useStyled(session);
  Object.assign(session, { types, catalog, readOnly });
  useGraphParameter(model, session);
  usePaste(session);
  const connection = useTransport({ model, view, session, onMessage: useCallback((message) => receive(session, message), [session]) });
  const { actions, store, status, boxes } = session;
  const context = useMemo(
    () => ({ session, actions, store, status, boxes, types, catalog, readOnly }),
    [session, actions, store, status, boxes, types, catalog, readOnly],
  );
  const handlers = useMemo(
    () => ({
      onKeyDown: (event) => isBelow(event.target) || handleKey(event, session),
      onPointerMove: trackPointer(session),
      onPointerDown: () => session.store.setState({ menu: null }),
    }),
    [session],
  );
  const setRoot = useCallback((element) => { session.root = element; }, [session]);
  return (
    <EditorContext.Provider value={context}>
      <div ref={setRoot} className="fe-root" data-theme={dark ? "dark" : "light"} data-readonly={readOnly} tabIndex={0}
        role="application" aria-label="Workflow editor" {...handlers}>
        {styled ? <Parts session={session} below={below} undoName={undoName} redoName={redoName} connection={connection} /> : null}
      </div>
    </EditorContext.Provider>
  );
}
