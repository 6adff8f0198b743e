// A prompt drawn with the adapter of a finished run, at every strength: the slider answers at once.

import { button, choice } from "./panel_parts.js";
import { make } from "./race_view.js";

export class PanelDrawing {
  constructor(model, parent) {
    this.model = model;
    this.box = make("div", "lab-drawing", parent);
    this.urls = [];
    make("b", "heading", this.box, "Draw with an adapter");
    const row = make("div", "asking", this.box);
    this.run = choice("lab-adapter", row, "adapter", "adapter of the run", []);
    this.text = make("input", "lab-prompt", row);
    Object.assign(this.text, { type: "text", placeholder: "a prompt, then Enter" });
    this.text.dataset.key = "prompt";
    this.text.setAttribute("aria-label", "prompt");
    const draw = () => model.send({ do: "draw", run: this.run.value, prompt: this.text.value });
    this.text.addEventListener("keydown", (event) => { if (event.key === "Enter") draw(); });
    button("lab-draw", row, "Draw", draw, "draw");
    this.result = make("div", "result", this.box);
    this.images = [0, 1].map(() => make("img", "", this.result));
    const side = make("div", "side", this.result), label = make("label", "", side, "strength of the adapter ");
    this.slider = make("input", "lab-strength", label);
    Object.assign(this.slider, { type: "range", min: 0, step: 1 });
    this.slider.dataset.key = "strength";
    this.value = make("output", "", side);
    this.note = make("p", "quiet", side);
    this.slider.addEventListener("input", () => this.move());
    this.drawn = [...this.images, label, this.value]; // what there is nothing to show in before the first drawing
    for (const part of this.drawn) part.hidden = true;
  }

  offer(runs) {
    this.box.hidden = !runs.length && !this.urls.length;
    if (!runs.length) return;
    const before = this.run.value;
    this.run.replaceChildren();
    for (const { id, name } of runs) Object.assign(make("option", "", this.run, name), { value: id });
    if (runs.some(({ id }) => id === before)) this.run.value = before;
    if (!this.text.value) this.text.value = runs[0].prompt;
  }

  show({ images, strengths, words, prompt, name }) {
    this.note.textContent = words ?? "";
    if (!images) return;
    this.clear();
    this.told = { strengths, prompt, name };
    this.urls = images.map((image) => URL.createObjectURL(new Blob([image], { type: "image/webp" })));
    this.slider.max = strengths.length - 1;
    this.slider.value = strengths.indexOf(1);
    for (const part of this.drawn) part.hidden = false;
    this.box.hidden = false;
    this.move();
  }

  move() {
    const { strengths, prompt, name } = this.told, strength = strengths[this.slider.value];
    const [base, adapted] = this.images, here = Number(this.slider.value);
    Object.assign(base, { src: this.urls[0], alt: `${prompt}: the untouched base` });
    Object.assign(adapted, { src: this.urls[here], alt: `${prompt}: with ${name} at strength ${strength}` });
    const words = strength === 0 ? "0: the untouched base" : `${strength}`;
    this.slider.setAttribute("aria-valuetext", words);
    this.value.textContent = strength === 0 ? words : `${words}, of ${name}`; // whatever is chosen above by now
  }

  clear() {
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.urls = [];
  }
}
