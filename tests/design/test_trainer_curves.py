"""A schedule that is translated is the same curve, update by update, as the other trainer's own scheduler gives it."""

import pytest
from trainer_rates import THEIRS

from labkit.design.config import RunConfig
from labkit.design.schedules import rates
from labkit.design.trainers.curves import CURVES, shares
from labkit.design.trainers.known import TRAINERS
from labkit.design.trainers.translate import settings_of, translate

OTHERS = [name for name in TRAINERS if name != "labkit"]
PEAK, TOTAL, PICTURES = 2e-4, 120, 480
# The kit's schedules that a trainer has none for, with warm-up and without: what is told as having no equivalent.
EXACT = {
    "kohya": "constant constant+ linear linear+ cosine cosine+ cosine-end cosine-end+",
    "kohya_ss": "constant constant+ linear linear+ cosine cosine+ cosine-end cosine-end+",
    "diffusers": "constant constant+ linear linear+ cosine cosine+",
    "dreambooth": "constant constant+ linear linear+ cosine cosine+",
    "dreambooth-xl": "constant constant+ linear linear+ cosine cosine+",
    "onetrainer": "constant constant+ linear linear+ linear-end linear-end+ cosine cosine+ cosine-end cosine-end+",
    "ai-toolkit": "constant constant+ linear linear-end cosine cosine-end",
    "simpletuner": "constant constant+ linear linear+ linear-end linear-end+ cosine cosine-end",
}
SHAPES = {f"{name}{end}{plus}": {"lr_scheduler": name, "lr_warmup_steps": 12 if plus else 0}
          | ({"lr_end": 2e-5} if end else {})
          for name in ("constant", "linear", "cosine", "exponential", "three_phase") for end in ("", "-end")
          for plus in ("", "+") if not (name == "constant" and end)}


def config_of(shape):
    return RunConfig(learning_rate=PEAK, max_train_steps=TOTAL, train_batch_size=4, base="folder", **SHAPES[shape])


def translated(name, shape):
    return translate(TRAINERS["labkit"], settings_of(config_of(shape)), TRAINERS[name], PICTURES)


def is_told_as_lost(translation, name):
    return any(note.kind == "none" and note.name == TRAINERS[name].scheduler for note in translation.notes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OTHERS)
def test_a_schedule_of_ours_is_the_same_curve_there_or_told_as_lost(name, shape):
    translation = translated(name, shape)
    ours, theirs = rates(config_of(shape)), THEIRS[name](translation.settings, PEAK, TOTAL)
    differs = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    assert is_told_as_lost(translation, name) == (differs > 2e-9), (translation.settings, differs)


@pytest.mark.parametrize("name", OTHERS)
def test_no_schedule_that_a_trainer_has_is_told_as_lost(name):
    exact = {shape for shape in SHAPES if not is_told_as_lost(translated(name, shape), name)}
    assert exact >= set(EXACT[name].split())


SETTINGS = {
    "kohya": [
        {"lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 3, "lr_warmup_steps": 25},
        {"lr_scheduler": "polynomial", "lr_scheduler_power": 2.0, "lr_warmup_steps": 0.1},
        {"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.2, "lr_warmup_steps": 10},
        {"lr_scheduler": "inverse_sqrt", "lr_warmup_steps": 30},
        {"lr_scheduler": "warmup_stable_decay", "lr_warmup_steps": 20, "lr_decay_steps": 50},
        {"lr_scheduler": "warmup_stable_decay", "lr_warmup_steps": 0.1, "lr_decay_steps": 0.2},
    ],
    "diffusers": [{"lr_scheduler": "cosine_with_restarts", "lr_warmup_steps": 20},
                  {"lr_scheduler": "polynomial", "lr_warmup_steps": 20}, {"lr_scheduler": "constant"}],
    "dreambooth": [{"lr_scheduler": "cosine_with_restarts", "lr_warmup_steps": 20, "lr_num_cycles": 3},
                   {"lr_scheduler": "polynomial", "lr_warmup_steps": 20, "lr_power": 2.0}],
    "onetrainer": [{"learning_rate_scheduler": name, "learning_rate_cycles": 2.0, "learning_rate_min_factor": 0.1,
                    "learning_rate_warmup_steps": warmup}
                   for name in ("LINEAR", "COSINE", "COSINE_WITH_HARD_RESTARTS", "COSINE_WITH_RESTARTS", "REX")
                   for warmup in (0.0, 0.1, 50.0)],
    "ai-toolkit": [{"train.lr_scheduler": "linear"}, {"train.lr_scheduler": "cosine_with_restarts"},
                   {"train.lr_scheduler": "step", "train.lr_scheduler_params.step_size": 40,
                    "train.lr_scheduler_params.gamma": 0.5}],
    "simpletuner": [{"lr_scheduler": "cosine", "lr_warmup_steps": 150}, {"lr_scheduler": "sine"},
                    {"lr_scheduler": "polynomial", "lr_warmup_steps": 10},
                    {"lr_scheduler": "cosine_with_restarts", "lr_warmup_steps": 30}],
}


@pytest.mark.parametrize("name, settings", [(name, each) for name in SETTINGS for each in SETTINGS[name]])
def test_a_schedule_of_theirs_is_read_as_the_curve_that_their_scheduler_gives(name, settings):
    trainer = TRAINERS[name]
    rate = {"onetrainer": "learning_rate", "ai-toolkit": "train.lr"}.get(name, "learning_rate")
    long = {trainer.length.steps: TOTAL} if trainer.length.steps else {trainer.length.epochs: 1}
    batch = {"onetrainer": "batch_size", "ai-toolkit": "train.batch_size"}.get(name, "train_batch_size")
    given = settings | {rate: PEAK, batch: PICTURES // TOTAL} | long
    run = translate(trainer, given, TRAINERS["labkit"], PICTURES).run
    end = run["lr_end"] / PEAK if run.get("lr_end") else 0.0
    read = [PEAK * share for share in shares(run["lr_scheduler"], TOTAL, run["lr_warmup_steps"], end,
                                             **run["lr_options"])]
    assert read == pytest.approx(THEIRS[name](settings, PEAK, TOTAL), abs=2e-9, rel=1e-9)


def test_the_same_word_means_other_curves():
    linear = THEIRS["ai-toolkit"]({"train.lr_scheduler": "linear"}, PEAK, TOTAL)
    assert linear[0] < linear[-1] and THEIRS["diffusers"]({"lr_scheduler": "linear", "lr_warmup_steps": 0},
                                                                   PEAK, TOTAL)[-1] < PEAK / 100
    wave = THEIRS["onetrainer"]({"learning_rate_scheduler": "COSINE_WITH_RESTARTS",
                                 "learning_rate_warmup_steps": 0.0}, PEAK, TOTAL)
    assert min(wave) < PEAK / 100 and wave[-1] > 0.98 * PEAK


def test_a_schedule_without_an_equivalent_is_told_with_the_size_of_the_difference():
    notes = translated("diffusers", "exponential").notes
    text = next(note.text for note in notes if note.name == "lr_scheduler")
    ours, theirs = rates(config_of("exponential")), THEIRS["diffusers"](
        {"lr_scheduler": "linear", "lr_warmup_steps": 0}, PEAK, TOTAL)
    off = max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / PEAK
    assert f"differs by {off:.0%}" in text and f"sum to {sum(theirs) / sum(ours):.0%}" in text


@pytest.mark.parametrize("curve", CURVES)
def test_every_curve_has_a_rate_for_every_update_of_the_shortest_runs(curve):
    for total in (1, 2, 3):
        for warmup in (0, 1, 5):
            assert len(shares(curve, total, warmup, 0.1)) == total
