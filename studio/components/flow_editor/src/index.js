/* What Panel expects of a compiled component: the component by its class name, and the React it was built with. */
import * as React from "react";
import { createRoot } from "react-dom/client";
import * as FlowEditor from "../flow_editor.jsx";

export default { FlowEditor, React, createRoot };
