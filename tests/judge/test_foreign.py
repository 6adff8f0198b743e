"""Verdicts on other trainers' logs: right on made logs of known kind, and none where a log cannot bear one."""

import json
import math
import os
import re
from pathlib import Path

import log_study
import numpy as np
import pytest

from labkit.judge.foreign import judge_log
from labkit.judge.log_course import log_course
from labkit.judge.next_log import HOW
from labkit.judge.training_loss import broke_at, training_loss
from labkit.judge.verdict_text import DIVERGED, HEALTHY, OVERFITTING, OVERSHOOTING, STAGNATING, UNSURE
from labkit.store.foreign_logs import ForeignLog, read_logs
from labkit.store.log_series import series

FOLDER = Path(os.environ.get("LABKIT_REAL_LOGS", ""))         # of CSV and event files, named as `REAL` has them
REAL = {  # what the design of spacepxl's runs makes of them
    "initial_lr_sweep__1.0e-07": {STAGNATING}, "initial_lr_sweep__1.0e-06": {HEALTHY},
    "initial_lr_sweep__1.0e-05": {OVERFITTING, OVERSHOOTING}, "initial_lr_sweep__1.0e-04": {OVERSHOOTING},
    "long_lr_sweep__2.0e-07": {OVERFITTING}, "batch_size__1": {OVERFITTING}, "batch_size__2": {OVERFITTING},
    "batch_size__4": {OVERFITTING}, "lora_rank__8": {OVERFITTING}, "lora_rank__32": {OVERFITTING, HEALTHY},
    "lora_rank__128": {OVERFITTING, HEALTHY}, "lora_lr__rank128_alpha1_lr1.5e-04": {OVERFITTING},
    "dataset_size__aerochrome-10_lr5e-7": {OVERFITTING}, "dataset_size__aerochrome-50_lr5e-7": {HEALTHY},
}
STEPS = np.linspace(0, 1000, 12)
FALL = 0.06 - 0.001 * (1 - np.exp(-STEPS / 150))


def made(validation=None, train=None, probe=None, trainer="", tag="val_loss", steps=STEPS):
    """Return a log with the given values."""
    told = {"validation": (tag, steps, validation), "probe": ("probe", steps, probe),
            "train": ("loss", range(len(train)) if train is not None else (), train)}
    columns = {role: series(name, list(places), list(values))
               for role, (name, places, values) in told.items() if values is not None}
    return ForeignLog(Path("made.csv"), "CSV", trainer, (), **columns)


def noisy(values, size, seed=0):
    """Return values with noise."""
    return np.asarray(values) + size * np.random.default_rng(seed).normal(size=len(values))


@pytest.mark.parametrize("kind", log_study.RIGHT)
def test_made_logs_of_every_kind_are_mostly_judged_right_and_rarely_wrong(kind):
    labels = log_study.study(15, seed=7, kinds=[kind])[kind]
    right = sum(labels[label] for label in log_study.RIGHT[kind])
    assert right >= (9 if kind in ("slow", "flat") else 13) and right + labels[UNSURE] >= 14, labels


@pytest.mark.skipif(not FOLDER.name, reason="LABKIT_REAL_LOGS names no folder of real logs")
def test_real_logs_of_stable_diffusion_are_judged_as_their_design_makes_them():
    logs, _ = read_logs(FOLDER)
    labels = {log.path.name.removesuffix(".csv"): judge_log(log).label for log in logs}
    assert {name: label for name, label in labels.items() if label not in REAL.get(name, {label})} == {}
    assert labels.keys() >= REAL.keys()


def test_noise_is_measured_in_the_log_itself():
    steps = np.linspace(0, 1000, 40)
    for size in (1e-6, 1e-5, 1e-4):
        course = log_course(steps, noisy(0.06 - 0.001 * (1 - np.exp(-steps / 150)), size), np.array([500.0]))
        assert size / 2 < course.noise < 2 * size


def test_the_same_drop_is_a_gain_or_none_by_the_noise_of_the_log():
    assert judge_log(made(noisy(FALL, 2e-5))).label == HEALTHY
    assert judge_log(made(noisy(FALL, 2e-3))).label == UNSURE


def test_a_verdict_does_not_depend_on_the_unit_of_the_loss():
    for scale in (1e-3, 1.0, 1e4):
        verdict = judge_log(made(scale * noisy(FALL, 2e-5)))
        assert verdict.label == HEALTHY and verdict.evidence["gain"].mean == pytest.approx(0.001 * scale, rel=0.1)


def test_a_rise_that_training_pictures_share_is_overshooting_and_one_they_do_not_is_overfitting():
    rise = noisy(FALL + 0.003 * (STEPS / 1000) ** 2, 2e-5)
    assert judge_log(made(rise, probe=noisy(FALL - 0.001 * STEPS / 1000, 2e-5, 1))).label == OVERFITTING
    assert judge_log(made(rise, probe=rise + noisy(np.zeros(12), 2e-5, 1))).label == OVERSHOOTING
    far = FALL + 0.06 * np.maximum(0, STEPS - 300) / 700                  # to twice what it was, learned by heart
    assert judge_log(made(far, probe=noisy(FALL - 0.001 * STEPS / 1000, 2e-5, 1))).label == OVERFITTING
    assert judge_log(made(far, probe=far)).label == judge_log(made(far)).label == DIVERGED
    alone = judge_log(made(rise))
    assert alone.label == OVERFITTING and "Or the rate is too high" in alone.advice


def test_a_last_point_that_jumps_up_alone_is_no_rise():
    values = noisy(FALL, 1e-5)
    values[-1] += 0.0009
    assert judge_log(made(values)).label in (UNSURE, HEALTHY)


def test_few_points_and_one_point_give_no_verdict():
    for count in (1, 2, 4):
        verdict = judge_log(made(FALL[:count], steps=STEPS[:count]))
        assert verdict.label == UNSURE and "too rarely" in verdict.advice


def test_a_constant_loss_is_stagnating_and_no_error():
    assert judge_log(made(np.full(12, 0.06))).label == STAGNATING


@pytest.mark.parametrize(("values", "label"), [
    (np.zeros(9), STAGNATING), (np.full(9, -0.05), STAGNATING), (np.r_[0.0, np.full(8, 0.3)], OVERSHOOTING),
    (noisy(FALL - 1, 2e-5), HEALTHY), (noisy(FALL[::-1] - 0.06, 2e-5), OVERSHOOTING),
])
def test_a_loss_of_nothing_or_below_is_judged_by_its_changes_without_shares_of_it(values, label):
    verdict = judge_log(made(values, steps=STEPS[: len(values)]))
    assert verdict.label == label and verdict.evidence.get("reason") != "explosion"
    assert "nan" not in verdict.sentence and "inf" not in verdict.sentence


def test_a_fall_in_the_second_half_alone_is_told_in_words():
    steps = np.linspace(0, 1000, 24)
    late = 0.06 - 0.002 * (steps / 1000) ** 6 + 0.0001 * np.sin(np.pi * steps / 1000)
    verdict = judge_log(made(noisy(late, 5e-6), steps=steps))
    assert verdict.label == STAGNATING and "in the second half alone" in verdict.seen


def test_training_loss_alone_bears_no_verdict_and_the_trainers_settings_are_told():
    train = np.exp(np.random.default_rng(0).normal(size=500)) * 0.05
    for trainer, how in HOW.items():
        verdict = judge_log(made(train=train, trainer=trainer))
        assert verdict.label == UNSURE and how in verdict.advice and "scatters" in verdict.seen
        assert verdict.evidence["train_noise_to_drop"] > 2
    assert "--validation_split" in judge_log(made(train=train)).advice


@pytest.mark.parametrize("trainer", HOW)
def test_what_to_do_next_time_is_told_by_the_names_of_settings(trainer):
    words = HOW[trainer].partition("it then logs")[0]
    assert re.search(r"--[a-z_]+|[a-z]+_[a-z_]+\b|Validate after", words), words


def test_a_loss_that_ends_in_nan_or_explodes_is_diverged_and_a_single_nan_is_not():
    train = np.exp(np.random.default_rng(0).normal(size=500)) * 0.05
    broken, burst, once = train.copy(), train.copy(), train.copy()
    broken[300:], burst[350:], once[300] = math.nan, train[350:] * 20, math.inf
    assert (judge_log(made(train=broken)).label, judge_log(made(train=broken)).since_step) == (DIVERGED, 300)
    exploded = judge_log(made(train=burst))
    assert exploded.label == DIVERGED and abs(exploded.since_step - 350) <= 50
    assert judge_log(made(train=once)).label == UNSURE
    assert broke_at(made(train=once).train) is None and training_loss(made(train=once).train).exploded_at is None
    beyond = noisy(FALL, 1e-5)
    beyond[8:] *= 3
    assert judge_log(made(beyond)).label == DIVERGED
    beyond[8:] = math.nan
    assert judge_log(made(beyond)).since_step == int(STEPS[8])


def test_what_the_averages_of_kohya_hide_is_told():
    for tag, words in (("loss/validation/step_average", "first epoch"), ("loss/validation/epoch_average", "epochs")):
        verdict = judge_log(made(noisy(FALL, 2e-5), tag=tag, trainer="kohya sd-scripts"))
        assert words in verdict.cautions[0]
    assert not judge_log(made(noisy(FALL, 2e-5))).cautions


def test_a_schedule_that_ends_counts_by_the_rate_that_was_spent():
    steps = np.linspace(0, 1000, 21)
    spent = 1 - (1 - steps / 1000) ** 2                       # of a rate that falls in a line to 0
    values = noisy(0.06 - 0.001 * spent, 5e-6)
    log = made(values, steps=steps)
    assert judge_log(log).label != STAGNATING
    rate = series("lr", list(steps), list(1e-4 * (1 - steps / 1000)))
    assert judge_log(ForeignLog(log.path, log.form, "", (), validation=log.validation, rate=rate)).label == STAGNATING


def test_a_verdict_is_strict_json_with_the_documented_names():
    for log in (made(noisy(FALL, 2e-5)), made(train=[0.5, 0.4]), made(train=[math.nan] * 9)):
        told = judge_log(log).to_dict()
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        assert list(told) == ["label", "confidence", "since_step", "evidence", "advice", "sentence", "cautions"]


def test_a_long_log_is_judged_without_a_matrix_of_its_length():
    steps = np.linspace(1, 1e6, 20_000)
    assert judge_log(made(noisy(0.06 - 0.001 * (1 - np.exp(-steps / 1e5)), 1e-4), steps=steps)).label == HEALTHY
