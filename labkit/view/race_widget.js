// The race as a widget of a kernel (anywidget): what was told before comes as the model's state, what follows comes as
// messages, each told once. A page that was reloaded gets the whole state again from the kernel.

import { Race } from "./race_data.js";
import { RaceView } from "./race_view.js";

const races = new Map(); // by the name of a race: one for all views of a model

function raceOf(model) {
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

export default {
  initialize({ model }) {
    const told = raceOf(model);
    take(model, told, 0, model.get("pieces"));
    model.on("msg:custom", (message, buffers) => {
      let next = 0;
      const pieces = message.pieces.map((piece) => (
        piece.images ? { ...piece, images: Array.from({ length: piece.images }, () => buffers[next++]) } : piece));
      take(model, told, message.first, pieces);
    });
  },
  render({ model, el }) {
    const told = raceOf(model), view = new RaceView(told.race, el);
    told.views.add(view);
    return () => { told.views.delete(view); view.remove(); };
  },
};
