/* The way of a wire: a plain curve where nothing is in the way, else around the nodes in between. */

const CLEARANCE = 16;
const STUB = 24;
const RADIUS = 22;
const SAMPLES = 14;
const FARTHEST = 600;
const MOST_TRIED = 16;

/* The visible cards as rectangles; found by x-columns, so that a long graph costs no more per wire. */
export class Obstacles {
  #columns = new Map();
  static COLUMN = 256;

  constructor(boxes) {
    for (const box of boxes) {
      for (const column of Obstacles.#span(box.left, box.right)) {
        if (!this.#columns.has(column)) this.#columns.set(column, []);
        this.#columns.get(column).push(box);
      }
    }
  }

  static *#span(left, right) {
    const last = Math.floor(right / Obstacles.COLUMN);
    for (let column = Math.floor(left / Obstacles.COLUMN); column <= last; column += 1) yield column;
  }

  within(left, right, except) {
    const found = new Set();
    for (const column of Obstacles.#span(left, right)) {
      this.#columns.get(column)?.forEach((box) => {
        if (!except.includes(box.id) && box.right > left && box.left < right) found.add(box);
      });
    }
    return [...found];
  }
}

const inside = (box, x, y) => x > box.left - 4 && x < box.right + 4 && y > box.top - 4 && y < box.bottom + 4;

function curve(from, to) {
  const reach = Math.max(24, Math.min(160, Math.abs(to.x - from.x) * 0.5));
  return { from, a: { x: from.x + reach, y: from.y }, b: { x: to.x - reach, y: to.y }, to };
}

function along({ from, a, b, to }, t) {
  const u = 1 - t;
  const mix = (axis) =>
    u ** 3 * from[axis] + 3 * u * u * t * a[axis] + 3 * u * t * t * b[axis] + t ** 3 * to[axis];
  return { x: mix("x"), y: mix("y") };
}

function curveIsFree(bezier, boxes) {
  for (let step = 1; step < SAMPLES; step += 1) {
    const { x, y } = along(bezier, step / SAMPLES);
    if (boxes.some((box) => inside(box, x, y))) return false;
  }
  return true;
}

function segmentIsFree(p, q, boxes) {
  const [left, right] = [Math.min(p.x, q.x) - 4, Math.max(p.x, q.x) + 4];
  const [top, bottom] = [Math.min(p.y, q.y) - 4, Math.max(p.y, q.y) + 4];
  return !boxes.some((box) => box.right > left && box.left < right && box.bottom > top && box.top < bottom);
}

const isFree = (points, boxes) => points.slice(1).every((point, index) => segmentIsFree(points[index], point, boxes));

/* Out of the source, to a level, along it, to the target. Between two containers the turns are made
   outside both, or the wire would run along their borders. */
function detour(from, to, y, [source, target]) {
  const apart = source && target && source.frame.id !== target.frame.id;
  const out = apart ? Math.max(from.x, source.frame.right) + STUB : from.x + STUB;
  const back = apart ? Math.min(to.x, target.frame.left) - STUB : to.x - STUB;
  return [from, { x: out, y: from.y }, { x: out, y }, { x: back, y }, { x: back, y: to.y }, to];
}

/* Levels worth trying, the shortest way first: between the containers, halfway, or just past a card. */
function levels(from, to, boxes, ends) {
  const middle = (from.y + to.y) / 2;
  const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
  const extra = (y) => Math.max(0, top - y, y - bottom);
  const edges = [...boxes, ...ends].flatMap((box) => [box.top - CLEARANCE, box.bottom + CLEARANCE]);
  const near = edges.filter((y) => extra(y) < FARTHEST);
  const sorted = [...new Set(near)].sort((a, b) => extra(a) - extra(b) || Math.abs(a - middle) - Math.abs(b - middle));
  const gap = ends.length === 2 ? gapBetween(...ends) : null;
  return [...(gap === null ? [] : [gap]), middle, ...sorted.slice(0, MOST_TRIED)];
}

function bestDetour(from, to, boxes, ends) {
  const blocked = [...boxes, ...ends.map(shrink)];
  const tried = levels(from, to, boxes, ends);
  const free = tried.find((y) => isFree(detour(from, to, y, ends), blocked));
  return detour(from, to, free ?? tried[0], ends);
}

/* The ends themselves only bar their inside: the wire starts and finishes on their edge. */
const shrink = (box) => ({ ...box, left: box.left + 8, right: box.right - 8 });

function gapBetween(a, b) {
  if (a.frame.bottom < b.frame.top) return (a.frame.bottom + b.frame.top) / 2;
  if (b.frame.bottom < a.frame.top) return (b.frame.bottom + a.frame.top) / 2;
  return null;
}

function rounded(points) {
  let path = `M${points[0].x},${points[0].y}`;
  for (let index = 1; index < points.length - 1; index += 1) {
    const [p, q, r] = [points[index - 1], points[index], points[index + 1]];
    const [before, after] = [Math.hypot(q.x - p.x, q.y - p.y), Math.hypot(r.x - q.x, r.y - q.y)];
    const radius = Math.min(RADIUS, before / 2, after / 2);
    if (radius < 0.5) continue;
    const start = { x: q.x - ((q.x - p.x) / before) * radius, y: q.y - ((q.y - p.y) / before) * radius };
    const end = { x: q.x + ((r.x - q.x) / after) * radius, y: q.y + ((r.y - q.y) / after) * radius };
    path += `L${start.x},${start.y}Q${q.x},${q.y} ${end.x},${end.y}`;
  }
  const last = points.at(-1);
  return `${path}L${last.x},${last.y}`;
}

/* {path, middle} of a wire between two points. `ends` are the boxes it joins, `obstacles` all of them. */
export function route(from, to, obstacles, ends) {
  const [left, right] = [Math.min(from.x, to.x) - STUB, Math.max(from.x, to.x) + STUB];
  const near = obstacles.within(left, right, ends.map((box) => box.id));
  // A frame is in the way only of wires that have no business in it.
  const boxes = near.filter((box) => !box.open || !(inside(box, from.x, from.y) || inside(box, to.x, to.y)));
  const bezier = curve(from, to);
  if (to.x >= from.x + 16 && curveIsFree(bezier, boxes)) {
    const { a, b } = bezier;
    const path = `M${from.x},${from.y}C${a.x},${a.y} ${b.x},${b.y} ${to.x},${to.y}`;
    return { path, middle: along(bezier, 0.5) };
  }
  const points = bestDetour(from, to, boxes, ends);
  return { path: rounded(points), middle: { x: (points[2].x + points[3].x) / 2, y: points[2].y } };
}
