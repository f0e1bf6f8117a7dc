/* What happened to a node, in words, a colour and an icon. */
import { Icon } from "./icons.jsx";
import { useEditor } from "./editor_store.js";
import { detailText, duration, pillText, toneOf } from "./format.js";
import { useStatus, useSum } from "./status_store.js";

const ICONS = {
  succeeded: "check", cached: "check", failed: "x", waiting: "hand", cancelled: "ban", skipped: "skip-forward",
};

function Pill({ state, children, title }) {
  const icon = ICONS[state];
  return (
    <span className="fe-pill" data-tone={toneOf(state)} title={title}>
      {icon ? <Icon name={icon} size={12} /> : null}
      {children}
    </span>
  );
}

function Progress({ status }) {
  if (status?.state !== "running" && status?.state !== "retrying") return null;
  const known = status.progress != null;
  const percent = known ? Math.round(Math.min(1, Math.max(0, status.progress)) * 100) : null;
  return (
    <div className="fe-bar" data-known={known} role="progressbar" aria-label="Progress" aria-valuemin={0}
      aria-valuemax={100} aria-valuenow={percent ?? undefined}>
      <i style={known ? { width: `${percent}%` } : undefined} />
    </div>
  );
}

function idleText(view) {
  if (view.enabled === false) return "Switched off";
  return view.problems?.[0]?.text ?? "Not run yet";
}

export function NodeStatus({ id, view }) {
  const { status: store } = useEditor();
  const status = useStatus(store, id);
  const detail = status ? detailText(status) : idleText(view);
  return (
    <>
      <Progress status={status} />
      <footer className="fe-foot" data-idle={!status}>
        <span className="fe-foot__detail" dir="auto" title={detail}>{detail}</span>
        {status?.state ? <Pill state={status.state} title={status.ms == null ? status.state : `${status.state} in ${duration(status.ms)}`}>{pillText(status)}</Pill> : null}
      </footer>
      {status?.state === "failed" && status.message ? (
        <p className="fe-message" dir="auto" title={status.message}><span>{status.message}</span></p>
      ) : null}
    </>
  );
}

export function SumPill({ leaves }) {
  const { status: store } = useEditor();
  const sum = useSum(store, leaves);
  if (!sum) return null;
  const time = sum.ms ? ` · ${duration(sum.ms)}` : "";
  return <Pill state={sum.state}>{`${sum.done} of ${sum.total}${time}`}</Pill>;
}

export function Frame({ id, className, children, ...rest }) {
  const { status: store } = useEditor();
  const status = useStatus(store, id);
  return <div className={className} data-state={status?.state ?? ""} {...rest}>{children}</div>;
}
