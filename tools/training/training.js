// One run, as labkit/engine/train.py makes it: draws, an update's gradient, AdamW, and what is measured on the way.

import { AdamW } from "./optimizer.js";
import { batchOf, firstAdapter } from "./draws.js";
import { drawnLatents } from "./sampler.js";

export class Training {
  // compute: {update, prediction, picture}, which take {name: array} and give {name: array}; numbers: {name: array}
  constructor(compute, numbers, design, { rate, updates, seed }) {
    Object.assign(this, { compute, numbers, design, rate, updates, seed, done: 0 });
    this.course = design.lengths[updates];
    this.adapter = firstAdapter(seed, design.adapterSize, design.layers);
    this.optimizer = new AdamW(design.adapterSize, design.optimizer);
  }

  // Captions of rows, one after the other: (rows, L, D).
  captions(table, rows) {
    const { captionSize } = this.design, text = new Float32Array(rows.length * captionSize);
    rows.forEach((row, i) => text.set(table.subarray(row * captionSize, (row + 1) * captionSize), i * captionSize));
    return text;
  }

  // Make one update; returns its loss. Of one whose loss or gradient is not finite nothing is changed.
  async update() {
    const { numbers, design } = this;
    const batch = batchOf(this.seed, this.done, { ...design, mean: numbers.mean, std: numbers.std });
    const told = await this.compute.update({
      adapter: this.adapter, latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps,
      text: this.captions(numbers.text, batch.chosen),
    });
    const loss = told.loss[0], rate = this.rate * this.course.factors[this.done];
    const norm = Number.isFinite(loss) ? this.optimizer.step(this.adapter, told.gradient, rate) : NaN;
    if (!Number.isFinite(norm)) return NaN;
    this.done += 1;
    return loss;
  }

  async predict(latents, timesteps, text) {
    return (await this.compute.prediction({ adapter: this.adapter, latents, timesteps, text })).prediction;
  }

  // The losses on held-out pictures, timesteps and noise that never change, one a picture.
  async heldOut() {
    const { numbers, design } = this, { batch, size, heldOut } = design, losses = [];
    for (let first = 0; first < heldOut.length; first += batch) {
      const rows = Array.from({ length: batch }, (_, i) => first + i), part = [first * size, (first + batch) * size];
      const noise = numbers.heldNoise.subarray(...part);
      const told = await this.predict(numbers.heldLatents.slice(...part), heldOut.slice(first, first + batch),
        this.captions(numbers.heldText, rows));
      for (let row = 0; row < batch; row += 1) {
        let squares = 0;
        for (let i = row * size; i < (row + 1) * size; i += 1) squares += (told[i] - noise[i]) ** 2;
        losses.push(squares / size);
      }
    }
    return losses;
  }

  // Pictures of the prompts as pixels (count, side, side, 3), 0 to 255.
  async pictures() {
    const { size, sampler, seeds } = this.design;
    const predict = (latents, timesteps) => this.predict(latents, timesteps, this.numbers.prompts);
    const latents = await drawnLatents(seeds, size, sampler, predict);
    return (await this.compute.picture({ latents })).pixels;
  }
}
