"""Cards can be read in light and dark pages, with and without JupyterLab.

The contrast is 4.5 at least (WCAG 2.1, 1.4.3).
"""

import re
from html.parser import HTMLParser
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from labkit.design.config import RunConfig
from labkit.lessons.results import NOT_YET, PASSED, Result
from labkit.view.cards import error_card, shelf_table
from labkit.view.evidence import Note
from labkit.view.style import VERDICTS

# Pages: text, background, and the variables of JupyterLab 4's own themes where it is JupyterLab.
LIGHT = {"--jp-ui-font-color1": "#212121", "--jp-ui-font-color2": "#616161", "--jp-layout-color0": "#ffffff"}
DARK = {"--jp-ui-font-color1": "#ffffff", "--jp-ui-font-color2": "#b3b3b3", "--jp-layout-color0": "#111111"}
PAGES = {
    "light page": ("#000000", "#ffffff", {}),
    "dark page": ("#cccccc", "#1e1e1e", {}),
    "JupyterLab light": ("#212121", "#ffffff", LIGHT),
    "JupyterLab dark": ("#ffffff", "#111111", DARK),
}
# JupyterLab gives tables, rows and traces colours of its own, which only inline styles replace.
STYLED = {"table": {"color": "var(--jp-ui-font-color1,inherit)"}, "tr": {"background": "var(--jp-layout-color0)"},
          "pre": {"background": "var(--jp-layout-color0)"}}
VOID = {"polyline", "br", "img"}


def rgb(text):
    digits = text.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    return tuple(int(digits[i:i + 2], 16) for i in (0, 2, 4))


def luminance(color):
    parts = [channel / 255 for channel in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(color, other):
    darker, lighter = sorted((luminance(color), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


class Texts(HTMLParser):
    """Collect (contrast, text) of a piece of HTML with inline styles, on a page."""

    def __init__(self, page):
        super().__init__()
        text, background, self.variables = PAGES[page]
        self.stack, self.found = [(rgb(text), rgb(background))], []

    def value(self, text):
        known = re.fullmatch(r"var\((--[\w-]+)(?:,\s*(.+))?\)", text)
        return self.variables.get(known[1], known[2]) if known else text

    def handle_starttag(self, tag, attributes):
        if tag in VOID:
            return
        inline = (dict(attributes).get("style") or "").split(";")
        style = STYLED.get(tag, {}) if self.variables else {}
        style = style | dict(pair.split(":", 1) for pair in inline if ":" in pair)
        text, behind = self.stack[-1]
        behind = rgb(self.value(style["background"])) if "background" in style else behind
        text = rgb(self.value(style["color"])) if style.get("color", "inherit") != "inherit" else text
        share = float(style.get("opacity", 1))
        seen = tuple(share * a + (1 - share) * b for a, b in zip(text, behind, strict=True))
        self.stack.append((seen, behind))

    def handle_endtag(self, tag):
        if tag not in VOID:
            self.stack.pop()

    def handle_data(self, data):
        if data.strip():
            self.found.append((contrast(*self.stack[-1]), data))


def cards():
    """Yield every kind of card, in every verdict's colour."""
    for label in VERDICTS:
        verdict = SimpleNamespace(label=label, since_step=3, evidence={"gain": 0.1}, advice="Go on.",
                                  seen="It fell.", pictures="8 of 8", confidence=0.9)
        run, other = (SimpleNamespace(run_id=f"at {rate}", provenance="Trained here.", validations={}, time_s=None,
                                      is_held_out=True, config=RunConfig(learning_rate=rate)) for rate in (1e-3, 1e-2))
        yield shelf_table([run, other], [verdict, verdict])
    yield from (error_card(error) for error in (ValueError("no"), RuntimeError("broken")))
    yield from (Result(outcome, "Because.")._repr_html_() for outcome in (PASSED, NOT_YET))
    yield from (shelf_table([], []), Note("Nothing is recorded.")._repr_html_())


@pytest.mark.parametrize("page", PAGES)
def test_every_word_of_a_card_stands_out(page):
    for card in cards():
        texts = Texts(page)
        texts.feed(card)
        assert texts.found and min(texts.found)[0] >= 4.5, (min(texts.found), card)


def test_the_contrast_of_known_pairs_is_right():
    assert contrast(rgb("#000"), rgb("#fff")) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#ffffff")) == pytest.approx(4.54, abs=0.01)


# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as those see it who lack one kind of cone.
BLIND = {
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def cielab(color, seen):
    """Return a colour in CIELAB as it is seen."""
    parts = np.array(rgb(color)) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.array(XYZ) @ np.clip(np.array(seen) @ linear, 0.001, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLIND)
def test_verdicts_colours_are_told_apart_by_people_who_see_no_red_or_no_green(kind):
    colors = [cielab(color, BLIND[kind]) for _, color in VERDICTS.values()]
    assert min(np.linalg.norm(one - other) for one, other in combinations(colors, 2)) > 5
