"""What a notebook is played with: the lab panel, the shelf of runs, curves that grow while a cell runs."""

from labkit.view.live import live
from labkit.lessons.panel import LabPanel
from labkit.design.presets import PRESETS
from labkit.lessons.shelf import RunShelf

__all__ = ["PRESETS", "LabPanel", "RunShelf", "live"]
