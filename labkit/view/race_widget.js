// The race as a widget of a kernel (anywidget).

import { follow, toldOf } from "./race_told.js";
import { RaceView, make } from "./race_view.js";

export default {
  initialize({ model }) {
    follow(model);
  },
  render({ model, el }) {
    const told = toldOf(model), view = new RaceView(told.race, el);
    const style = make("style", "", el, `#lab-saved-${model.get("name")} { display: none }`); // what stands for it
    told.views.add(view);
    return () => { told.views.delete(view); view.remove(); style.remove(); };
  },
};
