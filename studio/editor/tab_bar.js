// Tabs without pages: Python shows the page of the open one.
export function render({ model, el }) {
  const bar = document.createElement("div");
  bar.className = "tabs";
  bar.setAttribute("role", "tablist");
  el.append(bar);
  const open = (id, focus) => {
    model.value = id;
    draw();
    if (focus) bar.querySelector("[aria-selected=true]")?.focus();
  };
  const keys = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const ids = model.items.map((item) => item.id);
    open(ids[(ids.indexOf(model.value) + step + ids.length) % ids.length], true);
    event.preventDefault();
  };
  const draw = () => {
    bar.setAttribute("aria-label", model.label);
    bar.replaceChildren(...model.items.map((item) => {
      const tab = document.createElement("button");
      const here = item.id === model.value;
      tab.type = "button";
      tab.className = "tab";
      tab.dataset.tab = item.id;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      tab.append(item.label);
      if (item.count) {
        const count = document.createElement("span");
        count.className = `pill ${item.tone ?? "idle"}`;
        count.textContent = item.count;
        tab.append(count);
      }
      tab.addEventListener("click", () => open(item.id, false));
      tab.addEventListener("keydown", keys);
      return tab;
    }));
  };
  ["items", "value", "label"].forEach((name) => model.on(name, draw));
  draw();
}
