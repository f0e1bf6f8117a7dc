/* What lies over the canvas only when there is something to say. */
import { useEffect } from "react";
import { Chip, Icon } from "./icons.jsx";
import { useEditor, useEditorState } from "./editor_store.js";
import { useInside } from "./quick_add.jsx";

const REFUSAL_MS = 4000;
const TOAST_MS = 4000;

function useGoesAway(field, value, after) {
  const { store } = useEditor();
  useEffect(() => {
    if (!value) return undefined;
    const timer = setTimeout(() => store.setState({ [field]: null }), after);
    return () => clearTimeout(timer);
  }, [store, field, value, after]);
}

function RefusalAt({ refusal }) {
  const element = useInside({ x: refusal.x + 12, y: refusal.y + 12 });
  return (
    <div ref={element} className="fe-refusal" dir="auto">
      <Icon name="ban" size={14} />
      <span>{refusal.text}</span>
    </div>
  );
}

export function Refusal() {
  const refusal = useEditorState((state) => state.refusal);
  useGoesAway("refusal", refusal, REFUSAL_MS);
  return refusal ? <RefusalAt key={refusal.key} refusal={refusal} /> : null;
}

const TOAST_ICONS = { success: "check", error: "circle-alert" };

export function Toast() {
  const toast = useEditorState((state) => state.toast);
  useGoesAway("toast", toast, TOAST_MS);
  if (!toast) return null;
  return (
    <div key={toast.key} className="fe-toast" data-kind={toast.kind} dir="auto">
      <Icon name={TOAST_ICONS[toast.kind] ?? "lightbulb"} size={15} />
      {toast.text}
    </div>
  );
}

/* The live region: present from the start, or screen readers miss the first thing said. */
export function Announcer() {
  const text = useEditorState((state) => state.announcement);
  return <div className="fe-hidden" role="status" aria-live="polite">{text}</div>;
}

export function Banner({ connection }) {
  if (connection !== "offline") return null;
  return (
    <div className="fe-banner" role="alert">
      <Icon name="unplug" size={15} />
      <span>The connection is lost. Trying again; what you see may be old.</span>
      <button type="button" onClick={() => location.reload()}>Reload</button>
    </div>
  );
}

export function EmptyCanvas({ entries }) {
  const { actions, readOnly } = useEditor();
  if (readOnly) return <div className="fe-empty"><h2>Nothing here yet</h2><p>This model has no nodes.</p></div>;
  const starters = entries.filter((entry) => entry.starter).slice(0, 3);
  return (
    <div className="fe-empty">
      <h2>Start with what you have</h2>
      <p>Pick a first step, drag one from the left, or press <kbd>Tab</kbd> anywhere.</p>
      <div className="fe-empty__starters">
        {starters.map((entry) => (
          <button key={entry.type} type="button" onClick={() => actions.addAtCentre(entry)}>
            <Chip name={entry.icon} kind={entry.kind} />
            <b dir="auto">{entry.label}</b>
            <span dir="auto">{entry.description}</span>
          </button>
        ))}
      </div>
    </div>
  );
}
