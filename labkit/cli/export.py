"""The verb that writes a run's adapter to a file that other programs load, with a card that says what it is."""

import json
import sys

from labkit.cli.parser import Outcome, tell
from labkit.cli.runs import find
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.files.regular import read_regular
from labkit.judge.diagnose import diagnose as verdict_of
from labkit.settings import given_path
from labkit.store.adapter_files import adapter_bytes
from labkit.store.adapter_forms import folded, kohya_bytes
from labkit.store.rounding import rounding_error
from labkit.text import printable


def export(options):
    """Write a run's adapter, its last or an earlier checkpoint's, alpha included, and its card and figure beside it.

    Nothing that is there is written over unless it holds the same, or --overwrite is given.
    """
    folder, target = find(options.run, options.store), given_path(options.to)
    if target.suffix != ".safetensors":
        raise LabError(f"--to {options.to}: the file's name must end in .safetensors, which is what it will be.")
    run = folder.load()
    if run.config.adapter != "lora":
        raise LabError(f"The run {folder.run_id} has adapter = {run.config.adapter!r}, a dense change, which no other "
                       "program loads as an adapter: `labkit merge` writes a base with it, or train with "
                       "adapter = 'lora' to export one.")
    tensors, config = folder.adapter(options.step), run.config
    if options.fold:
        tensors, config = folded(tensors, config)
    kohya = options.format == "kohya"
    data = (kohya_bytes(tensors, config, options.step, options.dtype) if kohya
            else adapter_bytes(tensors, config, options.dtype))
    files = {target: data} | ({} if options.no_card else _card(run, target, config, options))
    for path, content in files.items():
        if path.exists() and not options.overwrite and not holds(path, content):
            raise LabError(f"{printable(path)} is there already and holds something else: move it away, "
                           "give another name with --to, or --overwrite to replace it.")
    for path, content in files.items():
        write_file(path, content, choose="--to")
    warning = broken(run, options.step)
    if warning:
        tell(f"labkit: {warning}", sys.stderr)
    account = {"path": str(target), "format": options.format, "dtype": options.dtype, "rank": config.rank,
               "alpha": config.alpha, "scaling": config.scaling, "files": [str(path) for path in files]}
    if options.dtype != "float32":
        account["rounding"] = rounding_error(tensors, options.dtype)
    return Outcome(1 if warning else 0, _told(target, config, files, account),
                   account | ({"warning": warning} if warning else {}))


def _card(run, target, config, options):
    """Return the card and the figure that lie beside an adapter's file."""
    from labkit.cli import model_card  # loads matplotlib, and bad input is to be answered before that

    figure, picture = model_card.figure(run), target.with_suffix(".png")
    text = model_card.card(run, target.name, config, form=options.format, step=options.step,
                           dtype=options.dtype, picture=picture.name if figure else None)
    return {target.with_suffix(".md"): text.encode()} | ({picture: figure} if figure else {})


def _told(target, config, files, account):
    lines = [f"{printable(target)}: rank {config.rank}, alpha {config.alpha:g}, scaling {config.scaling:g}, "
             f"for base {config.base}."]
    if "rounding" in account:
        lines.append(f"Stored in {account['dtype']}: rounding moves no matrix by more than "
                     f"{account['rounding']:.2g} of its norm.")
    if len(files) > 1:
        lines.append("Beside it: " + ", ".join(printable(path.name) for path in files if path != target) + ".")
    if account["format"] == "kohya" and config.base == "embedded":
        lines.append("ComfyUI and the web UIs cannot load the embedded base, so this file serves diffusers alone.")
    return "\n".join([*lines, f'In diffusers: pipeline.load_lora_weights("{printable(target)}")'])


def holds(path, data) -> bool:
    """Tell whether a file has this content; of tensor files, whose header may come in any order, the same tensors."""
    try:
        stored = read_regular(path)
    except LabError:
        return False
    return stored == data or len(stored) == len(data) and path.suffix == ".safetensors" and _parts(stored) == _parts(
        data)


def _parts(data):
    """Return header and numbers of a tensor file; its bytes where they are none."""
    length = int.from_bytes(data[:8], "little")
    try:
        return json.loads(data[8:8 + length]), data[8 + length:]
    except ValueError:
        return data, b""


def broken(run, step=None):
    """Return a warning where a run diverged before its checkpoint at `step` (by default the last) was kept."""
    verdict = verdict_of(run)
    before = step is not None and verdict.since_step is not None and step < verdict.since_step
    if verdict.label != "diverged" or before:
        return None
    return (f"the run {run.run_id} diverged, so its adapter spoils pictures instead of making "
            f"them. {verdict.seen} "
            "Export an earlier checkpoint (--step), or train again at a lower learning_rate.")
