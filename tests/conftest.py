"""Keep every test away from the user's runs and caches, and on one thread."""

import os
import signal
import sys

import pytest

# On small matrices two threads of numpy's take several times the processor time of one: they wait by asking again.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")            # read when numpy is first imported

# Notebooks are tested without the fixtures below. Side by side they must not train into one store.
for name in ("LABKIT_STORE", "IPYTHONDIR"):
    if os.environ.get(name) and "PYTEST_XDIST_WORKER" in os.environ:
        os.environ[name] = os.path.join(os.environ[name], os.environ["PYTEST_XDIST_WORKER"])


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Point the run store and the caches at a folder of this test alone."""
    monkeypatch.setenv("LABKIT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    if "labkit.store.runs" in sys.modules:  # what other tests have written in this process is none of this one's
        sys.modules["labkit.store.runs"]._written.clear()


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal():
    """Undo what nohup or a job in the background ignores, so that this process and those it starts can be stopped."""
    answers = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    for name, answer in answers.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, answer)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Hold torch to one thread, where torch is in use at all."""
    import torch

    os.environ["LABKIT_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory):
    """Give a folder with Stable Diffusion 1.5's configuration at reduced width and random weights."""
    from small_bases import write_folder

    return write_folder(tmp_path_factory.mktemp("bases") / "sd")


@pytest.fixture(scope="session")
def xl_folder(tmp_path_factory):
    """Give a folder with SDXL's configuration at reduced width and random weights."""
    from small_bases import write_xl_folder

    return write_xl_folder(tmp_path_factory.mktemp("bases") / "xl")


@pytest.fixture(scope="session")
def sd_base(sd_folder):
    """Give the base of that folder, loaded once."""
    from labkit.engine.base import load_base

    return load_base(sd_folder, device="cpu")
