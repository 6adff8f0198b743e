"""Every schedule is what it says, step by step, and where diffusers has it, the same to the last bit."""

import math

import pytest
import torch
from diffusers.optimization import get_scheduler

from labkit.design.config import RunConfig
from labkit.design.schedules import lr_at, rates, three_phases
from labkit.errors import LabError

OURS_AND_THEIRS = [("constant", "constant_with_warmup"), ("linear", "linear"), ("cosine", "cosine")]


def diffusers_rates(name, peak, warmup, total):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    rates_there = []
    for _ in range(total):
        rates_there.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates_there


@pytest.mark.parametrize("total, warmup", [(200, 0), (200, 20), (37, 5), (10, 50), (10, 10), (1, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize("ours, theirs", OURS_AND_THEIRS)
def test_every_step_equals_the_schedule_of_diffusers(ours, theirs, total, warmup):
    config = RunConfig(learning_rate=3e-4, lr_scheduler=ours, lr_warmup_steps=warmup, max_train_steps=total)
    assert rates(config) == diffusers_rates(theirs, 3e-4, warmup, total)


def test_a_constant_rate_without_warm_up_equals_diffusers_constant():
    assert rates(RunConfig(max_train_steps=50)) == diffusers_rates("constant", 1e-3, 0, 50)


def chapter(**changes):
    config = RunConfig(learning_rate=1e-3, lr_scheduler="three_phase", lr_warmup_steps=100, lr_end=1e-4,
                       max_train_steps=5100)
    return config.replace(**changes)


def test_the_chapters_three_phases_have_its_numbers():
    rate = rates(chapter())
    assert rate[0] == 1e-4 and rate[100] == 1e-3 and rate[5000] == rate[5099] == 1e-4
    assert all(rate[step + 1] - rate[step] == pytest.approx(9e-6) for step in range(100))
    assert all(rate[step + 1] / rate[step] == pytest.approx(0.1 ** (1 / 4900)) for step in range(100, 5000))
    assert all(rate[step] == 1e-4 for step in range(5000, 5100))
    assert math.fsum(rate) == pytest.approx(1.980, abs=5e-4)


def test_the_chapters_phases_are_what_is_derived_when_nothing_is_said():
    derived = RunConfig(lr_scheduler="three_phase", max_train_steps=5100).resolved(48)
    assert derived.lr_end == 1e-4 and rates(derived) == rates(chapter())


def test_a_shorter_run_keeps_the_shares_of_the_phases():
    config = chapter(max_train_steps=600, lr_warmup_steps=0)
    assert three_phases(config) == (12, 576, 12)
    rate = rates(config)
    assert rate[13] / rate[12] == pytest.approx(0.1 ** (1 / 576))
    assert rate[0] == 1e-4 and rate[12] == 1e-3 and rate[588] == 1e-4 and rate[599] == 1e-4


@pytest.mark.parametrize("total", [1, 2, 10, 50, 101])
@pytest.mark.parametrize("name", ["constant", "linear", "exponential", "cosine", "three_phase"])
@pytest.mark.parametrize("warmup", [0, 1, 60])
def test_every_schedule_stays_between_zero_and_its_peak_however_short(name, total, warmup):
    rate = rates(RunConfig(lr_scheduler=name, max_train_steps=total, lr_warmup_steps=warmup))
    assert len(rate) == total and all(0 <= value <= 1e-3 for value in rate)


@pytest.mark.parametrize("name, after_half", [("linear", 5.5e-4), ("cosine", 5.5e-4), ("exponential", 10**-3.5)])
def test_a_decay_ends_at_lr_end_and_is_where_it_should_be_half_way(name, after_half):
    config = RunConfig(lr_scheduler=name, lr_end=1e-4, max_train_steps=100)
    assert lr_at(0, config) == 1e-3
    assert [lr_at(step, config) for step in (50, 100)] == pytest.approx([after_half, 1e-4])


def test_the_chapters_linear_step_is_nine_ten_millionths():
    config = RunConfig(lr_scheduler="linear", learning_rate=1e-3, lr_end=1e-4, max_train_steps=1000)
    assert lr_at(1, config) - lr_at(0, config) == pytest.approx(-9e-7)


def test_a_ramp_rises_when_the_end_is_above_the_start():
    config = RunConfig(lr_scheduler="exponential", learning_rate=1e-5, lr_end=1e-1, max_train_steps=100)
    assert lr_at(50, config) == pytest.approx(1e-3)


def test_an_edit_rescales_the_schedule_from_its_step_on():
    plain = RunConfig(lr_scheduler="linear", max_train_steps=100)
    edited = plain.replace(lr_edits=((40, 3e-4), (60, 1e-5)))
    before, after = rates(plain), rates(edited)
    assert after[:40] == before[:40]
    assert after[40] == 3e-4 and after[60] == 1e-5
    assert after[50] == pytest.approx(3e-4 * before[50] / before[40])
    assert after[80] == pytest.approx(1e-5 * before[80] / before[60])


def test_a_run_counted_in_epochs_has_no_schedule_before_it_is_resolved():
    config = RunConfig(num_train_epochs=3)
    with pytest.raises(LabError, match="max_train_steps"):
        lr_at(0, config)
    assert len(rates(config.resolved(48))) == 36
