// The adapter as a .safetensors file that labkit and diffusers read: the header is made where the page is built.

// A convolution's A lies as (h, w, rank, in) and is written as (rank, in, h, w).
function tapsLast(values, [h, w, rank, width]) {
  const taps = h * w, inner = rank * width, moved = new Float32Array(values.length);
  for (let i = 0; i < inner; i += 1) {
    for (let tap = 0; tap < taps; tap += 1) moved[i * taps + tap] = values[tap * inner + i];
  }
  return moved;
}

// header: text; parts: {start, shape} in the adapter and {offset} in the file, bytes
export function adapterFile(adapter, header, parts) {
  const text = new TextEncoder().encode(header), begin = 8 + text.length;
  const file = new Uint8Array(begin + 4 * adapter.length);
  new DataView(file.buffer).setUint32(0, text.length, true); // of 64 bits, the upper half is zero
  file.set(text, 8);
  for (const { start, shape, offset, isKernel } of parts) {
    const values = adapter.subarray(start, start + shape.reduce((a, b) => a * b));
    const written = isKernel ? tapsLast(values, shape) : values;
    file.set(new Uint8Array(written.buffer, written.byteOffset, written.byteLength), begin + offset);
  }
  return file;
}
