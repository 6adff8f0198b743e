"""The card beside an exported adapter: a page in the form of the Hugging Face hub, and a figure of curve and pictures.

It tells nothing of the machine: of folders and files, the last part of their names.
"""

import io
import json
import re
from pathlib import PurePath

from labkit.datasets.folders import filtered
from labkit.judge.diagnose import diagnose
from labkit.settings import given_path
from labkit.text import counted, printable
from labkit.view.curves import plot_validation
from labkit.view.pictures import plot_samples
from labkit.view.style import STYLE

HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")
PLACES = ("base", "revision", "data", "parent", "init_lora_weights")
MARGIN = 16                                                   # pixels around what is drawn
RESULT = ("n_train", "num_train_epochs")                      # told elsewhere, or resolved into another field
LOADERS = {
    "diffusers": "This file is in the form of diffusers and PEFT. For ComfyUI and the web UIs (AUTOMATIC1111, Forge, "
                 "SD.Next), export it once more with `--format kohya`: ComfyUI would load a part of this form only.",
    "kohya": "In ComfyUI put the file into `models/loras` and use *Load LoRA (Model Only)*; in AUTOMATIC1111's "
             "web UI, Forge and SD.Next into `models/Lora`, and write `<lora:{stem}:1>` into the prompt.",
}
EMBEDDED = ("The embedded base is the folder `data/base` of the kit. Its latents have 8 channels, so ComfyUI and the "
            "web UIs cannot load it. `labkit merge` writes it with this adapter as a folder for diffusers.")


def card(run, name, config, *, form="diffusers", step=None, picture=None, dtype="float32") -> str:
    """Return the card as Markdown with the hub's header.

    name      of the adapter's file
    config    the settings as exported, alpha folded or not
    step      the checkpoint that was exported; None: the last
    picture   name of the figure's file, if there is one
    dtype     in which the adapter's weights are stored
    """
    verdict, base, data = diagnose(run), public(config.base), public(config.data)
    stem = name.removesuffix(".safetensors")
    last = int(run.steps["global_step"][-1]) if len(run.steps["global_step"]) else 0
    parts = [_header(config), f"# {printable(stem)}",
             f"A LoRA adapter of rank {config.rank} for `{printable(base)}`, after {step or last:,} of "
             f"{run.config.max_train_steps:,} updates on {counted(run.config.n_train, 'picture')} of "
             f"`{printable(data)}`."]
    if picture:
        parts.append(f"![Loss on {run.measured_on} and pictures drawn during training]({picture})")
    parts += ["## Verdict", f"**{verdict.label}**, with confidence {verdict.confidence:.2f}.",
              printable(verdict.sentence),
              "## How to load it", _how(name, stem, config, base, form),
              "## Data", _data(run, data), "## Parameters", _table(config, dtype), _repeat(run, base, data)]
    return "\n\n".join(parts) + "\n"


def public(name: str) -> str:
    """Return what may be told of a base or a folder: a hub's or a shipped name, else the last part of its place."""
    place, _ = filtered(name)
    is_place = PurePath(place).is_absolute() or given_path(place).exists()
    return PurePath(place).name + name.removeprefix(place) if is_place else name


def _header(config) -> str:
    tags = ["text-to-image", "diffusers", "lora", *([] if config.base == "embedded" else ["stable-diffusion"])]
    lines = ["---", "library_name: diffusers", "tags:", *(f"- {tag}" for tag in tags)]
    if HUB.fullmatch(public(config.base)) and public(config.base) == config.base:
        lines.insert(1, f"base_model: {json.dumps(config.base)}")
    return "\n".join([*lines, "---"])


def _how(name, stem, config, base, form) -> str:
    place = "data/base" if config.base == "embedded" else base
    code = (f'```python\nfrom diffusers import DiffusionPipeline\n\n'
            f'pipe = DiffusionPipeline.from_pretrained({json.dumps(place)})\n'
            f'pipe.load_lora_weights(".", weight_name={json.dumps(name)})\n```')
    if config.base == "embedded":
        return f"{code}\n\n{EMBEDDED}"
    return f"{code}\n\n{LOADERS[form].format(stem=printable(stem))}"


def _data(run, data) -> str:
    measured = run.timesteps.get("validation")
    pictures = f"{counted(run.config.n_train, 'training picture')} of `{printable(data)}`"
    held = "" if measured is None else (
        f"; its loss was measured on {counted(len(measured), run.measured_on.removesuffix('s'))}")
    size = f", {run.config.resolution} pixels a side" if run.config.resolution else ""
    seen = f"{run.config.effective_batch_size} to an update"
    return f"{pictures}{size}, {seen}{held}. The pictures are not part of this file."


def _table(config, dtype) -> str:
    rows = [f"| {name} | {_value(value)} |" for name, value in config.to_dict().items()
            if name not in PLACES + RESULT and value not in (None, [])]
    begun = [] if config.init_lora_weights in ("default", "gaussian") else [
        f"| init_lora_weights | {printable(public(config.init_lora_weights.rsplit('@', 1)[0]))} |"]
    return "\n".join(["| parameter | value |", "|---|---|", *rows, *begun, f"| scaling | {config.scaling:g} |",
                      f"| stored in | {dtype} |"])


def _value(value) -> str:
    if isinstance(value, list):
        return printable(", ".join(":".join(map(str, item)) if isinstance(item, list) else str(item)
                                   for item in value))
    return f"{value:g}" if isinstance(value, float) else printable(value)


def _repeat(run, base, data) -> str:
    shared = run.config.replace(base=base, data=data, parent=None)
    begun = shared.init_lora_weights
    shared = shared.replace(init_lora_weights=PurePath(begun).name)
    versions = run.meta.get("versions", {})
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (f"Run `{run.run_id}` of the Parameter Design Lab" + (f", with {printable(made)}" if made else "")
            + f". All of its settings, for `labkit train --config`: `{printable(shared.share())}`")


def figure(run) -> bytes | None:
    """Return a PNG of the run's curve over its pictures, None where neither was recorded."""
    from PIL import Image  # deferred: a card without pictures needs no Pillow

    drawn = []
    if "validation" in run.validations:
        drawn.append(plot_validation(run).figure.encoded("png"))
    if run.samples:
        drawn.append(plot_samples(run, width=STYLE["width"]).encoded("png"))
    if not drawn:
        return None
    parts = [Image.open(io.BytesIO(each)).convert("RGB") for each in drawn]
    size = max(part.width for part in parts) + 2 * MARGIN, sum(part.height + MARGIN for part in parts) + MARGIN
    whole, top = Image.new("RGB", size, "white"), MARGIN
    for part in parts:
        whole.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()
