"""The dialog that asks for a new model's name: the browser's own, so focus, Escape and the backdrop are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from panel.custom import JSComponent

_ESM = """
export function render({ model }) {
  const box = document.createElement("dialog");
  box.setAttribute("aria-labelledby", "title");
  box.innerHTML = `<form method="dialog"><h2 id="title">New model</h2>
    <label for="name">Name</label><input id="name" autocomplete="off" maxlength="100" placeholder="Weekly report">
    <p class="wrong" role="alert"></p>
    <div class="row"><button type="button" class="cancel">Cancel</button>
    <button type="submit" class="create">Create</button></div></form>`;
  const name = box.querySelector("input"), wrong = box.querySelector(".wrong"), create = box.querySelector(".create");
  const judge = () => { create.disabled = name.value.trim().length < 3; };
  name.addEventListener("input", () => { wrong.textContent = ""; judge(); });
  box.querySelector(".cancel").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!create.disabled) model.send_msg({ name: name.value });
  });
  model.on("msg:custom", (message) => {
    if (message.open) { name.value = ""; wrong.textContent = ""; judge(); box.showModal(); name.focus(); }
    if (message.wrong) { wrong.textContent = message.wrong; name.focus(); name.select(); }
  });
  return box;
}
"""
_CSS = """
dialog{width:380px;max-width:calc(100vw - 32px);padding:18px 20px;border:1px solid var(--line);border-radius:var(--r3);
  background:var(--raised);color:var(--ink);box-shadow:var(--sh2);font:400 var(--t3)/1.45 var(--font)}
dialog::backdrop{background:color-mix(in srgb,var(--ink) 30%,transparent)}
h2{margin:0 0 14px;font-size:var(--t4)}
label{display:block;margin:0 0 4px;font-size:var(--t1);font-weight:600;color:var(--ink-2)}
input{box-sizing:border-box;width:100%;height:32px;padding:0 9px;border:1px solid var(--line-strong);border-radius:6px;
  background:var(--surface);color:var(--ink);font:400 var(--t3)/1 var(--font)}
input:focus{border-color:var(--accent);outline:2px solid var(--accent-soft)}
.wrong{min-height:18px;margin:6px 0 0;font-size:var(--t2);color:var(--bad);overflow-wrap:anywhere}
.row{display:flex;justify-content:flex-end;gap:8px;margin-top:10px}
.row button{height:28px;padding:0 12px;border:1px solid var(--line-strong);border-radius:6px;
  background:var(--surface);color:var(--ink);
  font:600 var(--t2)/1 var(--font);cursor:pointer}
.row .create{border-color:var(--accent);background:var(--accent);color:var(--on-accent)}
.row .create:disabled{border-color:var(--line);background:var(--idle-soft);color:var(--ink-3);cursor:not-allowed}
"""


class NameDialog(JSComponent):
    """Opens on `ask`; what is typed goes to `on_name`, which may answer with `refuse`."""

    _esm = _ESM

    def __init__(self, on_name: Callable[[str], object], **params: Any) -> None:
        """Stand ready, unseen."""
        self._on_name = on_name
        super().__init__(width=0, height=0, margin=0, sizing_mode="fixed", stylesheets=[_CSS], **params)

    def ask(self) -> None:
        """Open it, empty, with the cursor in the field."""
        self._send_msg({"open": True})

    def refuse(self, sentence: str) -> None:
        """Say why the name can't be had; the dialog stays open."""
        self._send_msg({"wrong": sentence})

    def _handle_msg(self, data: Any) -> None:
        name = data.get("name") if isinstance(data, dict) else None
        if isinstance(name, str):
            self._on_name(name)
