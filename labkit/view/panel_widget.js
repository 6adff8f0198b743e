// The panel as a widget of a kernel (anywidget): the race that it names, and its controls below it.

import { PanelControls } from "./panel_controls.js";
import { follow, toldOf } from "./race_told.js";
import { RaceView, make } from "./race_view.js";

const RACE_HEIGHT = 310; // pixels of the pictures, so that the controls stay in sight below them

export default {
  initialize({ model }) {
    follow(model);
  },
  render({ model, el }) {
    const root = make("section", "lab-panel", el), name = `lab-saved-${model.get("panel")}`;
    root.setAttribute("aria-label", "lab panel");
    make("style", "", root, `#${name} { display: none }`); // what a saved notebook shows in the panel's place
    const place = make("div", "race-place", root);
    const empty = "Choose values of a knob and train them: their pictures and curves grow here, side by side.";
    const controls = new PanelControls(model, root);
    let told = null, view = null;
    const leave = () => { if (view) { told.views.delete(view); view.remove(); view = null; } };
    const show = () => {
      leave();
      place.replaceChildren();
      if (!model.get("name")) { make("p", "empty", place, empty); return; }
      told = toldOf(model);
      view = new RaceView(told.race, place, RACE_HEIGHT);
      told.views.add(view);
    };
    model.on("change:name", show);
    show();
    return () => { leave(); model.off("change:name", show); controls.remove(); root.remove(); };
  },
};
