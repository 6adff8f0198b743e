"""The verb that finds a rate: a table, a sentence, a design that is ready to train; bad input in one sentence."""

import json
import re

import pytest
import tiny
from command_line import labkit

from labkit.cli import progress_line
from labkit.cli.find import start_of
from labkit.cli.options import parser
from labkit.cli.runs import fields
from labkit.design.config import load_design
from labkit.experiments import find_rate
from labkit.lab import Lab
from labkit.store.runs import Store

SHORT = ("--updates", "20", "--set", "train_batch_size=2", "--set", "learning_rate=1e-3")


@pytest.fixture
def opened(monkeypatch):
    """Let the verb open a lab of a few thousand weights; give what it asked for."""
    asked = {}

    def open_lab(config, **options):
        asked.update(options, config=config)
        lab = tiny.lab(monitor={"images": 4})
        lab.territory.summary = "12 pictures"
        return lab

    monkeypatch.setattr(Lab, "from_config", open_lab)
    # four pictures tell no two rates of so short a run apart, so that all rungs of a longer ladder would come in
    monkeypatch.setattr(find_rate, "LADDER", (3e-4, 1e-3, 3e-3, 1e-2))
    return asked


def test_a_rate_is_found_told_and_written_into_a_design_that_trains(capsys, monkeypatch, opened, tmp_path):
    monkeypatch.setattr(progress_line, "BREATH_S", -1.0)      # so that a log hears of all that a terminal shows
    target = tmp_path / "found.yaml"
    command = ("find", *SHORT, "--set", "max_train_steps=300", "--set", "rank=4", "--set", "lr_scheduler=linear")
    code, out, err = labkit(capsys, *command, "--to", target, "--json")
    assert code == 0, err
    account = json.loads(out)
    design = load_design(target)
    assert design.learning_rate == account["learning_rate"] >= account["rate"]        # a schedule that falls
    assert (design.max_train_steps, design.rank, design.lr_scheduler) == (300, 4, "linear")
    assert account["sentence"].startswith("Take ") and account["low"] <= account["rate"] <= account["high"]
    assert account["updates"] == sum(racer["updates"] for racer in account["racers"]) and len(account["racers"]) == 4
    assert "short_test_rate" in target.read_text() and "updates 1 to 5" in err
    assert re.search(r"^update 5 of 5  held-out loss [\d.]+ at .*3e-4", err, re.M)         # of a pass of several
    for what in ("reading the pictures", "loading the base embedded", "encoding the pictures"):
        assert f"labkit: {what} ...\n" in err
    before = {run.run_id: run.events_path.read_bytes() for run in Store().runs()}
    code, out, _ = labkit(capsys, *command, "--to", tmp_path / "again.yaml")
    assert {run.run_id: run.events_path.read_bytes() for run in Store().runs()} == before     # not trained again
    assert code == 0 and out.startswith("learning rate  updates") and "Ready to train: " in out
    rows = [line.split() for line in out.split("\n\n")[0].split("\n")[1:]]
    stayed = [row[-1] == "end" for row in rows]
    losses = [float(row[2]) for row, is_there in zip(rows, stayed, strict=True) if is_there]
    assert losses == sorted(losses) and stayed == sorted(stayed, reverse=True)
    assert (tmp_path / "again.curves.png").read_bytes().startswith(b"\x89PNG") and account["curves"].endswith(".png")
    assert out.rstrip().split("\n")[-1].endswith(f"python3 -m labkit translate {tmp_path / 'again.yaml'} --to TRAINER")


@pytest.mark.parametrize("name, ending", [("kohya", "toml"), ("ai-toolkit", "yaml"), ("diffusers", "sh")])
def test_the_ready_settings_of_another_trainer_are_those_that_translate_writes(capsys, opened, tmp_path, name, ending):
    target, beside = tmp_path / "found.yaml", tmp_path / f"found.{name}.{ending}"
    command = ("find", *SHORT, "--set", "max_train_steps=300", "--set", "seed=7", "--to", target, "--for", name)
    code, out, err = labkit(capsys, *command)
    assert code == 0, err
    assert f"{beside} has it for" in out and "base: embedded: it ships with the kit alone" in out
    code, out, _ = labkit(capsys, "translate", target, "--to", name, "--json")
    assert json.loads(out)["text"] == beside.read_text()
    assert f"{load_design(target).learning_rate}" in beside.read_text()
    code, _, err = labkit(capsys, *command)
    assert code == 2 and "not written over" in err
    target.unlink()
    code, _, err = labkit(capsys, *command)
    assert code == 2 and f"{beside.name} is there already" in err


def test_a_race_begins_at_the_rate_that_is_given_else_where_such_a_base_does():
    def start(*words):
        options = parser().parse_args(["find", *words])
        return start_of(options, fields(options))

    assert start("--set", "learning_rate=2e-5") == 2e-5
    assert start() == 3e-3 and start("--base", "some/hub-name") == 1e-4


@pytest.mark.parametrize("words, says", [
    (["--updates", "5"], "--updates 5: give at least 20"),
    (["--set", "optimizer=sgd"], "take adamw"),
    (["--to", "found.txt"], "must end in .yaml"),
    (["--rows", "0"], "--rows 0"), (["--for", "kohia"], "did you mean kohya?"), (["--for", "labkit"], "--for labkit"),
    (["--set", "lr=1"], "did you mean learning_rate?"),
    (["--data", "nowhere"], "there is no folder nowhere"),
])
def test_bad_input_is_one_sentence_and_exit_code_2_before_a_model_loads(capsys, monkeypatch, words, says):
    monkeypatch.setattr(progress_line, "BREATH_S", 600.0)     # however slow this machine is
    monkeypatch.setattr("labkit.engine.base.load_models", None)
    code, _, err = labkit(capsys, "find", *words)
    assert code == 2 and says in err and err.count("\n") == 1


def test_a_design_that_is_there_is_not_written_over(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("rank: 4\n")
    code, _, err = labkit(capsys, "find", "--to", tmp_path / "mine.yaml")
    assert code == 2 and "not written over" in err and (tmp_path / "mine.yaml").read_text() == "rank: 4\n"
