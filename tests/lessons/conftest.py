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
def panel(lab):
    panel = LabPanel(lab=lab, design=START, pictures=0)
    _ = panel.widget
    return panel
