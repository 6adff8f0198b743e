"""A sweep with a sampler: one table, those that left below it, the same command goes on; bad input in one sentence."""

import json
import sys
from contextlib import nullcontext

import pytest
from command_line import labkit
from small_pictures import write_territory

from labkit import interrupts
from labkit.cli import sweep_trials
from labkit.store.runs import Store

DRAWN = ("--set", "learning_rate=1e-4..1e-2", "--set", "rank=2,4")


class AfterTwoUpdates(interrupts.Stop):
    """Ask for a stop when two updates are done."""

    asked = 0

    def __call__(self):
        self.asked += 1
        self.number = 15 if self.asked > 3 else None          # twice before a pass begins
        return self.number is not None


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Give a small folder of captioned pictures."""
    return write_territory(tmp_path_factory.mktemp("pictures"))


def test_trials_are_trained_told_in_one_table_and_found_again(capsys, pictures, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setattr("labkit.lessons.session.monitor", lambda: {"images": 4, "scored": 0, "prompts": ()})
    command = ("sweep", *DRAWN, "--sampler", "tpe", "--trials", "4", "--pruner", "successive-halving",
               "--data", pictures, "--set", "max_train_steps=8", "--set", "train_batch_size=1",
               "--set", "target_modules=attention")
    with monkeypatch.context() as patch:
        patch.setattr(sweep_trials, "stop_on_interrupt", lambda say: nullcontext(AfterTwoUpdates()))
        code, out, _ = labkit(capsys, *command)
    assert code == 143 and "4 runs not finished" in out and "the same command goes on" in out
    code, out, err = labkit(capsys, *command, "--json")
    assert code == 0, err
    accounts = json.loads(out)
    assert len(accounts) == len(Store().runs()) == 4
    left = [account for account in accounts if account["left_after"] is not None]
    assert left and len(left) < 4
    for account in accounts:
        run = Store().run(account["id"]).load()
        steps = account["left_after"] or 8
        assert len(run.steps["loss"]) == steps and run.validations["validation"].steps[-1] == steps
        assert 1e-4 <= run.config.learning_rate <= 1e-2 and run.config.rank in (2, 4)
        assert run.status == ("finished" if steps == 8 else "interrupted")
    code, out, err = labkit(capsys, *command)                 # the same command trains nothing twice
    assert code == 0 and "update" not in err.replace("updates", ""), err
    assert out.startswith("run ") and f"{len(left)} run" in out and "of 4 left early; `labkit resume " in out
    assert labkit(capsys, "resume", left[0]["id"])[0] == 0    # one that left is trained to its end
    code, out, _ = labkit(capsys, *command)
    assert code == 0 and "left early" not in out and "4 runs of 4 found in the store" in out
    [study] = (Store().root / "sweeps").glob("tpe-learning_rate-rank-*.jsonl")
    assert f"study: {study}" in out and study.read_text().startswith('{"op_code":0,')


@pytest.mark.parametrize("words, says", [
    (["--set", "learning_rate=1e-5..1e-2"], "is a range, of which a grid cannot try all values: draw from it with"),
    ([*DRAWN, "--sampler", "tpe"], "--sampler tpe draws as many runs as --trials says"),
    ([*DRAWN, "--sampler", "tpe", "--trials", "0"], "--trials 0: give a whole number from 1 up"),
    ([*DRAWN, "--sampler", "grid"], "learning_rate is given as a range, through which --sampler grid cannot go"),
    ([*DRAWN, "--sampler", "bayes", "--trials", "9"], "--sampler bayes: there is none of this name. There are:"),
    ([*DRAWN, "--sampler", "tpe", "--trials", "9", "--pruner", "medium"], "Did you mean median?"),
    ([*DRAWN, "--sampler", "tpe", "--trials", "9", "--side-by-side", "0"], "--side-by-side 0"),
    ([*DRAWN, "--sampler", "tpe", "--trials", "9", "--rows", "0"], "--rows 0"),
    (["--set", "rank=4,8", "--trials", "9"], "--trials belongs to --sampler"),
    (["--set", "rank=4,8", "--pruner", "none"], "--pruner belongs to --sampler"),
    (["--set", "lr_scheduler=linear..cosine"], "lr_scheduler has no range, since it is a name"),
    (["--set", "lr_scheduler=linear..cosine", "--sampler", "tpe", "--trials", "9"], "lr_scheduler has no range"),
    (["--set", "rank=4", "--sampler", "tpe", "--trials", "9"], "--sampler has nothing to draw"),
    (["--set", "seed=0,1", "--sampler", "random", "--trials", "2"], "seed is chance and no setting"),
    (["--set", "max_train_steps=5..50", "--sampler", "random", "--trials", "2"], "add --pruner none"),
    (["--set", "num_train_epochs=2", "--set", "train_batch_size=1,2", "--sampler", "grid"], "add --pruner none"),
    (["--set", "crop=top,bottom", "--sampler", "grid"], "crop must be the same for all runs"),
    ([*DRAWN, "--sampler", "tpe", "--trials", "9", "--data", "nowhere"], "there is no folder nowhere"),
])
def test_bad_input_is_one_sentence_and_exit_code_2_before_a_model_loads(capsys, monkeypatch, words, says):
    monkeypatch.setattr("labkit.engine.base.load_models", None)
    code, _, err = labkit(capsys, "sweep", *words)
    told = [line for line in err.splitlines() if line != "labkit: loading torch ..."]        # said on a slow machine
    assert code == 2 and says in err and len(told) == 1


def test_without_optuna_the_remedy_is_told_before_anything_is_opened(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = labkit(capsys, "sweep", *DRAWN, "--sampler", "tpe", "--trials", "9", "--data", "nowhere")
    assert code == 2 and 'pip install "optuna>=5,<6"' in err and err.count("\n") == 1


def test_pictures_of_which_none_is_held_out_are_no_objective(capsys, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("labkit.engine.base.load_models", None)
    for number in range(5):
        for kind in ("png", "txt"):
            (tmp_path / f"{number}.{kind}").write_bytes((pictures / "train" / f"{number}.{kind}").read_bytes())
    code, _, err = labkit(capsys, "sweep", *DRAWN, "--sampler", "tpe", "--trials", "9", "--data", tmp_path,
                          "--set", "train_batch_size=2")
    assert code == 2 and "would look for the run that copies best: give at least 8 pictures" in err
