"""Settings are read from every form in which trainers keep them, and a form that cannot be read is answered."""

import json

import pytest

from labkit.design.trainers.files import command_line, flat, nested, open_settings, pairs
from labkit.design.trainers.known import TRAINERS, recognized
from labkit.design.trainers.translate import translate
from labkit.errors import LabError

README = r"""
export MODEL_NAME="some/model"
export OUTPUT_DIR='out'   # a comment
accelerate launch --mixed_precision="fp16" --num_processes=2 examples/train_text_to_image_lora.py \
  --pretrained_model_name_or_path=$MODEL_NAME --train_data_dir "my pictures" \
  --learning_rate=1e-04 --lr_warmup_steps=0 --random_flip \
  --output_dir=${OUTPUT_DIR}
"""


def test_a_shell_script_is_read_with_its_variables_and_what_accelerate_is_told():
    given = command_line(README)
    assert given.script == "train_text_to_image_lora.py"
    assert recognized(given.settings, given.script).name == "diffusers"
    assert given.settings == {
        "mixed_precision": "fp16", "num_processes": 2, "pretrained_model_name_or_path": "some/model",
        "train_data_dir": "my pictures", "learning_rate": 1e-4, "lr_warmup_steps": 0, "random_flip": True,
        "output_dir": "out"}


def test_a_command_line_is_read_as_it_is_given():
    given = open_settings('python train_network.py --network_dim 8 --text_encoder_lr 1e-5 2e-5 '
                          '--optimizer_args "betas=0.9,0.99" weight_decay=0.1')
    assert recognized(given.settings, given.script).name == "kohya"
    assert given.settings == {"network_dim": 8, "text_encoder_lr": [1e-5, 2e-5], "optimizer_args.betas.0": 0.9,
                              "optimizer_args.betas.1": 0.99, "optimizer_args.weight_decay": 0.1}


@pytest.mark.parametrize("line, options", [
    (r"train_network.py --train_data_dir=C:\photos\img --output_name 'my run'",
     {"train_data_dir": r"C:\photos\img", "output_name": "my run"}),
    (r'train_network.py --train_data_dir "\\nas\photos"', {"train_data_dir": r"\\nas\photos"}),
    (r"train_network.py --train_data_dir my\ photos", {"train_data_dir": "my photos"}),
    (r"train_network.py --train_data_dir=photos\img", {"train_data_dir": r"photos\img"}),
    ("python make_captions.py --a --b --c --d\naccelerate launch sdxl_train_network.py --network_dim 8",
     {"network_dim": 8}),
    ("train_network.py --output_name=v1#2 --network_dim=32  # don't forget",
     {"output_name": "v1#2", "network_dim": 32}),
    ("# see train_network.py --help\npip install --upgrade torch\naccelerate launch train_network.py --network_dim=8",
     {"network_dim": 8}),
])
def test_a_command_line_keeps_windows_paths_and_signs_within_words_and_is_found_among_others(line, options):
    assert command_line(line).settings == options


def test_a_command_line_is_read_with_the_file_that_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.toml").write_text("network_dim = 16\nlearning_rate = 1e-4\n")
    given = open_settings("train_network.py --config_file train.toml --network_dim 8")
    assert given.settings == {"network_dim": 8, "learning_rate": 1e-4}
    (tmp_path / "set.json").write_text(json.dumps({"general": {"resolution": 512}}))
    given = open_settings("train_network.py --dataset_config set.json --network_dim 8")
    assert given.settings == {"network_dim": 8, "resolution": 512}


def test_a_command_line_may_be_longer_than_a_name_of_a_file():
    given = open_settings("train_network.py --network_dim 8 --training_comment " + "x" * 5000)
    assert given.settings["network_dim"] == 8
    with pytest.raises(LabError):
        open_settings("x" * 5000)


@pytest.mark.parametrize("text, read", [
    (["weight_decay=0.01", "betas=0.9,0.999"], {"weight_decay": 0.01, "betas.0": 0.9, "betas.1": 0.999}),
    ("betas=(0.9, 0.99) eps=1e-8", {"betas.0": 0.9, "betas.1": 0.99, "eps": 1e-8}),
    ("weight_decay=0.1,eps=1e-7", {"weight_decay": 0.1, "eps": 1e-7}), ("", {}), (None, {}),
    ('"decouple=True" "d_coef=2"', {"decouple": True, "d_coef": 2}),
])
def test_texts_of_pairs_are_taken_apart_in_every_way_they_are_written(text, read):
    assert pairs(text) == read


def test_nested_settings_become_names_with_dots_and_back():
    tree = {"train": {"lr": 1e-4, "optimizer_params": {"betas": [0.9, 0.99]}}, "datasets": [{"resolution": [512]}]}
    assert flat(tree) == {"train.lr": 1e-4, "train.optimizer_params.betas.0": 0.9,
                          "train.optimizer_params.betas.1": 0.99, "datasets.0.resolution": [512]}
    assert nested(flat(tree)) == tree


def test_kohyas_files_beside_are_read_too(tmp_path):
    (tmp_path / "pictures.toml").write_text('[general]\ncaption_dropout_rate = 0.1\n[[datasets]]\nresolution = 640\n'
                                            'batch_size = 3\n[[datasets.subsets]]\nimage_dir = "p"\nnum_repeats = 5\n')
    (tmp_path / "train.toml").write_text('[model]\nnetwork_dim = 8\ndataset_config = "pictures.toml"\n')
    settings = open_settings(str(tmp_path / "train.toml")).settings
    assert {name.rsplit(".", 1)[-1]: value for name, value in settings.items()} == {
        "network_dim": 8, "resolution": 640, "train_batch_size": 3, "train_data_dir": "p", "dataset_repeats": 5,
        "caption_dropout_rate": 0.1}


SMALL = {
    "kohya": ("a.toml", 'network_module = "networks.lora"\nnetwork_dim = 4\nunet_lr = 1e-4\n'),
    "kohya_ss": ("a.json", json.dumps({"LoRA_type": "Standard", "network_dim": 8, "lr_warmup": 10})),
    "onetrainer": ("b.json", json.dumps({"training_method": "LORA", "lora_rank": 8, "optimizer": {"beta1": 0.9}})),
    "ai-toolkit": ("c.yaml", "job: extension\nconfig:\n  process:\n  - type: sd_trainer\n    train: {lr: 1e-4}\n"),
    "simpletuner": ("c.json", json.dumps({"--lora_rank": 8, "--model_family": "sd1x", "--learning_rate": "1e-4"})),
    "diffusers": ("d.sh", "accelerate launch train_text_to_image_lora.py --rank=4\n"),
    "labkit": ("e.yaml", "rank: 4\nlearning_rate: 1e-3\nadapter: lora\n"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_file_is_recognized_by_what_is_in_it(tmp_path, name):
    file, text = SMALL[name]
    (tmp_path / file).write_text(text)
    given = open_settings(str(tmp_path / file))
    assert recognized(given.settings, given.script).name == name


@pytest.mark.parametrize("file, text", [
    ("a.toml", "network_dim = = 3"), ("a.json", "{"), ("a.json", "[1, 2]"), ("a.yaml", "a: [1"), ("a.yaml", "- 1"),
    ("a.sh", "echo hello"), ("a.sh", "train.py --a 'b"), ("a.toml", ""), ("a.toml", "\xff"), ("a.json", '{"a": ' * 99),
])
def test_a_file_that_cannot_be_read_is_answered_with_a_sentence(tmp_path, file, text):
    (tmp_path / file).write_bytes(text.encode("latin-1"))
    with pytest.raises(LabError):
        open_settings(str(tmp_path / file))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(LabError, match="nowhere.toml"):
        open_settings("nowhere.toml")


def test_settings_that_simpletuners_server_saved_are_read_from_their_envelope(tmp_path):
    saved = {"_metadata": {"name": "mine", "model_family": "sd1x"},
             "config": {"--lora_rank": 8, "--model_family": "sd1x", "--learning_rate": "1e-4"}}
    (tmp_path / "mine.json").write_text(json.dumps(saved))
    given = open_settings(str(tmp_path / "mine.json"))
    assert recognized(given.settings).name == "simpletuner"
    assert given.settings == {"--lora_rank": 8, "--model_family": "sd1x", "--learning_rate": "1e-4"}


COLAB = """
[additional_network_arguments]
unet_lr = 5e-4
network_dim = 16
network_alpha = 8
network_module = "networks.lora"
network_args = ["conv_dim=8", "conv_alpha=1"]
[optimizer_arguments]
lr_scheduler = "cosine_with_restarts"
lr_scheduler_num_cycles = 3
optimizer_type = "AdamW8bit"
optimizer_args = ["weight_decay=0.1", "betas=0.9,0.99"]
[training_arguments]
max_train_epochs = 10
train_batch_size = 2
"""


@pytest.mark.parametrize("form", ["settings", "config_file"])
def test_headings_of_toml_are_left_out_and_what_stands_below_them_is_read(tmp_path, form):
    (tmp_path / "train.toml").write_text(COLAB)
    (tmp_path / "run.sh").write_text("accelerate launch train_network.py --config_file=train.toml")
    given = open_settings(str(tmp_path / ("train.toml" if form == "settings" else "run.sh")))
    assert recognized(given.settings, given.script).name == "kohya"
    assert given.settings["optimizer_args.weight_decay"] == 0.1 and given.settings["network_dim"] == 16
    run = translate(TRAINERS["kohya"], given.settings, TRAINERS["labkit"]).run
    assert (run["weight_decay"], run["adam_beta2"], run["target_modules"]) == (0.1, 0.99, ("all",))
    assert (run["learning_rate"], run["conv_rank"], run["lr_options"]) == (5e-4, 8, {"cycles": 3})
