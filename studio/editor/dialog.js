// A native dialog: it keeps the focus inside, gives it back, and closes with Escape.
export function render({ model, el }) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  const head = document.createElement("header");
  const title = document.createElement("h2");
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close");
  const body = document.createElement("div");
  body.className = "dialog-body";
  head.append(title, close);
  dialog.append(head, body);
  el.append(dialog);
  const fill = () => {
    const child = model.get_child("body");
    body.replaceChildren(...(child ? [child] : []));
  };
  const follow = () => {
    title.textContent = model.title;
    if (model.open && !dialog.open) dialog.showModal();
    if (!model.open && dialog.open) dialog.close();
  };
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => { model.open = false; });
  model.on("open", follow);
  model.on("title", follow);
  model.on("body", fill);
  fill();
  // The dialog has to be on the page before it can be shown.
  requestAnimationFrame(follow);
}
