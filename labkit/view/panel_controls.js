// The controls of a panel. They show what the kernel tells and tell it what a person does; what follows from it comes
// back as state. Every control is one of the browser's own, so that keyboard and screen readers know it.

import { PanelDrawing } from "./panel_drawing.js";
import { button, choice } from "./panel_parts.js";
import { PanelShelf } from "./panel_shelf.js";
import { counted, whole } from "./race_data.js";
import { make } from "./race_view.js";

const TRAITS = ["state", "progress", "shelf", "drawn"];

export class PanelControls {
  constructor(model, root) {
    this.model = model;
    this.root = make("div", "controls", root);
    this.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest while a control has the focus
    this.root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey) delete this.root.dataset.lmSuppressShortcuts; // saving is the notebook's
      else event.stopPropagation();
    });
    this.root.addEventListener("keyup", () => { this.root.dataset.lmSuppressShortcuts = "true"; });
    const row = make("div", "transport", this.root);
    this.buttons = make("div", "buttons", row);
    const news = make("div", "news", this.root);
    this.bar = make("progress", "lab-progress", news);
    this.bar.setAttribute("aria-label", "updates done");
    this.stage = make("output", "lab-stage", news);
    this.error = make("div", "lab-error", this.root);
    this.error.setAttribute("role", "alert");
    this.presets = make("div", "presets", this.root);
    const columns = make("div", "columns", this.root);
    this.left = make("div", "left", columns);
    this.knobs = make("div", "knobs", this.left);
    this.plan = make("div", "plan", this.left);
    this.right = make("div", "right", columns);
    this.drawing = new PanelDrawing(model, this.right);
    this.shelf = new PanelShelf(model, this.right);
    this.share = this.shareField(this.right);
    this.asking = false;
    this.shows = Object.fromEntries(TRAITS.map((name) => [name, () => this.renew(name)]));
    for (const name of TRAITS) { model.on(`change:${name}`, this.shows[name]); this.renew(name); }
  }

  tell(what, more = {}) {
    this.model.send({ do: what, ...more });
  }

  // Draw anew what depends on a trait, and give the focus back to the control that had it.
  renew(name) {
    const key = this.root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const value = this.model.get(name);
    if (name === "progress") this.showProgress(value);
    else if (name === "shelf") this.shelf.show(value);
    else if (name === "drawn") this.drawing.show(value);
    else this.showState(value);
    if (key && document.activeElement?.dataset?.key !== key) {
      this.root.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    }
  }

  showProgress({ stage, done, total }) {
    this.stage.textContent = stage ?? "";
    this.bar.max = total ?? 1;
    this.bar.value = done ?? 0;
    this.bar.hidden = !done;
  }

  showState(state) {
    if (!state.mode) return;
    this.state = state;
    const hides = new Set(state.hide);
    this.root.dataset.mode = state.mode;
    if (state.mode !== "idle" || !state.question) this.asking = false;
    this.showTransport(hides);
    this.error.replaceChildren();
    if (state.error) this.showError(state.error);
    this.knobs.replaceChildren();
    this.presets.replaceChildren();
    if (!hides.has("presets")) this.showPresets();
    if (!hides.has("knobs")) for (const knob of state.knobs) this.showKnob(knob);
    this.showPlan();
    this.share.box.hidden = hides.has("share");
    if (document.activeElement !== this.share.text) this.share.text.value = state.share;
    this.drawing.offer(hides.has("drawing") ? [] : state.drawable);
    this.shelf.box.hidden = hides.has("shelf");
  }

  showTransport(hides) {
    const { state, buttons } = this, idle = state.mode === "idle", paused = state.mode === "paused";
    buttons.replaceChildren();
    if (this.asking) { this.ask(); return; }
    const train = () => {
      if (!state.question) this.tell("train");
      else { this.asking = true; this.showTransport(hides); buttons.querySelector("button")?.focus(); }
    };
    button("lab-train primary", buttons, state.train, train, "train").disabled = !idle || !state.cost;
    const rest = button("lab-pause", buttons, paused ? "Go on" : "Pause", () => this.tell("pause"), "pause");
    const step = button("lab-step", buttons, "Step", () => this.tell("step"), "step");
    step.title = "on to the next measurement, and rest there";
    const stop = button("lab-stop", buttons, "Stop", () => this.tell("stop"), "stop");
    for (const each of [rest, step, stop]) each.disabled = idle;
    if (idle && state.again) {
      button("lab-again", buttons, "Train again with a new seed", () => this.tell("train", { again: true }), "again");
    }
    if (!idle && state.running.length && !hides.has("steering")) this.showSteering();
  }

  // Change the rate of a run that trains, or end it, while the others go on.
  showSteering() {
    const { state } = this, box = make("div", "steering", this.buttons);
    const runs = state.running.map(({ id, name }) => ({ value: id, text: name }));
    const run = choice("lab-run", box, "run", "run", runs);
    run.value = runs.some(({ value }) => value === this.steered) ? this.steered : runs[0].value;
    run.addEventListener("change", () => { this.steered = run.value; });
    const rates = choice("lab-rate", box, "rate", "its new rate", [{ value: "", text: "new rate …" },
      ...state.rates.map((rate) => ({ value: rate, text: rate }))]);
    rates.title = "a copy of the run goes on from here at this rate; it trains first, then the others go on";
    rates.addEventListener("change", () => this.tell("rate", { run: run.value, text: rates.value }));
    if (runs.length > 1) {
      const end = () => this.tell("stop", { run: run.value });
      button("lab-stop-one", box, "Stop this run", end, "stop-one").title = "the others go on";
    }
  }

  // Ask for a prediction, in the place of the buttons, so that nothing moves.
  ask() {
    const { words, answers } = this.state.question, box = make("div", "lab-question", this.buttons);
    make("b", "", box, words);
    for (const answer of answers) {
      button("answer", box, whole(answer), () => this.tell("train", { predicted: answer }), `answer-${answer}`);
    }
    button("skip", box, "Skip", () => this.tell("train", { predicted: "" }), "skip");
  }

  showError({ words, trace }) {
    make("b", "", this.error, "✖ This did not work. ");
    this.error.append(words);
    if (!trace) return;
    const fold = make("details", "", this.error);
    make("summary", "", fold, "where it happened");
    make("pre", "", fold, trace);
  }

  showPresets() {
    const { presets, mode } = this.state;
    if (!presets.length) return;
    make("b", "", this.presets, "Start from");
    for (const { name, look, chosen } of presets) {
      const css = `lab-preset lab-preset-${name.replaceAll(" ", "-")}`;
      const made = button(css, this.presets, name, () => this.tell("choose", { name }), `preset-${name}`);
      made.title = look;
      made.disabled = mode !== "idle";
      made.setAttribute("aria-pressed", chosen);
    }
  }

  // A knob is a row of its rungs: one of them is chosen, or of the raced knob several.
  showKnob({ name, label, aside, raced, rungs }) {
    const row = make("fieldset", `knob lab-knob-${name}`, this.knobs);
    row.disabled = this.state.mode !== "idle";
    const title = make("legend", "name", row, label);
    if (aside) make("small", "", title, aside).title = aside;
    const race = button("race", row, "race", () => this.tell("race", { knob: name }), `race-${name}`);
    race.setAttribute("aria-pressed", raced);
    race.setAttribute("aria-label", `race several values of ${label}`);
    race.title = raced ? "this knob is raced: choose up to eight values" : "race several values of this knob";
    const chips = make("div", "rungs", row);
    this.named ??= Math.random().toString(36).slice(2);
    for (const { text, chosen, known } of rungs) {
      const chip = make("label", known ? "rung known" : "rung", chips), input = make("input", "", chip);
      Object.assign(input, { type: raced ? "checkbox" : "radio", checked: chosen, name: `${this.named}-${name}` });
      input.dataset.key = `${name}-${text}`;
      input.setAttribute("aria-label", `${label} ${text}${known ? ", already trained" : ""}`);
      input.addEventListener("change", () => this.tell("value", { knob: name, text }));
      make("span", "", chip, whole(text));
      if (known) chip.title = "already trained: it is shown at once";
    }
  }

  showPlan() {
    const { schedule, scaling, cost, look, moved, reveal } = this.state, { plan } = this;
    plan.replaceChildren();
    if (schedule) plan.append(preview(schedule));
    const words = make("div", "words", plan);
    make("div", "lab-cost", words, cost);
    make("div", "lab-scaling quiet", words, scaling);
    if (reveal) make("div", "lab-reveal", words, whole(reveal));
    if (!look) return;
    const line = make("div", "lab-look", words);
    make("b", "", line, moved ? `What to look at ${moved}. ` : "What to look at. ");
    line.append(look);
  }

  shareField(parent) {
    const box = make("div", "share", parent), label = make("label", "", box, "share string ");
    const text = make("input", "lab-share", label);
    Object.assign(text, { type: "text", spellcheck: false });
    text.dataset.key = "share";
    text.addEventListener("focus", () => text.select());
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.tell("design", { text: text.value });
    });
    label.title = "this design as a text: copy it, or paste another one and press Enter";
    return { box, text };
  }

  remove() {
    for (const name of TRAITS) this.model.off(`change:${name}`, this.shows[name]);
    this.drawing.clear();
    this.shelf.clear();
  }
}

// The rate of every update, small: one line a design.
function preview({ lines, highest, high, last, words }) {
  const space = "http://www.w3.org/2000/svg", width = 190, height = 74;
  const drawing = document.createElementNS(space, "svg");
  const add = (tag, attributes, text) => {
    const made = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text != null) made.textContent = text;
    drawing.append(made);
  };
  Object.entries({ class: "lab-schedule", width, height, role: "img", "aria-label": words }).forEach(
    ([key, value]) => drawing.setAttribute(key, value));
  add("path", { d: `M34,8V${height - 18}H${width - 6}`, class: "axis" });
  const x = (step) => 34 + ((width - 42) * step) / Math.max(last - 1, 1);
  const y = (rate) => height - 18 - ((height - 28) * rate) / (highest || 1);
  for (const line of lines) {
    add("path", { d: `M${line.map(([step, rate]) => `${x(step)},${y(rate)}`).join("L")}`, class: "rate" });
  }
  add("text", { x: 30, y: 14, "text-anchor": "end" }, whole(high));
  add("text", { x: 30, y: height - 15, "text-anchor": "end" }, "0");
  add("text", { x: width - 6, y: height - 4, "text-anchor": "end" }, counted(last, "update"));
  add("text", { x: 34, y: height - 4 }, "rate");
  return drawing;
}
