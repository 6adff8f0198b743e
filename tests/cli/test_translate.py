"""`labkit translate` reads settings of any trainer and writes any other's, and what is written can be trained."""

import json
import re

import numpy as np
import pytest

from labkit.cli import parser, practice_options
from labkit.design.config import RunConfig, load_design
from labkit.design.design_file import read_design
from labkit.design.trainers.known import TRAINERS
from labkit.store.adapter_forms import kohya_bytes

KOHYA = """
pretrained_model_name_or_path = "sd15.safetensors"
network_module = "networks.lora"
network_dim = 32
unet_lr = 3e-4
lr_scheduler = "cosine"
lr_warmup_steps = 0.05
max_train_epochs = 10
train_batch_size = 4
noise_offset = 0.05
network_dimm = 4
output_name = "mine"
"""


def labkit(*arguments):
    return parser.run(parser.parse(["translate", *map(str, arguments)]))


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(KOHYA)
    return path


def test_a_design_is_printed_with_all_that_does_not_come_along(settings, capsys):
    assert labkit(settings, "--pictures", 40) == 0
    out = capsys.readouterr().out
    assert "rank: 32" in out and "lr_warmup_steps: 5" in out and "noise_offset: 0.05:" in out
    assert "did you mean network_dim?" in out and "network_alpha: not given, so kohya takes 1.0" in out
    assert out.index("No equivalent:") < out.index("Not known:") < out.index("output_name")


def test_what_is_written_is_a_design_that_says_where_it_comes_from(settings, tmp_path, capsys):
    assert labkit(settings, "--out", tmp_path / "design.yaml", "--pictures", 40) == 0
    config = load_design(tmp_path / "design.yaml")
    assert (config.learning_rate, config.scaling, config.num_train_epochs) == (3e-4, 1 / 32, 10)
    reasons = read_design(tmp_path / "design.yaml").reasons
    assert reasons["rank"] == "network_dim in the settings of kohya"
    assert reasons["learning_rate"] == "unet_lr in the settings of kohya"
    assert reasons["num_train_epochs"].startswith("max_train_epochs in the settings")
    assert reasons["alpha"] == "follows from the settings of kohya, where network_alpha is not given"
    assert "rank: 32" not in capsys.readouterr().out


def test_a_design_becomes_the_settings_of_a_named_trainer_and_comes_back(tmp_path, capsys):
    (tmp_path / "d.yaml").write_text("rank: 16\nlearning_rate: 2.0e-4\nbase: folder\ntarget_modules: attention\n")
    assert labkit(tmp_path / "d.yaml", "--to", "onetrainer", "--out", tmp_path / "o.json", "--pictures", 100) == 0
    assert json.loads((tmp_path / "o.json").read_text())["lora_alpha"] == 16
    assert labkit(tmp_path / "o.json", "--out", tmp_path / "back.yaml", "--pictures", 100) == 0
    back = load_design(tmp_path / "back.yaml")
    assert (back.rank, back.alpha, back.learning_rate, back.targets) == (16, 16, 2e-4, ("attention",))


def test_machines_get_settings_and_notes_as_json(settings, capsys):
    assert labkit(settings, "--to", "diffusers", "--json") == 0
    account = json.loads(capsys.readouterr().out)
    assert account["from"] == "kohya" and account["settings"]["rank"] == 32
    assert {"name", "text"} == set(account["notes"]["none"][0]) and "--rank=32" in account["text"]


@pytest.mark.parametrize("said, rank, alpha", [("true", 6, 3.0), ("false", 32, 1.0)])
def test_rank_and_alpha_are_those_of_the_file_that_training_begins_from(settings, tmp_path, capsys, said, rank, alpha):
    tensors = {"mid.to_q.lora_A.weight": np.ones((6, 8), np.float32),
               "mid.to_q.lora_B.weight": np.ones((8, 6), np.float32)}
    (tmp_path / "first.safetensors").write_bytes(kohya_bytes(tensors, RunConfig(rank=6, alpha=3)))
    settings.write_text(KOHYA + f'network_weights = "first.safetensors"\ndim_from_weights = {said}\n')
    assert labkit(settings, "--out", tmp_path / "design.yaml", "--pictures", 40) == 0
    config = load_design(tmp_path / "design.yaml")
    assert (config.rank, config.alpha, config.init_lora_weights) == (rank, alpha, "first.safetensors")
    assert ("rank 6 and alpha 3 are those of" in capsys.readouterr().out) == (said == "true")


def test_the_help_names_every_trainer():
    assert re.split(r", | or ", practice_options.OTHERS) == [name for name in TRAINERS if name != "labkit"]


def test_a_script_for_another_base_is_recognized_and_the_base_is_told(capsys):
    assert labkit("flux_train_network.py --network_module lycoris.kohya --network_dim 8", "--json") == 0
    account = json.loads(capsys.readouterr().out)
    assert account["from"] == "kohya" and any("no U-Net" in note["text"] for note in account["notes"]["none"])


@pytest.mark.parametrize("arguments, sentence", [
    (["nothing.toml"], "nothing.toml"), (["SETTINGS", "--to", "konya"], "did you mean kohya"),
    (["SETTINGS", "--pictures", "0"], "--pictures 0"), (["DESIGN"], "--to"),
    (["SETTINGS", "--out", "SETTINGS"], "is there already"),
])
def test_bad_input_ends_in_a_sentence(settings, tmp_path, capsys, arguments, sentence):
    (tmp_path / "design.yaml").write_text("rank: 4\nadapter: lora\n")
    places = {"SETTINGS": settings, "DESIGN": tmp_path / "design.yaml"}
    assert labkit(*(places.get(each, each) for each in arguments)) == 2
    assert sentence in capsys.readouterr().err
