/* The canvas: React Flow, wired to the gestures. */
import { useCallback, useEffect, useMemo, useRef } from "react";
import { Background, BackgroundVariant, ReactFlow, SelectionMode, applyEdgeChanges, applyNodeChanges, useStore } from "@xyflow/react";
import { ContainerNode } from "./container.jsx";
import { StepNode } from "./node.jsx";
import { Wire } from "./wire.jsx";
import { Minimap } from "./minimap.jsx";
import { Toolbar } from "./toolbar.jsx";
import { EmptyCanvas } from "./overlays.jsx";
import { bounds } from "./boxes.js";
import { canvasMenu, nodeMenu, wireMenu } from "./menu.jsx";
import { dragGestures, wireGestures } from "./gestures.js";
import { GRID } from "./geometry.js";
import { useEditor, useEditorState } from "./editor_store.js";

const NODE_TYPES = { step: StepNode, container: ContainerNode };
const EDGE_TYPES = { wire: Wire };
const MANY_NODES = 120;
const READABLE = 0.7;
const MARGIN = 48;

/* The first sight of a graph: all of it if it can be read, else its beginning. */
function firstViewport(nodes, width, height) {
  const box = bounds(nodes);
  const zoom = Math.min(1, (width - 2 * MARGIN) / box.width, (height - 3 * MARGIN) / box.height);
  if (zoom >= READABLE) {
    return { zoom, x: (width - box.width * zoom) / 2 - box.left * zoom, y: (height - box.height * zoom) / 2 - box.top * zoom };
  }
  const first = nodes.reduce((a, b) => (b.internals.positionAbsolute.x < a.internals.positionAbsolute.x ? b : a));
  const { x, y } = first.internals.positionAbsolute;
  const top = box.height * READABLE <= height - 3 * MARGIN ? (height - box.height * READABLE) / 2 - box.top * READABLE : height / 3 - y * READABLE;
  return { zoom: READABLE, x: MARGIN - x * READABLE, y: top };
}

function useFirstViewport(session, count) {
  const width = useStore((state) => state.width);
  const height = useStore((state) => state.height);
  const done = useRef(false);
  useEffect(() => {
    if (done.current || !count || !width) return;
    const nodes = [...session.lookup.values()].filter((node) => !node.hidden);
    if (!nodes.length) return;
    done.current = true;
    session.flow.setViewport(firstViewport(nodes, width, height));
  }, [session, count, width, height]);
}

const clientOf = (event) => ({ x: event.clientX, y: event.clientY });

function useMenus(session) {
  return useMemo(() => {
    const open = (items) => (event, target) => {
      event.preventDefault();
      const client = clientOf(event);
      session.store.setState({ menu: { at: session.local(client), items: items(session, target?.id ?? client) }, picker: null, refusal: null });
    };
    const onNode = open(nodeMenu);
    return {
      onNodeContextMenu: onNode,
      onEdgeContextMenu: open(wireMenu),
      onPaneContextMenu: open(canvasMenu),
      onSelectionContextMenu: (event, nodes) => onNode(event, nodes[0]),
    };
  }, [session]);
}

/* Tells Python which things are selected, when that has changed. */
function useSelectionReport(session) {
  const last = useRef("");
  return useCallback(
    ({ nodes, edges }) => {
      const selection = { nodes: nodes.map((node) => node.id), wires: edges.map((edge) => edge.id) };
      const text = JSON.stringify(selection);
      if (text === last.current) return;
      last.current = text;
      session.send({ type: "select", ...selection });
    },
    [session],
  );
}

export function Canvas({ nodes, edges, setNodes, setEdges, undoName, redoName }) {
  const { session, actions, readOnly, catalog } = useEditor();
  const connecting = useEditorState((state) => state.connecting !== null);
  const wires = useMemo(() => wireGestures(session), [session]);
  const drags = useMemo(() => dragGestures(session), [session]);
  const menus = useMenus(session);
  const onSelectionChange = useSelectionReport(session);
  useFirstViewport(session, nodes.length);
  const onNodesChange = useCallback((changes) => setNodes((current) => applyNodeChanges(changes, current)), [setNodes]);
  const onEdgesChange = useCallback((changes) => setEdges((current) => applyEdgeChanges(changes, current)), [setEdges]);
  const settle = useCallback(() => {
    actions.closeOverlays();
    session.focusCanvas();
  }, [actions, session]);
  const onNodeDoubleClick = useCallback(
    (event, node) => node.data.view.kind === "nested" && !event.target.closest(".fe-name") && actions.open(node.id),
    [actions],
  );
  return (
    <div className="fe-canvas" data-connecting={connecting}>
      <ReactFlow nodes={nodes} edges={edges} nodeTypes={NODE_TYPES} edgeTypes={EDGE_TYPES} onNodesChange={onNodesChange} onEdgesChange={onEdgesChange}
        {...wires} {...drags} {...menus} onSelectionChange={onSelectionChange} onPaneClick={settle} onNodeClick={settle} onEdgeClick={settle}
        onNodeDoubleClick={onNodeDoubleClick} onMoveStart={actions.closeOverlays} nodesDraggable={!readOnly} nodesConnectable={!readOnly}
        edgesReconnectable={false} connectionRadius={24} connectOnClick={false} deleteKeyCode={null} disableKeyboardA11y selectionMode={SelectionMode.Partial}
        multiSelectionKeyCode={["Shift", "Control", "Meta"]} snapToGrid snapGrid={[GRID, GRID]} minZoom={0.1} maxZoom={2}
        zoomOnDoubleClick={false} attributionPosition="bottom-left" onlyRenderVisibleElements={nodes.length > MANY_NODES}>
        <Background variant={BackgroundVariant.Dots} gap={24} size={1.5} />
        <Toolbar undoName={undoName} redoName={redoName} />
        <Minimap />
      </ReactFlow>
      {nodes.length ? null : <EmptyCanvas entries={catalog} />}
    </div>
  );
}
