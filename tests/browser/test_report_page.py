"""The report in a real browser: nothing cut off at any width, on light and dark paper, folds opened by keyboard."""

import pytest
from made_runs import made_race, made_run

from labkit.cli.report import entry
from labkit.cli.report_page import page

CUT_OFF = """() => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('thead') && (e.getBoundingClientRect().right > innerWidth || e.scrollWidth > innerWidth))
    .map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write a report of two lessons, one of them with a long error."""
    runs = [*made_race(), made_run(rank=64, data="liminal/kind=pool,corridor/light=dim light")]
    results = [{"name": name, "ok": not error, "error": error, "seconds": 12.3, "run_steps_trained": 1000,
                "parameters": {}, "runs": []} for name, error in (("01_learning_rate", None), ("mine", "x" * 300))]
    data = {"notebooks": results, "runs": [entry(run, "01_learning_rate", runs) for run in runs], "fast": True}
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(data, {"01_learning_rate": {run.run_id: run for run in runs}, "mine": {}}, "Made today."))
    return path


@pytest.mark.parametrize("paper", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 900, 1400])
def test_nothing_is_cut_off_with_every_fold_open(report, chromium, width, paper):
    view = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=paper)
    view.goto(report.as_uri())
    assert view.evaluate(CUT_OFF) == []
    view.evaluate("() => document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert view.evaluate(CUT_OFF) == []
    ink, behind = (view.evaluate(f"() => getComputedStyle(document.body).{name}") for name in ("color", "background"))
    assert (ink == "rgb(34, 34, 34)") == (paper == "light") and ink not in behind
    view.close()


def test_a_fold_is_reached_and_opened_by_keyboard(report, chromium):
    view = chromium.new_page()
    view.goto(report.as_uri())
    for _ in range(30):
        view.keyboard.press("Tab")
        if view.evaluate("() => document.activeElement.tagName") == "SUMMARY":
            break
    view.keyboard.press("Enter")
    assert view.evaluate("() => document.activeElement.parentElement.open")
    view.close()
