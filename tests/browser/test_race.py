"""A race as a person meets it: replayed, scrubbed by keyboard, compared, growing while runs train, and reopened."""

import contextlib
import re
import shutil
import time

import nbformat
import pytest
from jupyter_page import jupyterlab, notebook_page, wait_idle, wait_until

from labkit import settings
from labkit.view import instead

SHOTS = settings.REPO / "out/browser"
CELLS = ["""import time, numpy as np
from labkit.design.config import RunConfig
from labkit.store.events import Sample, Step, Stopped, Validation
from labkit.store.history import RunBuilder
from labkit.view.live import live
from labkit.view.race_view import RaceView""", """RaceView.replay("race")""", """def events(rates):
    noise = np.random.default_rng(0).uniform(0.8, 1.2, (8, 1))
    for update in range(21):
        time.sleep(1)
        for k, rate in rates.items():
            if update:
                yield Step(k, update, 4 * update, 0.2, rate, 1.0, 0.01)
            if update in (0, 1, 2, 4, 7, 12, 20):
                losses = (noise * (0.2 - update * min(rate, 4e-3))).astype(np.float32)
                yield Validation(k, update, 4 * update, "validation", "monitor", losses, np.zeros((8, 1), int))
                images = np.full((2, 32, 32, 3), 10 * update, np.uint8)
                yield Sample(k, update, 4 * update, images, ("a pool", "a maze"), (0, 1), 3.0)
    for k in rates:
        yield Stopped(k, 20, 80, "finished")

rates = {f"{k:016x}": rate for k, rate in enumerate((1e-4, 1e-3, 3e-3))}
builders = {k: RunBuilder(k, RunConfig(learning_rate=rate, max_train_steps=20).resolved(8))
            for k, rate in rates.items()}
for _ in live(events(rates), builders):
    pass"""]
FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("race")
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, CELLS)))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "race.ipynb")
    SHOTS.mkdir(parents=True, exist_ok=True)
    environment = {"LABKIT_CACHE": str(folder / "cache"), "PYTHONPATH": str(settings.REPO),
                   "LABKIT_FRONTEND": "browser"}
    with jupyterlab(folder, **environment) as (address, token):
        yield folder, address, token


@pytest.fixture(scope="module")
def page(lab):
    _, address, token = lab
    with notebook_page(address, token, "race.ipynb", width=1600) as page:
        page.locator(".jp-CodeCell").first.click()
        for cell in (0, 1):                                           # the imports first: they are not the view's time
            page.keyboard.press("Shift+Enter")
            if cell:
                page.locator(".lab-race .now img").first.wait_for(state="visible")
            wait_idle(page)
        yield page


@contextlib.contextmanager
def measured(page, what, *, most, count=1):
    """Print how long the page took for each of `count` answers, and hold its own work to at most so many ms.

    The page's main thread is asked for its processor time, which other work on the machine does not change.
    """
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent():
        metrics = client.send("Performance.getMetrics")["metrics"]
        return next(1000 * metric["value"] for metric in metrics if metric["name"] == "TaskDuration")

    before, start = spent(), time.monotonic()
    yield
    took, work = 1000 * (time.monotonic() - start) / count, (spent() - before) / count
    print(f"\n{what}: {work:.0f} ms of work, {took:.0f} ms on this machine's clock")
    assert work < most


def replay(page):
    return page.locator(".lab-race").first


def cursor(page):
    return replay(page).locator(".cursor").get_attribute("transform")


def test_a_replay_shows_its_end_at_once_with_pictures_curves_and_where_it_comes_from(page):
    view = replay(page)
    assert view.locator(".badge").text_content() == "recorded"
    assert view.locator(".update").text_content() == "update 150 of 150"
    assert view.locator(".row").count() == 6 and view.locator(".now img").count() == 12
    assert page.evaluate("[...document.querySelectorAll('.lab-race .now img')].every(e => e.naturalWidth > 0)")
    with measured(page, "a replay's first frame, from its data", most=1000):
        page.evaluate(f"""async () => {{
            const holder = document.querySelector('.lab-race').parentElement;
            const script = holder.parentElement.querySelector('script').textContent;
            holder.replaceChildren(document.createElement('div'));
            new Function(script)();
            await {FRAME}; }}""")
    page.screenshot(path=SHOTS / "race-1-replay.png")



def test_marks_of_two_runs_that_left_the_axis_stand_in_rows_of_their_own(page):
    marks = replay(page).locator("svg.curves text.broken").evaluate_all(
        "all => all.map(e => [e.getAttribute('x'), e.getAttribute('y')].join())")
    assert len({mark.split(",")[1] for mark in marks}) > 1 and len(set(marks)) == len(marks)


def test_the_slider_moves_cursor_and_pictures_by_keyboard_and_says_the_update(page):
    view = replay(page)
    slider = view.get_by_role("slider", name="update")
    slider.focus()
    end, pictures = cursor(page), view.locator(".now img").evaluate_all("all => all.map(e => e.src)")
    slider.press("Home")
    assert slider.get_attribute("aria-valuetext") == "the untouched base"
    assert cursor(page) != end
    untouched = view.locator(".now img").evaluate_all("all => all.map(e => e.src)")
    assert len(set(untouched)) == 2 and not set(untouched) & set(pictures)  # the base draws the same for every run
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "update 2 of 150"
    assert page.locator(".jp-Cell.jp-mod-active .lab-race").count() <= 1  # the notebook did not take the key
    with measured(page, "a slider's answer", most=100, count=15):
        page.evaluate(f"""async () => {{
            const slider = document.querySelector('.lab-race input');
            for (let i = 0; i < 15; i++) {{
                slider.value = i; slider.dispatchEvent(new Event('input'));
                await {FRAME};
            }} }}""")


def test_play_runs_from_the_base_to_the_end_and_can_be_paused(page):
    view = replay(page)
    view.get_by_role("slider", name="update").press("End")
    view.get_by_role("button", name="Play from the beginning").click()
    wait_until(lambda: view.locator(".update").text_content().startswith("update"), 20)
    view.get_by_role("button", name="Pause").click()
    held = view.locator(".update").text_content()
    page.wait_for_timeout(1200)
    assert view.locator(".update").text_content() == held != "update 150 of 150"
    view.get_by_role("button", name="Play on").click()
    wait_until(lambda: view.locator(".update").text_content() == "update 150 of 150", 30)


def test_two_pinned_runs_stand_side_by_side_and_escape_lets_them_go(page):
    view = replay(page)
    keys = view.get_by_role("button", name=re.compile("^learning_rate "))
    names = [keys.nth(i).get_attribute("aria-label") for i in range(6)]
    assert re.match(r"learning_rate 1e-5, stagnating, loss 0\.\d+ after 150", names[0])
    view.get_by_role("button", name=re.compile("^learning_rate 1e-5,")).press("Enter")
    assert view.locator(".words .card").count() == 1
    assert "stagnant inertia" in view.locator(".words .card small").text_content()
    view.locator(".words summary").click()
    assert view.locator(".words td").first.is_visible()              # the numbers that the verdict stands on
    view.get_by_role("button", name=re.compile("^learning_rate 5e-3,")).press("Enter")
    boxes = [box.bounding_box() for box in view.locator(".row.pinned").all()]
    assert len(boxes) == 2 and abs(boxes[0]["y"] - boxes[1]["y"]) < 2 and boxes[0]["x"] != boxes[1]["x"]
    assert view.locator(".words .card").count() == 2
    assert view.locator("svg.curves .chosen .line").count() == 4     # before and behind the cursor
    page.screenshot(path=SHOTS / "race-2-compared.png")
    page.keyboard.press("Escape")
    assert view.locator(".row.pinned").count() == 0


def test_every_control_has_a_name_and_pointing_at_the_curves_gives_numbers(page):
    view = replay(page)
    for control in view.locator("button, input, [role=img]").all():
        assert control.get_attribute("aria-label")
    assert all(view.locator(".now img").evaluate_all("all => all.map(e => e.alt)"))
    view.locator("svg.curves").hover()
    assert re.search(r"1e-3: 0\.\d+ \(0\.\d+ to 0\.\d+\)", view.locator(".tip").inner_text())


def test_dark_and_light_come_from_the_page(page):
    view = replay(page)
    assert view.get_attribute("data-theme") == "light"
    page.evaluate("document.querySelectorAll('.jp-NotebookPanel, .jp-Notebook, .jp-Cell').forEach("
                  "e => e.style.background = '#111'); document.body.style.background = '#111'")
    wait_until(lambda: view.get_attribute("data-theme") == "dark", 10)
    page.evaluate("document.querySelectorAll('.jp-NotebookPanel, .jp-Notebook, .jp-Cell').forEach("
                  "e => e.style.background = ''); document.body.style.background = ''")


def test_a_race_grows_while_runs_train_and_plays_by_itself_afterwards(page, lab):
    page.locator(".jp-CodeCell").last.locator(".jp-InputArea").click()
    page.keyboard.press("Shift+Enter")
    view = page.locator(".lab-race").nth(1)
    view.wait_for(state="visible")
    view.scroll_into_view_if_needed()                                 # JupyterLab lays out only what is in sight
    wait_until(lambda: view.locator(".badge").text_content() == "live", 30)
    wait_until(lambda: re.match(r"update \d+ of 20", view.locator(".update").text_content()), 60)
    assert view.locator(".now img").count() == 6
    page.screenshot(path=SHOTS / "race-3-growing.png")
    assert not page.get_by_text(instead.GROWING).is_visible()

    def is_saved():
        page.keyboard.press("Control+s")
        return instead.GROWING in (lab[0] / "race.ipynb").read_text("utf-8")

    wait_until(is_saved, 30)
    shutil.copy(lab[0] / "race.ipynb", lab[0] / "cut.ipynb")          # as if all ended here
    wait_until(lambda: page.locator(".badge", has_text="trained here").count() == 1, 60)
    view = page.locator(".lab-race").nth(1)
    wait_until(lambda: view.locator(".badge").text_content() == "trained here", 60)
    assert view.locator(".update").text_content() == "update 20 of 20"
    wait_until(lambda: page.locator(".jupyter-widgets").count() == 0, 30)  # it is a page of its own by then


def test_a_saved_notebook_shows_its_races_without_a_kernel_and_a_strangers_shows_the_figure(page, lab):
    folder, address, token = lab

    def is_saved():
        page.keyboard.press("Control+s")
        text = (folder / "race.ipynb").read_text("utf-8")             # the race comes before its widget goes
        return "A race over learning_rate, trained here" in text and "jupyter.widget-view" not in text

    wait_until(is_saved, 60)
    saved = nbformat.read(folder / "race.ipynb", 4)
    empty, output = saved.cells[2].outputs                            # running the last cell added an empty one
    assert not any(empty.data.values())                               # where the widget was
    assert {"text/html", "image/jpeg", "text/plain"} == set(output.data)
    saved.cells[1].source += "  # somebody else's"
    saved.metadata.pop("kernelspec")
    nbformat.write(saved, folder / "strange.ipynb")
    other = page.context.browser.new_page()
    other.goto(f"{address}/lab/tree/strange.ipynb?token={token}&reset")
    other.locator(".jp-RenderedHTMLCommon img").first.wait_for(state="visible")
    other.locator(".jp-RenderedHTMLCommon table").nth(1).wait_for(state="attached")  # cells are drawn one by one
    assert other.locator(".lab-race").count() == 0 and other.locator(".jp-RenderedHTMLCommon table").count() == 2
    assert other.get_by_text(instead.RACE).first.is_visible()
    other.screenshot(path=SHOTS / "race-4-untrusted.png")
    other.close()


def test_a_notebook_that_was_saved_while_runs_trained_says_once_what_to_do_when_its_kernel_is_gone(page, lab):
    _, address, token = lab
    other = page.context.browser.new_page()
    other.goto(f"{address}/lab/tree/cut.ipynb?token={token}&reset")
    words = other.get_by_text(instead.GROWING)
    words.wait_for(state="visible")
    assert words.count() == 1 and not other.get_by_text("Error displaying widget").is_visible()
    words.scroll_into_view_if_needed()
    other.screenshot(path=SHOTS / "race-5-cut.png")
