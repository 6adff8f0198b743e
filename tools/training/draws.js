// The draws of the engine, number for number but for the last digits of a logarithm: each comes from a generator that
// seed, purpose and index name (labkit/engine/seeding.py), and is made of its words as torch makes it on a processor.

const WORDS = 624, FAR = 397; // of the Mersenne twister (Matsumoto & Nishimura 1998)
const RATE = 136; // bytes that SHAKE-256 takes and gives at a time

// Rotate the 64 bits (low, high) to the left.
function rotated(low, high, count) {
  if (count & 32) [low, high] = [high, low];
  const bits = count & 31;
  return bits ? [(low << bits) | (high >>> (32 - bits)), (high << bits) | (low >>> (32 - bits))] : [low, high];
}

// Keccak's permutation (FIPS 202) of 25 lanes, each a low and a high half.
function permute(lanes) {
  const sums = new Uint32Array(10), row = new Uint32Array(10);
  let feedback = 1;
  for (let round = 0; round < 24; round += 1) {
    for (let i = 0; i < 10; i += 1) sums[i] = lanes[i] ^ lanes[i + 10] ^ lanes[i + 20] ^ lanes[i + 30] ^ lanes[i + 40];
    for (let x = 0; x < 5; x += 1) {
      const next = 2 * ((x + 1) % 5), before = 2 * ((x + 4) % 5);
      const [low, high] = rotated(sums[next], sums[next + 1], 1);
      for (let i = 2 * x; i < 50; i += 10) {
        lanes[i] ^= sums[before] ^ low;
        lanes[i + 1] ^= sums[before + 1] ^ high;
      }
    }
    let x = 1, y = 0, moved = [lanes[2], lanes[3]];
    for (let t = 0; t < 24; t += 1) {
      [x, y] = [y, (2 * x + 3 * y) % 5];
      const i = 2 * (x + 5 * y), taken = [lanes[i], lanes[i + 1]];
      [lanes[i], lanes[i + 1]] = rotated(moved[0], moved[1], (((t + 1) * (t + 2)) / 2) % 64);
      moved = taken;
    }
    for (let start = 0; start < 50; start += 10) {
      row.set(lanes.subarray(start, start + 10));
      for (let i = 0; i < 10; i += 1) lanes[start + i] ^= ~row[(i + 2) % 10] & row[(i + 4) % 10];
    }
    for (let j = 0; j < 7; j += 1) {
      const bit = (1 << j) - 1;
      if (feedback & 1) lanes[bit >> 5] ^= 1 << (bit & 31);
      feedback = feedback & 128 ? ((feedback << 1) ^ 0x171) & 255 : feedback << 1;
    }
  }
}

// The first 4 * count bytes of SHAKE-256 of a text shorter than RATE, as little-endian words.
function shake256(text, count) {
  const bytes = new Uint8Array(200), view = new DataView(bytes.buffer), lanes = new Uint32Array(50);
  const given = new TextEncoder().encode(text);
  if (given.length >= RATE) throw new Error(`a generator's name is longer than ${RATE - 1} bytes: ${text}`);
  bytes.set(given);
  bytes[given.length] ^= 0x1f;
  bytes[RATE - 1] ^= 0x80;
  for (let i = 0; i < 50; i += 1) lanes[i] = view.getUint32(4 * i, true);
  const words = new Uint32Array(count);
  for (let at = 0; at < count; at += RATE / 4) {
    permute(lanes);
    words.set(lanes.subarray(0, Math.min(RATE / 4, count - at)), at);
  }
  return words;
}

export class Generator {
  // names: seed, purpose, and indices: whole numbers or words
  constructor(...names) {
    this.state = shake256(names.join("\x1f"), WORDS);
    this.next = WORDS;
  }

  turn() {
    const { state } = this;
    for (let i = 0; i < WORDS; i += 1) {
      const mixed = (state[i] & 0x80000000) | (state[(i + 1) % WORDS] & 0x7fffffff);
      state[i] = state[(i + FAR) % WORDS] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  word() {
    if (this.next === WORDS) this.turn();
    let word = this.state[this.next++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  below(range) {
    return this.word() % range;
  }

  // In [0, 1), of 24 bits.
  unit() {
    return (this.word() & 0xffffff) / 0x1000000;
  }

  uniform(count, low, high) {
    const from = Math.fround(low), width = Math.fround(Math.fround(high) - from);
    return Float32Array.from({ length: count }, () => Math.fround(this.unit() * width) + from);
  }

  // Box and Muller's normal numbers, in blocks of sixteen: radius and angle of a pair lie eight apart.
  normal(count) {
    if (count % 16) throw new Error("normal numbers are drawn by sixteens");
    const drawn = new Float32Array(count), turn = Math.fround(2 * Math.PI);
    for (let i = 0; i < count; i += 1) drawn[i] = this.unit();
    for (let start = 0; start < count; start += 16) {
      for (let i = start; i < start + 8; i += 1) {
        const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(1 - drawn[i])))));
        const angle = Math.fround(turn * drawn[i + 8]);
        drawn[i] = radius * Math.fround(Math.cos(angle));
        drawn[i + 8] = radius * Math.fround(Math.sin(angle));
      }
    }
    return drawn;
  }

  // The numbers below count in a random order.
  order(count) {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = 0; i < count - 1; i += 1) {
      const other = i + this.below(count - i);
      [order[i], order[other]] = [order[other], order[i]];
    }
    return order;
  }
}

// Which pictures update number `update` shows: the next ones of an endless stream of orders of all of them.
export function shown(seed, pictures, batch, update) {
  const orders = new Map();
  return Array.from({ length: batch }, (_, i) => {
    const place = update * batch + i, epoch = Math.floor(place / pictures);
    if (!orders.has(epoch)) orders.set(epoch, new Generator(seed, "order", epoch).order(pictures));
    return orders.get(epoch)[place % pictures];
  });
}

// One batch: latents from the encoded pictures' mean and spread, noise and timesteps.
export function batchOf(seed, update, { mean, std, size, pictures, batch, levels }) {
  const chosen = shown(seed, pictures, batch, update);
  const latents = new Generator(seed, "latents", update).normal(batch * size);
  chosen.forEach((picture, row) => {
    for (let i = 0; i < size; i += 1) {
      const at = row * size + i, from = picture * size + i;
      latents[at] = mean[from] + Math.fround(std[from] * latents[at]);
    }
  });
  const noise = new Generator(seed, "noise", update).normal(batch * size);
  const source = new Generator(seed, "timesteps", update);
  return { chosen, latents, noise, timesteps: Array.from({ length: batch }, () => source.below(levels)) };
}

// The adapter before its first update: every A drawn by its layer's name, every B zero.
export function firstAdapter(seed, size, layers) {
  const adapter = new Float32Array(size);
  for (const { name, start, shape, bound, isKernel } of layers) {
    if (bound == null) continue; // a B
    const drawn = new Generator(seed, "A", name).uniform(shape.reduce((a, b) => a * b), -bound, bound);
    adapter.set(isKernel ? tapsFirst(drawn, shape) : drawn, start);
  }
  return adapter;
}

// A convolution's A is drawn as (rank, in, h, w) and lies as (h, w, rank, in).
function tapsFirst(drawn, [h, w, rank, width]) {
  const taps = h * w, inner = rank * width, moved = new Float32Array(drawn.length);
  for (let i = 0; i < inner; i += 1) {
    for (let tap = 0; tap < taps; tap += 1) moved[tap * inner + i] = drawn[i * taps + tap];
  }
  return moved;
}
