// Clipping and AdamW (Loshchilov & Hutter 2019) on one flat vector, as labkit/engine/optim.py does for each run.

export class AdamW {
  constructor(size, { beta1, beta2, epsilon, decay, maxNorm }) {
    Object.assign(this, { beta1, beta2, epsilon, decay, maxNorm: maxNorm || Infinity, steps: 0 });
    this.mean = new Float32Array(size);
    this.square = new Float32Array(size);
  }

  // Change the adapter by one update; returns the gradient's norm before it was clipped. Nothing is changed where that
  // is not finite.
  step(adapter, gradient, rate) {
    let squares = 0;
    for (let i = 0; i < gradient.length; i += 1) squares += gradient[i] * gradient[i];
    const norm = Math.sqrt(squares), clip = Math.min(1, this.maxNorm / (norm + 1e-6));
    if (!Number.isFinite(norm)) return norm;
    this.steps += 1;
    const { beta1, beta2, epsilon, mean, square } = this;
    const pace = rate / (1 - beta1 ** this.steps), unbias = Math.sqrt(1 - beta2 ** this.steps);
    for (let i = 0; i < adapter.length; i += 1) {
      const slope = clip * gradient[i];
      mean[i] = beta1 * mean[i] + (1 - beta1) * slope;
      square[i] = beta2 * square[i] + (1 - beta2) * slope * slope;
      adapter[i] -= (pace * mean[i]) / (Math.sqrt(square[i]) / unbias + epsilon) + rate * this.decay * adapter[i];
    }
    return norm;
  }
}
