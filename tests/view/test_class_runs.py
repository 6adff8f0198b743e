"""The figure of a class: every run at its rate, checks passed, whatever is missing."""

import math

import pytest

from labkit.view.class_runs import TOP, plot_class

RUNS = {"01 · Learning rate": [(1e-4, -0.01, "stagnating")] * 3 + [(1e-3, change, "healthy") for change in
                               (-0.5, -0.4, -0.3)] + [(1e-1, math.inf, "diverged"), (1e-2, 0.9, "overshooting")]}
PASSED = {"01 · Learning rate": ([3, 3, 1, 0], 3)}


def test_runs_stand_at_their_rates_and_those_that_broke_at_the_upper_edge():
    axes = plot_class(RUNS, PASSED).axes[0]
    heights = sorted(y for line in axes.lines if line.get_linestyle() == "None" for y in line.get_ydata())
    assert len(heights) == len(RUNS["01 · Learning rate"])
    assert heights[0] == -0.5 and heights[-1] == heights[-2] == TOP
    [median] = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2
                and line.get_xdata()[0] == 1e-4]
    assert list(median.get_ydata()) == [-0.01, -0.4]          # of rates with three runs or more


def test_the_words_of_the_figure_tell_the_best_rate_and_who_passed():
    assert plot_class(RUNS, PASSED).summary == (
        "01 · Learning rate: 8 runs, best median at 1e-3. "
        "01 · Learning rate: 2 of 4 students passed all 3 checks.")


@pytest.mark.parametrize("runs, passed", [
    ({}, {}), ({}, PASSED), (RUNS, {}), ({"Other runs": [(1e-3, -0.5, "healthy")]}, {})])
def test_a_class_of_which_little_is_known_is_drawn_too(runs, passed):
    assert plot_class(runs, passed).encoded().startswith(b"\x89PNG")
