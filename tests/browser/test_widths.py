"""Race and panel from 600 to 1,400 pixels, light and dark: no name is cut, and nothing reaches out of them.

Both lie in a page without Jupyter: what their widgets are told is read from a stand-in of their models.
"""

import base64
import dataclasses
import json

import pytest
from made_runs import made_race, made_run

from labkit import settings
from labkit.lessons.panel import LabPanel
from labkit.lessons.panel_run import kept, race_of
from labkit.view.race_view import RaceView

SHOTS = settings.REPO / "out/browser"
KNOBS = ("learning_rate", "lr_scheduler", "max_train_steps", "num_train_epochs", "train_batch_size", "rank")
TRAITS = ("panel", "state", "progress", "shelf", "drawn")
PAGE = """<!doctype html><meta charset=utf-8><style>%s body {margin: 0}</style>
<div id=here></div><script type=module>%s
const bytes = (_, value) => value?.b64 == null ? value : Uint8Array.from(atob(value.b64), (c) => c.charCodeAt(0));
const told = JSON.parse(%s, bytes), el = document.getElementById("here");
const heard = {}, model = {get: (name) => told[name], off() {}, send() {}};
model.on = (name, listener) => (heard[name] ??= []).push(listener);
window.tell = (name, change) => {
  told[name] = {...told[name], ...change};
  for (const listener of heard[`change:${name}`] ?? []) listener();
};
widget.initialize({model});
widget.render({model, el});
</script>"""
SHOWN = """() => ({
    names: [...document.querySelectorAll('.labels .label')].map(
        e => [[...e.children].map(line => line.textContent).join(' '),
              e.parentNode.querySelector('title').textContent]),
    boxes: [...document.querySelectorAll('.labels .label')].map(e => e.getBoundingClientRect().toJSON()),
    cut: [...document.querySelectorAll(
            '.row .name, .row .verdict, .knob .name, .knob small, .lab-race:not(.cards) .requests')]
        .filter(e => getComputedStyle(e).display !== 'inline' && e.scrollWidth > e.clientWidth + 1)
        .map(e => e.outerHTML.slice(0, 90)),
    beside: [...document.querySelectorAll('.row .key')].filter(
        key => [...key.children].some(e => e.getBoundingClientRect().right > key.getBoundingClientRect().right + 1))
        .map(e => e.textContent),
    out: [...document.querySelectorAll('body *')].filter(
        e => !e.closest('defs, clipPath') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 90)),
})"""


def written(path, widget, told):
    """Write a page that shows a widget as it is told."""
    plain = json.dumps(told, default=lambda data: {"b64": base64.b64encode(data).decode()})
    script = widget._esm.replace("export default", "const widget =")
    path.write_text(PAGE % (widget._css, script, json.dumps(plain).replace("</", "<\\/")), encoding="utf-8")
    return path


def forked(label):
    """Return a race over five rates in which the rate of one run was changed by hand, twice."""
    runs = made_race()
    view = race_of({run.run_id: kept(run) for run in runs}, label)
    for rate, kind in ((3e-3, "healthy"), (2e-2, "overshooting")):
        run = made_run(kind, learning_rate=rate)
        config = runs[1].config.replace(lr_edits=[(150, rate)], parent=runs[1].run_id)
        run = dataclasses.replace(run, config=config)
        view.builders[run.run_id] = kept(run)
        view.fork(run, runs[1].run_id, 150)
    view.flush()
    return view


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Write a race with forks, one whose names are long and alike, and a panel with six knobs and the first race."""
    folder, patch = tmp_path_factory.mktemp("widths"), pytest.MonkeyPatch()
    patch.setenv("LABKIT_FRONTEND", "browser")
    patch.setenv("LABKIT_STORE", str(folder / "runs"))
    SHOTS.mkdir(parents=True, exist_ok=True)
    panel = LabPanel("liminal/kind=pool", knobs=KNOBS)
    widget = panel.widget
    race = forked(panel.label)
    words = "adapters on the attention layers, the rate {} warmed up over ten updates, of rank 8"
    alike = RaceView(made_race(), label=lambda run: words.format(run.config.learning_rate))
    shown = {name: getattr(widget, name) for name in TRAITS}
    yield {name: written(folder / f"{name}.html", drawn_by, told | {"name": view.name, "pieces": view.data.pieces})
           for name, drawn_by, told, view in (("race", race.widget, {}, race), ("alike", alike.widget, {}, alike),
                                              ("panel", widget, shown, race))}
    patch.undo()


@pytest.mark.parametrize("name", ["race", "alike", "panel"])
def test_names_of_runs_and_knobs_are_whole_or_still_tell_apart_at_every_width(pages, chromium, name):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.goto(pages[name].as_uri())
    for width in (1400, 1000, 700, 600):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)                                    # the race is drawn anew for the width
        page.screenshot(path=SHOTS / f"width-{name}-{width}.png", full_page=True)
        shown = page.evaluate(SHOWN)
        assert (shown["cut"], shown["beside"], shown["out"]) == ([], [], []), width
        texts = [text for text, _ in shown["names"]]
        assert len(set(texts)) == len(texts) == (5 if name == "alike" else 7), width
        if name != "alike":
            for text, title in shown["names"]:
                assert text.rstrip(" ✖↑").replace("\u00a0", " ").removeprefix("learning_rate ").strip() == title
        boxes = sorted(shown["boxes"], key=lambda box: box["top"])
        assert all(upper["bottom"] <= lower["top"] + 3 for upper, lower in zip(boxes, boxes[1:], strict=False)), width
        page.locator("svg.curves").scroll_into_view_if_needed()
        curves = page.locator("svg.curves").bounding_box()
        for share in (0.1, 0.4, 0.7):                                 # the numbers under the pointer stay in the page
            page.mouse.move(curves["x"] + share * curves["width"], curves["y"] + 60)
            tip = page.locator(".tip").bounding_box()
            assert tip["x"] >= 0 and tip["x"] + tip["width"] <= width
        page.mouse.move(0, 0)
    page.close()


def test_words_are_dark_on_a_page_that_is_white_and_light_on_one_that_is_black(pages, chromium):
    page = chromium.new_page(viewport={"width": 600, "height": 900}, color_scheme="dark")
    page.goto(pages["panel"].as_uri())
    view = page.locator(".lab-race")
    assert view.get_attribute("data-theme") == "light"               # whatever its reader prefers
    for style, theme in (("document.documentElement.style.cssText = 'color-scheme: light dark'", "dark"),
                         ("document.documentElement.style.cssText = 'background: #fff'", "light"),
                         ("document.body.style.background = '#000'", "dark")):
        page.evaluate(style)
        page.wait_for_timeout(100)
        assert view.get_attribute("data-theme") == theme, style
    page.evaluate("document.documentElement.style.cssText = 'color-scheme: dark'")
    page.screenshot(path=SHOTS / "width-panel-600-dark.png", full_page=True)
    chosen = page.locator(".rung input:checked + span").first
    assert chosen.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]") == [
        "rgb(255, 255, 255)", "rgb(25, 118, 210)"]                   # 4.6 to 1
    page.evaluate("document.body.style.cssText = '--jp-brand-color1: #2196f3; --jp-layout-color1: #111'")
    assert chosen.evaluate("e => getComputedStyle(e).color") == "rgb(17, 17, 17)"  # JupyterLab's dark blue is light
    page.close()


def test_two_runs_compared_in_a_panel_of_1000_pixels_keep_to_their_columns(pages, chromium):
    page = chromium.new_page(viewport={"width": 1000, "height": 900})
    page.goto(pages["panel"].as_uri())
    for i in (0, 1):
        page.locator(".row .key").nth(i).click()
    page.wait_for_timeout(200)
    page.screenshot(path=SHOTS / "width-compared.png", full_page=True)
    inside = """() => [...document.querySelectorAll('.row.pinned')].every(row => [...row.querySelectorAll('.frame')]
        .every(e => e.getBoundingClientRect().right <= row.getBoundingClientRect().right))"""
    assert page.evaluate(inside)
    words, strip = page.locator(".lab-race .words").bounding_box(), page.locator(".strip").bounding_box()
    assert abs(words["y"] + words["height"] - strip["y"] - strip["height"]) < 4   # as far down as there is room
    page.close()


@pytest.mark.parametrize("width", [600, 700, 760, 1000, 1400])
def test_nothing_below_the_buttons_moves_when_training_begins(pages, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(pages["panel"].as_uri())
    top = "() => document.querySelector('.knobs').getBoundingClientRect().top + scrollY"
    idle = page.evaluate(top)
    running = [{"id": rate, "name": rate} for rate in ("1e-5", "1e-4", "2e-2")]
    page.evaluate("change => tell('state', change)", {"mode": "training", "again": False, "running": running})
    assert page.locator(".steering").is_visible()
    page.screenshot(path=SHOTS / f"width-training-{width}.png", full_page=True)
    assert page.evaluate(top) == idle
    page.close()
