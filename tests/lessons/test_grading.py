"""While answers are graded: runs that were handed in are found, none is trained; runs know their lesson."""

import pytest
import tiny

from labkit.errors import LabError
from labkit.lessons import notebooks
from labkit.store.runs import Store

DESIGN = {"max_train_steps": 4, "train_batch_size": 2, "target_modules": "attention"}


def test_a_run_that_was_handed_in_is_found_and_another_is_not_trained(monkeypatch):
    trained = tiny.lab().train(DESIGN, pictures=0)
    monkeypatch.setenv("LABKIT_GRADING", "1")
    assert tiny.lab().train(DESIGN, pictures=0).run_id == trained.run_id
    with pytest.raises(LabError, match="not among those that were handed in, and none is trained"):
        tiny.lab().train(DESIGN, pictures=0, seed=1)
    assert [folder.run_id for folder in Store().runs()] == [trained.run_id]


def test_a_run_without_checkpoints_and_pictures_as_it_is_handed_in_is_complete(monkeypatch):
    trained = tiny.lab().train(DESIGN, pictures=0)
    folder = Store().run(trained.run_id).path
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    monkeypatch.setenv("LABKIT_GRADING", "1")
    found = tiny.lab().train(DESIGN, pictures=0)
    assert found.status == "finished" and len(found.steps["loss"]) == 4


def test_a_run_notes_the_lesson_that_it_is_trained_for(monkeypatch):
    monkeypatch.setenv("LABKIT_LESSON", "01_learning_rate")
    noted = tiny.lab().train(DESIGN, pictures=0)
    monkeypatch.setenv("LABKIT_LESSON", "")
    other = tiny.lab().train(DESIGN, pictures=0, seed=1)
    assert Store().run(noted.run_id).load().meta["lesson"] == "01_learning_rate"
    assert "lesson" not in Store().run(other.run_id).load().meta


@pytest.mark.parametrize("path", notebooks.lessons(), ids=lambda path: path.stem)
def test_a_lesson_is_known_by_its_first_cell_of_code_though_a_line_of_it_changed(path):
    first = notebooks.first_cells()
    cell = first[path.stem]
    assert notebooks.lesson_of("\n".join(cell)) == path.stem
    assert notebooks.lesson_of("\n".join(["import numpy as np", *cell[:-1]]), first) == path.stem
    assert notebooks.lesson_of("import labkit as lk\nfrom labkit.lessons import session\nsession.begin()", first) == ""
