// What a race has told so far. Pieces come in any number and order of runs and are only ever added: the same pieces
// are sent by a kernel that trains, lie in a page, or come from a recorded set. labkit/view/race_data.py writes them.

const BARE = "the untouched base"; // where runs begin that do not begin from an adapter's file
const KINDS = new Set(["race", "run", "loss", "pictures", "verdict", "progress"]);

export class Race {
  constructor() {
    this.head = { title: "", field: "", origin: "", last: 1, prompts: [], note: "", start: BARE,
      measured: "held-out pictures" };
    this.runs = new Map(); // by run id, in the order of the legend
    this.step = 0; // the newest update that was told
  }

  add(piece) {
    if (!KINDS.has(piece.kind)) return; // of a newer kit: what is known is shown
    const run = this.runs.get(piece.run);
    if (piece.kind === "race") Object.assign(this.head, piece);
    else if (piece.kind === "progress") this.step = Math.max(this.step, piece.step);
    else if (piece.kind === "run") {
      // its `leads`: its row stands before the others
      this.runs.set(piece.run, { ...piece, index: this.runs.size, points: [], pictures: [], verdict: null });
    } else if (!run) return;
    else if (piece.kind === "verdict") run.verdict = piece;
    else if (piece.kind === "loss") {
      const [step, mean, low, high] = piece.at; // null: not a finite number
      insert(run.points, { step, mean, low, high });
    } else insert(run.pictures, { step: piece.step, urls: piece.images.map(address) });
  }

  get list() {
    return [...this.runs.values()];
  }

  // Updates at which anything was measured or drawn: where the slider stops.
  get stops() {
    const steps = new Set([0]);
    for (const run of this.list) for (const { step } of [...run.points, ...run.pictures]) steps.add(step);
    return [...steps].sort((a, b) => a - b);
  }

  // Updates of which the film strip shows pictures: at most `count`, evenly spread, the first and the last among them.
  filmSteps(count) {
    const steps = [...new Set(this.list.flatMap((run) => run.pictures.map(({ step }) => step)))].sort((a, b) => a - b);
    if (steps.length <= count) return steps;
    return Array.from({ length: count }, (_, i) => steps[Math.round((i * (steps.length - 1)) / (count - 1))]);
  }

  // What update 0 is called where there is room for one word.
  get first() {
    return this.head.start === BARE ? "base" : "start";
  }

  get pictured() {
    return Math.max(0, ...this.list.flatMap((run) => run.pictures.map(({ urls }) => urls.length)));
  }

  // A run that has ended by an update at which others go on.
  isOver(run, step) {
    const end = run.verdict?.end;
    return end != null && end < step && this.list.some((other) => !(other.verdict?.end <= step));
  }
}

// The last entry of a list at or before an update.
export function at(entries, step) {
  let found = null;
  for (const entry of entries) if (entry.step <= step) found = entry;
  return found;
}

// Put an entry where its update belongs. One of the same update takes its place: a resumed run repeats updates.
function insert(entries, entry) {
  const place = entries.findIndex((other) => other.step >= entry.step);
  if (place < 0) entries.push(entry);
  else entries.splice(place, entries[place].step === entry.step ? 1 : 0, entry);
}

// A picture's address: from a kernel come bytes, in a page lies text in base64.
function address(picture) {
  if (typeof picture === "string") return `data:image/webp;base64,${picture}`;
  return URL.createObjectURL(new Blob([picture], { type: "image/webp" }));
}

export function lossText(value) {
  return value == null ? "not finite" : value >= 10 ? value.toPrecision(3) : value.toFixed(3);
}

// A rate such as 3e-3 is one word: no line breaks at its sign.
export function whole(text) {
  return text.replace(/(\de-)(?=\d)/g, "$1\u2060");
}

export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
