/* The line to Python: intents out, messages in, and whether anybody is there. */
import { useEffect, useRef, useState } from "react";

const RETRY_MS = 2000;
const PATIENCE = 3;

/* Bokeh tells of a lost websocket; a notebook does not, there only the greeting can go unanswered. */
function watchConnection(view, onChange) {
  const document = view?.model?.document;
  let active = true;
  const tell = (online) => () => active && onChange(online);
  document?.on_event?.("connection_lost", tell(false));
  document?.on_event?.("client_reconnected", tell(true));
  return () => {
    active = false;
  };
}

/* Messages which came through the outbox parameter, each once and in order. */
function useOutbox(model, handler) {
  const [outbox] = model.useState("outbox");
  const seen = useRef(0);
  useEffect(() => {
    for (const { seq, message } of outbox ?? []) {
      if (seq <= seen.current) continue;
      seen.current = seq;
      handler.current(message);
    }
  }, [outbox, handler]);
}

/* Greets Python until it answers; gives "connecting", "online" or "offline". */
export function useTransport({ model, view, session, onMessage }) {
  const [state, setState] = useState("connecting");
  const handler = useRef(() => {});
  handler.current = (message) => {
    setState("online");
    onMessage(message);
  };
  useOutbox(model, handler);

  useEffect(() => {
    const listener = (message) => handler.current(message);
    model.on("msg:custom", listener);
    const greet = () => session.send({ type: "ready", revision: session.truth.revision });
    const stop = watchConnection(view, (online) => {
      setState(online ? "connecting" : "offline");
    });
    greet();
    return () => {
      stop();
      model.off("msg:custom", listener);
    };
  }, [model, view, session]);

  useEffect(() => {
    if (state !== "connecting") return undefined;
    let tries = 0;
    const timer = setInterval(() => {
      tries += 1;
      if (tries >= PATIENCE) setState("offline");
      session.send({ type: "ready", revision: session.truth.revision });
    }, RETRY_MS);
    return () => clearInterval(timer);
  }, [state, session]);
  return state;
}
