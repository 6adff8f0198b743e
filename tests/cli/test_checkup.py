"""The self-check names what is wrong and how to mend it."""

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from labkit.cli import checkup, parser
from labkit.errors import LabError
from labkit.settings import REPO


def test_an_old_python_is_bad_and_a_tested_one_good():
    assert checkup.python((3, 10, 4)).state == "bad" and "3.11" in checkup.python((3, 10, 4)).remedy
    assert checkup.python((3, 11, 0)).state == "good"
    assert checkup.python((3, 99, 0)).state == "note"


def test_a_gpu_without_cuda_in_torch_comes_with_the_exact_command():
    finding = checkup.judge_torch("2.13.0+cpu", None, "NVIDIA L4", False, "linux")
    assert finding.state == "bad" and "NVIDIA L4" in finding.found
    assert f'"{sys.executable}" -m pip install --force-reinstall "torch==' in finding.remedy


def test_a_driver_too_old_for_torch_is_told_apart_from_a_missing_cuda():
    finding = checkup.judge_torch("2.13.0", "13.0", "NVIDIA L4", False, "linux")
    assert finding.state == "bad" and "driver is too old for CUDA 13.0" in finding.remedy


@pytest.mark.parametrize("has_mps, words", [(True, "mps"), (False, "CPU")])
def test_a_machine_without_nvidia_is_fine(has_mps, words):
    finding = checkup.judge_torch("2.13.0", None, None, has_mps)
    assert finding.state == "good" and words in finding.found


def test_memory_follows_the_container_rather_than_the_machine(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n")
    assert checkup.free_memory(tmp_path) == 32000000 * 1024
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("2147483648\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("1073741824\n")
    assert checkup.free_memory(tmp_path) == 2**30
    # of what is in use, half are files that the container gives up when the memory is needed
    (tmp_path / "sys/fs/cgroup/memory.stat").write_text("anon 536870912\ninactive_file 536870912\nslab 7\n")
    assert checkup.free_memory(tmp_path) == 3 * 2**29
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert checkup.free_memory(tmp_path) == 32000000 * 1024


def test_too_little_memory_and_disk_are_bad(monkeypatch):
    monkeypatch.setattr(checkup, "free_memory", lambda: 2**29)
    assert checkup.memory().state == "bad"
    monkeypatch.setattr(checkup, "DISK_GIB", {"install": 1e9, "runs": 1e9})
    assert checkup.disk().state == "bad" and "LABKIT_STORE" in checkup.disk().remedy


@pytest.mark.parametrize("driver, free, state", [(False, 4.5, "good"), (True, 4.5, "bad"), (True, 8.5, "good")])
def test_an_installation_with_cuda_needs_more_room(monkeypatch, driver, free, state):
    monkeypatch.setattr(checkup, "missing", lambda *_: ["torch"])
    monkeypatch.setattr(checkup.environment, "has_nvidia_driver", lambda: driver)
    monkeypatch.setattr(checkup.sys, "platform", "linux")
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda _: SimpleNamespace(free=free * 2**30))
    assert checkup.disk().state == state


def test_what_is_installed_and_cannot_be_imported_is_bad_and_its_true_cause_is_told(monkeypatch, tmp_path):
    assert checkup.imports().state == "good"
    (tmp_path / "yaml.py").write_text("import libyaml_is_gone")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "yaml")
    finding = checkup.imports()
    assert finding.state == "bad"
    assert "yaml cannot be imported (ModuleNotFoundError: No module named 'libyaml_is_gone')" in finding.found
    assert '"pyyaml>=6,<7"' in finding.remedy


def test_a_library_that_a_base_is_loaded_with_and_its_own_need_is_told(monkeypatch, sd_folder):
    """Transformers wraps the missing module in a RuntimeError that once sent people to download the base again."""
    from labkit.engine import base

    def broken():
        try:
            raise ModuleNotFoundError("No module named 'regex'")
        except ModuleNotFoundError as error:
            raise RuntimeError("Failed to import transformers.models.clip because of the following error "
                               "(look up to see its traceback):") from error

    class Library(ModuleType):
        def __getattr__(self, name):
            broken()

    library = Library("transformers")
    library.__spec__ = ModuleSpec("transformers", None)
    monkeypatch.setitem(sys.modules, "transformers", library)
    words = r"cannot be imported \(ModuleNotFoundError: No module named 'regex'\): `labkit checkup` says"
    with pytest.raises(LabError, match=words):
        base.load_base(sd_folder, device="cpu")
    finding = checkup.imports()
    assert finding.state == "bad" and "No module named 'regex'" in finding.found and "transformers>=" in finding.remedy


def test_the_thread_quota_is_stated(monkeypatch):
    monkeypatch.setenv("LABKIT_THREADS", "1")
    assert checkup.threads().found.startswith("1 of") and "LABKIT_THREADS" in checkup.threads().found


def test_the_self_check_works_in_an_interpreter_without_any_package(tmp_path):
    command = [sys.executable, "-S", "-B", "-m", "labkit", "checkup", "--json"]
    environment = {"LABKIT_STORE": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=environment)
    found = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert found["packages"]["state"] == "note" and "torch" in found["packages"]["remedy"]
    assert found["torch"]["found"].startswith("not installed")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments, words", [
    (["--data", "/no/such/folder"], "there is no folder /no/such/folder"),
    (["--base", "/no/such/base.safetensors"], "there is no file or folder /no/such/base"),
    (["--base", "model.ckpt"], "is a pickle")])
def test_a_base_or_a_folder_that_cannot_be_used_is_found_without_a_design(monkeypatch, arguments, words):
    monkeypatch.setattr(checkup, "findings", lambda: [])
    outcome = checkup.verb(parser.parse(["checkup", *arguments]))
    assert outcome.code == 2 and words in outcome.text and outcome.data[0]["state"] == "bad"


def test_a_base_and_a_folder_that_can_be_used_say_what_they_are(tmp_path):
    from small_pictures import write_territory

    (write_territory(tmp_path) / "extra").mkdir()
    (tmp_path / "train/0.png").rename(tmp_path / "extra/0.png")
    (tmp_path / "train/0.txt").unlink()
    base, pictures, sizes, captions, more = checkup.inputs("embedded", str(tmp_path))
    assert [found.state for found in (base, pictures, sizes, captions, more)] == ["good"] * 4 + ["note"]
    assert "pixels" in sizes.found and "tokens, of 40 that embedded reads" in captions.found
    assert "7 pictures to train on, 4 held out" in pictures.found and "1 picture in " in more.found
