"""A run goes on where its pictures are now, and a finished one past its end."""

import shutil
from contextlib import nullcontext

import pytest
from command_line import labkit
from made_runs import made_run
from small_pictures import write_territory

from labkit import interrupts
from labkit.cli import runs
from labkit.errors import LabError
from labkit.store.runs import Store


class AfterTwoUpdates(interrupts.Stop):
    """Ask for a stop when two updates are done."""

    updates = 0

    def __call__(self):
        self.updates += 1
        self.number = 15 if self.updates > 2 else None
        return self.updates > 2


@pytest.fixture
def stopped(capsys, sd_folder, tmp_path, monkeypatch):
    """Give the folder of a run of three updates that was stopped after two, and where its pictures are."""
    monkeypatch.setattr("labkit.settings.fast", True)
    (tmp_path / "pictures").mkdir()
    pictures = write_territory(tmp_path / "pictures")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "stop_on_interrupt", lambda say: nullcontext(AfterTwoUpdates()))
        labkit(capsys, "train", "--base", sd_folder, "--data", pictures, "--set", "max_train_steps=3",
               "--set", "train_batch_size=2")
    [folder] = Store().runs()
    assert folder.status == "stopped"
    return folder, pictures


def test_a_run_goes_on_with_pictures_that_moved_and_then_past_its_end(capsys, stopped, tmp_path):
    folder, pictures = stopped
    code, _, err = labkit(capsys, "resume", folder.run_id, "--steps", "5")
    assert code == 2 and "is stopped: resume it first" in err
    pictures.rename(tmp_path / "elsewhere")
    code, _, err = labkit(capsys, "resume", folder.run_id)
    assert code == 2 and f"were in {pictures}, which is not there: say with --data" in err
    other = shutil.copytree(tmp_path / "elsewhere", tmp_path / "other")
    (other / "train" / "0.txt").write_text("a room of another caption")
    code, _, err = labkit(capsys, "resume", folder.run_id, "--data", other)
    assert code == 2 and "are not those that it was trained on" in err and folder.status == "stopped"
    code, _, err = labkit(capsys, "resume", folder.run_id, "--data", tmp_path / "elsewhere")
    assert code == 0 and folder.status == "finished", err
    assert folder.load().config.data == str(tmp_path / "elsewhere")
    code, _, err = labkit(capsys, "resume", folder.run_id)
    assert code == 2 and "`--steps N` trains it on" in err
    code, out, err = labkit(capsys, "resume", folder.run_id, "--steps", "5")
    assert code == 0, err
    [more] = [run for run in Store().runs() if run.run_id != folder.run_id]
    assert list(more.load().steps["global_step"]) == [1, 2, 3, 4, 5] and more.load().config.parent == folder.run_id


def test_a_run_whose_rate_falls_over_its_length_is_not_made_longer():
    for settings, steps, words in [({"lr_scheduler": "cosine"}, 300, "labkit train --set init_lora_weights="),
                                   ({}, 200, "has 200 updates already"), ({}, 100, "has 200 updates already")]:
        run = made_run("healthy", pictures=False, **settings)
        with pytest.raises(LabError, match=words):
            runs.longer(Store().run(run.run_id), run, steps)
    run = made_run("healthy", pictures=False, lr_edits=((100, 1e-4),))
    assert runs.longer(Store().run(run.run_id), run, 300).lr_edits == run.config.lr_edits
