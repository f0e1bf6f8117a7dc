/* What can be added: grouped, searchable, dragged to the canvas or clicked. */
import { useMemo, useRef, useState } from "react";
import { Chip, Icon } from "./icons.jsx";
import { entryItems, search } from "./items.js";
import { useEditor, useEditorState } from "./editor_store.js";
import { startPaletteDrag } from "./gestures.js";

const REMEMBERED = "treadle.flow-editor.palette";

/* Storage is refused in some embedded pages: then the palette is simply open. */
function remembered() {
  try {
    return localStorage.getItem(REMEMBERED) !== "closed";
  } catch {
    return true;
  }
}

function remember(open) {
  try {
    localStorage.setItem(REMEMBERED, open ? "open" : "closed");
  } catch {
    return;
  }
}

function Entry({ entry }) {
  const { session, actions } = useEditor();
  return (
    <button type="button" className="fe-entry" data-type={entry.type} title={entry.description || entry.label}
      onPointerDown={(event) => event.button === 0 && startPaletteDrag(session, entry, event)} onClick={() => actions.addAtCentre(entry)}>
      <Chip name={entry.icon} kind={entry.kind} />
      <span dir="auto">{entry.label}</span>
    </button>
  );
}

function Groups({ entries, text }) {
  const groups = useMemo(() => {
    const found = search(entryItems(entries), text).map((item) => item.entry);
    return [...Map.groupBy(found, (entry) => entry.category)];
  }, [entries, text]);
  if (!groups.length) return <p className="fe-none" role="status">Nothing is called “{text.trim()}”. Try what it does, such as “filter” or “write”.</p>;
  return groups.map(([category, members]) => (
    <section key={category} aria-label={category}>
      <h3 className="fe-palette__group">{category}</h3>
      {members.map((entry) => <Entry key={entry.type} entry={entry} />)}
    </section>
  ));
}

export function Palette({ entries }) {
  const { actions } = useEditor();
  const [open, setOpen] = useState(remembered);
  const [text, setText] = useState("");
  const field = useRef(null);
  const toggle = () => {
    remember(!open);
    setOpen(!open);
  };
  if (!open) {
    return (
      <button type="button" className="fe-iconbutton fe-palette__open" aria-label="Show the palette" title="Show the palette" onClick={toggle}>
        <Icon name="panel-left-open" />
      </button>
    );
  }
  const onKeyDown = (event) => {
    event.stopPropagation();
    const [first] = search(entryItems(entries), text);
    if (event.key === "Enter" && text.trim() && first) actions.addAtCentre(first.entry);
    if (event.key === "Escape") setText("");
  };
  return (
    <aside className="fe-palette nowheel" aria-label="Palette">
      <div className="fe-palette__top">
        <label className="fe-find">
          <Icon name="search" size={14} />
          <input ref={field} value={text} placeholder="Find a node" aria-label="Find a node" autoComplete="off" spellCheck="false"
            onChange={(event) => setText(event.target.value)} onKeyDown={onKeyDown} />
          <kbd title="Tab on the canvas adds a node where the pointer is">Tab</kbd>
        </label>
        <button type="button" className="fe-iconbutton" aria-label="Hide the palette" title="Hide the palette" onClick={toggle}>
          <Icon name="panel-left-close" size={15} />
        </button>
      </div>
      <div className="fe-palette__list"><Groups entries={entries} text={text} /></div>
    </aside>
  );
}

/* The card under the pointer while an entry is dragged. */
export function Ghost() {
  const ghost = useEditorState((state) => state.ghost);
  if (!ghost) return null;
  const { entry, x, y } = ghost;
  return (
    <div className="fe-ghost" style={{ transform: `translate(${x - 24}px,${y - 24}px)` }} aria-hidden="true">
      <Chip name={entry.icon} kind={entry.kind} />
      <span dir="auto">{entry.label}</span>
    </div>
  );
}
