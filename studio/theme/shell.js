// The frame's own behaviour: the theme, toasts, and what the server changes in the app bar.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const YEAR_S = 31536000;
  const TOAST_MS = { bad: 12000, warn: 9000 };
  let wire = null;

  const remember = (value) => {
    document.cookie = `treadle-theme=${value}; path=/; max-age=${YEAR_S}; samesite=strict`;
  };
  const chosen = () => /(?:^|; )treadle-theme=(light|dark)(?:;|$)/.test(document.cookie);
  const show = (theme, value) => {
    root.dataset.theme = theme;
    remember(value);
    if (wire && wire.theme !== theme) wire.theme = theme;
    dispatchEvent(new CustomEvent("treadle:theme", { detail: theme }));
  };
  document.getElementById("theme").addEventListener("click", () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    show(next, next);
  });
  dark.addEventListener("change", () => {
    if (!chosen()) show(dark.matches ? "dark" : "light", dark.matches ? "system-dark" : "system-light");
  });

  const toasts = document.getElementById("toasts");
  const toast = (text, tone, action) => {
    const box = document.createElement("div");
    box.className = `toast ${tone}`;
    const words = document.createElement("span");
    words.textContent = text;
    const mark = document.getElementById(`toast-${tone}`)?.content.cloneNode(true);
    if (mark) box.append(mark);
    box.append(words);
    if (action) {
      const act = document.createElement("button");
      act.textContent = action.label;
      act.addEventListener("click", action.run);
      box.append(act);
    } else {
      const close = document.createElement("button");
      close.textContent = "×";
      close.setAttribute("aria-label", "Close");
      close.addEventListener("click", () => box.remove());
      box.append(close);
      let timer = setTimeout(() => box.remove(), TOAST_MS[tone] || 5000);
      box.addEventListener("pointerenter", () => clearTimeout(timer));
      box.addEventListener("pointerleave", () => { timer = setTimeout(() => box.remove(), 2500); });
    }
    toasts.append(box);
    while (toasts.children.length > 5) toasts.firstElementChild.remove();
    return box;
  };

  let lost = null;
  const watchConnection = (doc) => {
    doc.on_event("connection_lost", () => {
      lost ??= toast("The studio can't be reached. What you see may be old.", "warn",
        { label: "Reload", run: () => location.reload() });
    });
    doc.on_event("client_reconnected", () => { lost?.remove(); lost = null; });
  };

  const connect = (doc, model) => {
    wire = model;
    const follow = (name, act) => {
      model.properties[name].change.connect(() => act(model[name]));
    };
    // crumbs and badges are escaped on the server, where the data is; they may have changed before we were here
    for (const name of ["crumbs", "badges"]) {
      const show = (html) => { document.getElementById(name).innerHTML = html; };
      follow(name, show);
      show(model[name]);
    }
    follow("title", (text) => { document.title = `${text} · Treadle`; });
    const tell = (message) => {
      const { text, tone } = message instanceof Map ? Object.fromEntries(message) : message;
      if (text) toast(text, tone || "idle");
    };
    follow("toast", tell);
    tell(model.toast);
    if (model.theme !== root.dataset.theme) model.theme = root.dataset.theme;
    watchConnection(doc);
    root.dataset.ready = "true";
    performance.mark("treadle:ready");
  };
  const look = () => {
    for (const doc of globalThis.Bokeh?.documents ?? []) {
      const model = doc.get_model_by_name("treadle");
      if (model) {
        connect(doc, model);
        return;
      }
    }
    setTimeout(look, 30);
  };
  look();
})();
