"""The verb that draws pictures with a run's adapter."""

import io

from labkit.cli.parser import Outcome
from labkit.cli.progress_line import ProgressLine
from labkit.cli.runs import find
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.settings import given_path
from labkit.text import counted, printable

MOST = 64  # pictures of one command


def verb(options):
    """Draw prompts with a run's adapter and save the pictures in one PNG file: a row a prompt, a column a seed."""
    target = given_path(options.to)
    if target.suffix.lower() != ".png":
        raise LabError(f"--to {options.to}: the file's name must end in .png, which is what it will be.")
    if target.exists() and not options.overwrite:
        raise LabError(f"{printable(target)} is there already: give another name with --to, or --overwrite.")
    if len(options.prompt) * options.count > MOST or options.count < 1:
        raise LabError(f"--count {options.count}: give 1 to {MOST} pictures in all.")
    if not -10 <= options.strength <= 10:
        raise LabError(f"--strength {options.strength:g}: give a number such as 1 (as trained), 0.7 or 0 (the bare "
                       "base), at most 10.")
    folder = find(options.run, options.store)
    run = folder.load()
    config = run.config
    folder.adapter(options.step)                              # whether it is there is known before a base is loaded
    with ProgressLine() as line:
        with line.doing("loading torch"):
            from labkit.engine.base import load_base  # here, as bad input is to be answered before they are loaded
            from labkit.lab import Lab

        with line.doing(f"loading the base {printable(config.base)}"):
            base = load_base(config.base, revision=config.revision)
        if (trained_on := run.meta.get("base_fingerprint", base.fingerprint)) != base.fingerprint:
            raise LabError(f"base: {config.base} has changed since the run {folder.run_id} was trained on it (its "
                           f"fingerprint was {trained_on[:8]}): bring that base back.")
        lab = Lab(base, config.data, store=folder.path.parent, resolution=config.resolution)  # pictures aren't needed
        many = len(options.prompt) * options.count
        with line.doing(f"drawing {counted(many, 'picture')}"):
            pictures = draw(lab, folder.run_id, options)
    write_file(target, png(pictures, options.count), choose="--to")
    last = options.seed + options.count - 1
    seeds = f"seed {options.seed}" if options.count == 1 else f"seeds {options.seed} to {last}, one a column"
    text = f"{printable(target)}: {counted(many, 'picture')}, {seeds}, strength {options.strength:g}"
    account = {"path": str(target), "run": folder.run_id, "prompts": options.prompt, "seed": options.seed,
               "count": options.count, "strength": options.strength, "step": options.step}
    return Outcome(0, text, account)


def draw(lab, run_id, options):
    """Return uint8 pictures (N, H, W, 3): for each prompt as many seeds as were asked for."""
    prompts = [prompt for prompt in options.prompt for _ in range(options.count)]
    seeds = [options.seed + number for _ in options.prompt for number in range(options.count)]
    how = {"num_inference_steps": options.steps, "guidance_scale": options.guidance}
    how = {name: value for name, value in how.items() if value is not None}
    return lab.generate(prompts, seeds, run=run_id, step=options.step, strength=options.strength, **how)


def png(pictures, columns):
    """Return pictures as the bytes of one PNG file, so many beside each other; a single one as it is."""
    from PIL import Image  # deferred, as the figures' own library is

    from labkit.view.pictures import mosaic

    rows = [list(pictures[first:first + columns]) for first in range(0, len(pictures), columns)]
    pixels = pictures[0] if len(pictures) == 1 else mosaic(rows)[0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
