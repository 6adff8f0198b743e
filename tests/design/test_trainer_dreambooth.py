"""Commands of diffusers' scripts for DreamBooth are read with these scripts' own defaults, and no other script is."""

import pytest
from translations import notes

from labkit.design.config import RunConfig
from labkit.design.trainers.files import command_line
from labkit.design.trainers.known import SCRIPTS, TRAINERS, recognized
from labkit.design.trainers.translate import translate
from labkit.errors import LabError

PICTURES = "--pretrained_model_name_or_path=base --instance_data_dir=dog --instance_prompt='a photo of sks dog' "


def read(script, options):
    given = command_line(f"accelerate launch {script} {PICTURES}{options}")
    return translate(recognized(given.settings, given.script), given.settings, TRAINERS["labkit"])


def test_a_command_of_dreambooth_has_its_own_defaults():
    translation = read("train_dreambooth_lora.py", "--max_train_steps=500 --learning_rate=1e-4 --lr_warmup_steps=0")
    config = RunConfig.from_dict(translation.settings)
    assert (config.rank, config.alpha, config.train_batch_size, config.resolution) == (4, 4, 4, 512)
    assert (config.weight_decay, config.max_grad_norm, config.caption_dropout) == (1e-2, 1.0, 0.0)
    assert (config.data, config.captions, config.max_train_steps) == ("dog", "text:a photo of sks dog", 500)
    assert config.targets == ("attention",) and config.init_lora_weights == "gaussian"
    assert not notes(translation, "unknown") and "lr_warmup_steps" not in notes(translation, "contradiction")


@pytest.mark.parametrize("script, rate, side, decay", [
    ("train_dreambooth_lora.py", 5e-4, 512, 1e-2), ("train_dreambooth_lora_sdxl.py", 1e-4, 1024, 1e-4),
    ("train_dreambooth_lora_sdxl_advanced.py", 1e-4, 1024, 1e-4),
    ("train_dreambooth_lora_sd15_advanced.py", 1e-4, 512, 1e-4),
])
def test_each_script_has_its_own_rate_side_and_decay_where_nothing_is_said(script, rate, side, decay):
    config = RunConfig.from_dict(read(script, "--max_train_steps=500").settings)
    assert (config.learning_rate, config.resolution, config.weight_decay) == (rate, side, decay)


def test_class_pictures_have_their_weight_and_without_them_it_is_idle():
    options = "--max_train_steps=500 --class_data_dir=dogs --class_prompt='a photo of a dog' --prior_loss_weight=0.5 "
    translation = read("train_dreambooth_lora_sdxl.py", options + "--with_prior_preservation")
    assert translation.settings["prior_loss_weight"] == 0.5 and translation.settings["learning_rate"] == 1e-4
    assert "folder class" in notes(translation, "none")["class_data_dir"]
    assert "a photo of a dog" in notes(translation, "other")["class_prompt"]
    assert "text_encoder_lr" not in notes(translation, "none")
    assert "drawn once" in notes(translation, "none")["random_square"]
    assert "prior_loss_weight" not in read("train_dreambooth_lora_sdxl.py", options).settings


def test_the_advanced_scripts_options_are_known():
    translation = read("train_dreambooth_lora_sdxl_advanced.py",
                       "--optimizer=prodigy --learning_rate=1.0 --text_encoder_lr=1.0 --train_text_encoder_ti "
                       "--lora_unet_blocks=unet.up_blocks.0 --max_train_steps=1000 --snr_gamma=5.0 --repeats=2")
    assert not notes(translation, "unknown") and "learning_rate" not in translation.settings
    assert notes(translation, "none").keys() >= {"optimizer", "learning_rate", "text_encoder_lr", "lora_unet_blocks",
                                                 "train_text_encoder_ti"}
    assert translation.settings["snr_gamma"] == 5


def test_captions_of_a_column_are_those_of_that_column():
    given = command_line("train_dreambooth_lora_sdxl.py --dataset_name=dogs --caption_column=prompt "
                         "--instance_prompt='a dog' --max_train_steps=10")
    settings = translate(SCRIPTS[given.script], given.settings, TRAINERS["labkit"]).settings
    assert (settings["captions"], settings["data"]) == ("column:prompt", "dogs")


def test_a_missing_caption_of_all_pictures_is_told():
    there = translate(TRAINERS["labkit"], {"base": "base", "data": "dog"}, TRAINERS["dreambooth"])
    assert "instance_prompt" not in there.settings and "must be given" in notes(there, "default")["instance_prompt"]


@pytest.mark.parametrize("script", ["train_dreambooth_lora_flux.py", "train_dreambooth.py", "train.py"])
def test_a_script_of_which_nothing_is_known_is_not_taken_for_another(script):
    given = command_line(f"accelerate launch {script} {PICTURES}--learning_rate=1e-4 --max_train_steps=500")
    with pytest.raises(LabError, match=f"{script} is no script.*--from"):
        recognized(given.settings, given.script)
