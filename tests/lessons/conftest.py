"""A panel over a lab whose base has a few thousand weights, as a browser would show it."""

from types import SimpleNamespace

import pytest
import tiny
from panels import START

from labkit.lab import Lab
from labkit.lessons.panel import LabPanel


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture
def lab(monkeypatch, base):
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    monkeypatch.setattr("labkit.settings.fast", False)  # these runs are short; labkit test asks for the fast form
    lab = Lab()
    territory = SimpleNamespace(train=range(12), prompts=())
    lab.__dict__ |= {"base": base, "cache": tiny.cache(), "territory": territory}
    return lab


@pytest.fixture
def panel(lab):
    panel = LabPanel(lab=lab, design=START, pictures=0)
    _ = panel.widget
    return panel
