"""The verb that writes a run's adapter to a file that other programs load."""

import sys

import numpy as np

from labkit.cli.parser import Outcome, tell
from labkit.cli.runs import find
from labkit.errors import LabError
from labkit.files.atomic import write_file
from labkit.judge.diagnose import diagnose as verdict_of
from labkit.settings import given_path
from labkit.store.adapter_files import adapter_bytes, load_adapter
from labkit.text import printable


def holds(path, tensors, data) -> bool:
    """Tell whether a file has this adapter's tensors and as many bytes.

    The bytes themselves may differ: words of the header come in any order.
    """
    try:
        stored, _ = load_adapter(path)
    except LabError:
        return False
    same = stored.keys() == tensors.keys() and all(np.array_equal(stored[name], tensors[name]) for name in stored)
    return same and path.stat().st_size == len(data)


def export(options):
    """Write a run's adapter, its last or an earlier checkpoint's, to a file that diffusers loads, alpha included."""
    folder, target = find(options.run, options.store), given_path(options.to)
    if target.suffix != ".safetensors":
        raise LabError(f"--to {options.to}: the file's name must end in .safetensors, which is what it will be.")
    run = folder.load()
    config = run.config
    if config.adapter != "lora":
        raise LabError(f"The run {folder.run_id} has adapter = {config.adapter!r}, a dense change, which no other "
                       "program loads as an adapter: train with adapter = 'lora' to export one.")
    tensors = folder.adapter(options.step)
    data = adapter_bytes(tensors, config)
    if target.exists() and not holds(target, tensors, data):
        raise LabError(f"{printable(target)} is there already and holds something else: move it away, "
                       "or give another name with --to.")
    write_file(target, data, choose="--to")
    text = (f"{printable(target)}: rank {config.rank}, alpha {config.alpha:g}, scaling {config.scaling:g}, "
            f"for base {config.base}.\n"
            f'In diffusers: pipeline.load_lora_weights("{printable(target)}")')
    warning = broken(run, options.step)
    if warning:
        tell(f"labkit: {warning}", sys.stderr)
    account = {"path": str(target), "format": options.format,
               "rank": config.rank, "alpha": config.alpha, "scaling": config.scaling}
    return Outcome(1 if warning else 0, text, account | ({"warning": warning} if warning else {}))


def broken(run, step=None):
    """Return a warning where a run diverged before its checkpoint at `step` (by default the last) was kept."""
    verdict = verdict_of(run)
    before = step is not None and verdict.since_step is not None and step < verdict.since_step
    if verdict.label != "diverged" or before:
        return None
    return (f"the run {run.run_id} diverged, so its adapter spoils pictures instead of making "
            f"them. {verdict.seen} "
            "Export an earlier checkpoint (--step), or train again at a lower learning_rate.")
