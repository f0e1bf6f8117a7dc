/* A node as a card: what kind, which name, what it is, what happened. */
import { memo, useEffect, useMemo, useRef } from "react";
import { useUpdateNodeInternals } from "@xyflow/react";
import { Chip, Icon } from "./icons.jsx";
import { Port } from "./port.jsx";
import { Frame, NodeStatus } from "./status.jsx";
import { useEditor, useEditorState } from "./editor_store.js";
import { hasRows, portY } from "./geometry.js";

const WORST_FIRST = ["error", "warning", "hint"];
const PROBLEM_ICONS = { error: "circle-alert", warning: "triangle-alert", hint: "lightbulb" };

export function Problems({ problems }) {
  if (!problems?.length) return null;
  const worst = WORST_FIRST.find((severity) => problems.some((problem) => problem.severity === severity)) ?? "hint";
  const text = problems.map((problem) => problem.text).join("\n");
  return (
    <span className="fe-problem" data-severity={worst} role="img" aria-label={text} title={text}>
      <Icon name={PROBLEM_ICONS[worst]} size={14} />
    </span>
  );
}

/* The name, or the field in which it is being changed. */
export function Name({ id, name }) {
  const { actions, readOnly } = useEditor();
  const renaming = useEditorState((state) => state.renaming === id);
  const field = useRef(null);
  useEffect(() => {
    if (renaming) field.current?.select();
  }, [renaming]);
  if (!renaming) {
    return (
      <b className="fe-name" dir="auto" title={name} onDoubleClick={readOnly ? undefined : () => actions.startRename(id)}>
        {name}
      </b>
    );
  }
  const finish = (event) => actions.finishRename(id, event.currentTarget.value, name);
  const onKeyDown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter") finish(event);
    if (event.key === "Escape") actions.cancelRename();
  };
  return (
    <input ref={field} className="fe-name fe-name--field nodrag nopan" aria-label="Name" dir="auto" autoFocus
      defaultValue={name} maxLength={1000} onBlur={finish} onKeyDown={onKeyDown} />
  );
}

function FoldButton({ id, ports }) {
  const { actions } = useEditor();
  if (!ports.folded && !ports.unfolded) return null;
  return (
    <button type="button" className="fe-fold nodrag" onClick={() => actions.toggleFold(id)}>
      {ports.folded ? `${ports.folded} more ports` : "Fewer ports"}
    </button>
  );
}

export function Ports({ id, ports }) {
  const rows = hasRows(ports);
  const count = Math.max(ports.inputs.length, ports.outputs.length) + (ports.folded || ports.unfolded ? 1 : 0);
  const list = (items, side) =>
    items.map((port, index) => (
      <Port key={`${side}:${port.id}`} node={id} port={port} side={side} row={rows} top={portY(rows, index)} />
    ));
  return (
    <>
      {rows ? <div className="fe-rows" style={{ "--rows": count }}><FoldButton id={id} ports={ports} /></div> : null}
      {list(ports.inputs, "target")}
      {list(ports.outputs, "source")}
    </>
  );
}

/* React Flow has to measure again when the handles moved. */
export function useRemeasure(id, ports) {
  const remeasure = useUpdateNodeInternals();
  const signature = useMemo(
    () => [ports.inputs, ports.outputs].map((list) => list.map((port) => port.id).join("\n")).join("\n\n"),
    [ports],
  );
  const first = useRef(signature);
  useEffect(() => {
    if (first.current !== signature) remeasure(id);
    first.current = signature;
  }, [id, remeasure, signature]);
}

export const StepNode = memo(function StepNode({ id, data, selected }) {
  const { view, ports } = data;
  useRemeasure(id, ports);
  return (
    <Frame id={id} className="fe-step" data-selected={selected} data-off={view.enabled === false}
      data-wide={hasRows(ports)} data-inside={view.parent != null}>
      <header className="fe-head">
        <Chip name={view.icon} kind={view.kind} />
        <div className="fe-title">
          <Name id={id} name={view.name} />
          <span className="fe-subtitle" dir="auto" title={view.subtitle}>{view.subtitle}</span>
        </div>
        <Problems problems={view.problems} />
      </header>
      <Ports id={id} ports={ports} />
      <NodeStatus id={id} view={view} />
    </Frame>
  );
});
