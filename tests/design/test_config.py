"""Every field is checked by its name, a run has one id everywhere, and a design comes back as it was written."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from labkit import settings
from labkit.design.config import ENGINE_VERSION, RunConfig, differing_fields, load_design, run_id
from labkit.design.target_modules import ALL, ATTENTION, LINEAR
from labkit.errors import LabError

FIELDS = [field.name for field in dataclasses.fields(RunConfig)]

# For every field, values it must refuse.
IMPOSSIBLE = {
    "base": ["", "  ", 3, None], "revision": [3], "data": ["", 5, None], "n_train": [0, -1, 2.5, "many", True],
    "crop": ["middle", "", None, 3], "captions": ["name", "text:", "column: ", 3, "text:a\nb"],
    "resolution": [0, 100, 9000, 513, "big"], "adapter": ["lokr", "", None, 1],
    "target_modules": [(), [3], ["to q"], 7, "al", "to_q, attn"], "rank": [0, -4, 5000, 8.5, "eight", None, True],
    "alpha": [0, -1, "x", float("inf")], "use_rslora": ["perhaps", 1, None],
    "init_lora_weights": ["pissa", True, None],
    "learning_rate": [0, -1e-4, 1001, "fast", None, float("nan"), True, [1e-3]], "lr_ratio_B": [0, -1, None],
    "lr_scheduler": ["constant_with_warmup", "", None, 1], "lr_warmup_steps": [-1, 0.5, None],
    "lr_end": [-1e-5, 1001, "low", 1e-4],
    "lr_edits": [[(0, 1e-3)], [(5, 0)], [(5, 1e-3), (5, 1e-4)], [(9, 1e-3), (5, 1e-4)], [(200, 1e-3)], "5", 5, [(5,)]],
    "parent": ["x", "A" * 16, 5], "optimizer": ["adam", None], "adam_beta1": [1, -0.1, None],
    "adam_beta2": [1, -0.1, "b"], "adam_epsilon": [0, -1, 2], "weight_decay": [-1, 1000, None],
    "max_grad_norm": [-1, None], "train_batch_size": [0, 1.5, None, False], "gradient_accumulation_steps": [0, None],
    "max_train_steps": [0, -5, 1.5, 10**8], "num_train_epochs": [0, -1, 0.5], "snr_gamma": [0, -5],
    "caption_dropout": [-0.1, 1.1, None], "prior_loss_weight": [-1, None, float("nan")],
    "mixed_precision": ["fp32", True, None], "seed": [-1, 2**63, 1.5, None, "a"],
}


def test_every_field_has_impossible_values_listed_and_a_line_of_help():
    assert set(IMPOSSIBLE) == set(FIELDS)
    assert all(field.metadata["help"] for field in dataclasses.fields(RunConfig))


@pytest.mark.parametrize("name, value", [(name, value) for name, values in IMPOSSIBLE.items() for value in values])
def test_an_impossible_value_is_refused_by_the_name_of_its_field(name, value):
    with pytest.raises(LabError, match=name):
        RunConfig(**{name: value})


@pytest.mark.parametrize("name, text, value", [
    ("learning_rate", "1e-4", 1e-4), ("learning_rate", 1, 1.0), ("rank", "16", 16), ("rank", 16.0, 16),
    ("max_train_steps", "1e3", 1000), ("use_rslora", "true", True), ("use_rslora", "False", False),
    ("alpha", "none", None), ("snr_gamma", "5", 5.0), ("mixed_precision", False, "no"),
    ("target_modules", "to_q, to_k", ("to_q", "to_k")), ("target_modules", ["to_q", "to_q"], ("to_q",)),
    ("target_modules", "all", ("all",)), ("target_modules", "none", None),
    ("lr_edits", "100:1e-4,150:3e-5", ((100, 1e-4), (150, 3e-5))), ("lr_edits", [[100, "1e-4"]], ((100, 1e-4),)),
    ("seed", "9007199254740993", 9007199254740993), ("revision", "", None),
])
def test_text_and_kindred_types_are_read(name, text, value):
    result = getattr(RunConfig(**{name: text}), name)
    assert result == value and type(result) is type(value)


def test_numbers_of_numpy_are_taken():
    assert RunConfig(rank=np.int64(16), learning_rate=np.float64(1e-4)) == RunConfig(rank=16, learning_rate=1e-4)


@pytest.mark.parametrize("name, meant", [
    ("learning_rat", "learning_rate"), ("lr", "learning_rate"), ("lora_alpha", "alpha"),
    ("batch_size", "train_batch_size"),
])
def test_an_unknown_field_is_refused_with_what_was_meant(name, meant):
    with pytest.raises(LabError, match=f"{name} is not a field.*did you mean {meant}"):
        RunConfig.from_dict({name: 1})


def test_steps_and_epochs_exclude_each_other_and_replace_each_other():
    with pytest.raises(LabError, match="max_train_steps and num_train_epochs"):
        RunConfig(max_train_steps=5, num_train_epochs=5)
    assert RunConfig().max_train_steps == 200
    by_epochs = RunConfig().replace(num_train_epochs=3)
    assert by_epochs.max_train_steps is None and by_epochs.replace(max_train_steps=7).num_train_epochs is None


@pytest.mark.parametrize("name", ["exponential", "three_phase"])
def test_a_schedule_that_divides_by_its_end_refuses_zero(name):
    with pytest.raises(LabError, match="lr_end"):
        RunConfig(lr_scheduler=name, lr_end=0)


def test_scaling_is_never_implicit():
    assert RunConfig(rank=16).scaling == 1
    assert RunConfig(rank=16, alpha=8).scaling == 0.5
    assert RunConfig(rank=16, alpha=8, use_rslora=True).scaling == 2
    assert RunConfig(rank=16, alpha=8, adapter="full").scaling == 1
    assert RunConfig(rank=16).replace(rank=4).resolved(8).alpha == 4


@pytest.mark.parametrize("n, batch, accumulation, epochs, updates", [
    (48, 4, 1, 10, 120), (48, 5, 1, 1, 10), (48, 4, 2, 1, 6), (5000, 32, 1, 10, 1563), (10, 4, 1, 3, 8),
])
def test_epochs_become_updates_with_batches_cut_across_their_borders(n, batch, accumulation, epochs, updates):
    by_epochs = RunConfig(
        num_train_epochs=epochs, train_batch_size=batch, gradient_accumulation_steps=accumulation)
    config = by_epochs.resolved(n)
    assert config.max_train_steps == updates and config.num_train_epochs is None and config.n_train == n


def test_a_resolved_configuration_stays_as_it_is():
    for name in ("constant", "linear", "exponential", "cosine", "three_phase"):
        config = RunConfig(lr_scheduler=name, num_train_epochs=2).resolved(48)
        assert config.is_resolved and config.resolved(48) == config == RunConfig.from_dict(config.to_dict())


def test_more_pictures_than_there_are_or_fewer_than_a_batch_are_refused():
    with pytest.raises(LabError, match="n_train.*at most 48"):
        RunConfig(n_train=49).resolved(48)
    with pytest.raises(LabError, match="train_batch_size.*at most 3"):
        RunConfig(n_train=3).resolved(48)


def test_of_fewer_pictures_than_the_usual_batch_a_batch_is_all_of_them_and_no_other_run_is_changed():
    few = RunConfig(num_train_epochs=2).resolved(3)
    assert (few.train_batch_size, few.n_train, few.max_train_steps) == (3, 3, 2) and few.resolved(3) == few
    asked = RunConfig(num_train_epochs=2, train_batch_size=3).resolved(3)
    assert run_id(few, "base", "data") == run_id(asked, "base", "data")
    assert RunConfig().resolved(4) == RunConfig(train_batch_size=4).resolved(4)
    with pytest.raises(LabError, match="train_batch_size = 5 .*at most 3"):
        RunConfig(train_batch_size=5).resolved(3)             # nobody's default


EXOTIC = RunConfig(
    rank=16, learning_rate=3e-3, data="/a folder/~100% größe", lr_edits="10:1e-4,20:0.001", target_modules="to_q",
    use_rslora=True, alpha=0.1, num_train_epochs=3, snr_gamma=5, parent="0123456789abcdef", lr_scheduler="cosine",
    lr_end=1e-7, seed=2**62, mixed_precision="bf16",
)


@pytest.mark.parametrize("config", [RunConfig(), EXOTIC, EXOTIC.replace(max_train_steps=30).resolved(48)])
def test_a_share_string_comes_back_as_the_same_configuration(config):
    assert load_design(config.share()) == load_design(f" {config.share()}\n") == config
    assert all(letter.isalnum() or letter in "-._~%,:/" for letter in config.share()) and config.share().isascii()


OLD_STRING = "lab1~rank~16~learning_rate~0.003~0d0c61"


def test_an_old_share_string_means_the_layers_that_were_the_default_when_it_was_written():
    expected = RunConfig(rank=16, learning_rate=3e-3, target_modules="attention")
    assert load_design(OLD_STRING) == load_design(f" {OLD_STRING}\n") == expected
    assert run_id(load_design(OLD_STRING).resolved(48), "base", "data") == "9f38608edcef45d1"
    assert load_design("lab1~target_modules~to_q,conv1~seed~3~214030").target_modules == ("to_q", "conv1")
    assert load_design(load_design(OLD_STRING).share()) == expected


def test_a_damaged_share_string_is_refused():
    text = RunConfig(rank=16, learning_rate=3e-3).share()
    for damaged in (text[:-1], text.replace("16", "61"), text[:20], "lab2~", "lab1~", OLD_STRING[:-1]):
        with pytest.raises(LabError, match="damaged"):
            load_design(damaged)


def test_a_design_is_read_from_yaml_json_a_mapping_or_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("rank: 16\nlearning_rate: 1e-4  # text in YAML 1.1\n")
    (tmp_path / "a.json").write_text('{"rank": 16, "learning_rate": 1e-4}')
    (tmp_path / "empty.yaml").write_text("")
    config = RunConfig(rank=16, learning_rate=1e-4)
    assert load_design(tmp_path / "a.yaml") == load_design(str(tmp_path / "a.json")) == config
    assert load_design({"rank": 16, "learning_rate": 1e-4}) == config
    assert load_design(tmp_path / "empty.yaml") == load_design() == RunConfig()


def test_overrides_win_unless_they_are_none():
    config = load_design({"rank": 16, "max_train_steps": 50}, rank=None, seed=3, num_train_epochs=2)
    assert config == RunConfig(rank=16, seed=3, num_train_epochs=2)


@pytest.mark.parametrize("name, content, message", [
    ("a.yaml", "rank: [", "not valid YAML"), ("a.json", "{", "not valid JSON"), ("a.yaml", "- 1", "must hold lines"),
    ("a.yaml", "!!python/object/apply:os.getcwd []", "not valid YAML"), ("a.yaml", b"\xff\xfe\xff", "cannot be read"),
])
def test_a_bad_design_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LabError, match=message) as error:
        load_design(tmp_path / name)
    assert name in str(error.value)


def test_a_design_that_is_not_there_is_named():
    with pytest.raises(LabError, match="nowhere.yaml"):
        load_design("nowhere.yaml")


def test_the_run_id_is_the_same_in_every_process_and_for_every_hash_seed():
    code = """if True:
        from labkit.design.config import RunConfig, run_id
        print(run_id(RunConfig(num_train_epochs=3, target_modules="to_k,to_q").resolved(48), "b", "d"))"""

    def printed(seed):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(settings.REPO)}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    config = RunConfig(num_train_epochs=3, target_modules="to_q,to_k").resolved(48)
    assert {printed(seed) for seed in ("0", "1", "77")} == {run_id(config, "b", "d")}


def test_the_run_id_of_the_defaults_is_pinned_so_that_stored_runs_stay_found():
    assert ENGINE_VERSION == 1
    assert run_id(RunConfig(target_modules="attention").resolved(48), "base", "data") == "d437fc835fd9bce4"
    assert run_id(RunConfig().resolved(48), "base", "data") == "47a6be35ca615aa1"


CHANGED = {
    "n_train": 24, "resolution": 64, "adapter": "full", "target_modules": "to_q", "rank": 16, "alpha": 3,
    "use_rslora": True, "init_lora_weights": "gaussian", "learning_rate": 2e-3, "lr_ratio_B": 2,
    "lr_scheduler": "linear", "lr_warmup_steps": 5, "lr_end": 1e-5, "lr_edits": "5:1e-4", "optimizer": "sgd",
    "adam_beta1": 0.8, "adam_beta2": 0.99, "adam_epsilon": 1e-7, "weight_decay": 0, "max_grad_norm": 0,
    "train_batch_size": 8, "gradient_accumulation_steps": 2, "max_train_steps": 100, "num_train_epochs": 2,
    "snr_gamma": 5, "caption_dropout": 0.1, "prior_loss_weight": 1, "mixed_precision": "bf16", "seed": 1,
}


def test_every_training_field_changes_the_run_id_and_a_name_for_the_same_content_does_not():
    assert set(CHANGED) == set(FIELDS) - {"base", "revision", "data", "crop", "captions", "parent"}
    plain = RunConfig(lr_scheduler="cosine", target_modules="linear")
    name = run_id(plain.resolved(48), "b", "d")
    configs = {field: plain.replace(**{field: value}).resolved(48) for field, value in CHANGED.items()}
    changed = {field: run_id(config, "b", "d") for field, config in configs.items()}
    assert name not in changed.values() and len(set(changed.values())) == len(changed)
    same = plain.replace(base="./copy", data="/elsewhere", revision="main", parent="0" * 16, alpha=8, n_train=48,
                         crop="top", captions="names")        # what they change of pictures changes its fingerprint
    assert run_id(same.resolved(48), "b", "d") == name
    assert len({name, run_id(plain.resolved(48), "b2", "d"), run_id(plain.resolved(48), "b", "d2")}) == 3


# stored: what the names of the layers gave before sets had one
@pytest.mark.parametrize("name, layers, stored", [
    ("attention", ATTENTION, "d437fc835fd9bce4"), ("linear", LINEAR, "9599892d526960a5"),
    ("all", ALL, "47a6be35ca615aa1"), (("linear", "conv1", "conv2"), (*LINEAR, "conv1", "conv2"), "509288e18cb91b42"),
])
def test_a_set_names_the_same_run_as_its_layers(name, layers, stored):
    by_name, by_layers = RunConfig(target_modules=name), RunConfig(target_modules=layers[::-1])
    assert run_id(by_name.resolved(48), "base", "data") == stored == run_id(by_layers.resolved(48), "base", "data")
    assert set(by_name.targets) == set(by_layers.targets)


def test_layers_that_are_not_given_follow_from_the_base():
    config = RunConfig()
    assert config.target_modules is None and config.to_dict()["target_modules"] is None
    assert config.resolved(48).target_modules == config.targets == ("all",)
    assert RunConfig(base="/models/sd15").resolved(48).target_modules == ("attention",)
    assert RunConfig(target_modules="conv1").resolved(48).targets == ("conv1",)


@pytest.mark.parametrize("typed, meant", [("al", "all"), ("ALL", "all"), ("attn", "attention"), ("linears", "linear")])
def test_a_mistyped_set_is_refused_with_the_one_that_was_meant(typed, meant):
    with pytest.raises(LabError, match=f"target_modules = '{typed}' .*did you mean {meant}"):
        RunConfig(target_modules=f"to_q,{typed}")


def test_a_run_that_is_not_resolved_has_no_id():
    with pytest.raises(LabError, match="resolved"):
        run_id(RunConfig(), "b", "d")


def test_a_configuration_cannot_be_changed_and_survives_json():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().rank = 4
    assert RunConfig.from_dict(json.loads(json.dumps(EXOTIC.to_dict()))) == EXOTIC
    assert hash(EXOTIC) == hash(RunConfig.from_dict(EXOTIC.to_dict()))


def test_a_design_that_is_no_text_is_read_as_a_files_name():
    with pytest.raises(LabError, match="The design 5 cannot be read"):
        load_design(5)


def test_only_fields_that_are_not_the_same_everywhere_differ():
    configs = [RunConfig(rank=rank, seed=seed).to_dict() for rank, seed in ((8, 0), (8, 1), (4, 0))]
    assert differing_fields(configs) == ["rank", "seed"]
    assert differing_fields(configs[:1]) == differing_fields([]) == []


def test_pictures_and_steps_are_numbers_only_of_a_resolved_run():
    config = RunConfig(num_train_epochs=2)
    assert (config.resolved(48).pictures, config.resolved(48).steps) == (48, 24)
    for name in ("pictures", "steps"):
        with pytest.raises(LabError, match="not resolved"):
            getattr(config, name)
