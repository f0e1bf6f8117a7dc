/* A wire, coloured by what its source has done; dashed while data is on the way. */
import { memo, useMemo } from "react";
import { BaseEdge, EdgeLabelRenderer, useStoreApi } from "@xyflow/react";
import { Icon } from "./icons.jsx";
import { useEditor, useEditorState } from "./editor_store.js";
import { toneOf } from "./format.js";
import { route } from "./route.js";
import { boxOf } from "./boxes.js";
import { useStatus } from "./status_store.js";

const MOVING = new Set(["running", "retrying"]);

function useRoute(props) {
  const { boxes } = useEditor();
  const flow = useStoreApi();
  const turn = useEditorState((state) => state.turn);
  const { source, target, sourceX, sourceY, targetX, targetY } = props;
  return useMemo(() => {
    const lookup = flow.getState().nodeLookup;
    const ends = [source, target].map((id) => boxOf(lookup, id)).filter(Boolean);
    return route({ x: sourceX, y: sourceY }, { x: targetX, y: targetY }, boxes.get(lookup), ends);

  }, [boxes, flow, source, target, sourceX, sourceY, targetX, targetY, turn]);
}

function DeleteButton({ id, at }) {
  const { actions } = useEditor();
  return (
    <EdgeLabelRenderer>
      <button type="button" className="fe-wire__delete nodrag nopan" aria-label="Delete wire" title="Delete wire"
        style={{ transform: `translate(-50%,-50%) translate(${at.x}px,${at.y}px)` }}
        onClick={() => actions.remove({ nodes: [], wires: [id] })}>
        <Icon name="x" size={13} />
      </button>
    </EdgeLabelRenderer>
  );
}

const LEAST_LABEL = 48;

/* As wide as the gap it sits in: a label under a card would say nothing. */
function Label({ text, at, room }) {
  return (
    <EdgeLabelRenderer>
      <span className="fe-wire__label" dir="auto" title={text} style={{ maxWidth: Math.max(LEAST_LABEL, room), transform: `translate(-50%,-50%) translate(${at.x}px,${at.y}px)` }}>
        {text}
      </span>
    </EdgeLabelRenderer>
  );
}

export const Wire = memo(function Wire(props) {
  const { id, data, selected, sourceX, targetX, targetY } = props;
  const { status: store, readOnly } = useEditor();
  const state = useStatus(store, data.from)?.state;
  const { path, middle } = useRoute(props);
  const dependency = data.wire.kind === "dependency";
  return (
    <g className="fe-wire" data-tone={state && !dependency ? toneOf(state) : ""} data-moving={MOVING.has(state)}
      data-dependency={dependency} data-selected={selected}>
      <BaseEdge id={id} path={path} interactionWidth={22} />
      {dependency ? <path className="fe-wire__arrow" d={`M${targetX - 12},${targetY - 5}l7,5l-7,5`} /> : null}
      {data.wire.label && !selected ? <Label text={data.wire.label} at={middle} room={Math.abs(targetX - sourceX) - 24} /> : null}
      {selected && !readOnly ? <DeleteButton id={id} at={middle} /> : null}
    </g>
  );
});
