"""The verbs whose code lies in tools/: found in a checkout, one sentence where there is none."""

import os
import shutil
import subprocess
import sys

import pytest
from command_line import labkit

from labkit.cli import parser, tools
from labkit.settings import REPO

IN_TOOLS = {verb: place.split(":") for verb, (place, _) in parser.VERBS.items() if place.startswith("tools/")}


def test_the_verbs_of_maintainers_lie_in_tools_and_nowhere_in_the_package():
    assert set(IN_TOOLS) == {"test", "publish", "bench"}
    for path, function in IN_TOOLS.values():
        assert f"def {function}(options):" in (REPO / f"{path}.py").read_text(encoding="utf-8")
        assert not list((REPO / "labkit").rglob(path.removeprefix("tools/") + ".py"))


def test_a_tool_is_loaded_once():
    assert tools.load("readme") is tools.load("readme")


@pytest.mark.parametrize("verb", IN_TOOLS)
def test_without_a_checkout_such_a_verb_says_what_to_do(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tools, "REPO", tmp_path)
    code, out, err = labkit(capsys, verb)
    assert code == 2 and not out
    assert "Fetch the whole repository and run it from that folder." in err and err.count("\n") == 1


def test_a_package_that_is_installed_alone_says_so_instead_of_installing_more(tmp_path):
    shutil.copytree(REPO / "labkit", tmp_path / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    result = subprocess.run([sys.executable, "-m", "labkit", "bench"], cwd=tmp_path, env=environment,
                            capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"labkit: {tmp_path}/tools/bench.py is not there")
