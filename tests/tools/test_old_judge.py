"""The judge of an earlier commit runs on the modules of today, whatever names its sources import."""

import ast
import importlib.util
import subprocess
import sys

import old_judge
import pytest
from made_runs import made_run

from labkit.judge.stats import LEVEL
from labkit.settings import REPO


def sources():
    """Return, by commit and name, every source that the judge ever had; none where the history is not here."""
    paths = [f"{place}/{name}.py" for place in old_judge.PLACES for name in ("findings", "diagnose")]
    log = subprocess.run(["git", "log", "--format=%h", "--", *paths], cwd=REPO, capture_output=True, text=True)
    texts = {(commit, name): old_judge.source_at(commit, name)
             for commit in log.stdout.split() for name in ("findings", "diagnose")}
    return {key: text for key, text in texts.items() if text}


def imported(source):
    """Return the modules of the package that a source imports."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    return {node.module for node in nodes if node.module.startswith("labkit.")}


def test_every_module_that_an_earlier_judge_imports_is_found_by_its_old_name_or_still_has_it():
    texts = sources()
    if not texts:
        pytest.skip("the history of this repository is not here")
    names = set().union(*map(imported, texts.values())) - {"labkit.findings"}
    unknown = {name for name in names - old_judge.MOVED.keys() if importlib.util.find_spec(name) is None}
    assert not unknown and old_judge.MOVED.keys() <= names


def test_an_earlier_source_runs_and_leaves_no_old_name_behind():
    source = "from dataclasses import dataclass\nfrom labkit.findings import FEW\nfrom labkit.stats import LEVEL\n"
    source += "@dataclass\nclass Verdict:\n    label: str = 'few'\n"
    findings = old_judge.module_of("findings", "FEW = 3")
    module = old_judge.module_of("diagnose", source, findings)
    assert (module.FEW, module.LEVEL, module.Verdict().label) == (3, LEVEL, "few")
    assert not {"labkit.findings", *old_judge.MOVED} & sys.modules.keys()


@pytest.mark.parametrize("commit", ["d85567e", "HEAD"])
def test_the_judge_of_a_commit_judges_a_run_of_today(commit):
    if old_judge.source_at(commit, "diagnose") is None:
        pytest.skip("the history of this repository is not here")
    assert old_judge.judge_at(commit).diagnose(made_run("healthy", pictures=False)).label == "healthy"


def test_a_commit_without_a_judge_is_named():
    with pytest.raises(ValueError, match="no judge at nowhere"):
        old_judge.judge_at("nowhere")
