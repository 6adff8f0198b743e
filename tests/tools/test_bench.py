"""The bench measures every figure of the budgets, each as lowest, median and highest, and says on what."""

import json

import tiny

from labkit.cli.tools import load

bench = load("bench")


def leaves(figures):
    for value in figures.values():
        if isinstance(value, dict) and "median" in value:
            yield value
        elif isinstance(value, dict):
            yield from leaves(value)


def test_every_figure_has_lowest_median_and_highest_and_the_table_shows_all(monkeypatch):
    monkeypatch.setattr(bench, "ORDER", 64)
    figures = bench.bench(tiny.base(), tiny.cache(), rounds=2, steps=1, tell=lambda text: None)
    assert set(figures["k_runs"]) == {"2", "4", "8"}
    assert {"one_run_vs_reference", "overhead_fraction", "floor_ratio", "resident_mib"} < set(figures)
    for runs in figures["k_runs"].values():
        assert {"speedup_at_batch_1", "speedup_at_batch_4", "ms_per_run_step"} < set(runs)
    for figure in leaves(figures):
        assert set(figure) == {"min", "median", "max"} and figure["min"] <= figure["median"] <= figure["max"]
    assert figures["overhead_fraction"]["max"] < 1 and figures["floor_ratio"]["min"] > 0  # on a busy machine, too
    assert set(figures["percent_above_base"]) == {"attention", "linear", "all"}
    assert {"system", "processor", "threads", "versions"} < set(json.loads(json.dumps(figures))["machine"])
    text = bench.table(figures)
    assert "k_runs 8 speedup_at_batch_1" in text and "percent_above_base all" in text
    assert figures["machine"]["versions"]["torch"] in text
