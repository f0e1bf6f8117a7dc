/* Run status lives outside React Flow's state: a push re-renders only the nodes it names. */
import { useCallback, useSyncExternalStore } from "react";

const DONE = new Set(["succeeded", "cached", "skipped"]);
const ACTIVE = new Set(["running", "retrying"]);

export class StatusStore {
  #entries = new Map();
  #listeners = new Map();
  #watchers = new Set();

  get(id) {
    return this.#entries.get(id);
  }

  subscribe(id, listener) {
    if (!this.#listeners.has(id)) this.#listeners.set(id, new Set());
    this.#listeners.get(id).add(listener);
    return () => this.#listeners.get(id)?.delete(listener);
  }

  /* Hear of every push, with the entries that changed. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  apply(changes) {
    const before = new Map();
    const heard = new Set();
    for (const [id, entry] of Object.entries(changes)) {
      before.set(id, this.#entries.get(id));
      if (entry) this.#entries.set(id, entry);
      else this.#entries.delete(id);
      this.#listeners.get(id)?.forEach((listener) => heard.add(listener));
    }
    heard.forEach((listener) => listener());
    this.#watchers.forEach((watcher) => watcher(changes, before));
  }

  clear() {
    this.apply(Object.fromEntries([...this.#entries.keys()].map((id) => [id, null])));
  }
}

export function useStatus(store, id) {
  const subscribe = useCallback((listener) => store.subscribe(id, listener), [store, id]);
  return useSyncExternalStore(subscribe, () => store.get(id));
}

/* What a container says of its children, as a string so that an unchanged sum renders nothing. */
function summarize(store, ids) {
  let done = 0;
  let known = 0;
  let ms = 0;
  let state = "";
  for (const id of ids) {
    const entry = store.get(id);
    if (!entry?.state) continue;
    known += 1;
    ms += entry.ms ?? 0;
    if (DONE.has(entry.state)) done += 1;
    if (entry.state === "failed") state = "failed";
    else if (ACTIVE.has(entry.state) && state !== "failed") state = "running";
  }
  if (!known) return "";
  if (!state) state = done === ids.length ? "succeeded" : done ? "running" : "queued";
  return `${state}|${done}|${ids.length}|${ms}`;
}

export function useSum(store, ids) {
  const subscribe = useCallback(
    (listener) => {
      const stops = ids.map((id) => store.subscribe(id, listener));
      return () => stops.forEach((stop) => stop());
    },
    [store, ids],
  );
  const text = useSyncExternalStore(subscribe, () => summarize(store, ids));
  if (!text) return null;
  const [state, done, total, ms] = text.split("|");
  return { state, done: Number(done), total: Number(total), ms: Number(ms) };
}
