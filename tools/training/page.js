// The page that trains: what the reader chooses, what the worker tells of it, and the race in which their run grows.

import { counted, lossText, whole } from "../../labkit/view/race_data.js";
import { mount } from "../../labkit/view/race_view.js";

const MOST = 8; // runs in a race: more are not told apart by eye
const OWN = { id: "own-", name: "yours", color: "#5D00D0" }; // no recorded run's
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253,
  98, 11]; // a module of one function that returns a vector

// Why nothing can be trained here; null where it can.
function obstacle() {
  if (location.protocol === "file:") {
    return "A page that was opened from a disk may not read the files beside it, so nothing can be trained here: "
      + "run python3 -m http.server in this folder, and open http://localhost:8000/train.html.";
  }
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(SIMD))) {
    return "This browser has no WebAssembly with SIMD, which training needs: open the page in a current Firefox, "
      + "Chrome, Edge or Safari.";
  }
  if (typeof DecompressionStream !== "function" || typeof OffscreenCanvas !== "function") {
    return "This browser is too old to train: open the page in a Firefox, Chrome, Edge or Safari of 2023 or later.";
  }
  return null;
}

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const rateText = (rate) => Number(rate.toPrecision(3)).toExponential().replace("e+", "e");

function timeText(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

export class Trainer {
  // page: the element that training_page.py wrote; told: {pieces, files, arrays, design}
  constructor(page, told) {
    Object.assign(this, { told, own: [], worker: null, state: "rests" });
    for (const name of ["form", "slider", "rate", "updates", "seed", "train", "pause", "stop", "save", "bar", "count",
      "status", "race"]) this[name] = page.querySelector(`[data-part="${name}"]`);
    this.view = mount(this.race, told.pieces);
    const { ladder } = told.design;
    this.slider.addEventListener("input", () => {
      this.rate.value = rateText(ladder[this.slider.value]);
      this.showRate();
    });
    this.rate.addEventListener("input", () => this.follow());
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.begin(); });
    this.pause.addEventListener("click", () => this.rest());
    this.stop.addEventListener("click", () => this.end());
    this.save.addEventListener("click", () => this.worker.postMessage({ kind: "save", design: told.design }));
    this.follow();
    const why = obstacle();
    if (why) this.say(why, true);
    this.become(why ? "cannot" : "rests");
  }

  // Say something for everybody to hear: what begins, ends or fails.
  say(words, isWrong = false) {
    this.status.textContent = whole(words);
    this.status.classList.toggle("wrong", isWrong);
  }

  become(state) {
    this.state = state;
    const busy = ["fetches", "trains", "pauses"].includes(state), trains = ["trains", "pauses"].includes(state);
    const held = this.form.contains(document.activeElement) ? document.activeElement : null;
    this.train.disabled = busy || state === "cannot";
    for (const input of [this.slider, this.rate, this.updates, this.seed]) input.disabled = busy;
    this.pause.disabled = !trains;
    this.pause.textContent = state === "pauses" ? "Go on" : "Pause";
    this.stop.disabled = !busy;
    this.save.hidden = busy || !this.worker || !this.run?.done;
    this.bar.hidden = this.count.hidden = !busy;
    if (held?.disabled) (busy ? this.stop : this.train).focus(); // or the keyboard would begin at the top of the page
  }

  // Put the slider where a rate that was written lies.
  follow() {
    const rate = Number(this.rate.value), { ladder } = this.told.design;
    const away = (value) => Math.abs(Math.log(value / rate));
    const nearest = (best, value, i) => (away(value) < away(ladder[best]) ? i : best);
    if (rate > 0) this.slider.value = ladder.reduce(nearest, 0);
    this.showRate();
  }

  showRate() {
    this.slider.setAttribute("aria-valuetext", this.rate.value);
  }

  // What was chosen; null where it cannot be trained, which the field says.
  choice() {
    const { ladder, lengths } = this.told.design, rate = Number(this.rate.value), seed = Number(this.seed.value);
    const [low, high] = [ladder[0], ladder.at(-1)];
    this.rate.setCustomValidity(rate >= low && rate <= high ? ""
      : `Give a rate from ${rateText(low)} to ${rateText(high)}, such as 3e-3.`);
    this.seed.setCustomValidity(/^\d{1,9}$/.test(this.seed.value) ? "" : "Give a whole number from 0 on.");
    const updates = Number(this.updates.value);
    return this.form.reportValidity() && lengths[updates] ? { rate, updates, seed } : null;
  }

  begin() {
    const choice = this.choice();
    if (!choice || this.train.disabled) return;
    this.run = { ...choice, id: `${OWN.id}${this.own.length}`, name: this.nameOf(choice), done: 0, pieces: [],
      measured: [], seconds: { updates: [], looks: [] } };
    this.become("fetches");
    this.say(this.worker ? "Beginning." : "Fetching the model.");
    this.bar.removeAttribute("value");
    this.worker ??= this.hired();
    const { files, arrays, design } = this.told;
    this.worker.postMessage({ kind: "train", files, arrays, design, choice });
  }

  nameOf({ rate, updates, seed }) {
    const { last, seed: recorded } = this.told.design;
    const more = [updates !== last && counted(updates, "update"), seed !== recorded && `seed ${seed}`].filter(Boolean);
    return [`${OWN.name} ${rateText(rate)}`, ...more].join(", ");
  }

  hired() {
    const worker = new Worker("train-worker.js", { type: "module" });
    worker.addEventListener("message", ({ data }) => this[`on_${data.kind}`](data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.on_failed({ sentence: "train-worker.js or train-runtime.js is missing beside this page, or damaged: "
        + "build the pages again, or copy all of their folder." });
    });
    return worker;
  }

  rest() {
    const pauses = this.state === "trains";
    this.worker.postMessage({ kind: pauses ? "pause" : "go on" });
    this.say(pauses ? "Pausing after this update." : "Training.");
    this.become(pauses ? "pauses" : "trains");
  }

  end() {
    if (this.state === "fetches") this.dismiss("Stopped before anything was trained.");
    else {
      this.worker.postMessage({ kind: "stop" });
      this.say("Stopping after this update.");
      this.stop.disabled = this.pause.disabled = true;
    }
  }

  // What a worker has loaded is lost with it; the next one fetches again, from the browser's cache where that has it.
  dismiss(words, isWrong = false) {
    this.worker?.terminate();
    this.worker = null;
    this.say(words, isWrong);
    this.become("rests");
  }

  // -- what the worker tells

  on_fetched({ came }) {
    const all = Object.values(this.told.files).reduce((sum, { packed }) => sum + packed, 0);
    this.bar.value = Math.min(1, came / all);
    this.count.textContent = `${(Math.min(came, all) / 1e6).toFixed(1)} of ${(all / 1e6).toFixed(1)} MB`;
  }

  on_opening() {
    this.bar.removeAttribute("value");
    this.count.textContent = "";
    this.say("Preparing the model.");
  }

  on_begun() {
    this.own.push(this.run);
    const recorded = this.told.pieces.filter(({ kind }) => kind === "run").length;
    const shown = this.own.slice(-Math.max(1, MOST - recorded));
    this.run.pieces.push({ kind: "run", run: this.run.id, name: this.run.name, color: OWN.color, leads: true });
    this.view.remove();
    const summary = this.told.pieces.findLast((piece) => piece.summary)?.summary ?? "";
    const head = { kind: "race", origin: "recorded, and yours trained here",
      summary: summary && `Of the recorded runs: ${summary}` };
    this.view = mount(this.race, [...this.told.pieces, head, ...shown.flatMap(({ pieces }) => pieces)]);
    this.become("trains");
    this.say("Training.");
    this.progress();
  }

  add(piece) {
    this.run.pieces.push(piece);
    this.view.add([piece]);
  }

  on_rests() {
    if (this.state === "pauses") this.say(`Paused after ${counted(this.run.done, "update")}.`);
  }

  on_update({ done, seconds }) {
    this.run.done = done;
    this.run.seconds.updates.push(seconds);
    this.progress();
  }

  on_losses({ step, losses }) {
    const found = average(losses), mean = Number.isFinite(found) ? found : null;
    this.run.measured.push({ step, mean });
    this.add({ kind: "loss", run: this.run.id, at: [step, mean, null, null] });
    this.progress();
  }

  on_pictures({ step, images, seconds }) {
    this.run.seconds.looks.push(seconds);
    this.add({ kind: "pictures", run: this.run.id, step, images });
    this.progress();
  }

  progress() {
    const { done, updates, seconds } = this.run, course = this.told.design.lengths[updates];
    this.bar.value = done / updates;
    const words = [`update ${done} of ${updates}`];
    if (seconds.updates.length && done < updates) {
      const pace = average(seconds.updates.slice(-10)), looks = course.looks.filter((step) => step > done).length;
      const left = pace * (updates - done) + looks * average(seconds.looks);
      words.push(`${pace.toFixed(pace < 10 ? 2 : 0)} s an update`, `about ${timeText(left)} left`);
    }
    this.count.textContent = words.join(" · ");
  }

  on_end({ reason, done }) {
    this.run.done = done;
    this.become("rests");
    if (reason === "finished") this.say(this.found());
    else if (reason === "stopped") this.say(`Stopped after ${counted(done, "update")}.`);
    else {
      this.say(`At update ${done + 1} loss or gradient was no finite number any more: the run has diverged, and the `
        + "adapter is that before it.");
    }
  }

  on_failed({ sentence }) {
    this.dismiss(sentence, true);
  }

  on_file({ file }) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file]));
    link.download = `${this.run.name.replaceAll(/[ ,]+/g, "-")}.safetensors`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  // What a finished run comes to: where it ended, and which recorded curve lies nearest, if it is as long.
  found() {
    const { run } = this, { last } = this.told.design;
    const [from, to] = [run.measured[0], run.measured.at(-1)].map(({ mean }) => lossText(mean));
    const ends = `Finished: the loss on held-out pictures went from ${from} to ${to}.`;
    if (run.updates === last) return `${ends} ${this.nearest()}`.trim();
    return `${ends} The recorded runs are of ${counted(last, "update")}: their rate falls more slowly, so their `
      + "curves are no measure for this one.";
  }

  // Which recorded curve lies nearest, by the mean difference of the losses that both measured.
  nearest() {
    const { run } = this, measured = run.measured.filter(({ step, mean }) => step && mean != null);
    const apart = ({ points }) => measured.map(({ step, mean }) =>
      Math.abs((points.find((point) => point.step === step)?.mean ?? NaN) - mean));
    const recorded = this.view.race.list.filter(({ run: id }) => !id.startsWith(OWN.id));
    const [near] = recorded.map((other) => ({ name: other.name, by: apart(other) }))
      .filter(({ by }) => Number.isFinite(average(by))).sort((a, b) => average(a.by) - average(b.by));
    if (!near) return "";
    if (run.seed !== this.told.design.seed || rateText(Number(near.name)) !== rateText(run.rate)) {
      return `Its curve lies nearest to the recorded one of ${near.name}, on average `
        + `${average(near.by).toPrecision(1)} away.`;
    }
    return `This is the recorded run of ${near.name}, trained again: nowhere do their losses differ by more than `
      + `${Math.max(...near.by).toPrecision(1)}.`;
  }
}
