// What a kernel has told of its races, by their names: what was told before comes as a model's state, what follows
// comes as messages, each told once. A page that was reloaded gets the whole state again from the kernel.

import { Race } from "./race_data.js";

const races = new Map(); // one for all views of a model

export function toldOf(model) {
  const name = model.get("name");
  if (!races.has(name)) races.set(name, { race: new Race(), count: 0, views: new Set() });
  return races.get(name);
}

// Take pieces that are numbered from `first`; ask for those that were missed while the page was loading.
function take(model, told, first, pieces) {
  if (first > told.count) return model.send({ missed: told.count });
  const news = pieces.slice(told.count - first);
  told.count += news.length;
  for (const piece of news) told.race.add(piece);
  for (const view of told.views) view.add([]);
}

// Follow the race that a model names, now and when it names another.
export function follow(model) {
  const whole = () => take(model, toldOf(model), 0, model.get("pieces"));
  whole();
  model.on("change:name", whole);
  model.on("msg:custom", (message, buffers) => {
    if (!message.pieces) return;
    let next = 0;
    const pieces = message.pieces.map((piece) => (
      piece.images ? { ...piece, images: Array.from({ length: piece.images }, () => buffers[next++]) } : piece));
    take(model, toldOf(model), message.first, pieces);
  });
}
