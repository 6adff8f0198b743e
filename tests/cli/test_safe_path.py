"""Modules in the current folder, or beside a notebook, never run in place of the standard library's."""

import json
import os
import subprocess
import sys

import pytest

from labkit.cli import jupyterlab
from labkit.cli.execute import execute
from labkit.cli.tools import load
from labkit.lessons import notebooks
from labkit.settings import REPO


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Stand in a folder whose json.py, html.py and tempfile.py leave a mark when they run."""
    for name in ("json", "html", "tempfile", "subprocess"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", [[str(REPO / "labkit")], ["-m", "labkit"], ["-P", "-m", "labkit"]])
def test_a_verb_runs_nothing_of_the_current_folder(trap, how):
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    result = subprocess.run([sys.executable, *how, "runs", "--json"], env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout == "[]\n", result.stderr
    assert not (trap / "mark").exists()


def test_what_a_verb_starts_gets_a_safe_path(trap):
    code = """if True:
        import os
        from labkit.cli import bootstrap, parser
        parser.run = lambda _: print(os.environ["PYTHONSAFEPATH"])
        bootstrap.main(["runs"])"""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    result = subprocess.run([sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout == "1\n", result.stderr
    server = jupyterlab.command(REPO / "notebooks/00_start.ipynb", port=1, browser=False)
    for command in (server, *load("run_tests").commands(True, [])):
        assert command[1] == "-P"


def test_a_notebook_runs_beside_such_files(trap):
    source = "import json, html, tempfile\nprint(json.dumps(1))"
    cell = {"cell_type": "code", "id": "a", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = trap / "00_a.ipynb"
    notebook.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [cell]}))
    _, error = execute(notebook, trap / "out.ipynb", parameters={}, environment={}, log=trap / "log", timeout=300)
    assert error is None and not (trap / "mark").exists()
    assert notebooks.read(trap / "out.ipynb")["cells"][0]["outputs"][0]["text"] == ["1\n"]
