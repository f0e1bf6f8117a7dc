// Ctrl+S and Ctrl+Enter, wherever the focus is; the canvas handles its own.
export function render({ model, el }) {
  el.hidden = true;
  const onKey = (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.defaultPrevented) return;
    const key = { s: "save", Enter: "run" }[event.key];
    if (!key) return;
    event.preventDefault();
    // What is being typed is sent when its field is left, so leave it first.
    let active = document.activeElement;
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
    active?.dispatchEvent(new Event("change", { bubbles: true }));
    model.send_msg({ event: "key", key });
  };
  document.addEventListener("keydown", onKey);
  model.on("remove", () => document.removeEventListener("keydown", onKey));
}
