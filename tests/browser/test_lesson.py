"""A lesson as a learner opens it: set-up folded, pictures that grow while it trains, solutions folded and not run."""

import nbformat
import pytest
from jupyter_page import jupyterlab, notebook_page, run_all, start_all, wait_until

from labkit import settings
from labkit.cli import forms
from labkit.cli.clean import write
from labkit.cli.tools import load

SHOTS = settings.REPO / "out/browser"
TRAIN = """import labkit as lk
lab = lk.Lab(base="embedded", data="liminal/kind=pool", monitor={"images": 8})
run = lab.train(learning_rate=3e-3, max_train_steps=100, pictures=2)"""
ANSWER = """my_rate = None
### BEGIN SOLUTION
my_rate = 3e-3
### END SOLUTION"""


def cell(source, *tags, kind="code"):
    return getattr(nbformat.v4, f"new_{kind}_cell")(source, metadata={"tags": list(tags)} if tags else {})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    cells = [cell("# A lesson", kind="markdown"), cell(load("readme").setup_cell(), "setup"), cell(TRAIN),
             cell(ANSWER), cell("print(my_rate)", "check"), cell("**Why so.** It is.", "solution", kind="markdown")]
    write(folder / "lesson.ipynb", forms.for_learner(nbformat.v4.new_notebook(cells=cells), "lesson"))
    SHOTS.mkdir(parents=True, exist_ok=True)
    environment = {"LABKIT_STORE": str(folder / "runs"), "LABKIT_CACHE": str(folder / "cache"),
                   "PYTHONPATH": str(settings.REPO), "LABKIT_FRONTEND": "browser", "LABKIT_FAST": "0"}
    with jupyterlab(folder, **environment) as (address, token), notebook_page(address, token, "lesson.ipynb") as page:
        yield page


def wait_marks(page, count):
    """Wait until a curve has more than so many evaluations; return what marks them."""
    marks = page.locator(".lab-race svg.curves path.mark")
    wait_until(lambda: marks.count() > count, 300)
    return marks.all()


def test_the_set_up_cell_and_the_solutions_are_folded(page):
    assert not page.get_by_text("find_spec").is_visible()
    solution, why = page.locator("details").all()
    assert [part.locator("summary").inner_text() for part in (solution, why)] == ["Solution", "Explanation"]
    assert not solution.locator("code").is_visible()
    page.screenshot(path=SHOTS / "7-lesson.png")
    solution.locator("summary").click()
    assert solution.locator("code").inner_text().strip() == "my_rate = 3e-3"
    solution.locator("summary").click()


def test_curves_and_pictures_grow_while_a_cell_trains_and_the_solution_does_not_run(page):
    from playwright.sync_api import expect

    start_all(page)
    race = page.locator(".lab-race")
    race.locator(".now img").first.wait_for(state="visible")
    early = len(wait_marks(page, 1))
    wait_marks(page, early + 1)
    page.screenshot(path=SHOTS / "8-lesson-trains.png")
    expect(race.locator(".badge")).to_have_text("trained here", timeout=300_000)
    run_all(page)
    assert page.locator(".jp-OutputArea-output").last.inner_text().strip() == "None"
