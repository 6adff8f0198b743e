"""Keep every test away from the user's runs and caches, and on one thread."""

import pytest


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Point the run store and the caches at a folder of this test alone."""
    monkeypatch.setenv("LABKIT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Hold torch to one thread, where torch is in use at all."""
    import torch

    torch.set_num_threads(1)
