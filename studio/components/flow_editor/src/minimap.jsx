/* The map in the corner: only while something is out of sight, and in the colours of the run. */
import { useEffect, useState } from "react";
import { MiniMap, useStore } from "@xyflow/react";
import { boundsOf } from "./boxes.js";
import { useEditor, useEditorState } from "./editor_store.js";
import { toneOf } from "./format.js";

const REPAINT_EVERY_MS = 250;
const MARGIN = 4;

function allInSight(state) {
  const { nodes, transform: [x, y, zoom], width, height } = state;
  if (!nodes.length || !width) return true;
  const box = boundsOf(state);
  const [left, top] = [box.left * zoom + x, box.top * zoom + y];
  const [right, bottom] = [box.right * zoom + x, box.bottom * zoom + y];
  return left >= -MARGIN && top >= -MARGIN && right <= width + MARGIN && bottom <= height + MARGIN;
}

/* Renders again while a run goes on, a few times a second: the map needs no more. */
function useRunPulse(status) {
  const [, setPulse] = useState(0);
  useEffect(() => {
    let timer = null;
    const beat = () => {
      timer = null;
      setPulse((count) => count + 1);
    };
    const stop = status.watch(() => {
      timer ??= setTimeout(beat, REPAINT_EVERY_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [status]);
}

function Map({ status }) {
  useRunPulse(status);
  const className = (node) => {
    if (node.type === "container") return "fe-map__frame";
    const state = status.get(node.id)?.state;
    return `fe-map__node fe-map__node--${state ? toneOf(state) : "none"}`;
  };
  return (
    <MiniMap className="fe-map" position="bottom-right" pannable zoomable nodeClassName={className} nodeBorderRadius={6}
      nodeStrokeWidth={0} ariaLabel="Minimap" />
  );
}

export function Minimap() {
  const { status } = useEditor();
  const wanted = useEditorState((state) => state.minimap);
  const needless = useStore(allInSight);
  return wanted && !needless ? <Map status={status} /> : null;
}
