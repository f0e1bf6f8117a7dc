/* The few things that act on the whole canvas. */
import { Panel } from "@xyflow/react";
import { Icon } from "./icons.jsx";
import { useEditor, useEditorState } from "./editor_store.js";

function Tool({ icon, label, keys, ...rest }) {
  const title = keys ? `${label} (${keys})` : label;
  return (
    <button type="button" className="fe-iconbutton" title={title} aria-label={label} {...rest}>
      <Icon name={icon} />
    </button>
  );
}

const named = (verb, name) => (name ? `${verb}: ${name}` : verb);

export function Toolbar({ undoName, redoName }) {
  const { actions, readOnly } = useEditor();
  const minimap = useEditorState((state) => state.minimap);
  return (
    <Panel position="top-center" className="fe-toolbar" role="toolbar" aria-label="Canvas">
      {readOnly ? <span className="fe-toolbar__note"><Icon name="lock" size={13} />Read only</span> : (
        <>
          <Tool icon="undo-2" label={named("Undo", undoName)} keys="Ctrl+Z" disabled={undoName == null} onClick={actions.undo} />
          <Tool icon="redo-2" label={named("Redo", redoName)} keys="Ctrl+Shift+Z" disabled={redoName == null} onClick={actions.redo} />
          <Tool icon="workflow" label="Arrange" onClick={actions.layout} />
        </>
      )}
      <Tool icon="maximize" label="Fit to the canvas" keys="F" onClick={actions.fit} />
      <Tool icon="map" label="Minimap" keys="M" aria-pressed={minimap} onClick={actions.toggleMinimap} />
    </Panel>
  );
}
