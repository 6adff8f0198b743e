"""Parameter Design Lab: learn what the parameters of LoRA training do by training. Importing it loads nothing heavy.

`import labkit as lk` is the whole public face: each name below is loaded from its room at first use.
"""
import importlib

from labkit.openmp import wait_passively

__version__ = "0.1.0"

wait_passively()  # before anything imports torch: kernels, workers and verbs all read this file first

# This file must parse in every Python, even an old one: labkit/__main__.py says there what is needed.
_HOMES = {
    "Lab": "lab",
    "RunConfig": "design.config", "load_design": "design.config", "write_design": "design.design_file",
    "territory": "datasets.folders",
    "load_base": "engine.base", "encode": "engine.cache", "Monitor": "engine.monitor", "train": "engine.train",
    "grid": "engine.sweep", "sweep": "engine.sweep",
    "Store": "store.runs", "record": "store.runs",
    "diagnose": "judge.diagnose",
    "plot_validation": "view.curves", "plot_curves": "view.curves", "plot_schedules": "view.curves",
    "plot_step_loss": "view.curves", "plot_loss_by_timestep": "view.curves", "plot_u_curve": "view.by_rate",
    "table": "view.tables",
    "RaceView": "view.race_view",
    "plot_race": "view.pictures", "plot_samples": "view.pictures", "plot_pictures": "view.pictures",
    "evidence": "view.evidence", "or_note": "view.evidence",
    "measure_distance": "experiments.distance",
    "LabPanel": "lessons.panel", "RunShelf": "lessons.shelf", "PromptBox": "lessons.prompt_box",
    "folder_pictures": "lessons.prompt_box", "own_seed": "lessons.exercises",
    "LabError": "errors",
}

__all__ = [
    "Lab", "LabError", "LabPanel", "Monitor", "PromptBox", "RaceView", "RunConfig", "RunShelf", "Store", "diagnose",
    "encode", "evidence", "folder_pictures", "grid", "load_base", "load_design", "measure_distance", "or_note",
    "own_seed", "plot_curves", "plot_loss_by_timestep", "plot_pictures", "plot_race", "plot_samples",
    "plot_schedules", "plot_step_loss", "plot_u_curve", "plot_validation", "record", "sweep", "table", "territory",
    "train", "write_design",
]

TYPE_CHECKING = False  # editors and type checkers take it as true; the module typing is not in every old Python
if TYPE_CHECKING:
    from labkit.datasets.folders import territory
    from labkit.design.config import RunConfig, load_design
    from labkit.design.design_file import write_design
    from labkit.engine.base import load_base
    from labkit.engine.cache import encode
    from labkit.engine.monitor import Monitor
    from labkit.engine.sweep import grid, sweep
    from labkit.engine.train import train
    from labkit.errors import LabError
    from labkit.experiments.distance import measure_distance
    from labkit.judge.diagnose import diagnose
    from labkit.lab import Lab
    from labkit.lessons.exercises import own_seed
    from labkit.lessons.panel import LabPanel
    from labkit.lessons.prompt_box import PromptBox, folder_pictures
    from labkit.lessons.shelf import RunShelf
    from labkit.store.runs import Store, record
    from labkit.view.by_rate import plot_u_curve
    from labkit.view.curves import (
        plot_curves,
        plot_loss_by_timestep,
        plot_schedules,
        plot_step_loss,
        plot_validation,
    )
    from labkit.view.evidence import evidence, or_note
    from labkit.view.pictures import plot_pictures, plot_race, plot_samples
    from labkit.view.race_view import RaceView
    from labkit.view.tables import table


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError("module 'labkit' has no attribute " + repr(name))
    return getattr(importlib.import_module("labkit." + _HOMES[name]), name)


def __dir__():
    return sorted(set(globals()) | set(__all__))
