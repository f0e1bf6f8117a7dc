"""HTML whose buttons call Python: lists and rows that a keyboard and a screen reader can use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from markupsafe import Markup
from panel.custom import JSComponent

from studio.theme import icon

_ESM = """
export function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "inside";
  const focused = () => box.getRootNode().activeElement?.dataset?.key;
  const draw = () => {
    const key = focused(), tops = [...box.querySelectorAll("[data-scroll]")].map((part) => part.scrollTop);
    box.innerHTML = model.markup;
    box.querySelectorAll("[data-scroll]").forEach((part, at) => { part.scrollTop = tops[at] ?? 0; });
    if (key) box.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  };
  const mark = () => {
    for (const part of box.querySelectorAll("[data-key]")) {
      const here = part.dataset.key === model.current;
      part.toggleAttribute("data-current", here);
      if (part.hasAttribute("aria-selected")) part.setAttribute("aria-selected", String(here));
    }
  };
  box.addEventListener("click", (event) => {
    const copied = event.target.closest("[data-copy]");
    if (copied) {
      navigator.clipboard?.writeText(copied.dataset.copy).then(() => {
        copied.dataset.copied = "";
        setTimeout(() => delete copied.dataset.copied, 1200);
      });
      return;
    }
    const part = event.target.closest("[data-do]");
    if (!part || part.disabled) return;
    event.preventDefault();
    model.send_msg({ do: part.dataset.do, key: part.dataset.key ?? "" });
  });
  box.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const part = event.target.closest("[data-do][data-key]");
    if (!step || !part) return;
    const all = [...box.querySelectorAll(`[data-do="${part.dataset.do}"][data-key]`)];
    const next = all[all.indexOf(part) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
    if (next.hasAttribute("aria-selected")) next.click();
  });
  draw();
  mark();
  model.on("markup", () => { draw(); mark(); });
  model.on("current", mark);
  return box;
}
"""


COPY_CSS = """
.copy{display:inline-flex;align-items:center;justify-content:center;width:24px;height:24px;padding:0;border:0;
  border-radius:var(--r1);
  background:none;color:var(--ink-3);cursor:pointer;flex:none}
.copy:hover{background:var(--idle-soft);color:var(--ink)}
.copy .done,.copy[data-copied] .icon:first-child{display:none}
.copy[data-copied] .done{display:block;color:var(--ok)}
"""


def copy_button(text: str, what: str) -> Markup:
    """Return a small button that copies `text`; `what` says to screen readers what that is."""
    done = Markup('<span class="done">{}</span>').format(icon("check", 14))
    words = Markup('<button class="copy" type="button" data-copy="{}" aria-label="Copy {}" title="Copy">{}{}</button>')
    return words.format(text, what, icon("copy", 14), done)


class Clickable(JSComponent):
    """Shows escaped HTML. A press on an element with `data-do` calls `on_press` with that word and its `data-key`.

    Elements with a `data-key` keep the focus when the HTML changes; the one whose key is `current` gets
    `data-current`. Up and down go from one element of the same `data-do` to the next. An element with
    `data-scroll` keeps its place; one with `data-copy` puts that text on the clipboard and has `data-copied` meanwhile.
    """

    markup = param.String()
    current = param.String()

    _esm = _ESM

    def __init__(self, markup: Markup, on_press: Callable[[str, str], object] | None = None, **params: Any) -> None:
        """Show `markup`; only what was escaped is taken.

        Raises:
            TypeError: it is a plain string.
        """
        self._on_press = on_press
        params.setdefault("margin", 0)
        super().__init__(markup=_trusted(markup), **params)

    def show(self, markup: Markup) -> None:
        """Replace what is shown, if it differs."""
        text = _trusted(markup)
        if text != self.markup:
            self.markup = text

    def _handle_msg(self, data: Any) -> None:
        if self._on_press is None or not isinstance(data, dict):
            return
        word, key = data.get("do"), data.get("key")
        if isinstance(word, str) and isinstance(key, str):
            self._on_press(word, key)


def _trusted(markup: Markup) -> str:
    if not isinstance(markup, Markup):
        message = "Give a Markup; escape data with Markup(...).format(...) first."
        raise TypeError(message)
    return str(markup)


class Navigator(JSComponent):
    """Takes the tab to another page of the studio. Put it on the page once; it has no size."""

    _esm = """
    export function render({ model }) {
      model.on("msg:custom", (message) => {
        const path = message.path ?? "";
        if (/^\\/(?![\\/\\\\])/.test(path)) location.assign(path);
      });
      return document.createElement("span");
    }
    """

    def __init__(self, **params: Any) -> None:
        """Stand somewhere out of the way."""
        super().__init__(width=0, height=0, margin=0, sizing_mode="fixed", **params)

    def go(self, path: str) -> None:
        """Open `path`, such as '/run?id=…'; an address of another server is not followed."""
        self._send_msg({"path": path})
