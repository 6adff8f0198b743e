// The shelf of a panel: earlier runs with a picture each. A row shows its run again; a pin keeps it beside others.

import { button } from "./panel_parts.js";
import { whole } from "./race_data.js";
import { make } from "./race_view.js";

export class PanelShelf {
  constructor(model, parent) {
    this.model = model;
    this.box = make("div", "lab-shelf", parent);
    this.urls = [];
  }

  show(rows) {
    const shelf = this.box;
    this.clear();
    shelf.replaceChildren();
    make("b", "heading", shelf, rows.length ? "Shelf" : "");
    if (!rows.length) { make("p", "quiet", shelf, "Every run that you train is kept here."); return; }
    const list = make("ul", "", shelf);
    for (const row of rows) this.row(make("li", row.shown ? "shown" : "", list), row);
  }

  row(item, row) {
    const open = button("row", item, "", () => this.model.send({ do: "restore", run: row.id }), `restore-${row.id}`);
    open.title = "show this run, and set the knobs as it had them";
    const image = make("img", "", open);
    image.alt = "";
    if (row.picture) {
      image.src = URL.createObjectURL(new Blob([row.picture], { type: "image/webp" }));
      this.urls.push(image.src);
    }
    const words = make("span", "words", open), first = make("span", "", words);
    make("b", "", first, whole(row.name));
    const verdict = make("span", "verdict", first, ` ${row.symbol} ${row.label}`);
    verdict.style.cssText = `--tint:${row.color}`;
    make("span", "quiet", words, [row.loss && `loss ${row.loss}`, row.score, row.when].filter(Boolean).join(" · "));
    const marked = row.settings.filter(({ differs }) => differs).map(({ name, text }) => `${name} ${text}`);
    if (marked.length) make("span", "differs", words, whole(marked.join(" · ")));
    const keep = () => this.model.send({ do: "pin", run: row.id });
    const pin = button("pin", item, row.pinned ? "pinned" : "pin", keep, `pin-${row.id}`);
    pin.setAttribute("aria-pressed", row.pinned);
    pin.setAttribute("aria-label", `keep ${row.name} beside what is shown`);
    pin.title = "keep this run beside what is shown";
  }

  clear() {
    for (const url of this.urls) URL.revokeObjectURL(url);
    this.urls = [];
  }
}
