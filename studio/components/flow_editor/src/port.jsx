/* A port: a circle on the node's edge, with its label inside (rows) or beside it (on hover). */
import { memo } from "react";
import { Handle, Position } from "@xyflow/react";
import { endKey } from "./graph.js";
import { useEditor, useEditorState } from "./editor_store.js";

/* "fit" | "unfit" | "origin" while a wire is being drawn, else "". */
function useFit(side, node, port) {
  const key = endKey(side, node, port);
  return useEditorState(({ connecting }) => {
    if (!connecting) return "";
    const { from } = connecting;
    if (from.side === side && from.node === node && from.port === port) return "origin";
    return connecting.allowed.has(key) ? "fit" : "unfit";
  });
}

export const Port = memo(function Port({ node, port, side, top, row }) {
  const { types, readOnly } = useEditor();
  const end = port.of ?? { node, port: port.id };
  const fit = useFit(side, end.node, end.port);
  const word = side === "target" ? "Input" : "Output";
  return (
    <div className={`fe-port fe-port--${side} ${row ? "fe-port--row" : ""}`} data-fit={fit}
      data-proxy={Boolean(port.of)} style={{ top }}>
      <Handle
        id={port.id}
        type={side}
        position={side === "target" ? Position.Left : Position.Right}
        className="fe-port__dot"
        isConnectable={!readOnly}
        role="img"
        aria-label={`${word} ${port.label}, ${port.type}${port.required ? ", required" : ""}`}
        style={{ "--port": types[port.type]?.color ?? "var(--idle)" }}
      />
      <span className="fe-port__label" dir="auto" title={`${port.label} · ${port.type}`}>
        {port.label}
        {port.required && row ? <span className="fe-port__required" aria-hidden="true">*</span> : null}
        {row ? null : <span className="fe-port__type">{port.type}</span>}
      </span>
    </div>
  );
});

/* The two handles which put one container before another. */
export function OrderPorts({ node }) {
  const state = useEditorState(({ connecting }) => {
    if (!connecting?.from.dependency) return "";
    return connecting.from.node === node ? "origin" : "fit";
  });
  const { readOnly } = useEditor();
  return ["target", "source"].map((side) => (
    <Handle
      key={side}
      id={side === "target" ? "after" : "before"}
      type={side}
      position={side === "target" ? Position.Left : Position.Right}
      className="fe-order"
      data-fit={state}
      isConnectable={!readOnly}
      role="img"
      aria-label={side === "target" ? "Runs after" : "Runs before"}
      title={side === "target" ? "Runs after another container" : "Runs before another container"}
    />
  ));
}
