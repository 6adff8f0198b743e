"""Tell which files belong to a run, those that the lines of its journal name, and remove all others."""

from pathlib import Path

from labkit.files.atomic import cannot_write, write_file
from labkit.files.regular import read_regular


def checkpoint_name(step: int) -> str:
    """Return the name of a checkpoint's file in the run's folder."""
    return f"checkpoints/{step:06d}.safetensors"


def files(line: dict) -> list[str]:
    """Return the files that a line names, relative to the run's folder. line: checked by `replay.parse`."""
    return [checkpoint_name(line["global_step"])] if line["event"] == "Checkpoint" else list(line.get("files", ()))


def inherit(source: Path, folder: Path, line: dict) -> None:
    """Copy the files that a line of a parent's journal names from its folder, as far as they exist."""
    for name in files(line):
        if (source / name).is_file():
            write_file(folder / name, read_regular(source / name))


def remove_others(folder: Path, lines: list[dict]) -> None:
    """Remove checkpoints and pictures that no line names, and what a kill left half written.

    LabError where that is not allowed.
    """
    named = {folder / name for line in lines for name in files(line)}
    for pattern in ("checkpoints/*", "samples/*", ".config.json.*", ".adapter.safetensors.*"):
        for path in folder.glob(pattern):
            if path not in named and not path.is_dir():
                remove(path)


def remove(path: Path) -> None:
    """Remove a file, if it exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
