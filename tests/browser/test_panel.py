"""The panel as a person meets it: JupyterLab in a browser, training on the embedded base, screenshots to look at."""

import re
import time

import nbformat
import pytest
from jupyter_page import jupyterlab, notebook_page, run_all, wait_until

from labkit import settings

SHOTS = settings.REPO / "out/browser"
CELL = """import labkit as lk
lab = lk.Lab(base="embedded", data="liminal", monitor={"images": 8, "scored": 0})
panel = lk.LabPanel(lab=lab, knobs=("learning_rate", "lr_scheduler", "max_train_steps", "rank"),
                    design={"max_train_steps": 20, "train_batch_size": 1}, pictures=1)
panel"""
FITS = 880  # pixels of a common screen, which the panel may be high where it is 1,400 wide


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL), nbformat.v4.new_code_cell("6 * 7")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "panel.ipynb")
    SHOTS.mkdir(parents=True, exist_ok=True)
    environment = {"LABKIT_STORE": str(folder / "runs"), "LABKIT_CACHE": str(folder / "cache"),
                   "PYTHONPATH": str(settings.REPO),
                   "LABKIT_FRONTEND": "browser",  # the test command sets headless for the lessons it runs
                   "LABKIT_FAST": "0"}            # the short form is over before anyone could press a button
    with jupyterlab(folder, **environment) as (address, token):
        yield folder, address, token


@pytest.fixture(scope="module")
def page(lab):
    _, address, token = lab
    with notebook_page(address, token, "panel.ipynb", width=1400, height=FITS) as page:
        run_all(page)
        yield page


def stage(page, words, seconds=300):
    """Wait until the panel says words about what is being done."""
    from playwright.sync_api import expect

    expect(page.locator(".lab-stage")).to_contain_text(re.compile(words), timeout=seconds * 1000)


def shot(page, name):
    page.locator(".lab-panel").evaluate("panel => panel.scrollIntoView({block: 'start'})")
    page.screenshot(path=SHOTS / f"panel-{name}.png")


def rows(page):
    return page.locator(".lab-panel .lab-race .row")


def rung(page, name):
    return page.get_by_label(re.compile(f"^{name}(,|$)"))


def test_the_panel_appears_at_once_with_a_race_chosen_and_warms_up_in_the_background(page):
    page.locator(".lab-train").wait_for(state="visible")
    stage(page, "warming up|ready")
    assert page.locator(".lab-train").inner_text() == "Race 3 runs"
    stage(page, "ready")
    for control in page.locator(".controls :is(button, select, input):visible").all():
        assert control.get_attribute("aria-label") or control.inner_text() or control.evaluate("e => e.labels.length")


def test_a_rung_is_chosen_by_keyboard_and_the_cost_follows(page):
    rung(page, "training steps 20").focus()
    page.keyboard.press("ArrowRight")
    cost = page.locator(".lab-cost")
    wait_until(lambda: "50 updates" in cost.inner_text(), 60)
    assert page.evaluate("document.activeElement.ariaLabel") == "training steps 50"  # the focus outlives the answer
    page.keyboard.press("ArrowLeft")
    wait_until(lambda: "20 updates" in cost.inner_text(), 60)
    rung(page, "learning rate 1e-4").press("Space")
    wait_until(lambda: page.locator(".lab-train").inner_text() == "Race 2 runs", 60)


def test_a_prediction_is_asked_then_the_race_speaks_at_once_and_grows(page):
    page.locator(".lab-train").click()
    assert "which ends lowest" in page.locator(".lab-question").inner_text()
    start = time.monotonic()
    page.locator(".lab-question .answer").last.click()
    stage(page, "starting|warming|measuring|update")
    spoke = time.monotonic() - start
    stage(page, r"update \d+ of")
    page.locator(".lab-race .now img").first.wait_for(state="visible")
    assert rows(page).count() == 2
    print(f"\nfirst words after {spoke:.2f} s, pictures after {time.monotonic() - start:.1f} s")


def test_a_pause_lets_other_cells_run_and_a_step_shows_one_measurement_more(page):
    page.locator(".lab-pause").click()
    stage(page, r"paused after \d+ updates?")
    stops = page.locator(".lab-race .stops i")
    before = stops.count()
    page.locator(".lab-step").click()
    wait_until(lambda: stops.count() > before, 300)
    stage(page, r"paused after \d+ updates?")
    shot(page, "1-paused")


def test_a_rate_is_changed_by_hand_and_the_fork_is_marked_on_its_curve(page):
    page.locator(".lab-rate").select_option("3e-3")
    wait_until(lambda: rows(page).count() == 3, 60)
    assert re.match(r"1e-3 → 3e-3 after \d+", rows(page).nth(2).locator(".key").get_attribute("title"))
    page.locator(".lab-pause").click()
    stage(page, "the fork first")
    page.locator(".lab-race circle.fork").first.wait_for(state="attached")


def test_a_cell_that_is_run_again_shows_what_goes_on_with_its_knobs_locked(page):
    run_all(page)
    page.locator(".lab-panel .lab-race .now img").first.wait_for(state="visible")
    assert page.locator(".lab-panel").count() == 1 and rows(page).count() == 3
    assert page.locator(".lab-train").is_disabled() and page.locator(".lab-stop").is_enabled()
    assert rung(page, "LoRA rank 8").is_disabled()


def test_a_prompt_is_drawn_by_enter_and_the_strength_answers_by_keyboard(page):
    stage(page, r"\d finished")
    drawing = page.locator(".lab-drawing")
    prompt, slider = drawing.get_by_label("prompt", exact=True), drawing.get_by_label("strength of the adapter")
    cells = page.locator(".jp-CodeCell").count()
    prompt.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("add a zeppelin to a pool")                    # the notebook's own keys would change cells
    page.keyboard.press("Enter")
    base, adapted = drawing.locator(".result img").all()
    adapted.wait_for(state="visible")
    assert page.locator(".jp-CodeCell").count() == cells
    assert "zeppelin" in drawing.locator("p.quiet").inner_text()      # a word that the base has never been shown
    assert slider.get_attribute("aria-valuetext") == "1"
    assert re.match("add a zeppelin to a pool: with .+ at strength 1$", adapted.get_attribute("alt"))
    seen = [adapted.get_attribute("src")]
    for strength in ("0.75", "0.5", "0.25", "0: the untouched base"):
        slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == strength
        seen.append(adapted.get_attribute("src"))
    assert len(set(seen)) == 5 and seen[-1] == base.get_attribute("src")
    other = drawing.get_by_label("adapter of the run").locator("option").last
    drawing.get_by_label("adapter of the run").select_option(other.get_attribute("value"))
    drawing.get_by_role("button", name="Draw").click()
    with_other = re.compile(f"with {re.escape(other.text_content())} at strength 1$")
    wait_until(lambda: with_other.search(adapted.get_attribute("alt")), 300)
    shot(page, "5-drawn")


def test_what_ended_is_revealed_scrubbed_pinned_and_fits_a_screen(page):
    stage(page, r"\d finished")
    view = page.locator(".lab-panel .lab-race")
    assert page.locator(".lab-panel").bounding_box()["height"] <= FITS
    slider = view.get_by_role("slider", name="update")
    slider.press("Home")
    assert slider.get_attribute("aria-valuetext") == "the untouched base"
    slider.press("End")
    rows(page).first.locator(".key").click()
    assert view.locator(".row.pinned").count() == 1
    page.keyboard.press("Escape")
    shelf = page.locator(".lab-shelf li")
    wait_until(lambda: shelf.count() == 3, 60)
    shot(page, "2-finished")
    shelf.first.locator(".row").click()
    wait_until(lambda: rows(page).count() == 1, 60)
    page.locator('.jp-SideBar .lm-TabBar-tab[data-id="filebrowser"]').first.click()
    page.set_viewport_size({"width": 700, "height": 1400})
    panel = page.locator(".lab-panel")
    wait_until(lambda: panel.bounding_box()["width"] < 660, 60)
    page.wait_for_timeout(300)                                        # the race is drawn anew for the width
    ends = panel.evaluate("e => [...e.querySelectorAll('*')].map(x => x.getBoundingClientRect().right)")
    assert max(ends) <= 700
    shot(page, "3-narrow")
    page.set_viewport_size({"width": 1400, "height": FITS})


def test_a_knob_whose_runs_are_known_answers_at_once_and_stop_ends_another_run(page):
    rung(page, "learning rate 1e-2").click()
    wait_until(lambda: rows(page).count() == 2, 60)
    rung(page, "training steps 200").click()
    page.locator(".lab-train").click()
    stage(page, r"update \d+ of 200")
    page.locator(".lab-prompt").press("Enter")
    page.locator(".lab-drawing", has_text="The base is training").wait_for(state="visible")
    page.locator(".lab-stop").click()
    stage(page, "2 stopped")
    assert page.locator(".lab-error").inner_text().strip() == ""


def test_a_reopened_notebook_shows_the_last_race_where_its_kernel_is_gone(page, lab):
    folder, address, token = lab

    def is_saved():
        page.keyboard.press("Control+s")
        return "A race over learning_rate, trained here" in (folder / "panel.ipynb").read_text("utf-8")

    wait_until(is_saved, 60)
    assert not page.locator("[id^=lab-saved-]").is_visible()
    for session in page.context.request.get(f"{address}/api/sessions?token={token}").json():
        page.context.request.delete(f"{address}/api/sessions/{session['id']}?token={token}")
    page.goto(f"{address}/lab/tree/panel.ipynb?token={token}&reset")
    page.locator("[id^=lab-saved-] .lab-race .now img").first.wait_for(state="visible")
    wait_until(lambda: not page.get_by_text("Loading widget").is_visible(), 60)
    assert not page.get_by_text("Error displaying widget").is_visible()
    page.screenshot(path=SHOTS / "panel-4-reopened.png")
