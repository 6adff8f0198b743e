"""Parameter Design Lab: learn what the parameters of LoRA training do by training. Importing it loads nothing heavy."""
import importlib

from labkit.openmp import wait_passively

__version__ = "0.1.0"

wait_passively()  # before anything imports torch, in kernels, workers and verbs alike: this file is what they all read first

# This file must parse in every Python, even an old one: labkit/__main__.py says there what is needed.
# Functions that bear their module's name (train, sweep, diagnose) are imported from there: `from labkit.engine.train import train`.
_HOMES = {
    "RunConfig": "design.config", "load_design": "design.config", "LabError": "errors", "territory": "datasets.folders", "load_folder": "datasets.folders",
    "load_base": "engine.base", "encode": "engine.cache", "Monitor": "engine.monitor", "record": "store.runs", "Store": "store.runs", "grid": "engine.sweep",
    "Lab": "lab", "LabPanel": "lessons.panel", "RunShelf": "lessons.shelf", "live": "view.live",
}


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module("labkit." + _HOMES[name]), name)
    raise AttributeError("labkit has no attribute " + repr(name))


def __dir__():
    return sorted(_HOMES)
