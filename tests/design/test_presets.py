"""What a preset tells people to see is in its recorded runs: every claim of a text beside what checks it."""

import re
from functools import cache

import numpy as np
import pytest

from labkit.design import volume
from labkit.design.config import RunConfig
from labkit.design.presets import EPOCHS_AND_BATCHES, PRESETS, RANK_AND_ALPHA
from labkit.design.schedules import lr_at, rates
from labkit.store.recorded import recorded

ALL = PRESETS | EPOCHS_AND_BATCHES | RANK_AND_ALPHA
# How sentences begin that tell what to do, or ask.
ASKS = ("Watch", "Look", "Compare", "Pin", "Train", "Now", "Then look", "Do ", "see the")


@cache
def runs(name):
    """Return the recorded runs of a preset by seed."""
    data, pictures = ("liminal/kind=pool", 12) if name in PRESETS else ("liminal/kind=pool,maze", 24)
    recorded_in = "presets" if name in PRESETS else "rank_presets" if name in RANK_AND_ALPHA else "volume_presets"
    config = RunConfig(data=data).replace(**ALL[name].changes).resolved(pictures)
    candidates = recorded(recorded_in)
    return {run.config.seed: run for run in candidates if run.config == config.replace(seed=run.config.seed)}


def held(run):
    return run.validations["validation"]


def probe(run):
    return run.validations["probe"].means


def at(run, step):
    """Return the held-out loss after `step` updates, which must have been measured."""
    return held(run).means[list(held(run).steps).index(step)]


def gain(run):
    return held(run).means[0] - held(run).means[-1]


def ends_lowest(means):
    return means[-1] == min(means)


def stays_down(run):
    return held(run).means[-1] - min(held(run).means) < 0.05 * gain(run)


def fell_faster_at_first(run):
    half = np.interp(held(run).steps[-1] / 2, held(run).steps, held(run).means)
    return held(run).means[0] - half > half - held(run).means[-1] > 0


def turned(run):
    """Tell that both losses end far above their lowest, by about as much as the healthy runs gain in all."""
    return min(held(run).means[-1] - min(held(run).means), probe(run)[-1] - min(probe(run))) > 0.025


def scatter(run):
    return np.std(run.steps["loss"])


def beside(name, holds):
    """Compare each run with the run of another preset that has the same seed."""
    return lambda run: holds(run, runs(name)[run.config.seed])


def views(run):
    return volume.views(run.config.max_train_steps, run.config.effective_batch_size, run.config.n_train)


def turns_above_its_beginning(run):
    return min(held(run).means) < at(run, 0) < held(run).means[-1]


def held_ends_lowest(run):
    return ends_lowest(held(run).means)


def probe_ends_lowest(run):
    return ends_lowest(probe(run))


def same_rate(run, other):
    return run.config.learning_rate == other.config.learning_rate


def rises_to(run, rate):
    """Tell that the rate is higher at each update than at the one before, and comes to `rate`."""
    applied = [*rates(run.config), lr_at(run.config.steps, run.config)]
    return bool((np.diff(applied) > 0).all()) and np.isclose(applied[-1], rate)


def fell_at_first(run):
    """Tell that both losses lay below their beginning for the first third or so of the updates."""
    early = (held(run).steps > 0) & (held(run).steps <= 0.4 * run.config.max_train_steps)
    return all((means[early] < means[0]).all() for means in (held(run).means, probe(run)))


def ends_far_above_its_beginning(run):
    return all(means[-1] > 1.5 * means[0] for means in (held(run).means, probe(run)))


def parted(run):
    """Tell that the training pictures' loss fell further after the held-out one was lowest."""
    return probe(run)[-1] < probe(run)[np.argmin(held(run).means)]


def adapts_attention(run):
    return run.config.target_modules == ("attention",)


# Preset: ((words of its text, what is so in every recorded run), ...)
CLAIMS = {
    "healthy": (
        ("falls, faster at first", fell_faster_at_first), ("stays down", stays_down),
        ("training pictures' loss falls with it", probe_ends_lowest)),
    "stagnating": (
        ("less than a third of the healthy run's gain",
         beside("healthy", lambda run, healthy: 0 < gain(run) < gain(healthy) / 3)),
        ("still falling at the end", held_ends_lowest), ("the steps are too short", held_ends_lowest)),
    "overshooting": (
        ("begins at the healthy run's rate", beside("healthy", same_rate)),
        ("that one falls to nothing", beside("healthy", lambda run, healthy: lr_at(healthy.config.steps,
                                                                                   healthy.config) == 0)),
        ("rises to three times as much", lambda run: rises_to(run, 3 * run.config.learning_rate)),
        ("only the attention layers are adapted", adapts_attention), ("At first both losses fall", fell_at_first),
        ("both turn and rise together, on pictures it trains on as well", turned),
        ("to far above where they began", ends_far_above_its_beginning)),
    "diverged": (
        ("Within fifteen updates the loss is several times the untouched base's",
         lambda run: at(run, 15) > 3 * at(run, 0)),
        ("stays so to the end", lambda run: min(held(run).means[held(run).steps >= 15]) > 3 * at(run, 0)),
        ("four times the healthy run's rate",
         beside("healthy", lambda run, healthy: run.config.learning_rate == 4 * healthy.config.learning_rate))),
    "overfitting": (
        ("Only four pictures", lambda run: run.config.n_train == 4),
        ("turns and rises above where it began", turns_above_its_beginning),
        ("the training pictures' falls further", parted), ("The two losses part", parted)),
    "not enough evidence": (
        ("One update and two measurements", lambda run: list(held(run).steps) == [0, 1]),
        ("The loss has moved", lambda run: gain(run) != 0)),
    "one epoch": (
        ("Every picture is shown once", lambda run: views(run) == 1), ("still on its way down", held_ends_lowest),
        ("what is missing is updates", beside("ten epochs", lambda run, ten: gain(ten) > gain(run)))),
    "ten epochs": (
        ("ten views of each picture", lambda run: views(run) == 10),
        ("more than twice the gain", beside("one epoch", lambda run, one: gain(run) > 2 * gain(one) > 0))),
    "too many epochs": (
        ("a hundred and twenty times each", lambda run: views(run) == 120), ("The two losses part", probe_ends_lowest),
        ("turns and ends above where it began", turns_above_its_beginning)),
    "one at a time": (
        ("as many pictures shown as in eight epochs", lambda run: views(run) == 8),
        ("scatter far more than sixteen at once",
         beside("sixteen at once", lambda run, many: scatter(run) > 2 * scatter(many)))),
    "sixteen at once": (
        ("calmer", beside("one at a time", lambda run, one: scatter(run) < scatter(one) / 2)),
        ("gets less far than one at a time", beside("one at a time", lambda run, one: gain(run) < gain(one)))),
    "sixteen, rate doubled": (
        ("the square root of what the batch was raised by, from 4 to 16",
         beside("sixteen at once", lambda run, same: run.config.learning_rate == 2 * same.config.learning_rate)),),
    "one direction": (
        ("more than half of what thirty-two gain",
         beside("many directions", lambda run, many: gain(run) > gain(many) / 2)),
        ("thirty-two directions take longer steps at the same rate",
         beside("many directions", lambda run, many: at(run, 4) > at(many, 4) and same_rate(run, many)))),
    "many directions": (
        ("Thirty-two directions at the same rate", beside("one direction", same_rate)),
        ("starts faster than one direction", beside("one direction", lambda run, one: at(run, 4) < at(one, 4)))),
    "alpha forgotten": (
        ("alpha left at 1", lambda run: run.config.scaling == 1 / 32), ("the loss falls", held_ends_lowest),
        ("slower than with many directions",
         beside("many directions", lambda run, many: at(run, 15) > at(many, 15)))),
    "alpha too high": (
        ("rate is that of the other three", beside("one direction", same_rate)),
        ("within four updates the loss jumps above the untouched base's", lambda run: at(run, 4) > at(run, 0)),
        ("has not come back to it at the end", lambda run: min(held(run).means[1:]) > at(run, 0))),
}


@pytest.mark.parametrize("name", ALL)
def test_what_a_preset_claims_is_so_in_its_recorded_runs(name):
    assert len(runs(name)) >= 2, "in data/, run recipes.ship.recorded presets rank_presets volume_presets"
    for words, holds in CLAIMS[name]:
        assert words in ALL[name].look
        assert all(holds(run) for run in runs(name).values()), words


@pytest.mark.parametrize("name", ALL)
def test_every_sentence_of_a_preset_is_a_checked_claim_or_tells_what_to_do(name):
    for sentence in re.split(r"(?<=[.?]) ", ALL[name].look):
        assert sentence.startswith(ASKS) or any(words in sentence for words, _ in CLAIMS[name]), sentence
