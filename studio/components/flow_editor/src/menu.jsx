/* The context menu of a node, a wire or the empty canvas. */
import { useEffect } from "react";
import { Icon } from "./icons.jsx";
import { useEditor, useEditorState } from "./editor_store.js";
import { useInside } from "./quick_add.jsx";

/* The menus, as lists of {label, icon, keys, act, danger}; null entries are left out. */
export function nodeMenu(session, id) {
  const { actions, readOnly, truth } = session;
  const view = truth.nodes.get(id);
  const ids = session.selectedNodes.includes(id) ? session.selectedNodes : [id];
  const edit = (item) => (readOnly ? null : item);
  return [
    view.kind === "nested" ? { label: "Open", icon: "external-link", act: () => actions.open(id) } : null,
    edit({ label: "Run to here", icon: "play", act: () => actions.runTo(id) }),
    edit({ label: "Connect…", icon: "cable", keys: "C", act: () => connectFrom(session, id) }),
    edit({ label: "Rename", icon: "pencil", keys: "F2", act: () => actions.startRename(id) }),
    view.container ? edit({ label: view.collapsed ? "Expand" : "Collapse", icon: view.collapsed ? "chevron-right" : "chevron-down", act: () => actions.collapse(id, !view.collapsed) }) : null,
    { label: "Copy", icon: "copy", keys: "Ctrl+C", act: () => actions.copy(ids) },
    edit({ label: "Duplicate", icon: "plus", keys: "Ctrl+D", act: () => actions.duplicate(ids) }),
    edit({ label: "Delete", icon: "trash-2", keys: "Del", danger: true, act: () => actions.remove({ nodes: ids, wires: [] }) }),
  ].filter(Boolean);
}

function connectFrom(session, id) {
  session.actions.selectOnly([id]);
  requestAnimationFrame(() => session.actions.connectSelected());
}

export function wireMenu(session, id) {
  const { actions, readOnly } = session;
  return readOnly ? [] : [{ label: "Delete", icon: "trash-2", keys: "Del", danger: true, act: () => actions.remove({ nodes: [], wires: [id] }) }];
}

export function canvasMenu(session, client) {
  const { actions, readOnly } = session;
  const edit = (item) => (readOnly ? null : item);
  const paste = async () => actions.paste((await navigator.clipboard?.readText().catch(() => "")) || session.clipboard);
  return [
    edit({ label: "Add a node…", icon: "plus", keys: "Tab", act: () => actions.quickAdd(client) }),
    edit({ label: "Paste", icon: "clipboard-paste", keys: "Ctrl+V", act: paste }),
    { label: "Select all", icon: "group", keys: "Ctrl+A", act: () => actions.selectAll() },
    edit({ label: "Arrange", icon: "workflow", act: () => actions.layout() }),
    { label: "Fit to the canvas", icon: "maximize", keys: "F", act: () => actions.fit() },
  ].filter(Boolean);
}

function OpenMenu({ menu }) {
  const { session, actions } = useEditor();
  const element = useInside(menu.at);
  useEffect(() => element.current.querySelector("button")?.focus(), [element, menu]);
  const close = () => {
    actions.closeOverlays();
    session.focusCanvas();
  };
  const onKeyDown = (event) => {
    const buttons = [...element.current.querySelectorAll("button")];
    const at = buttons.indexOf(event.nativeEvent.composedPath()[0]);
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) buttons[(at + by + buttons.length) % buttons.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const act = (item) => () => {
    close();
    item.act();
  };
  return (
    <div ref={element} className="fe-menu" role="menu" onKeyDown={onKeyDown} onPointerDown={(event) => event.stopPropagation()}>
      {menu.items.map((item) => (
        <button key={item.label} type="button" role="menuitem" data-danger={item.danger} onClick={act(item)}>
          <Icon name={item.icon} size={14} />
          <span>{item.label}</span>
          {item.keys ? <kbd>{item.keys}</kbd> : null}
        </button>
      ))}
    </div>
  );
}

export function Menu() {
  const menu = useEditorState((state) => state.menu);
  return menu?.items.length ? <OpenMenu menu={menu} /> : null;
}
