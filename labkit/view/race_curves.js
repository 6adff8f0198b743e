// The curves of a race as SVG: held-out loss on fixed noise against the updates done, with the interval of each.
// Axes are those of labkit/view/curves.py: updates on a logarithm, losses as far up as a run worth seeing goes.

import { at, counted, lossText } from "./race_data.js";
import { LINE, placed } from "./race_labels.js";

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "9 3", "5 3", "2 3", "9 3 2 3"];
const MARKS = [ // one a run, about the origin
  "M-3.6,0a3.6,3.6 0 1,0 7.2,0a3.6,3.6 0 1,0 -7.2,0", "M-3.2,-3.2h6.4v6.4h-6.4z", "M0,-4.6L4,0L0,4.6L-4,0z",
  "M-4,-3.4h8L0,4z", "M-4,3.4h8L0,-4z", "M-1.5,-4.2h3v2.7h2.7v3h-2.7v2.7h-3v-2.7h-2.7v-3h2.7z",
  "M-4,-2.3L-2.3,-4L0,-1.7L2.3,-4L4,-2.3L1.7,0L4,2.3L2.3,4L0,1.7L-2.3,4L-4,2.3L-1.7,0z", "M-3.4,-4v8L4,0z",
];
const GAINS = 2, SHARE = 0.15; // above the start: times what the best run gained, or a share of the start
const EDGE = { row: 10, rows: 4 }; // marks above the axis: pixels a row, and rows at most
const LABELS = { pixels: 160, share: 0.28, most: 0.36 }; // of the width, for names: the larger of two, up to the third

export function element(name, attributes = {}, parent = null, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text != null) made.textContent = text;
  parent?.append(made);
  return made;
}

// The line, dashed as the run's curve, with its marker: the key of the legend.
export function swatch(run, width = 34) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("width", width);
  drawing.setAttribute("height", 12);
  drawing.setAttribute("aria-hidden", "true");
  element("path", { d: `M1,6H${width - 1}`, class: "line", "stroke-dasharray": dash(run) }, drawing);
  element("path", { d: mark(run), class: "mark", transform: `translate(${width / 2},6)` }, drawing);
  return drawing;
}

const mark = (run) => MARKS[run.index % MARKS.length];
const dash = (run) => DASHES[run.index % DASHES.length];

export class Curves {
  constructor(race, holder, pick) {
    this.race = race;
    this.pick = pick; // called with {run} where a curve was clicked, with {step} elsewhere
    this.drawing = element("svg", { role: "img", class: "curves" }, holder);
    this.tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
    holder.append(this.tip);
    this.drawing.addEventListener("pointermove", (event) => this.hover(event));
    this.drawing.addEventListener("pointerleave", () => this.hover(null));
    this.drawing.addEventListener("click", (event) => this.click(event));
  }

  // Draw everything anew: where data, size or the highlighted runs changed. `focus` is a set of run ids, or empty.
  draw(width, height, stops, focus) {
    const { race, drawing } = this;
    [this.stops, this.focus] = [stops, focus];
    this.named(width);
    this.box = { left: 52, top: 18, right: width - this.labelRoom, bottom: height - 40 };
    drawing.replaceChildren();
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    this.scales();
    this.leaving = race.list.filter((run) => own(run).some(({ mean }) => !this.reaches(mean)));
    this.box.top += EDGE.row * Math.min(Math.max(this.leaving.length - 1, 0), EDGE.rows - 1);
    this.axes();
    this.clipId ??= `race${Math.random().toString(36).slice(2)}`;
    const all = { x: 0, y: this.box.top, width, height }; // what rises above the axis is cut off, and marked
    element("rect", all, element("clipPath", { id: `${this.clipId}-all` }, drawing));
    this.revealed = element("rect", { ...all, y: 0 }, element("clipPath", { id: this.clipId }, drawing));
    const clipped = element("g", { "clip-path": `url(#${this.clipId}-all)` }, drawing);
    const future = element("g", { class: "future" }, clipped);
    const past = element("g", { "clip-path": `url(#${this.clipId})` }, clipped);
    const marks = element("g", { "clip-path": `url(#${this.clipId})` }, drawing);
    this.cursor = element("line", { class: "cursor", y1: this.box.top - 6, y2: this.box.bottom }, drawing);
    this.dots = element("g", {}, drawing);
    const labels = element("g", { class: "labels" }, drawing);
    for (const run of race.list) {
      if (!run.points.length) continue;
      const look = this.look(run);
      this.curve(run, element("g", look, future));
      this.curve(run, element("g", look, past));
      this.marks(run, element("g", look, marks));
    }
    this.labels(labels, { width: this.labelRoom - 12, top: 2, bottom: height - 2 });
    drawing.setAttribute("aria-label", this.summary());
  }

  // Class and colours of what is drawn of a run: with some in focus, the others step back.
  look(run) {
    const isChosen = this.focus.has(run.run), place = isChosen ? " chosen" : this.focus.size ? " dimmed" : "";
    return { class: `run${place}`, style: run.style };
  }

  // Choose how runs are called beside their curves, and the room for that: as much as the longest name takes with a
  // mark behind it, so that nothing moves when it comes. A value alone is called by its knob too, where there is room.
  named(width) {
    const { field } = this.race.head, runs = this.race.list.filter((run) => run.points.length);
    this.pen ??= document.createElement("canvas").getContext("2d");
    this.pen.font = `600 12px ${getComputedStyle(this.drawing).fontFamily}`;
    const most = Math.min(Math.max(LABELS.pixels, LABELS.share * width), LABELS.most * width);
    const pixels = (name) => this.measure(`${name} ↑`) + 14;
    const full = ({ name }) => (field && !name.includes(" ") ? `${field} ${name}` : name);
    const isRoomy = runs.every((run) => full(run) === run.name || pixels(full(run)) <= most);
    this.names = new Map(runs.map((run) => [run, isRoomy ? full(run) : run.name]));
    this.labelRoom = Math.min(most, Math.max(60, ...[...this.names.values()].map(pixels)));
  }

  measure(text) {
    return this.pen.measureText(text).width;
  }

  scales() {
    const { race, box } = this;
    const decades = Math.log10(Math.max(race.head.last, 2));
    const place = (step) => (step < 1 ? 0.35 * step : 0.35 + Math.log10(step)); // symlog, as matplotlib draws it
    this.x = (step) => box.left + 4 + ((box.right - box.left - 8) * place(step)) / (0.35 + decades);
    const sound = race.list.filter((run) => !isBroken(run));
    const runs = sound.some((run) => run.points.length) ? sound : race.list;
    const means = runs.flatMap((run) => run.points.map(({ mean }) => mean)).filter((mean) => mean != null);
    const starts = runs.map((run) => run.points[0]?.mean ?? null).filter((mean) => mean != null);
    const start = Math.max(...starts);
    const highest = means.length ? start + Math.max(GAINS * (start - Math.min(...means)), SHARE * start) : 1;
    const ends = runs.flatMap((run) => run.points.flatMap(({ mean, low, high }) => [mean, low, high]));
    const seen = ends.filter((value) => value != null).map((value) => Math.min(value, highest));
    const [low, high] = seen.length ? [Math.min(...seen), Math.max(...seen)] : [0, 1];
    const room = (high - low || Math.abs(high) * 0.1 || 1) * 0.08;
    [this.low, this.high] = [low - room, high + room];
    this.y = (loss) => box.bottom - ((box.bottom - box.top) * (loss - this.low)) / (this.high - this.low);
  }

  axes() {
    const { drawing, box, race } = this, group = element("g", { class: "axes" }, drawing);
    const losses = ticks(this.low, this.high), digits = decimals(losses[1] - losses[0]);
    for (const loss of losses) {
      element("line", { x1: box.left, x2: box.right, y1: this.y(loss), y2: this.y(loss), class: "grid" }, group);
      element("text", { x: box.left - 7, y: this.y(loss) + 4, "text-anchor": "end" }, group, loss.toFixed(digits));
    }
    const { last } = race.head, shown = [0, last];
    const isClear = (step) => step < last && this.x(last) - this.x(step) > 3.4 * `${step} ${last}`.length + 6;
    shown.push(...[1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000].filter(isClear));
    for (const step of shown) {
      element("line", { x1: this.x(step), x2: this.x(step), y1: box.top, y2: box.bottom, class: "grid" }, group);
      const text = { x: this.x(step), y: box.bottom + 16, "text-anchor": "middle" };
      element("text", text, group, step.toLocaleString("en"));
    }
    const middle = (box.left + box.right) / 2;
    element("text", { x: middle, y: box.bottom + 34, "text-anchor": "middle" }, group, "updates done (logarithmic)");
  }

  curve(run, group) {
    const inside = (loss) => this.y(Math.min(loss, this.high * 1e3)); // a browser draws no line to infinity
    const finite = own(run).filter(({ mean }) => mean != null);
    if (finite.length && run.verdict?.label !== "diverged") {
      const edge = (end) => finite.map((point) => `${this.x(point.step)},${inside(point[end] ?? point.mean)}`);
      element("path", { d: `M${[...edge("low"), ...edge("high").reverse()].join("L")}z`, class: "band" }, group);
    }
    const line = finite.map(({ step, mean }) => `${this.x(step)},${inside(mean)}`).join("L");
    if (line) element("path", { d: `M${line}`, class: "line", "stroke-dasharray": dash(run) }, group);
  }

  // Whether a loss lies below the upper end of the axis.
  reaches(mean) {
    return mean != null && mean <= this.high;
  }

  // Mark every evaluation; above the axis where the loss lies higher (↑) or is no number any more (✖), in a row of
  // the run's own, so that no mark hides another's.
  marks(run, group) {
    const y = this.box.top - 2 - EDGE.row * (Math.max(this.leaving.indexOf(run), 0) % EDGE.rows);
    for (const { step, mean } of own(run)) {
      const x = this.x(step);
      if (!this.reaches(mean)) element("text", { x, y, class: "broken" }, group, mean == null ? "✖" : "↑");
      else element("path", { d: mark(run), class: "mark", transform: `translate(${x},${this.y(mean)})` }, group);
    }
    const left = run.fork == null ? null : between(run.points, run.fork);
    if (left == null || left > this.high) return;
    const ring = { cx: this.x(run.fork), cy: this.y(left), r: 8, class: "fork" }; // its rate was changed by hand
    element("title", {}, element("circle", ring, group), `${run.name}: its rate was changed here`);
  }

  // Write each run's name at the end of its curve, pushed apart where two would touch.
  labels(group, room) {
    const { box } = this, place = box.right + 10;
    const entries = [...this.names].map(([run, name]) => {
      const last = run.points.at(-1), isAbove = last.mean == null || last.mean > this.high;
      const mark = last.mean == null ? "\u00a0✖" : isAbove ? "\u00a0↑" : "";
      return { run, text: name + mark, y: isAbove ? box.top : this.y(last.mean) };
    }).sort((a, b) => a.y - b.y);
    for (const { run, lines, y, middle } of placed(entries, room, (text) => this.measure(text))) {
      const holder = element("g", this.look(run), group);
      element("title", {}, holder, run.name);
      element("path", { d: `M${box.right},${y}L${place - 2},${middle}`, class: "leader" }, holder);
      const text = element("text", { class: "label" }, holder);
      lines.forEach((line, i) => {
        element("tspan", { x: place, y: middle + 4 + LINE * (i - (lines.length - 1) / 2) }, text, line);
      });
    }
  }

  // Move the cursor to an update: nothing but the cursor, what it uncovers and its dots is drawn.
  moveTo(step) {
    this.step = step;
    const x = this.x(step);
    this.cursor.setAttribute("transform", `translate(${x},0)`);
    this.revealed.setAttribute("width", x + 5);
    this.dots.replaceChildren();
    for (const run of this.race.list) {
      const here = Math.min(step, run.points.at(-1)?.step ?? 0), loss = between(run.points, here);
      if (loss == null || loss > this.high) continue;
      const group = element("g", this.look(run), this.dots);
      element("circle", { cx: this.x(here), cy: this.y(loss), r: 5, class: "dot" }, group);
    }
  }

  nearest(event) {
    const frame = this.drawing.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    const away = (stop) => Math.abs(this.x(stop) - x);
    const step = this.stops.reduce((best, stop) => (away(stop) < away(best) ? stop : best), 0);
    const far = (run) => Math.abs(this.y(Math.min(between(run.points, step) ?? this.high, this.high)) - y);
    const runs = this.race.list.filter((run) => run.points.length).sort((a, b) => far(a) - far(b));
    return { step, x, y, run: runs.length && far(runs[0]) < 12 ? runs[0] : null };
  }

  // Give the numbers of the update under the pointer.
  hover(event) {
    this.tip.hidden = !event;
    if (!event) return;
    const { step, x, run } = this.nearest(event);
    const lines = this.race.list.filter(({ points }) => at(points, step)).sort((a, b) =>
      (at(a.points, step).mean ?? Infinity) - (at(b.points, step).mean ?? Infinity));
    const title = Object.assign(document.createElement("b"), { textContent: `after ${counted(step, "update")}` });
    this.tip.replaceChildren(title);
    for (const each of lines) {
      const { mean, low, high } = at(each.points, step), line = document.createElement("div");
      line.className = each === run ? "run near" : "run";
      line.style.cssText = each.style;
      const interval = mean == null || low == null ? "" : ` (${lossText(low)} to ${lossText(high)})`;
      line.append(swatch(each, 26), ` ${each.name}: ${lossText(mean)}${interval}`);
      this.tip.append(line);
    }
    const room = this.drawing.parentElement.clientWidth - this.tip.offsetWidth; // at the pointer's right, or its left
    const left = x + 14 <= room ? x + 14 : x - 14 - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.drawing.style.cursor = run ? "pointer" : "col-resize";
  }

  click(event) {
    const { run, step } = this.nearest(event);
    this.pick(run ? { run: run.run } : { step });
  }

  summary() {
    const words = this.race.list.filter((run) => run.points.length).map((run) => {
      const first = run.points[0], last = run.points.at(-1);
      return `${run.name} from ${lossText(first.mean)} to ${lossText(last.mean)}`;
    });
    return `Loss on ${this.race.head.measured} against updates. ${words.join("; ")}.`;
  }
}

// What a run's curve shows: of a fork only what follows its parent's last evaluation, since the rest is the parent's.
function own(run) {
  const from = run.fork == null ? 0 : at(run.points, run.fork)?.step ?? 0;
  return run.points.filter(({ step }) => step >= from);
}

// Whether a run is no measure of how far up the axis goes: it diverged, or lies far above its start, unjudged so far.
function isBroken({ verdict, points }) {
  if (verdict) return verdict.label === "diverged";
  const last = points.at(-1)?.mean;
  return points.length > 1 && (last == null || last > (1 + SHARE) * points[0].mean);
}

// The loss at an update between two that were measured, on the straight line that is drawn.
function between(points, step) {
  const before = at(points, step), after = points.find((point) => point.step >= step);
  if (before?.mean == null) return null;
  if (after?.mean == null || after.step === before.step) return before.mean;
  const place = (at) => (at < 1 ? 0.35 * at : 0.35 + Math.log10(at));
  const share = (place(step) - place(before.step)) / (place(after.step) - place(before.step));
  return before.mean + share * (after.mean - before.mean);
}

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((each) => each >= rough);
  const first = Math.ceil(low / step), count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step * 1.001)));
