"""Settings of kohya's sd-scripts and of the window kohya_ss become the run that they would have trained."""

import json

import pytest
from translations import design, from_theirs, notes

from labkit.design.config import RunConfig
from labkit.design.trainers.files import open_settings
from labkit.design.trainers.known import TRAINERS, recognized
from labkit.design.trainers.translate import translate
from labkit.errors import LabError


def test_kohyas_rates_are_those_that_count():
    settings = {"learning_rate": 1e-4, "unet_lr": 5e-4, "text_encoder_lr": 5e-5, "network_dim": 8}
    translation = from_theirs("kohya", settings)
    assert translation.settings["learning_rate"] == 5e-4
    assert "unet_lr" in notes(translation, "other") and "5e-05" in notes(translation, "none")["text_encoder_lr"]
    alone = from_theirs("kohya", settings | {"network_train_unet_only": True})
    assert "text_encoder_lr" not in notes(alone, "none")


@pytest.mark.parametrize("unet, text, rate, trains_text", [
    (0, 0, 2e-4, True), (1e-4, 0, 1e-4, False), (1e-4, 5e-5, 1e-4, True)])
def test_the_windows_rates_of_0_say_nothing(unet, text, rate, trains_text):
    settings = {"LoRA_type": "Standard", "learning_rate": 2e-4, "unet_lr": unet, "text_encoder_lr": text}
    translation = from_theirs("kohya_ss", settings)
    assert translation.settings["learning_rate"] == rate
    assert ("text_encoder_lr" in notes(translation, "none")) == trains_text


def test_kohyas_text_encoder_is_told_where_it_is_trained_only_by_default():
    assert "1e-4" in notes(from_theirs("kohya", {"learning_rate": 1e-4, "network_dim": 8}),
                           "none")["text_encoder_lr"].replace("0.0001", "1e-4")


def test_kohyas_text_encoder_has_the_common_rate_and_alpha_0_is_the_rank():
    translation = from_theirs("kohya", {"unet_lr": 1e-4, "learning_rate": 5e-5, "network_dim": 8, "network_alpha": 0})
    assert "5e-05" in notes(translation, "none")["text_encoder_lr"]
    assert RunConfig.from_dict(translation.settings).resolved(10).scaling == 1
    convolutions = {"network_dim": 8, "network_args.conv_dim": 8, "network_args.conv_alpha": 0, "network_alpha": 0}
    assert RunConfig.from_dict(from_theirs("kohya", convolutions).settings).target_modules == ("all",)
    with pytest.raises(LabError, match="network_alpha"):
        from_theirs("kohya", {"network_dim": 8, "network_alpha": True})


@pytest.mark.parametrize("given, updates", [(20, 20), (0.1, 30), ("10%", 30), (0, 0)])
def test_kohyas_warm_up_may_be_a_share(given, updates):
    settings = {"lr_scheduler": "cosine", "lr_warmup_steps": given, "max_train_steps": 300, "network_dim": 8}
    assert design("kohya", settings).lr_warmup_steps == updates


def test_the_window_of_kohya_ss_gives_a_warm_up_in_percent_and_an_empty_field_says_nothing():
    settings = {"LoRA_type": "Standard", "lr_warmup": "10", "epoch": 5, "train_batch_size": 2.0, "network_dim": 8.0,
                "learning_rate": "0.0002", "unet_lr": "0.0002", "text_encoder_lr": 0, "max_train_steps": "",
                "lr_scheduler": "cosine", "min_snr_gamma": 0, "conv_dim": 1, "conv_alpha": 1, "seed": "9",
                "optimizer": "AdamW", "max_resolution": "512,512"}
    config = design("kohya_ss", settings, pictures=40)
    assert (config.lr_warmup_steps, config.num_train_epochs, config.seed) == (10, 5, 9)
    assert config.snr_gamma is None and config.targets == ("linear",) and config.learning_rate == 2e-4


@pytest.mark.parametrize("given", [0.2, "20%", 60])
def test_kohyas_decay_may_be_a_share(given):
    settings = {"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": given, "max_train_steps": 300}
    translation = from_theirs("kohya", settings)
    assert translation.run["lr_options"] == {"decay": 60}
    assert "warmup_stable_decay" in notes(translation, "none")["lr_scheduler"]        # which the kit has not


@pytest.mark.parametrize("name, setting", [("kohya", "network_weights"), ("kohya_ss", "lora_network_weights")])
def test_sizes_that_are_those_of_a_file_are_told_where_it_is_not_read(name, setting):
    kind = {"LoRA_type": "Standard", "network_dim": 8, "dim_from_weights": True}
    assert "mine.safetensors" in notes(from_theirs(name, kind | {setting: "mine.safetensors"}),
                                       "other")["dim_from_weights"]
    assert setting in notes(from_theirs(name, kind), "contradiction")["dim_from_weights"]


@pytest.mark.parametrize("name, more", [("kohya", {"network_dim": 8}), ("kohya_ss", {"LoRA_type": "Standard"})])
def test_kohyas_class_pictures_have_their_weight_and_none_where_there_are_no_such_pictures(name, more):
    weighted = from_theirs(name, more | {"reg_data_dir": "class", "prior_loss_weight": 0.5})
    assert weighted.settings["prior_loss_weight"] == 0.5 and "folder class" in notes(weighted, "none")["reg_data_dir"]
    assert from_theirs(name, more | {"reg_data_dir": "class"}).settings["prior_loss_weight"] == 1
    idle = from_theirs(name, more | {"prior_loss_weight": 0.5})
    assert "prior_loss_weight" not in idle.settings and "prior_loss_weight" in notes(idle, "quiet")
    there = translate(TRAINERS[name], more | {"reg_data_dir": "class", "prior_loss_weight": 0.5}, TRAINERS["kohya"])
    assert there.settings["prior_loss_weight"] == 0.5 and "prior_loss_weight" not in notes(there, "none")


def test_pictures_that_are_held_out_are_told_and_counted():
    settings = {"network_dim": 8, "validation_split": 0.2, "max_train_epochs": 10}
    assert "held out" in notes(from_theirs("kohya", settings, 100), "none")["validation_split"]
    assert from_theirs("kohya", settings).settings["num_train_epochs"] == 8           # of passes over all of them
    assert translate(TRAINERS["kohya"], settings, TRAINERS["kohya_ss"], 100).settings["epoch"] == 10
    with pytest.raises(LabError, match="held out"):
        from_theirs("kohya", settings | {"validation_split": 1})


def test_more_options_that_the_window_of_kohya_ss_adds_to_its_command_count_before_its_own(tmp_path):
    more = '--max_train_steps 300 --optimizer_type AdamW --optimizer_args weight_decay=0.2 --resolution="640,640" ' \
           '--network_args loraplus_lr_ratio=4 --noise_offset 0.1'
    window = {"LoRA_type": "Standard", "max_resolution": "512,512", "optimizer": "AdamW8bit", "optimizer_args": "",
              "learning_rate": 1e-4, "additional_parameters": more}
    (tmp_path / "window.json").write_text(json.dumps(window))
    given = open_settings(str(tmp_path / "window.json"))
    assert recognized(given.settings).name == "kohya_ss"
    translation = from_theirs("kohya_ss", given.settings)
    config = RunConfig.from_dict(translation.settings)
    assert (config.max_train_steps, config.weight_decay, config.resolution, config.lr_ratio_B) == (300, 0.2, 640, 4)
    assert not notes(translation, "unknown") and "noise_offset" in notes(translation, "none")
    (tmp_path / "window.json").write_text(json.dumps(window | {"additional_parameters": ""}))
    assert RunConfig.from_dict(from_theirs("kohya_ss", open_settings(str(tmp_path / "window.json")).settings
                                           ).settings).resolution == 512


LYCORIS = {"network_module": "lycoris.kohya", "network_dim": 8, "network_alpha": 4.0}


@pytest.mark.parametrize("name, settings, targets, rank", [
    ("kohya", LYCORIS | {"network_args.algo": "locon"}, "all", None),
    ("kohya", LYCORIS | {"network_args.algo": "lora", "network_args.conv_dim": 2}, "all", 2),
    ("kohya", LYCORIS | {"network_args.preset": "attn-mlp"}, "linear", None),
    ("kohya", LYCORIS | {"network_args.conv_dim": 0}, "linear", None),
    ("kohya_ss", {"LoRA_type": "LyCORIS/LoCon", "network_dim": 8, "conv_dim": 8, "conv_alpha": 1}, "all", None),
    ("kohya_ss", {"LoRA_type": "LyCORIS/LoCon", "network_dim": 8, "LyCORIS_preset": "attn-mlp"}, "linear", None),
])
def test_the_algorithms_of_lycoris_that_are_lora_are_read_as_lora_with_the_layers_of_their_preset(name, settings,
                                                                                                  targets, rank):
    translation = from_theirs(name, settings)
    assert translation.run["target_modules"] == (targets,) and translation.run.get("conv_rank") == rank
    assert not any("B @ A" in text for text in notes(translation, "none").values())


@pytest.mark.parametrize("name, settings, setting", [
    ("kohya", LYCORIS | {"network_args.algo": "loha"}, "network_module"),
    ("kohya", {"network_module": "networks.oft"}, "network_module"),
    ("kohya_ss", {"LoRA_type": "LyCORIS/LoHa"}, "network_module"),
    ("kohya_ss", {"LoRA_type": "LoRA-FA"}, "network_module"),
])
def test_another_change_than_b_times_a_is_told(name, settings, setting):
    assert "not B @ A" in notes(from_theirs(name, settings), "none")[setting]


def test_a_noise_offset_that_the_window_of_kohya_ss_leaves_unused_is_told():
    settings = {"LoRA_type": "Standard", "noise_offset": "0.05", "noise_offset_type": "Multires",
                "multires_noise_iterations": 8}
    translation = from_theirs("kohya_ss", settings)
    lost = notes(translation, "none")
    assert "noise_offset" in notes(translation, "contradiction")
    assert "multires_noise_iterations" in lost and "noise_offset" not in lost
