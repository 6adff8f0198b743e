"""The tags under which trainers log their numbers, and which trainer a log is from.

Read from the code of each: kohya sd-scripts (train_network.py), OneTrainer (modules/trainer/GenericTrainer.py),
ai-toolkit (toolkit/logging_aitk.py, jobs/process/BaseSDTrainProcess.py), SimpleTuner (its training metrics charts),
the scripts of diffusers (accelerator.log), transformers' Trainer (trainer_state.json), EveryDream2trainer
(doc/VALIDATION.md) and spacepxl's demystifying-sd-finetuning.
"""

import re
from collections.abc import Iterable, Mapping

KOHYA, ONETRAINER, AITOOLKIT, SIMPLETUNER = "kohya sd-scripts", "OneTrainer", "ai-toolkit", "SimpleTuner"
DIFFUSERS, TRANSFORMERS, EVERYDREAM = "diffusers scripts", "transformers Trainer", "EveryDream2trainer"
LABKIT = "labkit"                                             # `labkit.store.tracking`

# Patterns of tags in plain form (see `plain`), the most telling first. A tag fits a role by the first that it matches.
ROLES: Mapping[str, tuple[str, ...]] = {
    "validation": (
        r"loss_validation_step_average", r"loss_validation_epoch_average",                # kohya
        r"loss_validation_step_total_average", r"loss_validation_step_(?!current|divergence|average).+",  # OneTrainer
        r"loss_val_pooled", r"val_loss", r"loss_val", r"test_val",                        # SimpleTuner, ai-toolkit
        r"eval_loss", r"validation_loss", r"loss_validation", r"loss_eval", r"valid_loss", r"loss_valid",
        r"loss_val_(?!.*divergence).+", r"(val|validation|eval)_.*loss", r"heldout_loss", r"held_out_loss",
    ),
    "probe": (r"test_test", r"loss_train_stabilized", r"probe_loss"),    # spacepxl, EveryDream2, labkit
    "train": (
        r"loss_current", r"loss_train_step", r"loss_loss", r"loss_log_step", r"train_loss", r"loss_train",
        r"step_loss", r"train_step_loss", r"training_loss", r"loss", r"loss_average", r"smooth_loss_train_step",
        r"avr_loss", r"avg_loss", r"train_loss_step", r"optimization_loss", r"loss_epoch_average", r"loss_epoch",
    ),
    "rate": (r"lr_unet", r"lr_transformer", r"lr_group0", r"learning_rate", r"train_learning_rate", r"lr",
             r"lr_(?!textencoder|text_encoder|te).+", r"hyperparameter_lr_unet"),
}
EPOCH = "epoch"
STEP_NAMES = ("step", "global_step", "_step", "steps", "train_global_step", "trainer_global_step", "iteration", "iter",
              "update", "current_steps", EPOCH)
# Tags that only one trainer writes.
SIGNS = (
    (LABKIT, r"train_update_norm"),
    (ONETRAINER, r"loss_train_step|smooth_loss_train_step"),
    (KOHYA, r"loss_current|loss_average|loss_epoch_average|loss_validation_(step|epoch)_average|lr_textencoder.*"),
    (AITOOLKIT, r"loss_loss"),
    (SIMPLETUNER, r"loss_val_pooled|optimization_loss|iteration_step_time_seconds"),
    (EVERYDREAM, r"loss_log_step|loss_train_stabilized"),
    (TRANSFORMERS, r"eval_runtime|train_grad_norm|train_epoch"),
)
OF_DIFFUSERS = {"train_loss", "loss", "lr", "step_loss", "epoch"}  # all that its scripts log


def plain(tag: str) -> str:
    """Return a tag in the form that the patterns are written in: small letters, "_" for all that is no letter."""
    return re.sub(r"[^a-z0-9]+", "_", tag.lower()).strip("_")


def fitting(role: str, tags: Iterable[str]) -> list[str]:
    """Return the tags that fit a role, best first."""
    ranked = []
    for tag in tags:
        words = plain(tag.rpartition(" - ")[2])               # wandb exports put the run's name before it
        rank = next((rank for rank, form in enumerate(ROLES[role]) if re.fullmatch(form, words)), None)
        if rank is not None:
            ranked.append((rank, tag))
    return [tag for _, tag in sorted(ranked)]


def trainer_of(tags: Iterable[str]) -> str:
    """Name the trainer that wrote a log with these tags; "" where several might have."""
    forms = {plain(tag) for tag in tags}
    # Any table may have a loss and a rate: these scripts are told by what they call the loss.
    unknown = DIFFUSERS if "train_loss" in forms and forms <= OF_DIFFUSERS else ""
    return next((name for name, sign in SIGNS if any(re.fullmatch(sign, form) for form in forms)), unknown)


def step_column(names: Iterable[str]) -> str | None:
    """Return the name of the column that counts updates, else of the one that counts epochs, else None."""
    by_form = {plain(name) or name: name for name in reversed(list(names))}
    return next((by_form[name.strip("_")] for name in STEP_NAMES if name.strip("_") in by_form), None)
