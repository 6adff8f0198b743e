"""Turn the lines of a journal back into events; every field is checked for its type and size here."""

from pathlib import Path, PurePosixPath

import numpy as np

from labkit.errors import LabError
from labkit.store.events import Event, Score, Step, Stopped, Validation
from labkit.store.history import Samples

FAULTS = (KeyError, TypeError, ValueError, OverflowError)  # raised by fields that are not what they should be
REASONS = ("finished", "stopped", "diverged", "error")
LAST_TIME = 253402300799  # the last second of the year 9999, in seconds since 1970
MOST = 10**15  # of steps, pictures and bytes: what an int64 holds with room to spare


def time_of(line: dict) -> float:
    """Return when a line was written, in seconds since 1970; ValueError when its time is not possible."""
    return _number(line, "time", 0, LAST_TIME)


def parse(line: dict, run_id: str, folder: Path) -> Event | Samples | None:
    """Return the event that a line holds, pictures as files in `folder`; None for kinds that add nothing to a Run.

    One of FAULTS is raised where a field is not what it should be.
    """
    kind = _text(line, "event")
    at = (run_id, _whole(line, "global_step"), _whole(line, "samples_seen"))
    if kind == "Step":
        loss, rate, grad_norm, update_norm = (
            float(line[name]) for name in ("loss", "learning_rate", "grad_norm", "update_norm")
        )
        max_alloc = None if line["max_alloc"] is None else _whole(line, "max_alloc")
        return Step(*at, loss, rate, grad_norm, update_norm, max_alloc)
    if kind == "Validation":
        losses, timesteps = np.array(line["losses"], dtype=np.float32), np.array(line["timesteps"])
        if losses.ndim != 2 or timesteps.shape != losses.shape or timesteps.dtype.kind not in "iu":
            raise ValueError("losses and timesteps are not tables of one shape")
        return Validation(*at, _text(line, "name"), _text(line, "grade"), losses, timesteps)
    if kind == "Sample":
        files = tuple(folder / _inside(name) for name in _list(line, "files", str))
        prompts, seeds = _list(line, "prompts", str), _list(line, "seeds", int)
        return Samples(at[1], prompts, seeds, _number(line, "guidance_scale"), _number(line, "scale"), files)
    if kind == "Score":
        accepted, prompts, asked = (
            _list(line, name, kind) for name, kind in (("accepted", bool), ("prompts", str), ("asked", str)))
        if not len(accepted) == len(prompts) == len(asked) or not accepted:
            raise ValueError("accepted, prompts and asked are not of one length from 1 up")
        return Score(*at, _text(line, "name"), np.array(accepted), prompts, asked, _text(line, "scored_by"))
    if kind == "Stopped":
        return Stopped(*at, reason(line), _text(line, "message"))
    return None


def reason(line: dict) -> str:
    """Return why a run stopped, from its last line."""
    if line["reason"] not in REASONS:
        raise ValueError(f"reason = {str(line['reason'])[:40]!r}")
    return line["reason"]


def checkpoint_step(line: dict) -> int | None:
    """Return the step of the checkpoint that a line tells of, None for other lines."""
    return _whole(line, "global_step") if _text(line, "event") == "Checkpoint" else None


def damaged(number: int, path: Path, error: Exception) -> LabError:
    """Return the error for a line whose fields are not what they should be. number: of the line, from 1."""
    fault = f"no {error}" if isinstance(error, KeyError) else str(error)[:100]
    return LabError(f"Line {number} of {path} is damaged ({fault}): restore the file, or remove its folder to train "
                    "the run again.")


def _whole(line: dict, name: str) -> int:
    value = line[name]
    if type(value) is not int or not 0 <= value <= MOST:
        raise ValueError(f"{name} = {str(value)[:40]}")
    return value


def _number(line: dict, name: str, low: float = -1e30, high: float = 1e30) -> float:
    value = line[name]
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{name} = {str(value)[:40]}")
    return value


def _text(line: dict, name: str) -> str:
    if not isinstance(line[name], str):
        raise ValueError(f"{name} = {str(line[name])[:40]}")
    return line[name]


def _list(line: dict, name: str, kind: type) -> tuple:
    if not isinstance(line[name], list) or not all(type(item) is kind for item in line[name]):
        raise ValueError(f"{name} = {str(line[name])[:40]}")
    return tuple(line[name])


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ValueError(f"files: {name[:40]!r} is not in the run's folder")
    return path
