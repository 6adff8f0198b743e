"""Aspect-ratio buckets of other trainers: what is nearly the same as crop = 'buckets' of a run, and what is not.

Read in kohya-ss/sd-scripts, library/args.py and library/train_util.py (BucketManager); bmaltais/kohya_ss,
kohya_gui/class_basic_training.py and class_advanced_training.py; Nerogar/OneTrainer, modules/dataLoader and mgds
(AspectBucketing, AspectBatchSorting); ostris/ai-toolkit, toolkit/buckets.py, config_modules.py and
dataloader_mixins.py; bghira/SimpleTuner, documentation/DATALOADER.md, helpers/data_backend/config/image.py,
metadata/backends/base.py and multiaspect/sampler.py.
"""

import math
from collections.abc import Sequence
from typing import Any

from labkit.design.trainers.reading import side
from labkit.design.trainers.table import Choice, Notes, Row, Run, Settings
from labkit.reading import BUCKETS

CENTER = "center"
LEAST, MOST = "min_bucket_reso", "max_bucket_reso"
SIDES = (256, 1024)                               # kohya's where nothing is said
STEP = 64
NAMES = (LEAST, MOST, "bucket_reso_steps", "bucket_no_upscale")     # kohya's, which count with enable_bucket alone
ROWS = tuple(Row(name, name, spare=True) for name in NAMES)
OF_KIT = ("; the kit's buckets have sides in multiples of what the base needs (64 pixels for Stable Diffusion 1 and "
          "2, 32 for SDXL) from half to twice the resolution, small pictures are enlarged to them, and they take "
          "turns with full batches: one that ends begins again")
OF_KOHYA = ("buckets have sides in multiples of bucket_reso_steps from min_bucket_reso to max_bucket_reso there, and "
            "each may end with a smaller batch in a pass" + OF_KIT)
OF_ONETRAINER = ("buckets have nine shapes from the square to 1 : 4 there, upright or not, with sides in multiples of "
                 "8 pixels for Stable Diffusion 1 and 2 and of 64 for SDXL, and pictures that fill no batch of theirs "
                 "are left out of a pass" + OF_KIT)
OF_AI_TOOLKIT = ("buckets have the shapes of SDXL there, scaled to the resolution or to a picture that is smaller, "
                 "with sides in multiples of bucket_tolerance, and each may end with a smaller batch in a pass"
                 + OF_KIT)
OF_SIMPLETUNER = ("each picture keeps its own shape there, rounded by aspect_bucket_rounding and to sides in "
                  "multiples of aspect_bucket_alignment, and shapes with fewer pictures than a batch, repeats "
                  "counted, are left out" + OF_KIT)


def choice(name: str, on: Settings, off: Settings, default: str, note: str) -> Choice:
    """Return the choice between buckets and squares in a trainer's settings.

    name       of the setting
    on, off    settings for buckets, and for the square in the middle
    note       how the trainer's buckets differ
    """
    return Choice("crop", name, {BUCKETS: on, CENTER: off}, default, lambda value: CENTER, {BUCKETS: note})


def left_idle(flat: Settings, names: Sequence[str], notes: Notes) -> Settings:
    """Take out settings of buckets that have no effect, and note them as such."""
    idle = [name for name in names if flat.get(name) is not None]
    if idle:
        notes.tell("quiet", ", ".join(sorted(idle)), "")
    return {name: value for name, value in flat.items() if name not in idle}


def read_kohya(flat: Settings, notes: Notes, resolution: Any, unsaid: tuple[int, int] = SIDES) -> Settings:
    """Keep of kohya's settings of buckets those that make other buckets than the kit's.

    resolution    as it is given, in pixels
    unsaid        least and most side where they are not given
    """
    if isinstance(flat.get("enable_bucket"), int):            # 1 says the same as true
        flat = flat | {"enable_bucket": bool(flat["enable_bucket"])}
    if not flat.get("enable_bucket"):
        return left_idle(flat, NAMES, notes)
    if flat.get("bucket_no_upscale"):                         # then every size is made of the picture's own
        return left_idle(flat, (LEAST, MOST), notes)
    step = int(flat.get("bucket_reso_steps") or STEP)
    least, most = (int(flat.get(name) or usual) for name, usual in zip((LEAST, MOST), unsaid, strict=True))
    sides = {LEAST: least // step * step, MOST: math.ceil(most / step) * step}
    pixels = side(resolution, lambda sentence: None)
    usual = _sides(pixels, step) if isinstance(pixels, int) and pixels > 0 else sides
    flat = {name: value for name, value in flat.items() if name not in sides}
    return flat | {name: value for name, value in sides.items() if value != usual[name]}


def write_kohya(flat: Settings, run: Run, unsaid: tuple[int, int] = SIDES) -> Settings:
    """Add the sides of the kit's buckets where kohya's defaults differ."""
    if not flat.get("enable_bucket") or flat.get("bucket_no_upscale") or not run.get("resolution"):
        return flat
    sides = _sides(run["resolution"], run.get("bucket_reso_steps") or STEP)
    differing = {name: value for (name, value), usual in zip(sides.items(), unsaid, strict=True) if value != usual}
    return differing | flat


def _sides(resolution: int, step: int) -> dict[str, int]:
    """Return the least and the most side of the kit's buckets, as settings of kohya's."""
    return {LEAST: math.ceil(resolution / 2 / step) * step, MOST: math.ceil(2 * resolution / step) * step}
