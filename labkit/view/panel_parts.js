// Controls of the browser's own as the parts of a panel make them: each with the name under which it keeps the focus.

import { make } from "./race_view.js";

export function button(className, parent, words, act, key = className) {
  const made = make("button", className, parent, words);
  made.type = "button";
  made.dataset.key = key;
  made.addEventListener("click", act);
  return made;
}

export function choice(className, parent, name, words, options) {
  const made = make("select", className, parent);
  made.setAttribute("aria-label", words);
  made.dataset.key = name;
  for (const { value, text } of options) Object.assign(make("option", "", made, text), { value });
  return made;
}
