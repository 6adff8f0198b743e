// A race one can hold in the hand: pictures of the same seeds in a row a run, all curves, and one slider over the
// updates that moves both. Drawn from a Race alone, so that it plays with a kernel, in a saved notebook and on a page.

import { Curves, swatch } from "./race_curves.js";
import { Race, at, counted, lossText, whole } from "./race_data.js";
import { bound } from "./race_labels.js";
import { watchTheme } from "./race_theme.js";

const FRAME_MS = 480; // of a replay, from one stop to the next
const WIDE = 1100, WIDE_CARDS = 820; // pixels from which curves stand beside the pictures, or beside cards of them
const FILM = 6; // pictures of a film strip
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export function make(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text != null) made.textContent = text;
  parent?.append(made);
  return made;
}

export class RaceView {
  // height: pixels for the pictures, for a view with something below it that is to stay in sight; null: as they come
  constructor(race, holder, height = null) {
    this.race = race;
    this.height = height;
    this.pinned = []; // run ids, at most two
    this.pointed = null; // the run under the pointer or with the focus
    this.index = null; // of the stop that is shown; null: the newest
    this.rows = new Map();
    this.root = make("section", "lab-race", holder);
    this.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest while a control has the focus
    this.build();
    this.sizes = new ResizeObserver(() => this.refresh());
    this.sizes.observe(this.root);
    this.unwatch = watchTheme(this.root);
    this.refresh();
  }

  build() {
    const { root } = this, head = make("div", "head", root);
    this.title = make("b", "title", head);
    this.badge = make("span", "badge", head);
    this.progress = make("span", "progress", head);
    const bar = make("div", "bar", root);
    this.play = make("button", "play", bar);
    this.play.type = "button";
    this.play.addEventListener("click", () => (this.timer ? this.pause() : this.start()));
    const track = make("div", "track", bar);
    this.slider = make("input", "", track);
    Object.assign(this.slider, { type: "range", min: 0, step: 1 });
    this.slider.setAttribute("aria-label", "update");
    this.slider.addEventListener("input", () => { this.pause(); this.show(Number(this.slider.value)); });
    this.stopNames = make("div", "stops", track);
    this.now = make("output", "update", bar);
    const body = make("div", "body", root);
    this.strip = make("div", "strip", body);
    this.requests = make("div", "caption requests", this.strip);
    const side = make("div", "side", body);
    this.measured = make("div", "caption", side);
    const figure = make("div", "figure", side);
    this.curves = new Curves(this.race, figure, ({ run, step }) => {
      if (run) this.pin(run);
      else { this.pause(); this.show(this.stops.indexOf(step)); }
    });
    this.words = make("div", "words", side);
    this.words.setAttribute("aria-live", "polite");
    this.note = make("div", "note", root);
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.pinned.length) { this.pinned = []; this.refresh(); }
      if (event.ctrlKey || event.metaKey) delete root.dataset.lmSuppressShortcuts; // saving is still the notebook's
      else event.stopPropagation(); // its other keys may not act on cells from here
    });
    root.addEventListener("keyup", () => { root.dataset.lmSuppressShortcuts = "true"; });
  }

  // Take what came in. Everything is drawn anew at most once a frame, however many pieces arrive.
  add(pieces) {
    for (const piece of pieces) this.race.add(piece);
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = null; this.refresh(); });
  }

  refresh() {
    const { race, root } = this, width = root.clientWidth;
    if (!width) return;
    this.stops = race.stops;
    const { head } = race;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `${head.title}: ${counted(race.list.length, "run")}`);
    this.title.textContent = head.title;
    this.measured.textContent = `loss on ${head.measured}, always the same noise`;
    this.badge.textContent = head.origin;
    this.badge.hidden = !head.origin;
    this.note.textContent = head.note;
    this.requests.hidden = !race.pictured;
    this.requests.textContent = this.requests.title = head.prompts.join("  ·  ");
    root.classList.toggle("wide", width >= (this.height ? WIDE_CARDS : WIDE));
    root.classList.toggle("bare", !race.pictured);
    root.classList.toggle("comparing", this.pinned.length === 2);
    root.classList.toggle("cards", Boolean(this.height && race.pictured));
    this.measure(width);
    for (const run of race.list) this.row(run);
    this.drawStops();
    const beside = root.classList.contains("wide");
    const room = this.curves.drawing.parentElement.clientWidth;
    const rows = this.height && beside ? this.height - 74 : beside ? this.strip.clientHeight - 202 : 0;
    const least = this.height ? 240 : 280;
    this.curves.draw(room, Math.max(least, Math.min(rows || 0.52 * room, 520)), this.stops, new Set(this.pinned));
    this.show(this.index, true);
  }

  // Choose the side of the pictures: as large as the width allows, and no more rows than fill a screen.
  measure(width) {
    const { race, root } = this, seeds = Math.max(race.pictured, 1), comparing = this.pinned.length === 2;
    this.film = race.filmSteps(FILM);
    const pane = root.classList.contains("wide") ? width * 0.58 : width;
    if (this.height && race.pictured && !comparing) {
      this.fit(pane, seeds);
      return;
    }
    const columns = seeds + (seeds > 1 ? this.film.length / 2 : this.film.length);
    const side = comparing ? (pane / 2 - 30) / seeds : (pane - 150 - 6 * columns) / columns;
    const most = comparing ? 256 : Math.max(76, Math.min(168, 760 / Math.max(race.list.length, 1)));
    root.style.setProperty("--side", `${Math.floor(Math.max(44, Math.min(side, most)))}px`);
    const frame = seeds > 1 ? "calc(var(--side) / 2 - 1px)" : "var(--side)"; // two seeds stand one above the other
    const small = Math.floor(Math.min(42, (pane / 2 - 40) / this.film.length - 4));
    root.style.setProperty("--frame", comparing ? `${small}px` : frame);
  }

  // Lay the runs out as cards, in as many columns as give the largest pictures within the height; the slider shows
  // what a film strip would.
  fit(pane, seeds) {
    const count = Math.max(this.race.list.length, 1), { root } = this;
    const sides = Array.from({ length: count }, (_, i) => {
      const across = (pane - 12 * i) / (i + 1) / seeds - 12;
      return Math.min(across, this.height / Math.ceil(count / (i + 1)) - 62);
    });
    const side = Math.max(...sides);
    root.style.setProperty("--side", `${Math.floor(Math.max(56, Math.min(side, 224)))}px`);
    root.style.setProperty("--columns", sides.indexOf(side) + 1);
  }

  // Make or renew the row of a run: its key, its pictures at the cursor, and its film.
  row(run) {
    run.style ??= `--color:${run.color}`;
    let row = this.rows.get(run.run);
    if (!row) {
      const box = make("div", "run row", this.strip);
      box.style.cssText = run.style;
      row = { box, key: make("button", "key", box), now: make("div", "now", box), film: make("div", "film", box) };
      row.key.type = "button";
      row.key.append(swatch(run));
      row.name = make("b", run.name.includes(" ") ? "name long" : "name", row.key, whole(bound(run.name)));
      row.key.title = run.name;
      row.loss = make("span", "loss", row.key);
      row.verdict = make("span", "verdict", row.key);
      row.score = make("span", "score", row.key);
      row.key.addEventListener("click", () => this.pin(run.run));
      const point = (id) => () => { this.pointed = id; this.say(); };
      for (const kind of ["pointerenter", "focusin"]) box.addEventListener(kind, point(run.run));
      for (const kind of ["pointerleave", "focusout"]) box.addEventListener(kind, point(null));
      row.film.setAttribute("aria-hidden", "true"); // the slider shows the same pictures one by one
      this.rows.set(run.run, row);
    }
    const { verdict } = run;
    row.verdict.textContent = verdict ? `${verdict.symbol} ${verdict.label}` : "";
    row.verdict.style.cssText = verdict ? `--tint:${verdict.color}` : "";
    row.score.textContent = verdict?.score ?? "";
    row.box.classList.toggle("pinned", this.pinned.includes(run.run));
    row.box.style.order = run.leads || this.pinned.includes(run.run) ? 0 : 1;
    row.key.setAttribute("aria-pressed", this.pinned.includes(run.run));
    const wanted = `${this.film} ${run.pictures.map(({ step }) => step)}`;
    if (row.drawn !== wanted) this.drawFilm(run, row, wanted);
  }

  drawFilm(run, row, wanted) {
    row.drawn = wanted;
    row.film.replaceChildren();
    row.frames = this.film.map((step) => {
      const frame = make("div", "frame", row.film), shown = run.pictures.find((entry) => entry.step === step);
      for (const src of shown?.urls ?? []) Object.assign(make("img", "", frame), { src, alt: "", decoding: "async" });
      if (shown) make("small", "", frame, step ? step.toLocaleString("en") : this.race.first);
      frame.addEventListener("click", () => { this.pause(); this.show(this.stops.indexOf(step)); });
      return { frame, step };
    });
  }

  drawStops() {
    const last = this.stops.length - 1;
    this.slider.max = last;
    this.stopNames.replaceChildren();
    const room = this.stopNames.clientWidth || 1;
    let right = -Infinity;
    const place = (i) => (last ? (i / last) * (room - 18) + 9 : 9);
    this.stops.forEach((step, i) => {
      const text = i ? step.toLocaleString("en") : this.race.first, half = text.length * 3.6 + 5, x = place(i);
      const touchesLast = i < last && x + half > place(last) - this.stops[last].toLocaleString("en").length * 3.6 - 5;
      const mark = make("i", "", this.stopNames);
      mark.style.left = `${x}px`;
      if (x - half < right || touchesLast) return;
      mark.dataset.name = text;
      right = x + half;
    });
  }

  // Move everything to a stop; null stands for the newest, which a race that grows follows.
  show(index, isRedrawn = false) {
    const last = this.stops.length - 1;
    this.index = index == null || index >= last ? null : Math.max(index, 0);
    const here = this.index ?? last, step = this.stops[here], { race } = this;
    const text = step ? this.progressText(step) : race.head.start;
    this.slider.value = here;
    this.slider.setAttribute("aria-valuetext", text);
    this.now.textContent = text;
    for (const run of race.list) this.showRun(run, step);
    if (!isRedrawn || this.curves.x) this.curves.moveTo(step);
    this.label();
    this.say();
  }

  showRun(run, step) {
    const row = this.rows.get(run.run), point = at(run.points, step), drawn = at(run.pictures, step);
    row.loss.textContent = point ? lossText(point.mean) : "";
    row.box.classList.toggle("over", this.race.isOver(run, step));
    row.key.setAttribute("aria-label", [`${this.race.head.field} ${run.name}`.trim(), run.verdict?.label,
      point && `loss ${lossText(point.mean)} after ${point.step}`, run.verdict?.score].filter(Boolean).join(", "));
    const { urls } = drawn ?? { urls: [] };
    while (row.now.children.length > urls.length) row.now.lastChild.remove();
    urls.forEach((url, i) => {
      const image = row.now.children[i] ?? Object.assign(make("img", "", row.now), { decoding: "sync" });
      if (image.src !== url) image.src = url;
      image.alt = `${this.race.head.prompts[i] ?? "picture"}: ${run.name}, after ${counted(drawn.step, "update")}`;
    });
    const current = at(row.frames ?? [], step);
    for (const each of row.frames ?? []) {
      each.frame.classList.toggle("current", each === current);
      each.frame.classList.toggle("later", each.step > step);
    }
  }

  progressText(step) {
    return `update ${step.toLocaleString("en")} of ${this.race.head.last.toLocaleString("en")}`;
  }

  pin(id) {
    const others = this.pinned.filter((other) => other !== id);
    this.pinned = others.length < this.pinned.length ? others : [...others.slice(-1), id];
    this.refresh();
  }

  start() {
    const last = this.stops.length - 1;
    this.show(this.index == null ? 0 : this.index);
    this.root.classList.toggle("moving", !STILL.matches);
    this.timer = setInterval(() => {
      this.show((this.index ?? last) + 1);
      if (this.index == null) this.pause();
    }, FRAME_MS);
    this.label();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.root.classList.remove("moving");
    this.label();
  }

  label() {
    const words = this.timer ? "Pause" : this.index == null ? "Play from the beginning" : "Play on";
    this.play.setAttribute("aria-label", words);
    this.play.title = words;
    this.play.dataset.state = this.timer ? "plays" : "rests";
    const { race } = this, goesOn = race.list.some((run) => !run.verdict?.end) && race.head.origin === "live";
    this.progress.textContent = goesOn ? `training, ${this.progressText(race.step)}` : "";
  }

  // Say what was found of the run in question, in a place of fixed height: the pinned ones, or the one pointed at.
  say() {
    const only = this.race.runs.size === 1 ? this.race.list[0].run : null;
    const ids = this.pinned.length === 2 ? this.pinned : [this.pointed ?? this.pinned[0] ?? only];
    const runs = ids.map((id) => this.race.runs.get(id)).filter((run) => run?.verdict);
    const told = runs.map((run) => run.run + run.verdict.sentence).join() || this.race.head.summary || "";
    if (told === this.told) return;
    this.told = told;
    this.words.replaceChildren();
    for (const run of runs) {
      const card = make("div", "run card", this.words), line = make("div", "", card);
      card.style.cssText = `${run.style};--tint:${run.verdict.color}`;
      line.append(swatch(run));
      make("b", "", line, ` ${run.name} `);
      make("span", "verdict", line, `${run.verdict.symbol} ${run.verdict.label}`);
      if (run.verdict.chapter) make("small", "", line, ` the chapter: ${run.verdict.chapter}`);
      make("p", "", card, whole(run.verdict.sentence));
      if (run.verdict.evidence?.length) card.append(evidence(run.verdict));
    }
    if (!runs.length) make("p", "", this.words, whole(told));
  }

  remove() {
    this.pause();
    this.sizes.disconnect();
    this.unwatch();
    this.root.remove();
  }
}

// The numbers that a verdict stands on, behind a fold.
function evidence(verdict) {
  const fold = make("details");
  make("summary", "", fold, `the evidence (confidence ${verdict.confidence})`);
  const table = make("table", "", fold);
  for (const [name, value] of verdict.evidence) {
    const row = make("tr", "", table);
    make("td", "", row, name);
    make("td", "", row, value);
  }
  return fold;
}

// Show pieces that lie in a page, without a kernel.
export function mount(holder, pieces) {
  const race = new Race();
  for (const piece of pieces) race.add(piece);
  return new RaceView(race, holder);
}
