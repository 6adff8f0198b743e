"""Small folders in the place of the data that ship."""

import pytest
from picture_folders import pictures, with_texts


@pytest.fixture
def ordinary_alone(tmp_path, monkeypatch):
    """Let nothing but ordinary pictures ship."""
    with_texts(tmp_path / "kit/territories/ordinary/validation", 3, first=900)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "kit"))


@pytest.fixture
def far_territory(tmp_path, monkeypatch):
    """Let a territory called far ship, of two kinds in training and three held out, beside ordinary pictures."""
    pictures(tmp_path / "data/territories/ordinary/validation", 3, first=900)
    pictures(tmp_path / "data/territories/far/train", 6, first=500, kind=["pool", "maze"])
    pictures(tmp_path / "data/territories/far/validation", 9, first=600, kind=["pool", "maze", "garage"])
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
