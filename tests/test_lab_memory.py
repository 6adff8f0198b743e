"""A lab's own choice of rows and gradient checkpointing reaches whatever trains in it, and is told and recorded."""

import numpy as np
import pytest
import tiny
import torch

from labkit.design.config import RunConfig
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.lessons.panel import LabPanel

SHORT = {"max_train_steps": 3, "train_batch_size": 2}
TOLD = "Activations are computed again in the backward pass, as asked (gradient checkpointing).\n"


@pytest.fixture(autouse=True)
def without_a_browser(monkeypatch):
    monkeypatch.setenv("LABKIT_FRONTEND", "headless")


def opened(folder, **options):
    return tiny.lab(store=folder, **options)


def race(lab):
    return lab.race("learning_rate", [1e-3, 1e-2], pictures=0, **SHORT)


def panel(lab):
    return [LabPanel(lab=lab, design=SHORT, pictures=0).run()]


@pytest.mark.parametrize("trained", [race, panel], ids=["a race", "the panel"])
def test_checkpointing_asked_of_a_lab_is_told_recorded_and_changes_no_bit(tmp_path, capsys, monkeypatch, trained):
    computed, forward = [], torch.nn.GroupNorm.forward
    monkeypatch.setattr(torch.nn.GroupNorm, "forward", lambda self, x: computed.append(1) or forward(self, x))
    labs = {again: opened(tmp_path / str(again), gradient_checkpointing=again) for again in (None, True)}
    found, calls = {}, {}
    for again, lab in labs.items():
        computed.clear()
        found[again], calls[again] = trained(lab), len(computed)
        assert capsys.readouterr().out.count(TOLD) == bool(again)
    assert calls[True] > calls[None]
    for plain, again in zip(found[None], found[True], strict=True):
        assert (plain.run_id, plain.status) == (again.run_id, "finished")
        assert plain.steps["loss"].tolist() == again.steps["loss"].tolist()
        one, other = (labs[which].store.run(plain.run_id) for which in (None, True))
        assert all(np.array_equal(array, other.adapter()[name]) for name, array in one.adapter().items())
        assert [run.load().meta["gradient_checkpointing"] for run in (one, other)] == [False, True]


def test_a_labs_rows_cut_its_passes_and_are_recorded(tmp_path):
    lab = opened(tmp_path, max_rows=2)
    runs = race(lab)
    assert [lab.store.run(run.run_id).group for run in runs] == [[run.run_id] for run in runs]
    assert {lab.store.run(run.run_id).load().meta["max_rows"] for run in runs} == {2}


def test_single_updates_are_checkpointed_as_the_lab_is(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("labkit.lab.train", lambda *_, **given: asked.append(given["gradient_checkpointing"]) or [])
    for again in (None, True):
        opened(tmp_path, gradient_checkpointing=again).one_update([1e-3])
    assert asked == [False, True]


def test_single_updates_that_do_not_fit_are_told(tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("labkit.lab.train", full)
    with pytest.raises(LabError, match="A pass of 2 runs does not fit .* Give fewer learning_rates"):
        opened(tmp_path).one_update([1e-3, 1e-2])


def test_a_lab_of_a_design_and_one_on_another_territory_keep_the_choice(tmp_path):
    lab = Lab.from_config(RunConfig(), store=tmp_path, max_rows=8, gradient_checkpointing=False)
    lab.base = tiny.base()
    chosen = [(one.max_rows, one.gradient_checkpointing) for one in (lab, lab.with_data("elsewhere"), Lab())]
    assert chosen == [(8, False), (8, False), (64, None)]


@pytest.mark.parametrize("option, remedy", [
    ({"max_rows": 0}, "max_rows = 0: give a whole number from 1 up"), ({"max_rows": "8"}, "max_rows = '8'"),
    ({"gradient_checkpointing": "yes"}, "gradient_checkpointing = 'yes': give True, False or None")])
def test_a_choice_that_is_none_is_refused(option, remedy):
    with pytest.raises(LabError, match=remedy):
        Lab(**option)
