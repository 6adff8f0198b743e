"""JupyterLab without the extension of anywidget: a sentence says so where race and panel would be, and what to do."""

import nbformat
import pytest
from jupyter_page import jupyterlab, notebook_page, start_all, wait_until
from test_race import CELLS, SHOTS

from labkit import settings
from labkit.view import instead

PANEL = """import labkit as lk
lk.LabPanel(design={"max_train_steps": 10}, pictures=0)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Give the page of a notebook with a race that trains and a panel, all of it started."""
    folder = tmp_path_factory.mktemp("without")
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, (CELLS[0], CELLS[2], PANEL))))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "race.ipynb")
    SHOTS.mkdir(parents=True, exist_ok=True)
    environment = {"LABKIT_STORE": str(folder / "runs"), "LABKIT_CACHE": str(folder / "cache"),
                   "PYTHONPATH": str(settings.REPO), "LABKIT_FRONTEND": "browser"}
    served = jupyterlab(folder, without=["anywidget"], **environment)
    with served as (address, token), notebook_page(address, token, "race.ipynb") as page:
        start_all(page)
        yield page


def test_a_race_that_cannot_be_seen_to_grow_says_so_and_plays_when_its_runs_end(page):
    words = page.get_by_text(instead.GROWING)
    words.wait_for(state="visible")
    assert words.count() == 1 and not page.locator(".jupyter-widgets-error-widget").first.is_visible()
    page.screenshot(path=SHOTS / "without-1-growing.png")
    page.locator(".lab-race .now img").first.wait_for(state="visible")
    assert words.count() == 0


def test_a_panel_without_its_widget_says_what_it_needs(page):
    words = page.get_by_text(instead.PANEL)
    words.wait_for(state="visible")
    words.scroll_into_view_if_needed()
    wait_until(lambda: not page.get_by_text("Loading widget").is_visible(), 60)
    assert not page.locator(".jupyter-widgets-error-widget, .lab-panel").first.is_visible()
    page.screenshot(path=SHOTS / "without-2-panel.png")
