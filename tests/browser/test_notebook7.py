"""In Notebook 7, which has JupyterLab's cells in a page of its own, a race replays, grows and is kept as well."""

import re

import nbformat
import pytest
from jupyter_page import CHROMIUM, OPTIONS, jupyterlab, wait_until
from test_race import CELLS, SHOTS

from labkit import settings


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Give the page of a notebook with a replay and a race that trains."""
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("notebook7")
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, CELLS)))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "race.ipynb")
    SHOTS.mkdir(parents=True, exist_ok=True)
    environment = {"LABKIT_CACHE": str(folder / "cache"), "PYTHONPATH": str(settings.REPO),
                   "LABKIT_FRONTEND": "browser"}
    with jupyterlab(folder, "notebook", **environment) as (address, token), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(100_000)
        page.goto(f"{address}/notebooks/race.ipynb?token={token}")
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(state="attached")
        yield page
        browser.close()


def execute(page, number):
    """Run a cell by its keys, again until it begins: Notebook 7 calls a kernel idle before it takes anything."""
    cell = page.locator(".jp-CodeCell").nth(number)

    def has_begun():
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(2000)
        return cell.locator(".jp-InputPrompt").text_content() != "[ ]:"

    wait_until(has_begun, 120)


def test_a_replay_shows_its_end_and_answers_the_slider(page):
    execute(page, 0)
    execute(page, 1)
    view = page.locator(".lab-race").first
    view.wait_for(state="visible")
    assert view.locator(".badge").text_content() == "recorded"
    slider = view.locator("input[type=range]").first
    assert re.match(r"update \d+ of", view.locator(".update").text_content())
    slider.focus()
    page.keyboard.press("Home")
    wait_until(lambda: view.locator(".update").text_content() == "the untouched base", 30)
    page.screenshot(path=SHOTS / "notebook7-1-replay.png")


def test_a_race_grows_and_is_played_afterwards(page):
    execute(page, 2)
    view = page.locator(".lab-race").nth(1)
    view.wait_for(state="visible")
    wait_until(lambda: re.match(r"update \d+ of 20", page.locator(".lab-race").nth(1).locator(".update").text_content()
                                or ""), 60)
    wait_until(lambda: page.locator(".lab-race").nth(1).locator(".badge").text_content() == "trained here", 120)
    page.screenshot(path=SHOTS / "notebook7-2-race.png")
