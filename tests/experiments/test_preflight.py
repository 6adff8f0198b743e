"""Pre-flight finds each planted fault by its name before the first update, and nothing on a clean design."""

import dataclasses
import json

import pytest
import torch
from command_line import labkit
from made_lab import EPOCHS, N, folder, made_lab
from small_pictures import write_territory

from labkit.design.config import RunConfig, load_design
from labkit.design.design_file import write_design
from labkit.engine import batches
from labkit.engine.adapters import LoRAStack
from labkit.engine.base import load_base
from labkit.errors import LabError
from labkit.experiments.preflight import caught, checklist, expectations, look_over
from labkit.lab import Lab

DESIGN = RunConfig(rank=4, alpha=4, learning_rate=1e-3, lr_scheduler="linear", max_train_steps=28).to_dict()
REASONS = {"learning_rate": "the short test", "stop": "no gain beyond noise at 5 evaluations"}


@pytest.fixture
def lab():
    return made_lab()


@pytest.fixture(scope="module")
def clean():
    expected = expectations(made_lab(), load_design(DESIGN), short_test_rate=1e-3, epochs=EPOCHS)
    return DESIGN | {"reasons": REASONS, "expected": expected}


def bad(design, lab):
    return [finding.name for finding in look_over(design, lab=lab) if finding.state == "bad"]


def test_a_clean_design_has_nothing_to_report(clean, lab):
    found = look_over(clean, lab=lab)
    assert {finding.state for finding in found} == {"good"}
    assert {"rate", "scaling", "volume", "rates", "adapter", "stop rule", "data", "base", "batches", "trained",
            "step zero", "base loss", "dry run"} <= {finding.name for finding in found}


@pytest.mark.parametrize("fault, name, remedy", [
    ({"learning_rate": 1e-2}, "rate", "0.001"),               # off by 10, either way
    ({"learning_rate": 1e-4}, "rate", "0.001"),
    ({"alpha": 1}, "alpha", "set it to 4"),                   # lora_alpha read as the scaling
    ({"use_rslora": True}, "use_rslora", "false"),
    ({"max_train_steps": 20}, "drop_last", "28"),
    ({"max_train_steps": 110}, "schedule", "28"),             # pictures x epochs, not divided by the batch
    ({"parent": "0" * 16}, "adapter", "parent"),              # another run's adapter to begin with
])
def test_each_planted_fault_in_a_design_is_found_alone_and_by_its_name(clean, lab, fault, name, remedy):
    found = [finding for finding in look_over(clean | fault, lab=lab) if finding.state == "bad"]
    assert [finding.name for finding in found] == [name]
    assert remedy in found[0].remedy


def test_a_rate_one_rung_from_the_short_tests_is_no_fault(clean, lab):
    assert bad(clean | {"learning_rate": 3e-3}, lab) == bad(clean | {"learning_rate": 3e-4}, lab) == []


def test_intended_rslora_is_right_and_its_missing_flag_wrong(clean, lab):
    meant = clean | {"use_rslora": True, "alpha": 2, "expected": clean["expected"] | {"scaling": 1.0}}
    assert bad(meant, lab) == []
    assert bad(meant | {"use_rslora": False}, lab) == ["use_rslora"]


def test_batches_that_drop_the_last_ones_are_found_by_counting_them(clean, lab, monkeypatch):
    def dropping(seed, n, first, count, of=""):
        return [(first + i) % (n - n % 4) for i in range(count)]

    monkeypatch.setattr(batches, "pictures", dropping)
    assert bad(clean, lab) == ["drop_last"]


def test_an_adapter_of_labkit_left_on_the_base_is_found(clean, lab):
    with LoRAStack(lab.base.unet, [load_design(DESIGN)]).initialize().attached():
        assert bad(clean, lab) == ["stale adapter"]
    assert bad(clean, lab) == []


def test_an_adapter_that_peft_put_on_the_base_is_found(clean, lab):
    from peft import LoraConfig

    lab.base.unet.add_adapter(LoraConfig(r=4, target_modules=["to_q"], init_lora_weights=False))
    lab.base.unet.requires_grad_(False)
    assert bad(clean, lab) == ["stale adapter"]


def test_an_adapter_merged_into_the_weights_is_found_by_the_loss(clean, lab):
    from labkit.engine.monitor import Monitor
    from labkit.engine.train import train

    config = load_design(DESIGN, learning_rate=1e-2, adapter="full").resolved(N)
    events = train(lab.base, lab.cache, [config], monitor=Monitor(images=0))
    *_, adapter = (event.adapter for event in events if hasattr(event, "adapter"))
    with torch.no_grad():
        for name, array in adapter.items():
            lab.base.unet.get_submodule(name.removesuffix(".delta.weight")).weight += torch.from_numpy(array)
    assert bad(clean, lab) == ["stale adapter"]


def test_another_base_and_other_pictures_are_found(clean, lab):
    lab.base = dataclasses.replace(lab.base, fingerprint="another")
    assert bad(clean, lab) == ["base"]
    lab.base = dataclasses.replace(lab.base, fingerprint="tiny")
    lab.territory = dataclasses.replace(lab.territory, train=folder(1, N))
    assert bad(clean, lab) == ["data"]
    lab.territory = dataclasses.replace(lab.territory, train=folder(0, N), validation=folder(10, 8))
    assert bad(clean, lab) == ["data"]


def test_a_warm_up_longer_than_the_run_and_a_rate_that_diverges_at_once_are_found(clean, lab):
    assert bad(clean | {"lr_warmup_steps": 100}, lab) == ["warm-up"]
    diverging = {"learning_rate": 1000, "alpha": 1e6, "max_grad_norm": 0, "weight_decay": 0, "optimizer": "sgd"}
    assert "dry run" in bad(clean | diverging, lab)


def test_looking_over_leaves_the_base_as_it_was(clean, lab):
    before = {name: value.clone() for name, value in lab.base.unet.state_dict().items()}
    look_over(clean, lab=lab)
    assert all(torch.equal(value, before[name]) for name, value in lab.base.unet.state_dict().items())
    assert not any(parameter.requires_grad for parameter in lab.base.unet.parameters())


def test_what_was_not_recorded_is_said_and_is_no_fault(lab):
    found = {finding.name: finding for finding in look_over(DESIGN | {"alpha": 1}, lab=lab)}
    assert not [finding for finding in found.values() if finding.state == "bad"]
    assert "short_test_rate" in found["expected"].found
    assert found["stop rule"].state == found["scaling"].state == "note"


def test_the_command_lists_what_is_wrong_and_exits_with_2_and_training_takes_the_same_file(
        capsys, tmp_path, sd_folder, monkeypatch):
    monkeypatch.setattr("labkit.settings.fast", True)
    pictures = write_territory(tmp_path)
    config = RunConfig(base=str(sd_folder), data=str(pictures), rank=2, max_train_steps=20, train_batch_size=4)
    lab = Lab(config.base, config.data, device="cpu")
    lab.base = load_base(str(sd_folder), device="cpu")
    expected = expectations(lab, config, short_test_rate=1e-3, epochs=10)
    write_design(tmp_path / "design.yaml", config, REASONS, expected)
    code, out, err = labkit(capsys, "checkup", tmp_path / "design.yaml")
    assert code == 0 and "BAD" not in out, out + err
    one_update = ("--set", "max_train_steps=1")
    code, out, err = labkit(capsys, "train", "--config", tmp_path / "design.yaml", *one_update, "--json")
    assert code == 0 and json.loads(out)[0]["config"]["rank"] == 2, err
    write_design(tmp_path / "design.yaml", config.replace(learning_rate=1e-2), REASONS, expected)
    code, out, _ = labkit(capsys, "checkup", tmp_path / "design.yaml", "--json")
    assert code == 2 and [finding["name"] for finding in json.loads(out) if finding["state"] == "bad"] == ["rate"]
    code, _, err = labkit(capsys, "checkup", tmp_path / "nowhere.yaml")
    assert code == 2 and "nowhere.yaml" in err


def test_a_design_that_asks_for_more_pictures_than_there_are_is_refused_with_a_sentence(clean, lab):
    with pytest.raises(LabError, match="n_train"):
        look_over(clean | {"n_train": 50}, lab=lab)


def test_the_checklist_has_a_row_a_finding_and_its_remedy(clean, lab):
    found, table = look_over(clean, lab=lab), checklist(clean | {"learning_rate": 1e-2}, lab=lab)
    assert [row[1] for row in table.rows] == [finding.name for finding in found]
    assert table.rows[0][0] == "✗"
    assert table.rows[0][2].endswith("or do the short test again and record what it finds")
    assert {row[0] for row in table.rows[1:]} == {"✓"}


def test_all_six_planted_mistakes_are_found_by_their_names_before_anything_is_trained(lab):
    config = RunConfig(rank=4, alpha=8, max_train_steps=30).resolved(len(lab.territory.train))
    table = caught(lab, config, expectations(lab, config, short_test_rate=1e-3, epochs=10))
    assert [row[3] for row in table.rows] == ["rate", "alpha", "use_rslora", "drop_last", "schedule", "stale adapter"]
    assert all(row[4] for row in table.rows) and not lab.store.runs()


def test_without_an_intention_there_is_no_mistake(lab):
    with pytest.raises(LabError, match="short_test_rate"):
        caught(lab, RunConfig(max_train_steps=30), {"scaling": 1.0})
