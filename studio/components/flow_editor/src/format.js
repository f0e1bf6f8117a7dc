/* Numbers and states as people read them. */
export function duration(ms) {
  if (ms < 10) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

const WORDS = { succeeded: "done" };
const TONES = {
  queued: "idle", skipped: "idle", cancelled: "idle", running: "run", retrying: "warn",
  waiting: "warn", succeeded: "ok", cached: "ok", failed: "bad",
};

export const toneOf = (state) => TONES[state] ?? "idle";
export const wordOf = (state) => WORDS[state] ?? state;

/* What the pill says: how far, how long, or the state's own word. */
export function pillText(status) {
  if (status.state === "running" && status.progress != null) return `${Math.round(status.progress * 100)} %`;
  if (status.state === "succeeded" && status.ms != null) return duration(status.ms);
  return wordOf(status.state);
}

/* The short line beside the pill. */
export function detailText(status) {
  const again = (status.attempts ?? 1) > 1 && (status.attempt ?? 1) > 1;
  if (again && ["running", "retrying", "failed"].includes(status.state)) {
    return `attempt ${status.attempt} of ${status.attempts}`;
  }
  return status.detail ?? "";
}

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
