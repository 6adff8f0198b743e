"""What a student hands in: one file with the notebooks that were run and the records of all runs, and no more."""

import json
import zipfile

import pytest
from command_line import labkit
from handed_in import answered, write_run

from labkit.cli import progress, submission
from labkit.lessons import notebooks
from labkit.settings import REPO
from labkit.store.runs import Store

FIRST = "00_start"


@pytest.fixture
def own(tmp_path):
    """Give a folder with one notebook that was run, one that was not, and a store with a run and its files."""
    folder = tmp_path / "mine"
    folder.mkdir()
    run, unopened = notebooks.lessons()[:2]
    (folder / run.name).write_bytes(answered(run, 2).replace(b'student = \\"\\"', b'student = \\"Ada L.\\"'))
    copied = json.loads(answered(unopened, 0))
    for cell in notebooks.tagged(copied, "check"):
        cell |= {"execution_count": None, "outputs": []}
    (folder / unopened.name).write_text(json.dumps(copied))
    name = write_run(Store(), rate=1e-3, lesson=FIRST)
    write_run(Store(), "diverged", rate=3e-2, lesson=FIRST)
    for extra, data in (("checkpoints/000200.safetensors", b"x"), ("samples/000200_1_0.png", b"png"),
                        ("adapter.safetensors", b"x"), ("notes.py", b"import os")):
        path = Store().root / name / extra
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return folder


def test_one_file_holds_answers_and_records_under_names_without_a_path(own, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = labkit(capsys, "submit", "--notebooks", own)
    assert code == 0, err
    file = tmp_path / "Ada_L.zip"
    with zipfile.ZipFile(file) as opened:
        names = opened.namelist()
        assert all(submission.NAME.fullmatch(name) for name in names)
        assert sorted(name.split("/")[-1] for name in names) == [
            "000200_1_0.png", "00_start.ipynb", "config.json", "config.json", "events.jsonl", "events.jsonl",
            "submission.json"]
        assert json.loads(opened.read("submission.json"))["student"] == "Ada L."
    assert "00 · Start: 2 runs, 400 updates at 2 learning rates; best 1e-3, healthy, held-out loss 0.200 → " in out
    assert "; 1 broke" in out and "Notebooks: 00_start.ipynb." in out
    back = submission.unpacked(file, tmp_path / "back")
    assert back.student == "Ada L." and [path.name for path in back.notebooks] == ["00_start.ipynb"]
    assert [run.run_id for run in Store(back.folder / "runs").load_runs()] == [
        run.run_id for run in Store().load_runs()]


def test_paths_and_widgets_of_this_machine_are_not_handed_in(own, capsys, tmp_path):
    path = own / f"{FIRST}.ipynb"
    notebook = json.loads(path.read_bytes())
    notebook["metadata"]["widgets"] = {"state": "large"}
    check = notebooks.tagged(notebook, "check")[0]
    check["outputs"].append({"output_type": "stream", "name": "stdout", "text": [f"{REPO}/runs"]})
    check["metadata"]["nbgrader"] = {"grade_id": "kept"}
    path.write_text(json.dumps(notebook))
    assert labkit(capsys, "submit", "--notebooks", own, "--to", tmp_path / "a.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        text = opened.read(f"notebooks/{FIRST}.ipynb").decode()
    assert str(REPO) not in text and "large" not in text and "kept" in text


@pytest.mark.parametrize("name, file", [("Ada/../../etc", "Ada_.._.._etc.zip"), ("<b>Zoë</b>", "b_Zoë_b.zip"),
                                        ("///", "student.zip")])
def test_a_name_with_slashes_or_markup_makes_a_file_here(own, capsys, tmp_path, monkeypatch, name, file):
    monkeypatch.chdir(tmp_path)
    assert labkit(capsys, "submit", "--notebooks", own, "--student", name)[0] == 0
    assert (tmp_path / file).is_file()
    assert submission.unpacked(tmp_path / file, tmp_path / "back").student == name


def test_a_file_that_is_no_submission_is_not_written_over_and_an_earlier_submission_is(own, capsys, tmp_path):
    target = tmp_path / "mine.zip"
    target.write_bytes(b"my thesis")
    code, _, err = labkit(capsys, "submit", "--notebooks", own, "--to", target)
    assert code == 2 and "is no submission" in err and target.read_bytes() == b"my thesis"
    target.unlink()
    assert [labkit(capsys, "submit", "--notebooks", own, "--to", target)[0] for _ in range(2)] == [0, 0]


def test_without_a_name_or_without_work_one_sentence_says_what_is_missing(own, capsys, tmp_path):
    (own / f"{FIRST}.ipynb").unlink()
    assert "Whose work is it?" in labkit(capsys, "submit", "--notebooks", own)[2]
    code, _, err = labkit(capsys, "submit", "--notebooks", own, "--store", tmp_path / "none", "--student", "Ada")
    assert code == 2 and "There is nothing to hand in" in err


def test_what_is_too_large_is_handed_in_without_pictures_or_not_at_all(own, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "MOST_FILES", 6)
    code, out, _ = labkit(capsys, "submit", "--notebooks", own, "--to", tmp_path / "a.zip")
    assert code == 0 and "There is no room for the pictures" in out
    monkeypatch.setattr(submission, "MOST_FILES", 5)
    code, _, err = labkit(capsys, "submit", "--notebooks", own, "--to", tmp_path / "b.zip")
    assert code == 2 and "would have 6 files" in err and "--store" in err and not (tmp_path / "b.zip").exists()


def test_runs_of_no_lesson_and_runs_that_name_another_are_other_runs(own):
    write_run(Store(), rate=3e-4)
    write_run(Store(), rate=3e-5, lesson="99_unknown")
    groups = progress.by_lesson(Store())
    assert {lesson: len(entries) for lesson, entries in groups.items()} == {FIRST: 2, progress.OTHER: 2}
    assert progress.line(progress.OTHER, groups[progress.OTHER]).startswith("Other runs: 2 runs, 400 updates at 2")


def test_a_line_of_runs_that_all_broke_names_no_best(tmp_path):
    store = Store(tmp_path / "broken")
    write_run(store, "blown up", rate=3e-1, lesson=FIRST)
    [entries] = progress.by_lesson(store).values()
    assert progress.line(FIRST, entries) == "00 · Start: 1 run, 200 updates at 1 learning rate; 1 broke"
