"""Aspect-ratio buckets of other trainers become crop = 'buckets' and back; what is only nearly the same is told."""

import json

import pytest

from labkit.datasets.buckets import bucket_sizes
from labkit.design.config import RunConfig
from labkit.design.trainers.files import flat, open_settings
from labkit.design.trainers.known import TRAINERS
from labkit.design.trainers.translate import settings_of, translate
from labkit.errors import LabError

KIT = TRAINERS["labkit"]
WITH = ["kohya", "kohya_ss", "onetrainer", "ai-toolkit", "simpletuner"]
SWITCH = {"kohya": "enable_bucket", "kohya_ss": "enable_bucket", "onetrainer": "aspect_ratio_bucketing",
          "ai-toolkit": "config.process.0.datasets.0.buckets"}
KOHYA = {"network_dim": 8, "network_train_unet_only": True, "enable_bucket": True, "resolution": "512,512"}


def notes(translation, kind):
    return {note.name: note.text for note in translation.notes if note.kind == kind}


def theirs(name, settings):
    return translate(TRAINERS[name], flat(settings), KIT)


def design(name, settings):
    return RunConfig.from_dict(theirs(name, settings).settings)


@pytest.mark.parametrize("crop", ["buckets", "center"])
@pytest.mark.parametrize("name", SWITCH)
@pytest.mark.parametrize("resolution", [512, 768, 1024])
def test_a_crop_comes_back_from_a_trainer_as_it_was(name, crop, resolution):
    config = RunConfig(base="folder", crop=crop, resolution=resolution, rank=8, max_train_steps=100)
    there = translate(KIT, settings_of(config), TRAINERS[name])
    assert bool(there.settings.get(SWITCH[name])) == (crop == "buckets")
    back = translate(TRAINERS[name], there.settings, KIT)
    assert RunConfig.from_dict(back.settings).crop == crop
    told = {name for each in (there, back) for name in notes(each, "none")}
    assert not [name for name in told if "bucket" in name or "crop" in name]


@pytest.mark.parametrize("name", WITH)
def test_buckets_that_are_nearly_the_same_are_told_in_both_directions(name):
    config = RunConfig(base="folder", crop="buckets", resolution=512)
    there = translate(KIT, settings_of(config), TRAINERS[name])
    for each in (there, translate(TRAINERS[name], there.settings, KIT)):
        said = [text for text in notes(each, "other").values() if "the kit's buckets" in text]
        assert len(said) == 1 and "64 pixels" in said[0] and "twice the resolution" in said[0] and "batch" in said[0]
    squares = translate(KIT, settings_of(config.replace(crop="center")), TRAINERS[name])
    assert not [text for text in notes(squares, "other").values() if "the kit's buckets" in text]


@pytest.mark.parametrize("name, settings, crop", [
    ("kohya", {"network_dim": 8}, "center"), ("kohya_ss", {"LoRA_type": "Standard"}, "buckets"),
    ("onetrainer", {"epochs": 3}, "buckets"), ("simpletuner", {"--lora_rank": 8}, "buckets"),
    ("diffusers", {"rank": 8}, "center"),
    ("ai-toolkit", {"config": {"process": [{"train": {"steps": 9}}]}}, "buckets"),
])
def test_buckets_are_what_the_trainer_takes_where_nothing_is_said(name, settings, crop):
    assert design(name, settings).crop == crop


@pytest.mark.parametrize("resolution", [256, 512, 768, 1024])
def test_the_sides_that_kohya_is_told_are_those_of_the_kits_buckets(resolution):
    config = RunConfig(base="folder", crop="buckets", resolution=resolution)
    told = {"min_bucket_reso": 256, "max_bucket_reso": 1024} | translate(KIT, settings_of(config),
                                                                       TRAINERS["kohya"]).settings
    sides = {side for size in bucket_sizes(resolution, 64) for side in size}
    assert told["min_bucket_reso"] == min(sides) and told["max_bucket_reso"] >= max(sides)


@pytest.mark.parametrize("more, told", [
    ({}, set()), ({"min_bucket_reso": 256, "max_bucket_reso": 1024, "bucket_reso_steps": 64}, set()),
    ({"resolution": 1024}, {"min_bucket_reso", "max_bucket_reso"}),
    ({"resolution": 1024, "min_bucket_reso": 512, "max_bucket_reso": 2048}, set()),
    ({"bucket_reso_steps": 32}, {"bucket_reso_steps"}), ({"bucket_no_upscale": True}, {"bucket_no_upscale"}),
    ({"bucket_no_upscale": True, "max_bucket_reso": 4096}, {"bucket_no_upscale"}),
    ({"max_bucket_reso": 768}, {"max_bucket_reso"}), ({"enable_bucket": False, "max_bucket_reso": 768}, set()),
])
def test_of_kohyas_settings_those_are_told_that_make_other_buckets(more, told):
    translation = theirs("kohya", KOHYA | more)
    assert set(notes(translation, "none")) == told and not notes(translation, "unknown")


@pytest.mark.parametrize("more", [{"min_bucket_reso": "x"}, {"bucket_reso_steps": "x"}, {"enable_bucket": "maybe"},
                                  {"max_bucket_reso": [1]}, {"resolution": "wide"}])
def test_a_value_of_buckets_that_cannot_be_read_ends_in_a_sentence(more):
    with pytest.raises(LabError):
        design("kohya", KOHYA | more)


def test_one_says_the_same_as_true():
    assert design("kohya", KOHYA | {"enable_bucket": 1}).crop == "buckets"
    assert design("kohya_ss", {"LoRA_type": "Standard", "enable_bucket": 0}).crop == "center"


def test_settings_of_buckets_that_count_for_nothing_are_named_so():
    quiet = " ".join(notes(theirs("kohya", KOHYA | {"enable_bucket": False, "bucket_reso_steps": 32}), "quiet"))
    assert "bucket_reso_steps" in quiet


def test_the_window_of_kohya_ss_does_not_enlarge_unless_told_to():
    assert "bucket_no_upscale" in notes(theirs("kohya_ss", {"LoRA_type": "Standard"}), "none")
    off = theirs("kohya_ss", {"LoRA_type": "Standard", "enable_bucket": False, "bucket_no_upscale": True})
    assert off.settings.get("crop", "center") == "center" and "bucket_no_upscale" not in notes(off, "none")


def test_two_trainers_keep_what_the_kit_has_not():
    there = translate(TRAINERS["kohya"], KOHYA | {"bucket_reso_steps": 32, "max_bucket_reso": 768},
                      TRAINERS["kohya_ss"])
    assert there.settings["bucket_reso_steps"] == 32 and there.settings["max_bucket_reso"] == 768
    there = translate(TRAINERS["kohya"], KOHYA | {"bucket_reso_steps": 32}, TRAINERS["ai-toolkit"])
    assert there.settings["config.process.0.datasets.0.bucket_tolerance"] == 32


@pytest.mark.parametrize("name, settings", [
    ("kohya", KOHYA | {"reg_data_dir": "reg"}),
    ("ai-toolkit", {"config": {"process": [{"datasets": [{"folder_path": "a", "is_reg": True}]}]}}),
    ("labkit", {"crop": "buckets", "prior_loss_weight": 1.0, "max_train_steps": 9}),
])
def test_class_pictures_beside_buckets_are_kept_or_told(name, settings):
    translation = theirs(name, settings)
    config, lost = RunConfig.from_dict(translation.settings), notes(translation, "none")
    assert config.crop == "buckets"
    assert config.prior_loss_weight == 1 or any("folder class" in text for text in lost.values())


def test_diffusers_script_crops_squares_in_the_middle_or_at_random():
    config = RunConfig(base="folder", crop="buckets", resolution=512)
    there = translate(KIT, settings_of(config), TRAINERS["diffusers"])
    assert there.settings["center_crop"] is True and "squares" in notes(there, "none")["crop"]
    centred = translate(TRAINERS["diffusers"], there.settings, KIT)
    assert RunConfig.from_dict(centred.settings).crop == "center" and not notes(centred, "none")
    assert "random_crop" in notes(theirs("diffusers", {"rank": 8}), "none")


def test_a_crop_at_an_edge_is_told_where_a_trainer_has_none():
    for name in [*WITH, "diffusers"]:
        there = translate(KIT, settings_of(RunConfig(base="folder", crop="top")), TRAINERS[name])
        assert notes(there, "none")["crop"].startswith("top: ")


def test_ai_toolkits_square_crop_makes_squares_of_its_buckets():
    data = {"folder_path": "a", "square_crop": True, "bucket_tolerance": 32}
    translation = theirs("ai-toolkit", {"config": {"process": [{"datasets": [data]}]}})
    assert RunConfig.from_dict(translation.settings).crop == "center"
    assert not notes(translation, "unknown") and not notes(translation, "none")


@pytest.mark.parametrize("told, crop, lost", [
    ({}, "buckets", set()), ({"crop": False, "crop_style": "random"}, "buckets", set()),
    ({"crop": True, "crop_style": "center"}, "center", set()), ({"crop": True}, "center", {"crop_style"}),
    ({"crop": True, "crop_style": "center", "crop_aspect": "preserve"}, "buckets", set()),
    ({"crop": True, "crop_style": "face", "crop_aspect": "square"}, "center", {"crop_style"}),
])
def test_simpletuners_crop_is_read_in_the_file_of_data_sets_beside(told, crop, lost, tmp_path):
    sets = [{"id": "texts", "dataset_type": "text_embeds"}, {"id": "a", "instance_data_dir": "a", **told}]
    (tmp_path / "backend.json").write_text(json.dumps(sets))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"--model_family": "sd1x", "--data_backend_config": "config/backend.json",
                                "--lora_dropout": 0.0, "--grad_clip_method": "norm", "--optimizer": "torch-adamw"}))
    translation = theirs("simpletuner", open_settings(str(path)).settings)
    assert RunConfig.from_dict(translation.settings).crop == crop
    assert set(notes(translation, "none")) == lost and "data_backend_config" not in notes(translation, "other")


def test_simpletuners_own_ways_to_shape_buckets_are_told():
    settings = {"crop": True, "crop_style": "center", "crop_aspect": "closest", "crop_aspect_buckets": [1.0, 0.5],
                "aspect_bucket_rounding": 1, "aspect_bucket_alignment": 8, "resolution_type": "pixel"}
    translation = theirs("simpletuner", settings)
    assert notes(translation, "other").keys() >= {"crop", "crop_aspect", "aspect_bucket_rounding", "resolution_type"}
    assert "aspect_bucket_alignment" in notes(translation, "none") and not notes(translation, "unknown")
