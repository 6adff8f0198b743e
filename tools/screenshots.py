"""Take the pictures of README and docs/ in a real browser: `python tools/screenshots.py`.

    panel.webp, panel-dark.webp, panel-narrow.webp    the panel with a recorded race, 1,400 and 700 pixels wide
    race.webp                                         the same race by itself
    report.webp                                       the page of `labkit report` on its runs

Nothing is trained: the panel shows at once what is recorded. So the command is run again whenever the base, the
recorded runs or the looks have changed. It needs Chromium and playwright, as `test --all` does.
"""

import io
import math
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import nbformat  # noqa: E402  the path above comes first
from PIL import Image, ImageOps  # noqa: E402

from labkit.cli import own_report  # noqa: E402
from labkit.cli.tools import load  # noqa: E402
from labkit.files.atomic import write_file  # noqa: E402
from labkit.store.recorded import recorded  # noqa: E402

jupyter_page = load("jupyter_page")
PICTURES = REPO / "docs" / "pictures"
RACE = "race"                                                 # the recorded set that is shown
CELLS = ["from labkit.view.race_view import RaceView", f'RaceView.replay("{RACE}")', f"""import labkit as lk
from labkit.store.recorded import recorded
runs = recorded("{RACE}")
lab = lk.Lab(base="embedded", data=runs[0].config.data)
panel = lk.LabPanel(lab=lab, design=runs[0].config)
panel.race("learning_rate", [run.config.learning_rate for run in runs])
panel"""]
WIDE, NARROW, TALL = 1400, 700, 1700                          # pixels; so tall that nothing scrolls
EDGE = 10                                                     # pixels of paper around what is shown
QUALITY = 80                                                  # of WebP, from 0 to 100: small text stays clear
MOST_BYTES = 600_000                                          # of all pictures together


def main() -> None:
    """Take all pictures, then write them; end in a sentence where something does not come."""
    if jupyter_page.CHROMIUM is None:
        sys.exit("screenshots: there is no Chromium: install it, or set LABKIT_CHROMIUM to the program.")
    with tempfile.TemporaryDirectory() as folder:
        taken = {**in_jupyterlab(Path(folder)), **of_report(Path(folder))}
    files = {name: webp(picture) for name, picture in taken.items()}
    total = sum(map(len, files.values()))
    if total > MOST_BYTES:
        sys.exit(f"screenshots: {total / 1000:.0f} kB are more than {MOST_BYTES / 1000:.0f}: show less, or lower "
                 "QUALITY. Nothing was written.")
    for name, data in files.items():
        write_file(PICTURES / name, data, choose="the checkout")
        print(f"{PICTURES / name}: {len(data) / 1000:.0f} kB")


def in_jupyterlab(folder: Path) -> dict[str, bytes]:
    """Return {file name: PNG} of what a notebook shows in JupyterLab."""
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, CELLS)))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "pictures.ipynb")
    environment = {"LABKIT_STORE": str(folder / "runs"), "PYTHONPATH": str(REPO), "LABKIT_FRONTEND": "browser",
                   "LABKIT_FAST": "0"}
    taken = {}
    with (jupyter_page.jupyterlab(folder, **environment) as (address, token),
          jupyter_page.notebook_page(address, token, "pictures.ipynb", width=WIDE, height=TALL) as page):
        jupyter_page.run_all(page)
        page.locator('.jp-SideBar .lm-TabBar-tab[data-id="filebrowser"]').first.click()    # leave the width to cells
        panel, race = page.locator(".lab-panel"), page.locator(".jp-OutputArea .lab-race").first
        shows(panel.locator(".lab-stage", has_text="already trained"), "the panel did not show the recorded race")
        taken["race.webp"] = picture(page, race)
        taken["panel.webp"] = picture(page, panel)
        page.emulate_media(color_scheme="dark")
        shows(page.locator('body[data-jp-theme-light="false"]'), "JupyterLab did not turn dark")
        shows(panel.locator('.lab-race[data-theme="dark"]'), "the panel did not turn dark")
        taken["panel-dark.webp"] = picture(page, panel)
        page.emulate_media(color_scheme="light")
        shows(panel.locator('.lab-race[data-theme="light"]'), "the panel did not turn light again")
        page.set_viewport_size({"width": NARROW, "height": TALL})
        jupyter_page.wait_until(lambda: panel.bounding_box()["width"] < NARROW, 60)
        taken["panel-narrow.webp"] = picture(page, panel)
    return taken


def of_report(folder: Path) -> dict[str, bytes]:
    """Return {file name: PNG} of the report of the recorded runs."""
    from playwright.sync_api import sync_playwright

    runs = {run.run_id: run for run in recorded(RACE)}
    path = folder / "report.html"
    path.write_text(own_report.page(runs, dict.fromkeys(runs, "")), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=jupyter_page.CHROMIUM, args=jupyter_page.OPTIONS)
        page = browser.new_page(viewport={"width": 1100, "height": TALL}, color_scheme="light")
        page.goto(path.as_uri())
        shows(page.locator("main .best"), "the report did not appear")
        end = page.locator("main .best").first.bounding_box()
        taken = page.screenshot(clip={"x": 0, "y": 0, "width": 1100, "height": end["y"] + end["height"]})
        browser.close()
    return {"report.webp": taken}


def shows(locator, otherwise: str) -> None:
    """Wait until something is there; end the command with a sentence where it does not come."""
    from playwright.sync_api import TimeoutError

    try:
        locator.first.wait_for(state="attached")
    except TimeoutError:
        sys.exit(f"screenshots: {otherwise}. Nothing was written.")


def picture(page, locator) -> bytes:
    """Return an element as PNG, once its pictures are drawn and nothing moves: the pixels that are wholly its own."""
    locator.scroll_into_view_if_needed()
    page.mouse.move(0, 0)                                     # so that nothing is pointed at
    page.wait_for_function("() => [...document.images].every(image => image.complete)")
    page.wait_for_timeout(1000)                               # a race is drawn anew for a new width, and fades
    box = locator.bounding_box()
    left, top = math.ceil(box["x"]), math.ceil(box["y"])
    width, height = (math.floor(box[start] + box[size]) - edge
                     for start, size, edge in (("x", "width", left), ("y", "height", top)))
    return page.screenshot(animations="disabled", clip={"x": left, "y": top, "width": width, "height": height})


def webp(png: bytes) -> bytes:
    """Return a picture as WebP, with an edge of its own paper."""
    written, image = io.BytesIO(), Image.open(io.BytesIO(png)).convert("RGB")
    image = ImageOps.expand(image, EDGE, fill=image.getpixel((0, 0)))
    image.save(written, "WEBP", quality=QUALITY, method=6)
    return written.getvalue()


if __name__ == "__main__":
    main()
