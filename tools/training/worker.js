// Trains in a thread of its own, so that the page answers. It is told {kind: "train" | "pause" | "go on" | "stop" |
// "save"} and tells what it fetches, does and measures.

import * as ort from "./train-runtime.js";
import { adapterFile } from "./adapter_file.js";
import { Told, unpacked } from "./fetched.js";
import { Training } from "./training.js";

const MEMORY = /memory|alloc/i; // how browsers and the runtime call it when there is too little
const tell = (kind, told = {}, moved = []) => postMessage({ kind, ...told }, moved);
let lab = null; // {compute, numbers}, once all is there
let training = null;
let wish = "go on"; // or "pause", "stop": what the person asked for last

// Fetch all files and make the sessions.
async function opened({ files, arrays, design }) {
  let came = 0;
  const fetched = {}, count = (bytes) => tell("fetched", { came: came += bytes });
  for (const [name, { file, bytes }] of Object.entries(files)) {
    fetched[name] = await unpacked(new URL(file, location), file, bytes, count);
  }
  tell("opening");
  ort.env.wasm.numThreads = 1; // more would need headers that a plain server does not send
  ort.env.wasm.wasmBinary = fetched.runtime.buffer;
  const compute = {};
  for (const name of ["update", "prediction", "picture"]) {
    const session = await ort.InferenceSession.create(fetched[name], {
      executionProviders: ["wasm"], graphOptimizationLevel: "extended", // "all" begins later, and runs no faster
      externalData: [{ path: "weights", data: fetched.weights }],
    });
    compute[name] = async (given) => {
      const fed = (input) => [input, tensor(given[input], design.shapes[name][input])];
      const told = await session.run(Object.fromEntries(session.inputNames.map(fed)));
      return Object.fromEntries(session.outputNames.map((output) => [output, told[output].data]));
    };
  }
  const all = new Float32Array(fetched.numbers.buffer), numbers = {};
  for (const [name, [start, length]] of Object.entries(arrays)) numbers[name] = all.subarray(start, start + length);
  return { compute, numbers };
}

function tensor(values, shape) {
  if (values instanceof Float32Array) return new ort.Tensor("float32", values, shape);
  return new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
}

const turn = () => new Promise((done) => { setTimeout(done); }); // lets messages in

async function rested() {
  await turn();
  while (wish === "pause") {
    tell("rests"); // again and again: it may have been asked to go on and to pause meanwhile
    await new Promise((done) => { setTimeout(done, 100); });
  }
  return wish !== "stop";
}

async function images(pixels, count, side) {
  const files = [];
  for (let i = 0; i < count; i += 1) {
    const canvas = new OffscreenCanvas(side, side), context = canvas.getContext("2d");
    const picture = context.createImageData(side, side), from = i * side * side * 3;
    for (let at = 0; at < side * side; at += 1) {
      picture.data.set([pixels[from + 3 * at], pixels[from + 3 * at + 1], pixels[from + 3 * at + 2], 255], 4 * at);
    }
    context.putImageData(picture, 0, 0);
    files.push(await (await canvas.convertToBlob({ type: "image/webp", quality: 0.9 })).arrayBuffer());
  }
  return files;
}

// Call something; returns what it gives, and the seconds it took.
async function timed(work) {
  const begun = performance.now(), result = await work();
  return [result, (performance.now() - begun) / 1000];
}

async function look(design) {
  const { done, course } = training;
  if (!course.looks.includes(done)) return;
  const [losses, measured] = await timed(() => training.heldOut());
  tell("losses", { step: done, losses });
  await rested();
  const [pixels, drew] = await timed(() => training.pictures());
  const drawn = await images(pixels, design.seeds.length, design.side);
  tell("pictures", { step: done, images: drawn, seconds: measured + drew }, drawn);
}

async function train(told) {
  lab ??= await opened(told);
  training = new Training(lab.compute, lab.numbers, told.design, told.choice);
  tell("begun");
  await look(told.design);
  while (training.done < training.updates) {
    if (!await rested()) return tell("end", { reason: "stopped", done: training.done });
    const [loss, seconds] = await timed(() => training.update());
    if (!Number.isFinite(loss)) return tell("end", { reason: "diverged", done: training.done });
    tell("update", { done: training.done, seconds });
    await look(told.design);
  }
  return tell("end", { reason: "finished", done: training.done });
}

function sentence(error) {
  if (error instanceof Told) return error.message;
  if (MEMORY.test(error?.message ?? error)) {
    return "The browser gave this page too little memory: it needs about half a gigabyte. Close other pages and "
      + "programs, reload this one and press Train again.";
  }
  return `This browser could not train: ${error?.message ?? error}.`;
}

onmessage = async ({ data }) => {
  if (data.kind === "save") {
    const file = adapterFile(training.adapter, data.design.header, data.design.layers).buffer;
    tell("file", { file }, [file]);
  } else if (data.kind === "train") {
    wish = "go on";
    try {
      await train(data);
    } catch (error) {
      tell("failed", { sentence: sentence(error) });
    }
  } else wish = data.kind;
};
