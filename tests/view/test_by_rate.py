"""Final losses over a logarithmic rate: what stands where, and what leaves the axis."""

import dataclasses
import math

import numpy as np
from made_runs import made_race, made_run, made_seeds

from labkit.store.history import Curve
from labkit.view.by_rate import RateLine, plot_by_rate, plot_u_curve
from labkit.view.style import new_axes


def test_each_line_has_its_lowest_point_enlarged_and_its_seeds_as_rings():
    seeds = [(1e-3, 0.09), (1e-3, 0.11), (1e-2, math.nan)]
    low = RateLine([1e-4, 1e-3, 1e-2], np.array([0.3, 0.1, 0.2]), seeds, "low")
    flat = RateLine([1e-3, 1e-2], np.array([0.2, 0.15]), [], "flat")
    ax = plot_by_rate([low, flat], new_axes(), base=(0.25, "base"))
    assert [line.best for line in (low, flat)] == [1, 1]
    enlarged = [line.get_ydata()[0] for line in ax.lines if line.get_markersize() > 9 and len(line.get_ydata()) == 1]
    assert enlarged == [0.1, 0.15]
    [rings] = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    assert rings.get_ydata().tolist() == [0.09, 0.11]
    assert {text.get_text() for text in ax.texts} == {"low", "flat", "base"} and ax.get_xscale() == "log"


def test_infinite_losses_get_a_cross_at_the_top_and_those_that_are_no_number_are_left_out():
    line = RateLine([1e-3, 1e-2, 1e-1], np.array([0.1, math.nan, math.inf]), [], "")
    ax = plot_by_rate([line], new_axes())
    crosses = [drawn.get_xdata().tolist() for drawn in ax.lines if drawn.get_marker() == "X"]
    assert crosses == [[1e-1]] and np.isfinite(ax.get_ylim()).all()
    assert RateLine([1e-3], np.array([math.inf]), [], "").best is None


def test_the_u_curve_counts_in_multiples_of_the_best_rate_and_widens_with_the_spread_of_seeds():
    ax = plot_u_curve(made_seeds())
    top = ax.child_axes[0]
    assert top.get_xlabel() == "times the best rate here"
    assert [text.get_text() for text in top.get_xticklabels()] == ["0.03×", "1×", "10×", "300×"]
    assert len(ax.containers) == 3                            # an interval each, but none where a run blew up
    assert "3 seeds" in ax.get_title("left") and "no interval" in plot_u_curve(made_race()).get_title("left")


def test_rates_that_diverged_stand_at_the_top_of_the_u_curve_with_their_loss():
    race = made_race()
    ax = plot_u_curve(race)
    gone = race[3].validations["validation"].means[-1]
    assert gone > ax.get_ylim()[1] and f"{gone:.2f}" in [text.get_text() for text in ax.texts]
    assert sum(line.get_marker() == "^" for line in ax.lines) == 1 and ax.get_yscale() == "linear"


def test_the_u_curve_does_not_mix_grades_of_measurement():
    fine, coarse = made_run(), made_run("overshooting", learning_rate=1e-2)
    fine.final_validations["validation"] = Curve(np.array([0, 200]), np.full((2, 64, 8), 0.5, np.float32))
    assert max(plot_u_curve([fine, coarse]).lines[0].get_ydata()) < 0.3


def test_a_rate_at_which_a_run_broke_has_no_point_at_its_last_finite_loss():
    race = made_race()
    race[2] = dataclasses.replace(race[2], status="diverged")
    ax = plot_u_curve(race)
    [crosses] = [drawn.get_xdata().tolist() for drawn in ax.lines if drawn.get_marker() == "X"]
    assert crosses == [1e-2, 3e-1]                            # beside the one whose losses are no numbers
