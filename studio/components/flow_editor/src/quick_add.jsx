/* A list to choose from by typing: nodes to add, ports to connect to. */
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Chip } from "./icons.jsx";
import { search } from "./items.js";
import { useEditor, useEditorState } from "./editor_store.js";

const MOST_SHOWN = 200;
const MARGIN = 8;

/* Keeps an overlay inside the editor: it moves left or up as far as it must. */
export function useInside(at) {
  const { session } = useEditor();
  const element = useRef(null);
  useLayoutEffect(() => {
    const { offsetWidth, offsetHeight, style } = element.current;
    const { clientWidth, clientHeight } = session.root;
    style.left = `${Math.max(MARGIN, Math.min(at.x, clientWidth - offsetWidth - MARGIN))}px`;
    style.top = `${Math.max(MARGIN, Math.min(at.y, clientHeight - offsetHeight - MARGIN))}px`;
  });
  return element;
}

function Option({ item, id, active, onPick, onEnter }) {
  const element = useRef(null);
  useEffect(() => {
    if (active) element.current.scrollIntoView({ block: "nearest" });
  }, [active]);
  return (
    <div ref={element} id={id} className="fe-option" role="option" aria-selected={active} onPointerMove={onEnter} onClick={() => onPick(item)}>
      <Chip name={item.icon} kind={item.kind} size="s" />
      <span className="fe-option__label" dir="auto">{item.label}</span>
      <span className="fe-option__hint" dir="auto">{item.hint}</span>
    </div>
  );
}

function Picker({ picker }) {
  const { session, actions } = useEditor();
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const found = useMemo(() => search(picker.items, text).slice(0, MOST_SHOWN), [picker.items, text]);
  const list = useId();
  const element = useInside(picker.at);
  const close = () => {
    actions.closeOverlays();
    session.focusCanvas();
  };
  const step = (by) => setActive((index) => (found.length ? (index + by + found.length) % found.length : 0));
  const onKeyDown = (event) => {
    event.stopPropagation();
    const act = {
      Escape: close, ArrowDown: () => step(1), ArrowUp: () => step(-1), Tab: () => step(event.shiftKey ? -1 : 1),
      Enter: () => found[active] && picker.onPick(found[active]),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  return (
    <div ref={element} className="fe-picker nowheel" role="dialog" aria-label={picker.title} onKeyDown={onKeyDown}>
      <input autoFocus value={text} placeholder={picker.placeholder} aria-label={picker.placeholder} role="combobox" aria-expanded="true"
        aria-controls={list} aria-activedescendant={found[active] ? `${list}-${active}` : undefined} autoComplete="off" spellCheck="false"
        onChange={(event) => {
          setText(event.target.value);
          setActive(0);
        }} />
      <div id={list} className="fe-picker__list" role="listbox" aria-label={picker.title}>
        {found.map((item, index) => (
          <Option key={item.key} id={`${list}-${index}`} item={item} active={index === active} onPick={picker.onPick} onEnter={() => setActive(index)} />
        ))}
        {found.length ? null : <p className="fe-none">{picker.empty}</p>}
      </div>
      <p className="fe-picker__keys"><kbd>↑</kbd><kbd>↓</kbd> choose <kbd>Enter</kbd> {picker.title.startsWith("Add") ? "add" : "connect"} <kbd>Esc</kbd> close</p>
    </div>
  );
}

export function QuickAdd() {
  const picker = useEditorState((state) => state.picker);
  return picker ? <Picker key={`${picker.title} ${picker.at.x} ${picker.at.y}`} picker={picker} /> : null;
}
