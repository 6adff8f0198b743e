"""What surrounds the code agrees with itself: versions stated once, environments that resolve, one address."""

import importlib.metadata
import json
import re
import subprocess
import sys
import types

import pytest
import yaml

from labkit.cli import clean
from labkit.cli.requirements import pyproject, requirements
from labkit.cli.tools import load
from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.settings import REPO

publish, readme, run_tests = map(load, ("publish", "readme", "run_tests"))
CONDA_NAMES = {"torch": {"pytorch", "pytorch-cpu"}, "matplotlib": {"matplotlib-base"}}
ENVIRONMENTS = ["environment.yml", "binder/environment.yml"]


def conda(path):
    return yaml.safe_load((REPO / path).read_text())


@pytest.mark.parametrize("path", ENVIRONMENTS)
def test_python_is_spelled_as_binder_reads_it(path):
    assert conda(path)["dependencies"][0] == "python=3.11" and conda(path)["channels"] == ["conda-forge"]


@pytest.mark.parametrize("path", ENVIRONMENTS)
def test_conda_environments_state_the_ranges_of_pyproject(path):
    def named(text):
        name, ranges = re.fullmatch(r"([\w-]+)(.*)", text).groups()
        return next((ours for ours, theirs in CONDA_NAMES.items() if name in theirs), name), ranges

    stated = dict(map(named, conda(path)["dependencies"][1:]))
    assert stated == dict(map(named, requirements(("lab",))))


def test_the_scripts_for_binder_and_ci_parse_and_can_be_run():
    for path in ("binder/postBuild", ".ci/run"):
        assert subprocess.run(["bash", "-n", REPO / path]).returncode == 0
        assert (REPO / path).stat().st_mode & 0o111


def test_ranges_are_of_the_one_form_that_the_front_door_reads():
    for text in requirements(("lab", "test", "world")):
        assert re.fullmatch(r"[a-z-]+>=\d+(\.\d+)*,<\d+(\.\d+)*", text), text


def test_nothing_pins_what_a_hosted_notebook_must_keep():
    core = {text.split(">")[0] for text in requirements()}
    assert core.isdisjoint({"ipykernel", "ipython", "jupyterlab", "papermill", "nbval"})


def test_the_citation_names_this_version_and_the_chapter():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["version"] == pyproject()["project"]["version"]
    assert citation["license"] == pyproject()["project"]["license"] == "Apache-2.0"
    assert citation["references"][0]["authors"] == [{"name": "Geddon Labs Research Division"}]
    assert "Parameter Design" in citation["references"][0]["section"]


@pytest.mark.parametrize("part", ["badges", "setup"])
def test_every_link_and_the_colab_cell_come_from_the_one_address(part):
    url = "https://github.com/a/b"
    text = readme.badges("01_x", url) if part == "badges" else readme.setup_cell(url)
    assert "a/b" in text and "SET_OWNER" not in text
    if part == "badges":
        assert "colab.research.google.com/github/a/b/blob/main/notebooks/01_x.ipynb" in text
        assert "mybinder.org/v2/gh/a/b/main?urlpath=lab%2Ftree%2Fmy_lessons%2F01_x.ipynb" in text


def test_the_colab_cell_says_what_to_do_where_the_address_was_never_set(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    with pytest.raises(RuntimeError, match="write its address after 'repository ='"):
        exec(readme.setup_cell("https://github.com/SET_OWNER/b"), {})


@pytest.mark.parametrize("told", ["https://github.com/a/b.git", "git@github.com:a/b.git", "https://me@github.com/a/b"])
def test_the_address_that_git_knows_is_offered(told, monkeypatch):
    monkeypatch.setattr(readme.subprocess, "run", lambda *_, **__: types.SimpleNamespace(stdout=f"{told}\n"))
    assert readme.remote() == "https://github.com/a/b"


def test_the_link_to_the_web_pages_follows_the_address_and_says_how_to_build_them_without_one():
    assert "(https://a.github.io/b/)" in readme.site("https://github.com/A/b")
    assert "http" not in readme.site("https://github.com/SET_OWNER/b") and "publish --site" in readme.site()


def test_no_other_file_spells_the_address():
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True).stdout.split("\n")
    path = readme.address().removeprefix("https://github.com/")
    texts = [name for name in tracked if name.endswith((".py", ".md", ".yml", ".toml", ".cff"))]
    spelled = [name for name in texts if path in (REPO / name).read_text(encoding="utf-8")]
    assert set(spelled) <= {"pyproject.toml", "README.md"}


def test_the_setup_cell_changes_nothing_where_the_kit_is_found(monkeypatch):
    monkeypatch.chdir(REPO / "labkit")
    monkeypatch.setattr(sys, "path", [str(REPO), *sys.path])
    before = list(sys.path)
    exec(readme.setup_cell(), {})
    assert sys.path == before


def test_in_colab_a_failed_installation_is_tried_again(monkeypatch, tmp_path):
    kit, commands, installed = tmp_path / "kit", [], []

    def run(command, check):
        commands.append(command[0] if command[0] == "git" else "pip")
        if command[0] == "git":
            (kit / "labkit").mkdir(parents=True)
        elif commands.count("pip") == 1:
            raise subprocess.CalledProcessError(1, command)
        else:
            installed.append("parameter-design-lab")

    monkeypatch.setitem(sys.modules, "google.colab", json)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name: iter(installed))
    monkeypatch.setattr(sys, "path", list(sys.path))
    cell = readme.setup_cell("https://github.com/a/b").replace("/content/parameter-design-lab", str(kit))
    with pytest.raises(subprocess.CalledProcessError):
        exec(cell, {})
    exec(cell, {})
    exec(cell, {})
    assert commands == ["git", "pip", "pip"] and sys.path[0] == str(kit)


def test_a_copy_outside_the_checkout_says_what_to_do(tmp_path):
    import sys

    result = subprocess.run([sys.executable, "-S", "-P", "-c", readme.setup_cell()], cwd=tmp_path, env={},
                            capture_output=True, text=True)
    assert result.stderr.rstrip().endswith("open this notebook with: python3 -m labkit lab PATH-OF-THIS-NOTEBOOK")


@pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)
def test_generated_cells_of_a_lesson_are_fresh_and_its_frame_is_whole(path):
    notebook = notebooks.read(path)
    refreshed = publish.refresh(json.loads(json.dumps(notebook)), path.stem)
    assert refreshed == notebook, "run `python3 -m labkit publish --badges`"
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    tags = [(cell["metadata"].get("tags") or [""])[0] for cell in codes]
    assert tags[:2] == ["setup", "parameters"] and tags.count("parameters") == 1
    assert 1 <= len(notebooks.parameters(path)) <= 8 and ... not in notebooks.parameters(path).values()
    assert "session.begin()" in notebooks.source(codes[2]) and "session.finish()" in notebooks.source(codes[-1])


@pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)
def test_a_committed_lesson_is_executed_clean_and_small(path):
    notebook = notebooks.read(path)
    assert clean.clean(json.loads(json.dumps(notebook))) == notebook and path.stat().st_size <= 1_000_000
    assert notebooks.failure(notebook) is None and any(cell.get("outputs") for cell in notebook["cells"])


@pytest.mark.parametrize("name", readme.PAGES)
def test_the_readme_agrees_with_the_project_and_so_does_the_page_for_those_who_work_on_it(name):
    page = (REPO / name).read_text(encoding="utf-8")
    assert readme.filled(page) == page, "run `python3 -m labkit publish --badges`"


def test_the_map_names_every_room_and_fits_on_a_screen():
    rooms = {path.parent.name for path in (REPO / "labkit").glob("*/__init__.py")}
    lines = readme.project_map().splitlines()
    assert len(lines) <= 14
    assert rooms == set(re.findall(r"^- `labkit/(\w+)/`: \w", "\n".join(lines), re.MULTILINE))


def test_publishing_takes_out_widgets_paths_and_the_notes_of_tools():
    shown = {"output_type": "display_data", "metadata": {}}
    widget = shown | {"data": {clean.WIDGET: {"model_id": "x"}, "text/plain": ["VBox()"]}}
    both = shown | {"data": {clean.WIDGET: {}, "image/png": "AAAA", "text/plain": ["x"]}}
    said = {"output_type": "stream", "name": "stdout", "text": [f"recorded in {REPO}/runs\n"]}
    cell = {"cell_type": "code", "source": [], "metadata": {"tags": ["a"], "papermill": {"duration": 1}},
            "outputs": [widget, both, said]}
    cleaned = clean.clean({"metadata": {"widgets": {}, "papermill": {}, "labkit": {"seconds": 5}}, "cells": [cell]})
    assert set(cleaned["metadata"]) == {"kernelspec", "language_info", "labkit"}
    assert cleaned["cells"][0]["metadata"] == {"tags": ["a"]}
    kinds = [output.get("data", {}).keys() for output in cleaned["cells"][0]["outputs"]]
    assert kinds == [{"image/png", "text/plain"}, set()]
    assert cleaned["cells"][0]["outputs"][1]["text"] == ["recorded in ./runs\n"]


def test_a_lesson_too_large_to_commit_is_refused(tmp_path):
    with pytest.raises(LabError, match="1.1 MB; at most 1"):
        clean.write(tmp_path / "big.ipynb", {"cells": ["x" * 1_100_000]})


def test_no_two_test_files_share_a_name():
    """They are imported by their bare names, so that --all, which collects all folders, would stop at a second one."""
    names = [path.name for path in (REPO / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("everything, found", [
    (False, {"fast", "cell"}), (True, {"fast", "cell", "slow", "alone", "browser"})])
def test_pytest_leaves_the_slow_places_to_all(tmp_path, everything, found):
    (tmp_path / "pyproject.toml").write_text((REPO / "pyproject.toml").read_text())
    folders = {"fast": "tests", "slow": "tests/slow", "alone": "tests/alone", "browser": "tests/browser"}
    for name, folder in folders.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{name}.py").write_text("def test_one():\n    pass\n")
    (tmp_path / "notebooks").mkdir()
    cell = {"cell_type": "code", "id": "a", "source": "1", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "cells": [cell], "metadata": {}}
    (tmp_path / "notebooks/cell.ipynb").write_text(json.dumps(notebook))
    listed = "".join(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
                     for command in run_tests.commands(everything, ["--collect-only", "-q"]))
    collected = {name for name in (*folders, "cell") if re.search(rf"/{name}\.ipynb::|test_{name}\.py::", listed)}
    assert collected == found, listed
