"""Every student's copy runs headless to 'not yet', the lessons themselves to 'passed', also with a student's seeds."""

import pytest

from labkit.cli import chapter, parser, student
from labkit.cli.execute import execute
from labkit.lessons import notebooks

LESSONS = notebooks.lessons()


def results(notebook):
    """Return the first words of what the checks of an executed notebook said."""
    texts = [cell["outputs"][-1]["data"]["text/plain"] for cell in notebooks.tagged(notebook, "check")]
    return ["".join(text).split(":")[0] for text in texts]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_student_copy_runs_to_not_yet_and_the_lesson_itself_to_passed(path, tmp_path):
    solved = results(notebooks.read(path))
    student.verb(parser.parse(["student", path.stem, "--to", str(tmp_path / "class")]))
    environment = {"LABKIT_STORE": str(tmp_path / "runs"), "LABKIT_FAST": "1"}
    _, error = execute(tmp_path / "class" / path.name, tmp_path / "done.ipynb", parameters={},
                       environment=environment, log=tmp_path / "log", timeout=600)
    assert error is None
    assert solved == ["passed"] * len(solved)
    assert results(notebooks.read(tmp_path / "done.ipynb")) == ["not yet"] * len(solved)


def test_every_solution_passes_with_the_seeds_of_a_student(tmp_path, monkeypatch):
    monkeypatch.delenv("LABKIT_FAST", raising=False)             # in the fast form no run learns enough to pass
    monkeypatch.delenv("LABKIT_THREADS", raising=False)           # two lessons side by side where there are two cores
    outcome = chapter.verb(parser.parse(["chapter", "--out", str(tmp_path / "out"), "-p", "student=Ada"]))
    assert outcome.code == 0, outcome.text
    for path in LESSONS:
        solved = results(notebooks.read(tmp_path / "out" / path.name))
        assert len(solved) >= 3 and solved == ["passed"] * len(solved)
