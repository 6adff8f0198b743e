"""What sets runs apart: the settings in which they differ, as fields and in words."""

from collections.abc import Sequence
from typing import Protocol

from labkit.design.config import RunConfig, differing_fields
from labkit.design.ladders import rung_text
from labkit.text import counted

# A run differs from another by what was chosen; these follow from it, or name the run.
DERIVED = ("parent", "num_train_epochs", "lr_end", "base", "data", "revision")
UNITS = {"max_train_steps": "update"}                         # written behind the number; other names stand before it
MOST = 2                                                      # settings that a label has room for


class Configured(Protocol):
    """Interface of anything that has a configuration, above all of a Run, which belongs to a room above this one."""

    @property
    def config(self) -> RunConfig:
        """Return the configuration."""
        ...


def differing(runs: Sequence[Configured]) -> list[str]:
    """Return the fields in which runs differ, in the order of the configuration; the rate always among them."""
    configs = [run.config.to_dict() for run in runs]
    chosen = {"learning_rate", *differing_fields(configs)}.difference(DERIVED)
    return [name for name in (configs[0] if configs else ()) if name in chosen]


def knobs(runs: Sequence[Configured]) -> list[str]:
    """Return the fields in which runs differ; the rate is among them only where it does, or where nothing does."""
    names = differing(runs)
    if len({run.config.learning_rate for run in runs}) == 1 and len(names) > 1:
        names.remove("learning_rate")
    if "rank" in names and "alpha" in names and len({run.config.scaling for run in runs}) == 1:
        names.remove("alpha")                                 # it only followed the rank
    return names


def order_of(value: object) -> tuple:
    """Return what values of one field are sorted by: None first, numbers by size, then words by letters."""
    kind = 0 if value is None else 1 if isinstance(value, (int, float)) else 2
    return kind, value if kind == 1 else 0, str(value)


def apart(run: Configured, other: Configured) -> str:
    """Name a run by the settings in which it differs from another, at most two; by its rate where none differs."""
    return ", ".join(setting_text(name, getattr(run.config, name)) for name in knobs([run, other])[:MOST])


def setting_text(name: str, value: object) -> str:
    """Write a setting as people say it: `rank 8`, `100 updates`, `learning rate 1e-3`."""
    if name in UNITS and isinstance(value, int):
        return counted(value, UNITS[name])
    return f"{name.removeprefix('lr_').replace('_', ' ')} {rung_text(name, value)}"
