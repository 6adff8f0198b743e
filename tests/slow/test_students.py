"""Every lesson's student copy runs headless, its exercises to 'not yet'; in the committed lesson they have passed."""

import pytest

from labkit import cli, notebooks, student
from labkit.execute import execute

LESSONS = notebooks.lessons()


def results(notebook):
    """Return the first words of what the checks of an executed notebook said."""
    return ["".join(cell["outputs"][-1]["data"]["text/plain"]).split(":")[0] for cell in notebooks.tagged(notebook, "check")]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_student_copy_runs_to_not_yet_and_the_lesson_itself_to_passed(path, tmp_path):
    solved = results(notebooks.read(path))
    student.verb(cli.parse(["student", path.stem, "--to", str(tmp_path / "class")]))
    environment = {"LABKIT_STORE": str(tmp_path / "runs"), "LABKIT_FAST": "1"}
    _, error = execute(tmp_path / "class" / path.name, tmp_path / "done.ipynb", parameters={}, environment=environment, log=tmp_path / "log", timeout=600)
    assert error is None
    assert solved == ["passed"] * len(solved)
    assert results(notebooks.read(tmp_path / "done.ipynb")) == ["not yet"] * len(solved)
