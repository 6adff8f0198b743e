"""The verb that writes a base with an adapter merged into its weights, as a folder that diffusers loads."""

import math
import sys

from labkit.cli.export import broken
from labkit.cli.parser import Outcome, tell
from labkit.cli.progress_line import ProgressLine
from labkit.cli.runs import find
from labkit.engine.base_files import find_base, unet_shapes
from labkit.errors import LabError
from labkit.settings import given_path
from labkit.store.adapter_starts import placed, plain_lora
from labkit.text import counted, printable


def merge(options):
    """Merge a run's adapter, or a file's, into a base at a strength; what can be checked before one loads is."""
    target, path = given_path(options.to), given_path(options.adapter)
    if not math.isfinite(options.strength):
        raise LabError(f"--strength {options.strength}: give a number such as 1 or 0.7.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise LabError(f"{printable(target)} is there already: move it away, or give another folder with --to.")
    is_file = path.is_file() or path.suffix == ".safetensors"
    with ProgressLine() as line:
        with line.doing("reading the adapter"):
            name, revision, changes, warning = _file(path, options) if is_file else _run(options)
        with line.doing("loading torch"):
            from labkit.engine import merging  # here, as bad input is to be answered before it
            from labkit.engine.base import load_base

        with line.doing(f"loading the base {printable(name)}"):
            base = load_base(name, device="cpu", dtype="float32", revision=revision)
        with line.doing("merging"):
            count = merging.merge(base, changes(merging, base), options.strength)
        with line.doing(f"writing {printable(target)}"):
            merging.write_base(base, target, revision, options.dtype)
    if warning:
        tell(f"labkit: {warning}", sys.stderr)
    text = (f"{printable(target)}: base {printable(name)} with {counted(count, 'weight')} changed, strength "
            f"{options.strength:g}, in {options.dtype}.\n"
            f'In diffusers: DiffusionPipeline.from_pretrained("{printable(target)}")')
    account = {"path": str(target), "base": name, "weights": count, "strength": options.strength,
               "dtype": options.dtype}
    return Outcome(1 if warning else 0, text, account | ({"warning": warning} if warning else {}))


def _file(path, options):
    """Return base, revision and what an adapter's file changes."""
    if options.step is not None:
        raise LabError("--step names a checkpoint of a run, and an adapter's file has none: leave it out.")
    if options.base is None:
        raise LabError(f"{printable(path)} does not say which base it belongs to: give it with --base.")
    adapter = plain_lora(path)
    if shapes := unet_shapes(find_base(options.base)):
        placed(adapter, shapes, options.base)
    return options.base, None, lambda merging, base: merging.changes_of_file(base, adapter), None


def _run(options):
    """Return base, revision and what a run's adapter changes, and a warning where the run diverged."""
    folder = find(options.adapter, options.store)
    run = folder.load()
    tensors, config = folder.adapter(options.step), run.config
    name, revision = (options.base, None) if options.base else (config.base, config.revision)
    return (name, revision, lambda merging, base: merging.changes_of_run(base, config, tensors),
            broken(run, options.step))
