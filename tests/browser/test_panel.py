"""The panel as a person meets it: JupyterLab in a browser, training on the embedded base, screenshots to look at."""

import re
import time

import nbformat
import pytest
from jupyter_page import jupyterlab, notebook_page, run_all, wait_new_picture

from labkit import settings

SHOTS = settings.REPO / "out/browser"
CELL = """import labkit as lk
panel = lk.LabPanel(territory="liminal", knobs=("learning_rate", "lr_scheduler", "max_train_steps", "rank"),
                    design={"max_train_steps": 500})
panel"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "panel.ipynb")
    SHOTS.mkdir(parents=True, exist_ok=True)
    environment = {"LABKIT_STORE": str(folder / "runs"), "LABKIT_CACHE": str(folder / "cache"),
                   "PYTHONPATH": str(settings.REPO),
                   "LABKIT_FRONTEND": "browser",  # the test command sets headless for the lessons it runs
                   "LABKIT_FAST": "0"}            # the short form is over before anyone could press Stop
    with jupyterlab(folder, **environment) as (address, token), notebook_page(address, token, "panel.ipynb") as page:
        run_all(page)
        yield page


def right_end(locator) -> float:
    """Return where an element ends, in pixels from the left."""
    box = locator.bounding_box()
    return box["x"] + box["width"]


def stage(page, words, seconds=300):
    """Wait until the panel's status line shows words."""
    from playwright.sync_api import expect

    expect(page.locator(".lab-stage")).to_contain_text(re.compile(words), timeout=seconds * 1000)


def press(page, css):
    page.locator(f".{css}").click()


def test_the_panel_appears_at_once_and_warms_up_in_the_background(page):
    page.locator(".lab-train").wait_for(state="visible")
    stage(page, "warming up|ready")
    page.screenshot(path=SHOTS / "1-opened.png")
    stage(page, "ready")


def test_moving_a_knob_changes_the_preview(page):
    old = page.locator("img.lab-schedule").get_attribute("src")
    page.locator("select.lab-knob-lr_scheduler, .lab-knob-lr_scheduler select").select_option("cosine")
    new = wait_new_picture(page, "lab-schedule", old)
    handle = page.locator(".lab-knob-learning_rate [role=slider]")
    handle.focus()
    handle.press("ArrowRight")
    wait_new_picture(page, "lab-schedule", new)


def test_training_speaks_within_half_a_second_and_the_picture_grows(page):
    start = time.monotonic()
    press(page, "lab-train")
    stage(page, "starting|warming|measuring|update")
    spoke = time.monotonic() - start
    first = wait_new_picture(page, "lab-curve", "", 300)
    stage(page, r"update \d+ of")
    second = wait_new_picture(page, "lab-curve", first, 300)
    assert second != first
    page.screenshot(path=SHOTS / "2-training.png")
    seconds = f"first words after {spoke:.2f} s, second frame after {time.monotonic() - start:.1f} s\n"
    (SHOTS / "seconds.txt").write_text(seconds)


def test_a_cell_that_is_run_again_shows_the_run_that_goes_on_with_its_knobs_locked(page):
    from playwright.sync_api import expect

    run_all(page)
    expect(page.locator(".jp-CodeCell .jp-InputPrompt").last).to_have_text(re.compile(r"\[2\]:"))
    stage(page, r"update \d+ of")
    wait_new_picture(page, "lab-curve", "", 300)
    assert page.locator(".lab-panel").count() == 1
    assert page.locator(".lab-train").is_disabled() and page.locator(".lab-stop").is_enabled()
    assert page.locator("button.lab-preset-healthy").is_disabled()
    assert page.locator(".lab-knob-lr_scheduler select, select.lab-knob-lr_scheduler").is_disabled()
    page.screenshot(path=SHOTS / "2b-run-again.png")


def test_stop_ends_at_a_completed_update_and_the_run_is_on_the_shelf(page):
    press(page, "lab-stop")
    stage(page, r"stopped after [\d,]+ updates?")
    assert page.locator(".lab-train").is_enabled() and page.locator(".lab-stop").is_disabled()
    assert page.locator(".lab-shelf tbody tr").count() == 1
    page.screenshot(path=SHOTS / "3-stopped.png")


def test_a_preset_trains_to_its_end_and_the_same_design_is_found_afterwards(page):
    assert page.locator("img.lab-curve").is_visible()
    press(page, "lab-preset-not-enough-evidence")
    page.locator("img.lab-curve").wait_for(state="hidden")
    assert page.locator(".lab-verdict").inner_text().strip() == ""
    press(page, "lab-train")
    stage(page, r"finished after [\d,]+ updates?")
    page.locator("img.lab-pictures").wait_for(state="visible")
    assert page.locator(".lab-verdict").inner_text().strip()
    press(page, "lab-pin")
    press(page, "lab-train")
    stage(page, "found, from")
    assert page.locator(".lab-again").is_visible()
    page.screenshot(path=SHOTS / "4-found.png", full_page=True)
    page.locator(".lab-shelf").scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / "5-shelf.png")
    page.set_viewport_size({"width": 1000, "height": 1400})
    page.locator(".lab-shelf").scroll_into_view_if_needed()
    edge = right_end(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)"))
    assert right_end(page.locator(".lab-shelf tbody tr td:nth-child(4)").first) <= edge
    scrolling = page.locator(".lab-shelf div").filter(has=page.locator("table")).last
    assert right_end(scrolling) <= edge                               # what is wider scrolls inside
    page.screenshot(path=SHOTS / "6-shelf-narrow.png")
    assert page.locator(".lab-error").inner_text().strip() == ""
