"""`labkit inspect`: runs by what they are called, verdicts on what broke, folders of something else than pictures."""

import json
import math

import numpy as np
import pytest
from command_line import labkit
from event_bytes import event_file
from PIL import Image
from told_runs import CONFIG, ID, keep, some_events, validation

from labkit.design.config import RunConfig
from labkit.store.adapter_forms import kohya_bytes
from labkit.store.events import Stopped
from labkit.store.names import give_name
from labkit.store.runs import Store

BROKEN = "b" + ID[1:]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "elsewhere")
    keep(store, some_events())
    keep(store, (*(validation(step, 0.2 if step < 2 else math.nan, run=BROKEN) for step in range(5)),
                 Stopped(BROKEN, 4, 16, "diverged")), CONFIG, BROKEN)
    return store


def states(out):
    """Return {name: state} of the findings that are printed as JSON."""
    return {finding["name"]: finding["state"] for finding in json.loads(out)}


def test_a_run_is_meant_by_its_id_the_beginning_of_it_its_name_and_its_folder(capsys, store):
    give_name(store.run(ID), "bright rooms", store.runs())
    for name in (ID, ID[:6], "bright rooms", store.run(ID).path):
        code, out, _ = labkit(capsys, "inspect", name, "--store", store.root, "--json")
        assert code == 0 and json.loads(out)[0]["found"].startswith(f"{ID} on liminal")


def test_what_is_neither_there_nor_a_run_is_refused_with_what_can_be_given(capsys, store):
    code, _, err = labkit(capsys, "inspect", "photos", "--store", store.root)
    assert code == 2 and "photos is not there: give a folder" in err and "There is no run photos" in err


def test_the_verdict_on_what_broke_is_bad_and_one_that_leaves_something_to_do_is_noted(capsys, store, tmp_path):
    code, out, _ = labkit(capsys, "inspect", BROKEN, "--store", store.root, "--json")
    assert code == 2 and states(out)["verdict"] == "bad" and states(out)["run"] == "good"
    code, out, _ = labkit(capsys, "inspect", ID, "--store", store.root, "--json")
    assert code == 0 and states(out)["verdict"] == "note"
    for name, loss, expected in (("broken", "nan", (2, "bad")), ("training", 0.5, (0, "note"))):
        path = tmp_path / f"{name}.csv"
        path.write_text("step,loss\n" + "\n".join(f"{step},{loss}" for step in range(9)))
        code, out, _ = labkit(capsys, "inspect", path, "--json")
        assert (code, states(out)["verdict"]) == expected


def adapter(path, fill=1.0):
    """Write a LoRA of one layer in kohya's form."""
    module = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {f"{module}.lora_A.weight": np.full((4, 768), fill, np.float32),
               f"{module}.lora_B.weight": np.full((8, 4), fill, np.float32)}
    path.write_bytes(kohya_bytes(tensors, RunConfig(rank=4)))


def test_a_folder_of_adapters_is_told_in_a_line_for_each_and_names_the_verbs_for_more(capsys, tmp_path):
    adapter(tmp_path / "good.safetensors")
    adapter(tmp_path / "dead.safetensors", fill=0.0)
    (tmp_path / "cut.safetensors").write_bytes(b"half a file")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")    # a preview, without a caption
    code, out, _ = labkit(capsys, "inspect", tmp_path, "--json")
    cut, dead, good, more, data = json.loads(out)
    assert code == 2 and (cut["state"], dead["state"], good["state"], data["state"]) == ("bad", "bad", "good", "note")
    assert good["found"] == "good.safetensors: LoRA, rank 4, alpha 4, scaling 1, for Stable Diffusion 1.x"
    assert dead["found"].endswith("to be looked at: change") and "cut.safetensors cannot be read" in cut["found"]
    assert "labkit inspect FILE" in more["found"] and "labkit judge" in more["found"]


def test_a_store_is_told_as_such(capsys, store):
    code, out, _ = labkit(capsys, "inspect", store.root)
    assert code == 0 and "labkit runs --store" in out and "no pictures" not in out


def test_logs_in_folders_within_the_folder_are_found_and_an_empty_folder_stays_one_without_pictures(capsys, tmp_path):
    rows = [("loss/current", step, 0.1) for step in range(9)]
    event_file(tmp_path / "logs" / "20260901" / "network_train" / "events.out.tfevents.1.host", rows)
    code, out, _ = labkit(capsys, "inspect", tmp_path / "logs")
    assert code == 0 and "TensorBoard event file of kohya sd-scripts" in out and "no pictures" not in out
    (tmp_path / "empty").mkdir()
    code, out, _ = labkit(capsys, "inspect", tmp_path / "empty")
    assert code == 2 and "has no pictures" in " ".join(out.split())


@pytest.mark.parametrize(("name", "text", "words"), [
    ("lora.toml", 'network_module = "networks.lora"\nnetwork_dim = 8\nlearning_rate = 1e-4\noutput_dir = "x"\n',
     "kohya-ss/sd-scripts"),
    ("job.yaml", "job: extension\nconfig:\n  process:\n  - type: sd_trainer\n    train: {steps: 9, lr: 1e-4}\n",
     "ostris/ai-toolkit"),
    ("train.sh", "accelerate launch train_network.py --network_dim 8 --learning_rate 1e-4\n", "kohya-ss/sd-scripts"),
    ("config.json", json.dumps({"model_type": "lora", "lora_rank": 8, "learning_rate": 1e-4, "lr_warmup_steps": 5}),
     "SimpleTuner"),
])
def test_settings_of_another_trainer_are_told_with_the_verb_that_translates_them(capsys, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    code, out, _ = labkit(capsys, "inspect", tmp_path / name, "--json")
    (found,) = json.loads(out)
    assert code == 0 and words in found["found"] and f"labkit translate {tmp_path / name}`" in found["remedy"]


def test_a_design_is_told_with_the_verbs_that_take_it_and_other_files_are_refused_for_what_they_are(capsys, tmp_path):
    (tmp_path / "design.yaml").write_text("learning_rate: 1e-3\nrank: 4\n")
    code, out, _ = labkit(capsys, "inspect", tmp_path / "design.yaml")
    assert code == 0 and "is a design of this kit" in " ".join(out.split()) and "labkit checkup" in out
    for name, text, words in (("x.toml", "colour = 'red'\n", "labkit translate"), ("x.toml", "a = [", "read as TOML"),
                              ("x.json", '{"colour": "red"}', "is no log"), ("x.json", "{", "read as JSON")):
        (tmp_path / name).write_text(text)
        code, _, err = labkit(capsys, "inspect", tmp_path / name)
        assert code == 2 and words in err and "safetensors" not in err
