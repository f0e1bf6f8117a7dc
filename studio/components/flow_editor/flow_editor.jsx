/* Entry of the widget: Panel calls render once per view. */
import { ReactFlowProvider } from "@xyflow/react";
import { Editor } from "./src/editor.jsx";

export function render({ model, view }) {
  return (
    <ReactFlowProvider>
      <Editor model={model} view={view} />
    </ReactFlowProvider>
  );
}
