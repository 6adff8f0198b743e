"""Synthetic curves with known verdicts: pictures differ in level, share course and jitter, and have own noise."""

import json

import numpy as np
import pytest

from labkit.design.config import RunConfig
from labkit.judge import diagnose as d
from labkit.judge.diagnose import diagnose
from labkit.store.events import Step, Stopped, Validation
from labkit.store.history import RunBuilder

STEPS = [0, 4, 8, 15, 28, 55, 105, 200]
PICTURES = 32


def made(validation, probe=None, *, steps=STEPS, noise=0.002, pictures=PICTURES, run="a" * 16, rates=None, meta=None,
         seed=0, stopped=None, bad_step=None, jitter=0.0, last=None):
    """Make a run whose mean losses follow the given curves.

    noise: of a picture's own course, its mean zero; jitter: of all pictures at once; last: the updates it was to make.
    """
    rng = np.random.default_rng(seed)
    config = RunConfig(max_train_steps=last or max(steps)).resolved(48)
    shared = jitter * rng.normal(size=len(steps)) * (np.arange(len(steps)) > 0)
    builder = RunBuilder(run, config, meta=meta)
    for step in range(1, max(steps) + 1):
        loss = float("nan") if bad_step == step else rng.uniform(0.001, 1.0)
        builder.add(Step(run, step, 4 * step, loss, rates[step - 1] if rates else 1e-3, 0.5, 0.01))
    for name, means in (("validation", validation), ("probe", probe)):
        level = rng.uniform(0.6, 1.4, (pictures, 1))
        level /= level.mean()
        for at, (step, mean) in enumerate(zip(steps, means, strict=True) if means is not None else ()):
            own = noise * rng.normal(size=(pictures, 1)) if step else np.zeros((pictures, 1))
            losses = (level * mean + own - own.mean() + shared[at]).astype(np.float32)
            timesteps = np.zeros((pictures, 1), int)
            builder.add(Validation(run, step, 4 * step, name, "monitor", losses, timesteps))
    if stopped:
        builder.add(Stopped(run, max(steps), 4 * max(steps), stopped))
    return builder.build()


def test_an_overflow_that_cost_one_update_in_float16_is_no_divergence():
    """labkit.engine.loss_scale: the update is skipped, so nothing moves, and the run goes on."""
    builder, at = RunBuilder("a" * 16, RunConfig(max_train_steps=200).resolved(48)), 60
    for step in range(1, 201):
        lost = step == at
        builder.add(Step("a" * 16, step, 4 * step, 0.1, 1e-3, float("inf") if lost else 0.5, 0.0 if lost else 0.01))
    level = np.linspace(0.6, 1.4, PICTURES).reshape(-1, 1)
    for step, mean in zip(STEPS, HEALTHY, strict=True):
        losses, timesteps = (level * mean).astype(np.float32), np.zeros((PICTURES, 1), int)
        builder.add(Validation("a" * 16, step, 4 * step, "validation", "monitor", losses, timesteps))
    assert diagnose(builder.build()).label == d.HEALTHY


HEALTHY = [0.200, 0.190, 0.180, 0.165, 0.145, 0.125, 0.110, 0.100]
SLOW = [0.2 - 0.008 * step / 200 for step in STEPS]
STEADY = [0.2 - 0.06 * step / 200 for step in STEPS]
FALLS = [0.190, 0.180, 0.170, 0.155, 0.130, 0.110, 0.090, 0.060]
UP = [0.200, 0.180, 0.160, 0.140, 0.115, 0.110, 0.140, 0.190]
OVERFIT = [0.200, 0.180, 0.150, 0.125, 0.107, 0.112, 0.121, 0.128]
BY_HEART = [*OVERFIT[:5], 0.2, 0.32, 0.4]
DIVERGES = [0.2, 0.29, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0]
AT_ONCE = [0.2, 0.21, 0.22, 0.23, 0.23, 0.24, 0.24, 0.24]
FELL_BACK = [0.2, 1.0, 1.1, 1.0, 1.0, 1.0, 0.95, 0.91]
CAME_BACK = [0.2, 0.21, 0.4, 0.42, 0.36, 0.26, 0.22, 0.21]
SPIKE, SPIKES = [0.2, 0.19, 0.24, 0.17, 0.15, 0.13, 0.11, 0.10], [0.2, 0.35, 0.34, 0.20, 0.15, 0.13, 0.11, 0.10]
SMALL = [0.2, 0.1997, 0.1994, 0.199, 0.1985, 0.1983, 0.1982, 0.1982]
THREE, BEGUN = [0.2, 0.1996, 0.1993, 0.199], [0.2, 0.196, 0.192, 0.185, 0.172]

CASES = {
    "diverges": (dict(validation=DIVERGES, probe=DIVERGES), d.DIVERGED, 8),
    "diverges and falls back a little": (dict(validation=FELL_BACK), d.DIVERGED, 4),
    "overshoots": (dict(validation=UP, probe=UP), d.OVERSHOOTING, 55),
    "overshoots at once and never gains": (
        dict(validation=AT_ONCE, probe=[0.19, 0.2, 0.21, 0.22, 0.22, 0.23, 0.23, 0.23]), d.OVERSHOOTING, 0,
    ),
    "overfits": (dict(validation=OVERFIT, probe=FALLS), d.OVERFITTING, 28),
    "overfits until held-out pictures cost twice what they cost": (dict(validation=BY_HEART, probe=FALLS),
                                                                   d.OVERFITTING, 28),
    "overfits while the probe wobbles up at the very end": (
        dict(validation=OVERFIT, probe=[*FALLS[:-2], 0.05, 0.075]), d.OVERFITTING, 28,
    ),
    "learns": (dict(validation=HEALTHY, probe=HEALTHY), d.HEALTHY, 0),
    "learns on a probe that falls faster": (dict(validation=HEALTHY, probe=FALLS), d.HEALTHY, 0),
    "learns without a probe": (dict(validation=HEALTHY), d.HEALTHY, 0),
    "spikes once and recovers": (dict(validation=SPIKE, probe=HEALTHY), d.HEALTHY, 0),
    "spikes over one and a half times twice and recovers": (dict(validation=SPIKES, probe=HEALTHY), d.UNSURE, None),
    "does nothing": (dict(validation=[0.2] * 8, probe=[0.2] * 8, noise=0.0005), d.STAGNATING, 0),
    "gains in proportion to the rate": (dict(validation=SLOW, probe=SLOW), d.STAGNATING, 0),
    "rises only at its last evaluation": (dict(validation=[*HEALTHY[:-1], 0.130], probe=HEALTHY), d.UNSURE, None),
    "rises without a probe to tell why": (dict(validation=OVERFIT), d.UNSURE, None),
    "is lost in noise": (dict(validation=HEALTHY, probe=HEALTHY, noise=0.6), d.UNSURE, None),
    "was looked at on one picture": (dict(validation=HEALTHY, probe=HEALTHY, pictures=1), d.UNSURE, None),
    "was looked at twice": (dict(validation=[0.2, 0.1], probe=[0.2, 0.1], steps=[0, 200]), d.UNSURE, None),
    "was never looked at": (dict(validation=None), d.UNSURE, None),
    "doubled its loss, came back and ends a little above its start": (dict(validation=CAME_BACK), d.UNSURE, None),
    "falls steadily by 30 %, alone": (dict(validation=STEADY, probe=STEADY), d.HEALTHY, 0),
    "gains 0.9 % of its loss where that is all there is": (dict(validation=SMALL, noise=1e-4), d.HEALTHY, 0),
    "made three updates": (dict(validation=THREE, probe=THREE, steps=[0, 1, 2, 3]), d.UNSURE, None),
    "has just begun": (dict(validation=SLOW[:5], probe=SLOW[:5], steps=STEPS[:5], noise=1e-5), d.UNSURE, None),
    "has just begun and gains": (dict(validation=BEGUN, probe=BEGUN, steps=STEPS[:5]), d.UNSURE, None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_that(name):
    curves, label, since = CASES[name]
    verdict = diagnose(made(**curves))
    assert (verdict.label, verdict.since_step) == (label, since), verdict
    assert verdict.seen.lower().startswith(label) and verdict.seen.endswith(".")
    assert verdict.sentence == f"{verdict.advice} {verdict.seen}"
    assert 0 <= verdict.confidence <= 1 and (label == d.UNSURE or verdict.confidence >= d.MIN_CONFIDENCE)
    assert verdict.label in d.LABELS
    json.dumps(verdict.to_dict(), allow_nan=False)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", [
    "diverges", "overshoots", "overfits", "learns", "does nothing", "gains in proportion to the rate",
])
def test_the_verdict_does_not_depend_on_the_noise_drawn(name, seed):
    curves, label, _ = CASES[name]
    assert diagnose(made(**curves, seed=seed)).label == label


@pytest.mark.parametrize("kind", [d.OVERSHOOTING, d.OVERFITTING])
def test_jitter_on_a_plateau_is_no_rise(kind):
    """A run that moves by an eighth of its gain between evaluations is rarely said to turn, and hardly ever surely."""
    plateau = [0.2, 0.172, 0.151, 0.129, 0.11, 0.101, 0.1, 0.1]
    verdicts = [diagnose(made(plateau, plateau, jitter=0.012, seed=seed)) for seed in range(40)]
    assert sum(verdict.label == kind for verdict in verdicts) <= 4
    assert sum(verdict.label == kind and verdict.confidence >= 0.95 for verdict in verdicts) <= 2


def test_more_evaluations_give_no_less_confidence():
    def confidence(count):
        steps = np.unique(np.round(np.geomspace(1, 201, count)).astype(int)) - 1
        course = 0.2 - 0.1 * (1 - np.exp(-steps / 10))
        runs = [made(course, course, steps=steps.tolist(), jitter=0.004, seed=seed) for seed in range(12)]
        verdicts = [diagnose(run) for run in runs]
        return np.mean([verdict.confidence * (verdict.label == d.HEALTHY) for verdict in verdicts])

    few, more, most = map(confidence, (9, 18, 60))
    assert few <= more + 0.03 and more <= most + 0.03


def test_losing_a_fifth_of_a_small_gain_is_not_called_healthy():
    """All there is to gain on a large base may be 1.6 % of the loss."""
    fall = np.array([0.2, 0.1995, 0.199, 0.198, 0.1972, 0.1968, 0.1968, 0.1968])
    turned = fall + np.array([0, 0, 0, 0, 0, 0.0002, 0.0005, 0.0008])
    labels = [diagnose(made(turned, fall, noise=1e-4, jitter=3e-5, seed=seed)).label for seed in range(20)]
    assert labels.count(d.HEALTHY) <= 2 and labels.count(d.OVERFITTING) >= 10


def test_what_is_said_of_a_doubtful_run_is_true_of_its_curve():
    """A run that trembles and ends at its lowest is not said to end above it."""
    trembling = [0.1506, 0.1452, 0.1454, 0.1472, 0.1452, 0.1493, 0.1482, 0.1448]
    doubtful = diagnose(made(trembling, trembling, noise=0.001))
    assert doubtful.label == d.UNSURE and "last evaluation" not in doubtful.seen
    assert "only the last evaluation" in diagnose(made([*HEALTHY[:-1], 0.130], HEALTHY)).sentence


def test_a_run_on_its_way_is_judged_so_far():
    begun = diagnose(made(HEALTHY[:7], HEALTHY[:7], steps=STEPS[:7], last=200))
    assert begun.so_far and begun.label == d.HEALTHY
    assert begun.seen.startswith("Healthy so far (after 105 updates)")
    assert not diagnose(made(HEALTHY, HEALTHY)).so_far


def test_a_verdict_that_siblings_turn_says_what_it_was_alone():
    slow = made(SLOW, SLOW, run="1" * 16)
    better = made([0.2 - 0.012 * step / 200 for step in STEPS], None, run="2" * 16)
    beside = diagnose(slow, [better])
    assert beside.label == d.HEALTHY and beside.evidence["alone"] == d.STAGNATING
    assert "alone it would be stagnating" in beside.sentence
    assert "alone" not in diagnose(slow, [made(HEALTHY, None, run="3" * 16)]).evidence


# Held-out losses of eight runs of one pass of a trial base, after 0, 49 and 240 steps.
TRIAL = {
    3e-5: (0.196, 0.173, d.UNSURE), 3e-4: (0.150, 0.115, d.HEALTHY),
    1e-3: (0.123, 0.099, d.HEALTHY), 3e-3: (0.109, 0.092, d.HEALTHY),
    1e-2: (0.108, 0.244, d.UNSURE), 3e-2: (1.00, 1.00, d.DIVERGED), 1e-1: (1.01, 0.91, d.DIVERGED),
}


def test_three_evaluations_tell_who_learned_and_who_broke_and_leave_the_rest_open():
    runs = {rate: made([0.201, first, last], [0.2, first, last], steps=[0, 49, 240], run=f"{rate:016}")
            for rate, (first, last, _) in TRIAL.items()}
    for rate, (_, _, label) in TRIAL.items():
        assert diagnose(runs[rate], runs.values()).label == label, rate


def test_the_first_step_that_is_not_a_number_means_divergence_from_there():
    verdict = diagnose(made(HEALTHY, HEALTHY, bad_step=37))
    assert (verdict.label, verdict.since_step, verdict.confidence) == (d.DIVERGED, 37, 1.0)
    losses = [*HEALTHY[:4], float("nan"), float("nan"), float("nan"), float("nan")]
    assert diagnose(made(losses, losses)).since_step == 28
    assert diagnose(made(HEALTHY, HEALTHY, stopped="diverged")).label == d.DIVERGED


def test_the_loss_of_single_steps_is_never_judged():
    calm, wild = made(HEALTHY, HEALTHY), made(HEALTHY, HEALTHY)
    wild.steps["loss"][:] = np.linspace(0.001, 1000, len(wild.steps["loss"]))
    assert diagnose(calm) == diagnose(wild)


def test_a_slow_run_is_slow_only_beside_a_better_sibling():
    slow = made(STEADY, STEADY, run="1" * 16)
    best = made([0.2, 0.15, 0.1, 0.06, 0.05, 0.05, 0.05, 0.05], None, run="2" * 16)
    near = made([0.2 - 0.07 * step / 200 for step in STEPS], STEADY, run="3" * 16)
    assert diagnose(slow).label == d.HEALTHY and diagnose(slow).still_improving
    beside = diagnose(slow, [slow, best])
    assert beside.label == d.STAGNATING and beside.evidence["share_of_best_sibling"] == pytest.approx(0.4, abs=0.03)
    assert diagnose(slow, [near]).label == d.HEALTHY


@pytest.mark.parametrize("changes", [
    dict(meta={"base_fingerprint": "other"}), dict(pictures=16), dict(validation=HEALTHY[:5], steps=STEPS[:5]),
])
def test_runs_that_cannot_be_compared_are_no_siblings(changes):
    slow = made(SLOW, SLOW, run="1" * 16)
    other = made(**(dict(validation=HEALTHY, probe=None, run="2" * 16) | changes))
    assert "share_of_best_sibling" not in diagnose(slow, [other]).evidence


def test_proportion_is_measured_against_the_sum_of_the_rate():
    """A loss that falls with the sum of a decaying rate is slow, though its curve over the steps flattens."""
    rates = [1e-3 * (1 - step / 200) for step in range(200)]
    spent = np.concatenate([[0], np.cumsum(rates)]) / np.sum(rates)
    losses = [0.2 - 0.009 * spent[step] for step in STEPS]
    assert diagnose(made(losses, losses, rates=rates)).label == d.STAGNATING
    assert diagnose(made(losses, losses)).label == d.HEALTHY


def test_a_run_that_levelled_off_is_told_from_one_that_still_falls_and_from_one_that_may_do_either():
    levelled = [0.2, 0.18, 0.15, 0.12, 0.105, 0.1, 0.1, 0.1, 0.1, 0.1]
    steps = [0, 4, 8, 15, 28, 55, 105, 130, 160, 200]
    level = diagnose(made(levelled, levelled, steps=steps, noise=0.0005))
    falling = diagnose(made(HEALTHY, HEALTHY))
    assert not level.still_improving and level.seen.endswith(", and has levelled off.")
    assert falling.still_improving and falling.seen.endswith(", and still falls.")
    open_ = diagnose(made([*HEALTHY[:-2], 0.112, 0.107], HEALTHY, jitter=0.006))
    assert open_.label == d.HEALTHY and "level" not in open_.seen and "still" not in open_.seen


def test_evidence_holds_the_numbers_of_the_curves():
    evidence = diagnose(made(OVERFIT, FALLS, noise=1e-6)).evidence
    assert evidence["best_step"] == 28 and evidence["loss_at_best"] == pytest.approx(0.107, abs=1e-4)
    assert evidence["rise"].mean == pytest.approx(0.021, abs=2e-3) and evidence["rise"].low > 0
    assert evidence["gain"].mean == pytest.approx(0.072, abs=2e-3)
    assert evidence["probe_since_best"].mean == pytest.approx(-0.070, abs=3e-3)
    assert evidence["probe_since_best"].high < 0
    assert evidence["pictures"] == PICTURES and evidence["evaluations"] == len(STEPS)
    assert evidence["clipped_frac"] == 0
    assert evidence["relative_update_in_last_quarter"] == pytest.approx(0.01)


def test_a_wider_spread_of_pictures_lowers_the_confidence():
    confidences = [diagnose(made(OVERFIT, FALLS, noise=noise)).confidence for noise in (0.001, 0.05, 0.2)]
    assert confidences[0] > confidences[1] > confidences[2]


def test_doubt_is_told_in_numbers_that_a_person_would_write():
    assert "have been measured 1 time; 3 are needed" in d.doubt({"evaluations": 1}, 3)


@pytest.mark.parametrize("curve, label", [
    (HEALTHY, d.UNSURE), (OVERFIT, d.OVERSHOOTING), (DIVERGES, d.DIVERGED), (SLOW, d.STAGNATING)])
def test_where_nothing_is_held_out_a_run_is_called_neither_healthy_nor_overfitting(curve, label):
    verdict = diagnose(made(validation=curve, probe=curve, meta={"nothing_held_out": True}))
    assert verdict.label == label
    if label == d.UNSURE:
        assert verdict.evidence["why"] == "nothing held out" and verdict.confidence == 0
        assert "no picture is held out" in verdict.advice and "training pictures themselves fell by" in verdict.seen
        one = made(validation=curve, probe=curve, meta={"nothing_held_out": True}, pictures=1)
        assert "training pictures themselves tells little" in diagnose(one).seen


def test_losses_of_training_pictures_are_not_called_held_out_in_any_verdict():
    for curve in (HEALTHY, OVERFIT, DIVERGES, SLOW):
        verdict = diagnose(made(validation=curve, probe=curve, meta={"nothing_held_out": True}))
        assert "held-out" not in verdict.sentence and verdict.evidence["measured_on"] == "training pictures"
        assert verdict.seen.count("on training pictures") <= 1
