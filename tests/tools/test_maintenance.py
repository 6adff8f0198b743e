"""What keeps the repository in order calls what exists: continuous integration, the hooks before a commit."""

import os
import re
import subprocess

import pytest
import yaml

from labkit.cli import parser
from labkit.cli.requirements import pyproject
from labkit.settings import REPO

WORKFLOW = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
SITE = yaml.safe_load((REPO / ".github/workflows/site.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]


def steps():
    """Return the steps of all jobs."""
    return [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def hook(name):
    """Return one hook and the revision that it comes from."""
    return next((entry, repo.get("rev")) for repo in HOOKS for entry in repo["hooks"] if entry["id"] == name)


def script(tmp_path, *arguments):
    """Run .ci/run where python3 only tells how it was called; return the result."""
    for name in ("python3", "chromium"):
        (tmp_path / name).write_text("#!/bin/sh\necho \"$@\"\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run([REPO / ".ci/run", *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for python3 is a script of a POSIX shell")
@pytest.mark.parametrize("arguments, everything", [([], True), (["full"], True), (["fast"], False)])
def test_the_script_calls_the_command_of_the_readme(tmp_path, arguments, everything):
    result = script(tmp_path, *arguments)
    module, package, *rest = result.stdout.split()
    options = parser.parse(rest)
    assert (module, package, options.verb, options.all) == ("-m", "labkit", "test", everything)
    assert script(tmp_path, "fats").returncode == 2


def test_the_workflow_may_only_read_stops_in_time_and_takes_actions_of_stated_versions():
    assert WORKFLOW["permissions"] == {"contents": "read"} and WORKFLOW["concurrency"]["cancel-in-progress"]
    assert all(job["timeout-minutes"] <= 120 and "permissions" not in job for job in WORKFLOW["jobs"].values())
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@v\d+(\.\d+)*", name) for name in used)


def test_the_workflow_of_the_site_writes_nothing_but_pages_and_builds_with_the_kits_own_command():
    [job] = SITE["jobs"].values()
    assert SITE["permissions"] == {"contents": "read"}
    assert job["permissions"] == {"pages": "write", "id-token": "write"}
    [command] = [step["run"] for step in job["steps"] if "run" in step]
    options = parser.parse(command.split()[3:])
    [uploaded] = [step["with"]["path"] for step in job["steps"] if "upload" in step.get("uses", "")]
    assert options.verb == "publish" and options.site == uploaded
    for pattern in SITE[True]["push"]["paths"]:               # YAML reads the key `on` as true
        assert any(REPO.glob(pattern.removesuffix("/**")))


def test_the_workflow_tests_every_system_and_the_oldest_and_newest_python_of_the_project():
    matrix = WORKFLOW["jobs"]["locked"]["strategy"]["matrix"]
    told = re.findall(r"Python :: (3\.\d+)", " ".join(pyproject()["project"]["classifiers"]))
    assert matrix["python"] == [told[0], told[-1]]
    assert [name.split("-")[0] for name in matrix["system"]] == ["ubuntu", "macos", "windows"]


def test_what_the_workflow_calls_is_there():
    called = [step["run"] for step in steps() if "run" in step]
    assert {words.split()[0] for words in called} <= {".ci/run", "python", "uv", "test"}
    assert all(words.split()[1] in ("fast", "${{") for words in called if words.startswith(".ci/run"))
    [extra] = re.findall(r'"\.\[(\w+)\]"', " ".join(called))
    assert extra in pyproject()["project"]["optional-dependencies"]
    for step in steps():
        for name in step.get("with", {}).get("cache-dependency-path", "").split():
            assert (REPO / name).is_file()


def test_the_hook_lints_with_the_locked_version_and_formats_nothing():
    assert f"ruff=={hook('ruff-check')[1][1:]}\n" in (REPO / "constraints.txt").read_text(encoding="utf-8")
    assert not any("format" in entry["id"] for repo in HOOKS for entry in repo["hooks"])


def test_what_ships_passes_the_limit_for_large_files():
    entry, _ = hook("check-added-large-files")
    [limit] = [int(text.removeprefix("--maxkb=")) for text in entry["args"]]
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True).stdout.split("\0")
    sizes = {name: (REPO / name).stat().st_size for name in names if name and (REPO / name).is_file()}
    assert not [name for name, size in sizes.items() if size > limit * 1024 and not re.search(entry["exclude"], name)]


def test_the_local_hook_chooses_tests_that_exist():
    entry, _ = hook("lessons")
    path, words = re.fullmatch(r'python -m pytest -q (\S+) -k "(.*)"', entry["entry"]).groups()
    source = (REPO / path).read_text(encoding="utf-8")
    assert all(re.search(rf"def test_\w*{word}", source) for word in words.split(" or "))
