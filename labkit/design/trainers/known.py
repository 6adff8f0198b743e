"""All trainers whose settings are known, and how one is recognized by its settings."""

import difflib
from collections.abc import Mapping
from typing import Any

from labkit.design.trainers import (
    ai_toolkit,
    diffusers_script,
    dreambooth,
    kit,
    kohya,
    kohya_gui,
    onetrainer,
    simpletuner,
)
from labkit.design.trainers.table import Trainer, forms
from labkit.errors import LabError

TRAINERS = {each.name: each for each in (
    kit.TRAINER, kohya.TRAINER, kohya_gui.TRAINER, onetrainer.TRAINER, ai_toolkit.TRAINER, simpletuner.TRAINER,
    diffusers_script.TRAINER, dreambooth.TRAINER, dreambooth.XL)}
MODEL_TYPES = {f"{each}_train_network.py": each for each in ("flux", "sd3", "lumina", "hunyuan_image", "anima")}
SCRIPTS = {
    **dict.fromkeys(("train_network.py", "sdxl_train_network.py", *MODEL_TYPES), kohya.TRAINER),
    **dict.fromkeys(("train_text_to_image_lora.py", "train_text_to_image_lora_sdxl.py"), diffusers_script.TRAINER),
    "train_dreambooth_lora.py": dreambooth.TRAINER,
    "train_dreambooth_lora_sd15_advanced.py": dreambooth.ADVANCED_15,
    **dict.fromkeys(("train_dreambooth_lora_sdxl.py", "train_dreambooth_lora_sdxl_advanced.py"), dreambooth.XL),
}


def trainer(name: str) -> Trainer:
    """Return the trainer of this name; LabError with the nearest one where there is none."""
    if name in TRAINERS:
        return TRAINERS[name]
    if not name:
        raise LabError("These settings are a design of this kit: say with --to whose settings to write, "
                       + ", ".join(each for each in TRAINERS if each != "labkit") + ".")
    near = difflib.get_close_matches(name.lower(), TRAINERS, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(TRAINERS) + "."
    raise LabError(f"{name} is no trainer whose settings are known: {hint}")


def recognized(settings: Mapping[str, Any], script: str = "") -> Trainer:
    """Return the trainer whose settings these are, by the script, else by the share of names that it knows.

    LabError: none knows enough of them, or it is a script of which nothing is known: many share most of their names,
    but not the values that they take where nothing is said.
    """
    if script in SCRIPTS:
        return SCRIPTS[script]
    if script:
        raise LabError(f"{script} is no script whose options are known: say with --from whose they are nearest to, "
                       "such as that of its authors' other scripts. Known are " + ", ".join(SCRIPTS) + ".")
    names = {each: _likeness(TRAINERS[each], settings) for each in TRAINERS}
    best = max(names, key=lambda each: names[each])
    if names[best] < 0.3:
        raise LabError("These settings are of no trainer that is known (" + ", ".join(TRAINERS)
                       + "): say with --from which one they are of, or give the file of settings itself.")
    return TRAINERS[best]


def _likeness(one: Trainer, settings: Mapping[str, Any]) -> float:
    marked = any(mark in forms(name) for name in settings for mark in one.marks)
    known = sum(any(one.knows(form) for form in forms(name)) for name in settings)
    return known / max(1, len(settings)) + marked
