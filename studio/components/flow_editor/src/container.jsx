/* A container: a frame around its children, or a card with proxy ports when collapsed. */
import { memo } from "react";
import { NodeResizer } from "@xyflow/react";
import { Chip, Icon, kindColor } from "./icons.jsx";
import { Name, Ports, Problems, useRemeasure } from "./node.jsx";
import { OrderPorts, Port } from "./port.jsx";
import { Frame, SumPill } from "./status.jsx";
import { useEditor, useEditorState } from "./editor_store.js";
import { framePortY } from "./geometry.js";
import { plural } from "./format.js";

const LEAST = { minWidth: 200, minHeight: 96 };

function CollapseButton({ id, collapsed }) {
  const { actions, readOnly } = useEditor();
  if (readOnly) return null;
  return (
    <button type="button" className="fe-iconbutton nodrag" aria-label={collapsed ? "Expand" : "Collapse"}
      title={collapsed ? "Expand" : "Collapse"} aria-expanded={!collapsed} onClick={() => actions.collapse(id, !collapsed)}>
      <Icon name={collapsed ? "chevron-right" : "chevron-down"} size={15} />
    </button>
  );
}

function Collapsed({ id, data, selected }) {
  const { view, ports, leaves } = data;
  return (
    <Frame id={id} className="fe-step fe-step--stack" data-selected={selected} data-wide="true">
      <header className="fe-head">
        <Chip name={view.icon} kind={view.kind} />
        <div className="fe-title">
          <Name id={id} name={view.name} />
          <span className="fe-subtitle" dir="auto">{view.badge || view.subtitle}</span>
        </div>
        <Problems problems={view.problems} />
        <CollapseButton id={id} collapsed />
      </header>
      <Ports id={id} ports={ports} />
      <footer className="fe-foot">
        <span className="fe-foot__detail">{plural(leaves.length, "node")} inside</span>
        <SumPill leaves={leaves} />
      </footer>
      <OrderPorts node={id} />
    </Frame>
  );
}

function Expanded({ id, data, selected }) {
  const { view, leaves } = data;
  const { actions, readOnly } = useEditor();
  const target = useEditorState((state) => state.dropTarget === id);
  const onResizeEnd = (_, box) => actions.resize(id, box);
  const ports = (items, side) =>
    items.map((port, index) => <Port key={`${side}:${port.id}`} node={id} port={port} side={side} top={framePortY(index)} />);
  return (
    <Frame id={id} className="fe-frame" data-selected={selected} data-target={target} data-off={view.enabled === false}
      style={{ "--kind": kindColor(view.kind) }}>
      <NodeResizer {...LEAST} isVisible={selected && !readOnly} onResizeEnd={onResizeEnd} />
      <header className="fe-frame__head">
        <span className="fe-frame__icon"><Icon name={view.icon} kind={view.kind} size={15} /></span>
        <Name id={id} name={view.name} />
        {view.badge ? <span className="fe-badge" dir="auto">{view.badge}</span> : null}
        <Problems problems={view.problems} />
        <span className="fe-frame__rest" />
        <SumPill leaves={leaves} />
        <CollapseButton id={id} collapsed={false} />
      </header>
      {leaves.length ? null : <p className="fe-frame__empty">Drag nodes in here</p>}
      {ports(view.inputs, "target")}
      {ports(view.outputs, "source")}
      <OrderPorts node={id} />
    </Frame>
  );
}

export const ContainerNode = memo(function ContainerNode(props) {
  useRemeasure(props.id, props.data.ports);
  return props.data.view.collapsed ? <Collapsed {...props} /> : <Expanded {...props} />;
});
