// Rows of text: a table in which each row can be clicked, or reached with the arrow keys.
const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text != null) element.textContent = text;
  return element;
};

function cellOf(cell, column) {
  const place = make("td", column.align === "right" ? "num" : "");
  if (cell.title) place.title = cell.title;
  const text = make("span", cell.tone ? `pill ${cell.tone}` : "words");
  if (cell.icon) {
    const mark = make("span", `mark ${cell.iconTone ?? ""}`);
    mark.innerHTML = cell.icon; // our own SVG, never data
    text.append(mark);
  }
  text.append(cell.text ?? "");
  if (cell.mono) text.classList.add("mono");
  place.append(text);
  if (cell.sub) place.append(make("span", "sub", cell.sub));
  return place;
}

export function render({ model, el }) {
  const root = make("div", "listing");
  el.append(root);
  const pick = (id) => model.send_msg({ event: "pick", id });
  const step = (row, key) => {
    const next = key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    if (next) next.focus();
  };
  const rowOf = (row) => {
    const line = make("tr", row.muted ? "muted" : "");
    line.tabIndex = 0;
    line.dataset.id = row.id;
    line.setAttribute("aria-selected", String(row.id === model.current));
    row.cells.forEach((cell, index) => line.append(cellOf(cell, model.columns[index] ?? {})));
    line.addEventListener("click", () => pick(row.id));
    line.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") pick(row.id);
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") step(line, event.key);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return line;
  };
  const draw = () => {
    const focused = root.querySelector("tr:focus")?.dataset.id;
    root.replaceChildren();
    if (!model.rows.length) {
      root.append(make("p", "nothing", model.empty));
      return;
    }
    const table = make("table", "rows");
    table.setAttribute("aria-label", model.name_of_list);
    if (model.columns.some((column) => column.label)) {
      const head = make("thead");
      const line = make("tr");
      model.columns.forEach((column) => {
        const cell = make("th", column.align === "right" ? "num" : "", column.label);
        cell.scope = "col";
        if (column.width) cell.style.width = column.width;
        line.append(cell);
      });
      head.append(line);
      table.append(head);
    }
    const body = make("tbody");
    model.rows.forEach((row) => body.append(rowOf(row)));
    table.append(body);
    root.append(table);
    if (focused) [...body.children].find((line) => line.dataset.id === focused)?.focus();
  };
  const mark = () => root.querySelectorAll("tbody tr").forEach((line) => line.setAttribute("aria-selected", String(line.dataset.id === model.current)));
  ["rows", "columns", "empty"].forEach((name) => model.on(name, draw));
  model.on("current", mark);
  draw();
}
