// The names of runs beside the ends of their curves: in as many lines as they need, moved apart until none touch, and
// shortened only where no room is left, so that they still tell the runs apart.

export const LINE = 13; // pixels of a line

// Break texts into lines and place them; an entry is {text, y}, and they come in the order of their heights y.
// width: pixels of a line at most; top, bottom: pixels between which all lines lie; measure: tells a text's pixels
export function placed(entries, { width, top, bottom }, measure) {
  const texts = entries.map(({ text }) => bound(text)), wrapped = texts.map((text) => broken(text, width, measure));
  const counts = wrapped.map((lines) => lines.length), most = Math.floor((bottom - top) / LINE);
  let allowed = Math.max(1, ...counts);
  while (allowed > 1 && counts.reduce((sum, count) => sum + Math.min(count, allowed), 0) > most) allowed -= 1;
  const fits = (text) => {
    const lines = broken(text, width, measure);
    return lines.length <= allowed && lines.every((line) => measure(line) <= width);
  };
  const lines = shortened(texts, fits).map((text) => broken(text, width, measure));
  const heights = spread(entries.map(({ y }) => y), lines.map((each) => each.length * LINE), top, bottom);
  return entries.map((entry, i) => ({ ...entry, lines: lines[i], y: entry.y, middle: heights[i] }));
}

// A number stays on the line of the word before it.
export const bound = (text) => text.replace(/(?<!,) (?=[\d.]+(e-?\d+)?(,| |\u00a0|$))/g, "\u00a0");

function broken(text, width, measure) {
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && measure(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

// Take the middle out of texts that do not fit; of those that are alike then, what they begin with alike instead.
function shortened(texts, fits) {
  const short = texts.map((text) => (fits(text) ? text : cut(text, fits, (head, tail) => `${head}…${tail}`)));
  return short.map((words, i) => {
    const twins = texts.filter((_, j) => short[j] === words && texts[j] !== texts[i]);
    if (!twins.length) return words;
    const alike = Math.min(...twins.map((twin) => [...texts[i]].findIndex((letter, at) => letter !== twin[at])));
    const from = Math.max(texts[i].slice(0, alike).search(/\S*$/), 0);
    return cut(texts[i].slice(from), fits, (head, tail) => `…${head}${tail && "…"}${tail}`);
  });
}

// The longest form of a text that fits: with all of it, or with its beginning and its end.
function cut(text, fits, form) {
  if (fits(form(text, ""))) return form(text, "");
  for (let left = text.length - 1; left > 2; left -= 1) {
    const words = form(text.slice(0, Math.ceil(left / 2)).trimEnd(), text.slice(text.length - Math.floor(left / 2)));
    if (fits(words)) return words;
  }
  return form(text.slice(0, 2), "");
}

// Move heights apart until none of what stands there touches, as little as a pass down and a pass up can.
function spread(wanted, heights, top, bottom) {
  const middles = [...wanted], apart = (i) => (heights[i] + heights[i + 1]) / 2;
  for (let i = 0; i < middles.length; i += 1) {
    middles[i] = Math.max(middles[i], i ? middles[i - 1] + apart(i - 1) : top + heights[0] / 2);
  }
  for (let i = middles.length - 1; i >= 0; i -= 1) {
    middles[i] = Math.min(middles[i], i < middles.length - 1 ? middles[i + 1] - apart(i) : bottom - heights[i] / 2);
  }
  return middles;
}
