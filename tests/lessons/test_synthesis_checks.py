"""Answers about whole designs: the right one passes, each wrong one is told what is missing."""

import pytest
from grid_runs import runs
from made_lab import made_lab

from labkit.design.config import RunConfig
from labkit.design.design_file import write_design
from labkit.experiments.preflight import expectations
from labkit.lessons.synthesis_checks import SynthesisChecks


@pytest.fixture
def checks():
    return SynthesisChecks(made_lab())


def test_the_knob_that_explains_most_passes_and_no_other(checks):
    grid = runs(lambda i, j, k: 0.1 + 0.04 * i + 0.02 * j)
    assert checks.explains("learning_rate", grid).passed
    for answer, said in (("rank", "another knob more"), (None, "no answer yet"), ("colour", "none of the knobs"), ("alpha", "another knob more")):
        result = checks.explains(answer, grid)
        assert not result.passed and said in result.sentence


def test_a_design_is_ready_when_it_says_what_it_expects_and_that_is_so(checks, tmp_path):
    config = checks.lab.config(RunConfig(rank=4, max_train_steps=28, n_train=11))
    expected = expectations(checks.lab, config, short_test_rate=1e-3, epochs=10)
    reasons = {"learning_rate": "the short test", "stop": "at the lowest held-out loss"}
    assert checks.ready(write_design(tmp_path / "a.yaml", config, reasons, expected), n_train=11, rank=4, num_train_epochs=10).passed
    assert "no reasons" in checks.ready(write_design(tmp_path / "f.yaml", config, {}, expected)).sentence
    for name, changed, wanted, said in (("b", config, {}, "does not say what it expects"), ("c", config.replace(learning_rate=1e-2), expected, "checklist would stop it"),
                                        ("d", config.replace(n_train=10), expected, "n_train is 10 in the design, where 11 is asked"), ("e", config.replace(rank=16), expected | {"scaling": 0.5}, "rank is 16")):
        result = checks.ready(write_design(tmp_path / f"{name}.yaml", changed, reasons, wanted), n_train=11, rank=4, num_train_epochs=10)
        assert not result.passed and said in result.sentence
    assert "no design yet" in checks.ready(None).sentence and "no file" in checks.ready(tmp_path / "x.yaml").sentence
