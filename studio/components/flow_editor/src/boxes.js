/* Where things are on the canvas, from React Flow's own lookup. */
import { Obstacles } from "./route.js";

function rectangle(node) {
  const { x, y } = node.internals.positionAbsolute;
  const width = node.measured?.width ?? node.width ?? node.initialWidth ?? 0;
  const height = node.measured?.height ?? node.height ?? node.initialHeight ?? 0;
  return { id: node.id, left: x, top: y, right: x + width, bottom: y + height };
}

/* A node's rectangle, and that of the outermost container around it (or again its own). */
export function boxOf(lookup, id) {
  const node = lookup.get(id);
  if (!node) return null;
  let frame = node;
  while (frame.parentId && lookup.has(frame.parentId)) frame = lookup.get(frame.parentId);
  return { ...rectangle(node), frame: rectangle(frame) };
}

export const isOpenFrame = (node) => node.type === "container" && !node.data.view.collapsed;

/* The obstacles for wires, collected once per turn and not once per wire. */
export class Boxes {
  #obstacles = null;

  forget() {
    this.#obstacles = null;
  }

  get(lookup) {
    this.#obstacles ??= new Obstacles(
      [...lookup.values()].filter((node) => !node.hidden).map((node) => ({ ...rectangle(node), open: isOpenFrame(node) })),
    );
    return this.#obstacles;
  }
}

/* The innermost open container under a point of the canvas, apart from `except` and what is inside it. */
export function containerAt(lookup, { x, y }, except) {
  let found = null;
  for (const node of lookup.values()) {
    if (!isOpenFrame(node) || node.hidden || node.id === except || isInside(lookup, node, except)) continue;
    const box = rectangle(node);
    const hit = x > box.left && x < box.right && y > box.top && y < box.bottom;
    if (hit && (!found || depth(lookup, node) > depth(lookup, found))) found = node;
  }
  return found;
}

const above = (lookup, node) => (node.parentId ? lookup.get(node.parentId) : undefined);

function isInside(lookup, node, id) {
  for (let at = above(lookup, node); at; at = above(lookup, at)) if (at.id === id) return true;
  return false;
}

function depth(lookup, node) {
  let levels = 0;
  for (let at = above(lookup, node); at; at = above(lookup, at)) levels += 1;
  return levels;
}

export function middleOf(node) {
  const box = rectangle(node);
  return { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 };
}

const measured = new WeakMap();

/* The rectangle around all visible nodes; remembered for React Flow's current list of them. */
export function boundsOf({ nodes, nodeLookup }) {
  if (!measured.has(nodes)) measured.set(nodes, bounds(nodeLookup.values()));
  return measured.get(nodes);
}

export function bounds(nodes) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const node of nodes) {
    if (node.hidden) continue;
    const { left, top, right, bottom } = rectangle(node);
    box.left = Math.min(box.left, left);
    box.top = Math.min(box.top, top);
    box.right = Math.max(box.right, right);
    box.bottom = Math.max(box.bottom, bottom);
  }
  return { ...box, width: box.right - box.left, height: box.bottom - box.top };
}
