// Light or dark: taken from the colour behind a view, whatever set it, and told to style sheets as data-theme.

const DARK = matchMedia("(prefers-color-scheme: dark)");
const TOLD = ["class", "style", "data-theme", "data-jp-theme-light", "data-vscode-theme-kind"];

// Keep data-theme of a view up to date; returns a function that ends it.
export function watchTheme(root) {
  const tell = () => {
    let behind = root.parentElement, color = null;
    for (; behind && color == null; behind = behind.parentElement) {
      const numbers = getComputedStyle(behind).backgroundColor.match(/[\d.]+/g) ?? [];
      const [red, green, blue, alpha = 1] = numbers.map(Number);
      if (alpha > 0.5 && red != null) color = 0.299 * red + 0.587 * green + 0.114 * blue;
    }
    root.dataset.theme = (color == null ? isDark() : color < 128) ? "dark" : "light";
  };
  const themes = new MutationObserver(() => requestAnimationFrame(tell));
  for (const node of [document.documentElement, document.body]) {
    themes.observe(node, { attributes: true, attributeFilter: TOLD });
  }
  DARK.addEventListener?.("change", tell);
  requestAnimationFrame(tell);
  tell();
  return () => { themes.disconnect(); DARK.removeEventListener?.("change", tell); };
}

// Tell whether a page without a colour of its own is dark: VS Code says so, else its style sheet, or the browser where
// that lets it choose. What says nothing is white, in whatever the person prefers.
function isDark() {
  const kind = document.body.dataset.vscodeThemeKind, scheme = getComputedStyle(document.documentElement).colorScheme;
  if (kind) return !kind.endsWith("light");
  return scheme.includes("dark") && (!scheme.includes("light") || DARK.matches);
}
