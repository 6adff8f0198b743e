"""Parameter Design Lab: learn what the parameters of LoRA training do by training. Importing it loads nothing heavy."""
import importlib

# This file must parse in every Python, even an old one: labkit/__main__.py says there what is needed.
_HOMES = {
    "RunConfig": "config", "load_design": "config", "load_base": "base", "territory": "data", "load_folder": "data",
    "encode": "cache", "Monitor": "train", "train": "train", "record": "runs", "Store": "runs", "grid": "sweep",
    "sweep": "sweep", "diagnose": "diagnose", "LabError": "errors", "LabPanel": "widgets", "RunShelf": "widgets",
    "live": "widgets",
}


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module("labkit." + _HOMES[name]), name)
    raise AttributeError("labkit has no attribute " + repr(name))


def __dir__():
    return sorted(_HOMES)
