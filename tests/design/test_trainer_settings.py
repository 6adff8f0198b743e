"""Settings of other trainers become the run that they would have trained, both ways; nothing is lost in silence."""

import math

import pytest
from translations import design, from_theirs, notes

from labkit.design.config import RunConfig
from labkit.design.trainers.files import written
from labkit.design.trainers.known import TRAINERS, recognized, trainer
from labkit.design.trainers.translate import settings_of, translate
from labkit.errors import LabError

OTHERS = [name for name in TRAINERS if name != "labkit"]
STARTS = {"kohya": "network_weights", "kohya_ss": "lora_network_weights", "simpletuner": "--init_lora",
          "onetrainer": "lora_model_name", "ai-toolkit": "config.process.0.network.pretrained_lora_path"}
# What every trainer can be told; how layers, A and alpha are chosen differs, and has tests of its own.
PLAIN = {"base": "folder/of/base", "learning_rate": 3e-4, "rank": 16, "train_batch_size": 2, "resolution": 768,
         "gradient_accumulation_steps": 4, "snr_gamma": 5.0, "mixed_precision": "bf16"}
KNOWN_THERE = {
    "kohya": {"alpha": 8.0, "data": "pictures", "seed": 7, "adam_beta2": 0.99, "weight_decay": 0.1,
              "caption_dropout": 0.1, "target_modules": "all", "lr_ratio_B": 4.0, "max_grad_norm": 0.5,
              "max_train_steps": 300, "lr_scheduler": "cosine", "lr_end": 3e-5, "lr_warmup_steps": 20},
    "kohya_ss": {"alpha": 8.0, "data": "pictures", "seed": 7, "adam_beta2": 0.99, "caption_dropout": 0.1,
                 "target_modules": "linear", "num_train_epochs": 12, "lr_scheduler": "linear", "lr_warmup_steps": 5},
    "onetrainer": {"alpha": 4.0, "data": "pictures", "adam_beta2": 0.99, "weight_decay": 0.1, "caption_dropout": 0.2,
                   "target_modules": "attention", "num_train_epochs": 20, "lr_scheduler": "linear", "lr_end": 3e-5,
                   "lr_warmup_steps": 9},
    "ai-toolkit": {"alpha": 4.0, "data": "pictures", "adam_epsilon": 1e-6, "weight_decay": 0.1, "adam_beta1": 0.8,
                   "caption_dropout": 0.05, "target_modules": "linear", "max_train_steps": 500,
                   "lr_scheduler": "linear", "lr_end": 3e-5},
    "simpletuner": {"alpha": 4.0, "seed": 3, "weight_decay": 0.1, "max_grad_norm": 0.7, "caption_dropout": 0.05,
                    "target_modules": "attention", "init_lora_weights": "gaussian", "max_train_steps": 500,
                    "lr_scheduler": "cosine", "lr_end": 3e-5},
    "diffusers": {"alpha": 16.0, "data": "pictures", "seed": 3, "weight_decay": 0.1, "max_grad_norm": 0.7,
                  "target_modules": "attention", "init_lora_weights": "gaussian", "num_train_epochs": 50,
                  "lr_scheduler": "constant", "lr_warmup_steps": 30, "n_train": 48},
    "dreambooth": {"alpha": 16.0, "data": "pictures", "captions": "text:a photo of sks dog", "seed": 3,
                   "weight_decay": 0.1, "target_modules": "attention", "init_lora_weights": "gaussian",
                   "max_train_steps": 500, "lr_scheduler": "linear", "lr_warmup_steps": 30, "snr_gamma": None},
    "dreambooth-xl": {"alpha": 16.0, "data": "pictures", "captions": "text:a photo of sks dog", "seed": 3,
                      "target_modules": "attention", "init_lora_weights": "gaussian", "num_train_epochs": 50,
                      "lr_scheduler": "cosine"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_design_that_a_trainer_can_be_told_comes_back_from_it_as_it_was(name):
    config = RunConfig(**PLAIN | KNOWN_THERE[name])
    there = translate(TRAINERS["labkit"], settings_of(config), TRAINERS[name])
    assert not notes(there, "none").keys() - {"data"}, there.notes
    assert not notes(there, "unknown") and not notes(there, "contradiction")
    back = translate(TRAINERS[name], there.settings, TRAINERS["labkit"])
    assert not notes(back, "unknown") and not notes(back, "none") and not notes(back, "contradiction")
    had = {"data": config.data, "crop": config.crop} if name == "simpletuner" else {}     # it tells them elsewhere
    assert RunConfig.from_dict(back.settings | had).resolved(48) == config.resolved(48)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_written_is_recognized_and_read_again_as_what_it_was(name, tmp_path):
    from labkit.design.trainers.files import open_settings

    there = translate(TRAINERS["labkit"], settings_of(RunConfig(**PLAIN | KNOWN_THERE[name])), TRAINERS[name])
    ending = {"toml": ".toml", "json": ".json", "yaml": ".yaml", "command": ".sh"}[TRAINERS[name].form]
    path = tmp_path / f"settings{ending}"
    path.write_text(written(TRAINERS[name], there.settings))
    given = open_settings(str(path))
    assert recognized(given.settings, given.script).name == name
    again = translate(TRAINERS[name], given.settings, TRAINERS[name])
    assert RunConfig.from_dict(translate(TRAINERS[name], given.settings, TRAINERS["labkit"]).settings) == \
        RunConfig.from_dict(translate(TRAINERS[name], again.settings, TRAINERS["labkit"]).settings)


@pytest.mark.parametrize("name, scaling", [("kohya", 1 / 32), ("onetrainer", 1 / 32), ("ai-toolkit", 1 / 32),
                                           ("simpletuner", 1.0), ("diffusers", 1.0), ("kohya_ss", 1 / 32)])
def test_an_alpha_that_is_not_given_is_what_the_trainer_takes(name, scaling):
    rank = next(row.theirs for row in TRAINERS[name].rows if row.ours == "rank")
    assert design(name, {rank: 32}).resolved(100).scaling == pytest.approx(scaling)


def test_what_was_not_read_and_what_is_not_trained_is_never_called_harmless():
    away = from_theirs("kohya", {"config_file": "/workspace/a.toml", "dataset_config": "b.toml", "network_dim": 8,
                                 "network_args.mid_lr_weight": 0})
    told = notes(away, "none")
    assert all("was read" in told[name] for name in ("config_file", "dataset_config"))
    window = from_theirs("kohya_ss", {"LoRA_type": "Standard", "network_dim": 8, "dataset_config": "a.toml"})
    assert "was read" in notes(window, "none")["dataset_config"]
    assert "rates, ranks or alphas of their own" in told["network_args.mid_lr_weight"]
    assert "the U-Net is not trained there" in notes(from_theirs("ai-toolkit", {"train.train_unet": False}),
                                                     "none")["train.train_unet"]
    assert "the U-Net is not trained there" in notes(from_theirs("onetrainer", {"unet.train": False}),
                                                     "none")["unet.train"]


@pytest.mark.parametrize("name", ["lr_warmup_steps", "lr_decay_steps"])
def test_a_share_of_a_run_of_unknown_length_is_told(name):
    settings = {"lr_scheduler": "warmup_stable_decay", name: 0.1, "max_train_epochs": 3, "network_dim": 8}
    assert "--pictures" in notes(from_theirs("kohya", settings), "none")[name]


@pytest.mark.parametrize("name, settings", [
    ("diffusers", {"lr_scheduler": "constant", "lr_warmup_steps": 500}),
    ("kohya", {"lr_scheduler": "constant", "lr_warmup_steps": 100, "network_dim": 4}),
    ("simpletuner", {"lr_scheduler": "constant", "lr_warmup_steps": 100}),
])
def test_a_warm_up_that_the_schedule_ignores_is_told_and_left_out(name, settings):
    translation = from_theirs(name, settings)
    assert "ignores" in notes(translation, "contradiction")["lr_warmup_steps"]
    assert RunConfig.from_dict(translation.settings).lr_warmup_steps == 0


def test_onetrainers_warm_up_counts_forward_passes():
    settings = {"training_method": "LORA", "learning_rate": 3e-4, "gradient_accumulation_steps": 4, "epochs": 100,
                "learning_rate_warmup_steps": 200}
    assert design("onetrainer", settings, pictures=48).lr_warmup_steps == 50
    assert design("onetrainer", settings | {"learning_rate_warmup_steps": 0.1}, pictures=48).lr_warmup_steps == 120


def test_a_part_that_stops_learning_early_in_onetrainer_is_told_and_one_that_does_not_is_not():
    settings = {"epochs": 20, "text_encoder.train": True, "text_encoder.stop_training_after": 5,
                "text_encoder.stop_training_after_unit": "EPOCH", "unet.stop_training_after": 10000,
                "unet.stop_training_after_unit": "NEVER", "learning_rate": 1e-4}
    told = notes(from_theirs("onetrainer", settings), "none")
    assert "text_encoder.stop_training_after" in told and "unet.stop_training_after" not in told
    later = from_theirs("onetrainer", settings | {"text_encoder.stop_training_after": 20})
    assert "text_encoder.stop_training_after" not in [note.name for note in later.notes]


def test_a_preset_of_onetrainers_old_form_is_read_with_its_flat_names():
    settings = {"training_method": "LORA", "optimizer": "ADAMW", "weight_decay": 0.02, "learning_rate": 2e-4,
                "unet_learning_rate": 4e-4, "train_text_encoder": False, "batch_size": 3, "lora_rank": 24,
                "lora_alpha": 12.0, "train_dtype": "BFLOAT_16", "offset_noise_weight": 0.05, "resolution": 640}
    translation = from_theirs("onetrainer", settings)
    config = RunConfig.from_dict(translation.settings)
    assert (config.learning_rate, config.scaling, config.weight_decay, config.mixed_precision) == (
        4e-4, 0.5, 0.02, "bf16")
    assert "offset_noise_weight" in notes(translation, "none") and config.crop == "buckets"
    assert "text_encoder.learning_rate" not in notes(translation, "none")


@pytest.mark.parametrize("name, settings, factor", [
    ("diffusers", {"scale_lr": True, "learning_rate": 1e-4, "train_batch_size": 4,
                   "gradient_accumulation_steps": 2}, 8),
    ("simpletuner", {"lr_scale": True, "learning_rate": 1e-4, "train_batch_size": 4,
                     "gradient_accumulation_steps": 2}, 8),
    ("simpletuner", {"lr_scale": True, "lr_scale_sqrt": True, "learning_rate": 1e-4, "train_batch_size": 4,
                     "gradient_accumulation_steps": 2}, math.sqrt(8)),
    ("onetrainer", {"learning_rate_scaler": "BOTH", "learning_rate": 1e-4, "batch_size": 4,
                    "gradient_accumulation_steps": 2}, math.sqrt(8)),
    ("onetrainer", {"learning_rate_scaler": "BATCH", "learning_rate": 1e-4, "batch_size": 4}, 2.0),
])
def test_a_rate_that_is_scaled_by_the_batch_becomes_the_product(name, settings, factor):
    translation = from_theirs(name, settings)
    assert translation.settings["learning_rate"] == pytest.approx(1e-4 * factor)
    assert notes(translation, "other").keys() & {"scale_lr", "lr_scale", "learning_rate_scaler"}


def test_ai_toolkits_two_ways_to_accumulate_count_differently():
    job = {"config": {"process": [{"train": {"steps": 2000, "gradient_accumulation_steps": 4}}]}}
    assert design("ai-toolkit", job).max_train_steps == 500
    job["config"]["process"][0]["train"] = {"steps": 2000, "gradient_accumulation": 4}
    config = design("ai-toolkit", job)
    assert (config.max_train_steps, config.gradient_accumulation_steps) == (2000, 4)


def test_simpletuners_own_values_are_told_where_nothing_is_given():
    translation = from_theirs("simpletuner", {"--lora_rank": 8, "--learning_rate": 1e-4, "--model_family": "sd1x"})
    assert notes(translation, "none").keys() >= {"lora_dropout", "grad_clip_method"}
    assert notes(translation, "default").keys() >= {"caption_dropout_probability", "max_grad_norm"}
    assert RunConfig.from_dict(translation.settings).caption_dropout == 0.1


def test_simpletuners_restarts_that_never_come_are_told():
    settings = {"--lr_scheduler": "cosine_with_restarts", "--lr_warmup_steps": 50, "--model_family": "sd1x"}
    translation = from_theirs("simpletuner", settings)
    assert RunConfig.from_dict(translation.settings).lr_scheduler == "constant"
    assert "never passes" in notes(translation, "other")["lr_scheduler"] and not notes(translation, "unknown")


def test_a_scaling_by_the_roots_rank_becomes_the_alpha_that_gives_the_same():
    config = RunConfig(rank=16, alpha=8, use_rslora=True, target_modules="linear", base="folder")
    there = translate(TRAINERS["labkit"], settings_of(config), TRAINERS["kohya"])
    assert there.settings["network_alpha"] / 16 == pytest.approx(config.scaling)


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_the_kit_has_is_told_by_name(name):
    config = RunConfig(base="embedded", lr_edits=((50, 1e-4),), prior_loss_weight=1.0, adapter="full")
    lost = notes(translate(TRAINERS["labkit"], settings_of(config), TRAINERS[name], 48), "none")
    assert lost.keys() >= {"base", "lr_edits", "prior_loss_weight", "adapter"}


def test_a_start_that_a_trainer_cannot_be_told_is_called_what_it_is():
    config = RunConfig(base="folder", init_lora_weights="mine.safetensors@0123456789abcdef")
    lost = notes(translate(TRAINERS["labkit"], settings_of(config), TRAINERS["diffusers"]), "none")
    assert lost["init_lora_weights"].endswith("training begins at the untouched base")
    for name, setting in STARTS.items():
        there = translate(TRAINERS["labkit"], settings_of(config), TRAINERS[name])
        assert there.settings[setting] == "mine.safetensors" and "init_lora_weights" not in notes(there, "none")
        assert "--lora_init_type" not in there.settings       # which names ways to draw A
        back = translate(TRAINERS[name], there.settings, TRAINERS["labkit"])
        assert RunConfig.from_dict(back.settings).init_lora_weights == "mine.safetensors"
        assert back.names["init_lora_weights"] == setting.lstrip("-").removeprefix("config.process.0.")
    drawn = notes(translate(TRAINERS["labkit"], settings_of(config.replace(init_lora_weights="gaussian")),
                            TRAINERS["kohya"]), "none")
    assert drawn["init_lora_weights"].endswith("A begins with other numbers, of another size")


@pytest.mark.parametrize("start", ["mine.pt", "someone/on-the-hub", "folder"])
def test_a_start_that_the_kit_cannot_have_is_told_and_left_out(start):
    translation = from_theirs("kohya", {"network_dim": 8, "network_weights": start})
    assert RunConfig.from_dict(translation.settings).init_lora_weights == "default"
    assert ".safetensors" in notes(translation, "none")["network_weights"]


def test_every_setting_is_translated_or_named():
    settings = {"network_dim": 8, "network_module": "networks.lora", "noise_offset": 0.1, "clip_skip": 2,
                "output_dir": "out", "netwrok_alpha": 4, "flip_aug": True, "loss_type": "huber", "sample_prompts": "p",
                "lr_scheduler": "consine", "full_bf16": True, "network_dropout": 0.2, "min_timestep": 100}
    translation = from_theirs("kohya", settings)
    told = " ".join(f"{note.name} {note.text}" for note in translation.notes)
    assert all(name in told for name in settings.keys() - {"network_dim", "network_module"})
    assert "did you mean network_alpha?" in notes(translation, "unknown")["netwrok_alpha"]
    assert "did you mean cosine?" in notes(translation, "unknown")["lr_scheduler"]


def test_two_trainers_understand_each_other_in_what_the_kit_has_not():
    settings = {"network_dim": 8, "noise_offset": 0.1, "lr_scheduler": "cosine_with_restarts", "max_train_steps": 100,
                "lr_scheduler_num_cycles": 3, "optimizer_type": "Prodigy", "flip_aug": True, "learning_rate": 1.0}
    there = translate(TRAINERS["kohya"], settings, TRAINERS["onetrainer"], 100)
    assert there.settings["offset_noise_weight"] == 0.1 and there.settings["optimizer.optimizer"] == "PRODIGY"
    assert there.settings["learning_rate_scheduler"] == "COSINE_WITH_HARD_RESTARTS"
    assert there.settings["learning_rate_cycles"] == 3
    assert not notes(there, "none").keys() & {"noise_offset", "lr_scheduler", "optimizer"}


@pytest.mark.parametrize("optimizer", ["Prodigy", "DAdaptAdam", "prodigyplus.ProdigyPlusScheduleFree"])
def test_a_factor_of_a_rate_that_the_optimizer_finds_itself_is_no_rate_for_another(optimizer):
    settings = {"network_dim": 8, "optimizer_type": optimizer, "learning_rate": 1.0, "max_train_steps": 100,
                "lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1}
    translation = from_theirs("kohya", settings)
    assert not translation.settings.keys() & {"learning_rate", "lr_end"}
    assert "labkit find" in notes(translation, "none")["learning_rate"]
    assert RunConfig.from_dict(translation.settings).learning_rate == RunConfig().learning_rate
    to_another = translate(TRAINERS["kohya"], settings, TRAINERS["simpletuner"], 100)
    assert "--learning_rate" not in to_another.settings and "labkit find" in notes(to_another, "none")["learning_rate"]


@pytest.mark.parametrize("settings", [{"a": 1, "b": 2}, {"rate": 1e-4}])
def test_settings_of_nobody_are_refused_with_the_remedy(settings):
    with pytest.raises(LabError, match="--from"):
        recognized(settings)


def test_a_mistyped_trainer_is_answered_with_the_nearest():
    with pytest.raises(LabError, match="did you mean kohya"):
        trainer("koyha")


@pytest.mark.parametrize("name, settings", [
    ("ai-toolkit", {"config": {"process": [{"model": {"is_flux": True}}]}}), ("simpletuner", {"model_family": "flux"}),
    ("onetrainer", {"model_type": "FLUX_DEV_1"}), ("kohya", {"network_module": "networks.lora_flux"}),
    ("kohya", {"network_module": "networks.lora_sd3"}), ("kohya_ss", {"LoRA_type": "Flux1"}),
    ("kohya_ss", {"LoRA_type": "Standard", "flux1_checkbox": True}),
    ("kohya_ss", {"LoRA_type": "Standard", "flux1_checkbox": False, "sd3_checkbox": True}),
])
def test_a_base_that_the_kit_cannot_train_is_told(name, settings):
    texts = notes(from_theirs(name, settings), "none").values()
    assert any("no U-Net" in text for text in texts) and not any("not B @ A" in text for text in texts)


@pytest.mark.parametrize("name, settings", [
    ("kohya", {"unet_lr": "fast"}), ("kohya", {"network_dim": "many"}), ("kohya", {"max_train_epochs": "ten"}),
    ("kohya", {"train_batch_size": 0, "max_train_epochs": 3}),
    ("kohya", {"lr_warmup_steps": "a%", "lr_scheduler": "cosine"}),
    ("kohya", {"max_train_steps": -5}), ("onetrainer", {"learning_rate": True}),
    ("simpletuner", {"--lr_scale": True, "--train_batch_size": "x"}),
    ("ai-toolkit", {"config": {"process": [{"train": {"lr": "x"}}]}}), ("diffusers", {"rank": "x"}),
    ("kohya_ss", {"lr_warmup": "much"}), ("kohya", {"network_dim": [1, 2]}), ("kohya", {"seed": "a"}),
])
def test_a_value_of_another_kind_ends_in_a_sentence(name, settings):
    with pytest.raises(LabError):
        design(name, settings, 40)


def test_a_value_that_the_kit_cannot_have_is_refused_by_name():
    with pytest.raises(LabError, match="resolution = 650"):
        design("kohya", {"network_dim": 8, "resolution": "650,650"})
