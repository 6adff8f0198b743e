"""The runtime from npm: kept once, checked always, and a sentence where it cannot be had. No network is asked."""

import io
import os
import stat
import tarfile

import pytest

from labkit.cli.tools import load
from labkit.errors import LabError

web_runtime = load("web_runtime")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="npm is stood in for by a shell script")


def package(wasm=b"wasm"):
    """Make the package's file, with the two files that are taken of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in ((web_runtime.MODULE, b"module"), (web_runtime.WASM, wasm)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Return a function that puts an npm on the path which runs some shell commands."""
    def stand_in(commands):
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "npm").write_text(f"#!/bin/sh\n{commands}\n")
        (tools / "npm").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/bin{os.pathsep}/usr/bin")
    return stand_in


def test_the_pinned_package_is_fetched_once_and_then_kept(npm, tmp_path, monkeypatch):
    (tmp_path / "package.tgz").write_bytes(package())
    monkeypatch.setattr(web_runtime, "INTEGRITY", web_runtime._integrity(package()))
    npm(f'echo "$@" >> {tmp_path}/asked; cp {tmp_path}/package.tgz .')
    assert web_runtime.runtime() == web_runtime.runtime() == (b"module", b"wasm")
    [asked] = (tmp_path / "asked").read_text().splitlines()
    assert asked.startswith(f"pack onnxruntime-web@{web_runtime.VERSION} --ignore-scripts")
    web_runtime.package_file().write_bytes(b"cut")            # is fetched again
    assert web_runtime.runtime() == (b"module", b"wasm")


def test_another_package_under_the_same_version_is_refused_and_not_kept(npm, tmp_path, monkeypatch):
    (tmp_path / "package.tgz").write_bytes(package(b"other"))
    monkeypatch.setattr(web_runtime, "INTEGRITY", web_runtime._integrity(package()))
    npm(f"cp {tmp_path}/package.tgz .")
    with pytest.raises(LabError, match="another onnxruntime-web .* its SHA-512 differs"):
        web_runtime.runtime()
    assert not web_runtime.package_file().exists()


def test_npms_own_reason_is_told(npm):
    npm('echo "npm error network is down" >&2; exit 1')
    with pytest.raises(LabError, match=r"could not bring .* \(npm error network is down\)"):
        web_runtime.runtime()


def test_a_machine_without_npm_is_told_so_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"--trainable needs npm, .* install Node\.js, or leave --trainable out\."):
        web_runtime.runtime()
