/* Whether the stylesheet has come. It comes by a request of its own, and what is drawn without it is measured
   wrong: cards as wide as the page, and a first view that puts the graph under the toolbar. */
import { useLayoutEffect, useState } from "react";

const PATIENCE_MS = 10_000; // a sheet that never comes must not leave the page empty

const hasStyle = (element) => getComputedStyle(element).getPropertyValue("--fe-styled") !== "";

/* True once `session.root` has its style; nothing is to be drawn in it before. */
export function useStyled(session) {
  const [styled, setStyled] = useState(false);
  useLayoutEffect(() => {
    const since = performance.now();
    let frame = 0;
    const look = () => {
      if (hasStyle(session.root) || performance.now() - since > PATIENCE_MS) setStyled(true);
      else frame = requestAnimationFrame(look);
    };
    look();
    return () => cancelAnimationFrame(frame);
  }, [session]);
  return styled;
}
