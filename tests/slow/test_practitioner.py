"""The practitioner's page is executed: each of its commands and Python blocks, in order, on the embedded base."""

import glob
import json

import numpy as np
import pytest
from command_line import labkit
from pages import blocks, commands, page
from PIL import Image

from labkit.design.config import load_design
from labkit.settings import data_dir
from labkit.store.runs import Store


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder that has what a checkout has for the page, the base; measure half as much as usual."""
    monkeypatch.setattr("labkit.settings.fast", True)
    monkeypatch.setattr("labkit.lessons.session.SHORT_MONITOR", {"images": 16, "num_inference_steps": 4})
    (tmp_path / "data").symlink_to(data_dir(), target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words_of(command):
    """Return the words as a shell would pass them on: each pattern becomes the paths that fit it."""
    return [path for word in command for path in (sorted(glob.glob(word)) or [word])]


def test_the_way_from_photographs_to_plain_diffusers_is_gone_as_it_stands(capsys, folder):
    told = {}
    for language, source in blocks(page("practitioner.md")):
        if language == "python":
            exec(compile(source, "practitioner.md", "exec"), {})
        elif not language:
            for command in commands(source):
                words = words_of(command)
                assert not any(set("*?[") & set(word) for word in words), words
                code, out, err = labkit(capsys, *words)
                assert code == 0, (command, out, err)
                told[command[0]] = out

    assert "8 pictures to train on, 8 held out" in told["inspect"] and "all square" in told["inspect"]
    design = load_design(folder / "bricks.yaml")
    assert told["find"].count("Take ") == 1 and design.learning_rate in (1e-3, 3e-3, 1e-2)
    [run] = Store(folder / "bricks").load_runs()
    assert run.config.learning_rate == design.learning_rate and f"run {run.run_id}: " in told["train"]
    assert "Keep 0000" in told["judge"] and "<table" in (folder / "bricks.html").read_text(encoding="utf-8")
    assert (folder / "bricks.md").is_file() and (folder / "bricks.png").is_file() and "rank 8" in told["export"]
    drawn = np.asarray(Image.open(folder / "bricks_drawn.png"), dtype=float)
    wide = np.abs(drawn.max(axis=-1) - drawn.min(axis=-1)).mean()
    assert drawn.shape == (128, 128, 3) and wide < 25, wide            # nearly grey, as the wall; rooms have colours
    assert json.loads((folder / "data" / "base" / "model_index.json").read_text())["_class_name"] in page(
        "practitioner.md")
