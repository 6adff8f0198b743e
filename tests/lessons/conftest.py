"""A panel over a lab whose base has a few thousand weights, as a browser would show it."""

import dataclasses

import pytest
import tiny
from panels import START

from labkit.lessons.panel import LabPanel


@pytest.fixture(scope="module")
def base():
    return dataclasses.replace(tiny.base(), name="embedded")


@pytest.fixture
def lab(monkeypatch, base):
    monkeypatch.setenv("LABKIT_FRONTEND", "browser")
    monkeypatch.setattr("labkit.settings.fast", False)  # these runs are short; labkit test asks for the fast form
    return tiny.lab(base=base)


@pytest.fixture
def racing(lab):
    """Return a panel as it is opened: with a race over the learning rate chosen."""
    panel = LabPanel(lab=lab, design=START, pictures=0)
    _ = panel.widget
    return panel


@pytest.fixture
def panel(racing):
    """Return a panel with a single design chosen."""
    racing.change(learning_rate=1e-3)
    return racing
