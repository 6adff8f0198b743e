// Pictures with guidance. A multistep sampler is linear in its noise and in the predictions so far, so that it comes
// as a table: row i are the factors of the first noise and of predictions 0 to i in the latents after step i.

import { Generator } from "./draws.js";

// Draw one picture a seed. predict(latents, timesteps) gives what the U-Net predicts for the rows of the empty caption
// and, behind them, those of the prompts.
export async function drawnLatents(seeds, size, { table, timesteps, guidance }, predict) {
  const count = seeds.length * size, rows = new Float32Array(2 * count), known = [new Float32Array(count)];
  seeds.forEach((seed, i) => known[0].set(new Generator(seed, "sample").normal(size), i * size));
  let latents = known[0];
  for (const [step, timestep] of timesteps.entries()) {
    rows.set(latents);
    rows.set(latents, count);
    const told = await predict(rows, new Array(2 * seeds.length).fill(timestep));
    const prediction = new Float32Array(count);
    for (let i = 0; i < count; i += 1) prediction[i] = told[i] + guidance * (told[count + i] - told[i]);
    known.push(prediction);
    latents = new Float32Array(count);
    for (const [j, values] of known.entries()) {
      const factor = table[step][j];
      for (let i = 0; i < count; i += 1) latents[i] += factor * values[i];
    }
  }
  return latents;
}
