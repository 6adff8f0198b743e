"""Lessons begin from a design and a folder that are not their own.

The folder has few pictures; the designs have another size, schedule, batch and rank.
"""

import shutil

import pytest

from labkit.cli.execute import execute
from labkit.datasets.folders import load_folder
from labkit.design.config import RunConfig
from labkit.design.design_file import design_text
from labkit.lessons import notebooks
from labkit.settings import REPO
from labkit.store.runs import Store

DESIGNS = {
    "another size, schedule and batch": {
        "resolution": 64, "lr_scheduler": "linear", "lr_end": 1e-5, "rank": 16, "alpha": 4, "train_batch_size": 8},
    "the matrices whole, by SGD": {
        "adapter": "full", "optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 0.03, "num_train_epochs": 1,
        "max_train_steps": None}}
LESSONS = [path for path in notebooks.lessons() if "design" in notebooks.parameters(path)]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Give a folder of sixteen pictures with captions."""
    target = tmp_path_factory.mktemp("own") / "pictures"
    target.mkdir()
    source = load_folder(REPO / "data" / "territories" / "liminal" / "train")
    for path, caption in list(zip(source.paths, source.captions, strict=True))[:16]:
        shutil.copy(path, target)
        (target / path.name).with_suffix(".txt").write_text(caption)
    return target


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_takes_a_design_and_a_small_folder(lesson, name, few, tmp_path):
    design = tmp_path / "design.yaml"
    config = RunConfig(**{"data": str(few), "max_train_steps": 12} | DESIGNS[name])
    design.write_text(design_text(config, {"rank": "asked for"}))
    environment = {"LABKIT_STORE": str(tmp_path / "runs"), "LABKIT_FAST": "1"}
    _, error = execute(lesson, tmp_path / "done.ipynb", parameters={"design": str(design)}, environment=environment,
                       log=tmp_path / "log", timeout=1800)
    assert error is None
    asked = {field: value for field, value in DESIGNS[name].items()
             if field in ("rank", "resolution", "optimizer", "adapter")}
    configs = [run.config for run in Store(tmp_path / "runs").load_runs()]
    assert any(all(getattr(config, field) == value for field, value in asked.items()) for config in configs)
