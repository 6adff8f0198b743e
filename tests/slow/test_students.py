"""Every student's copy runs headless to 'not yet', and the lessons as they are committed say 'passed'."""

import pytest
from checked_lessons import results

from labkit.cli import parser, student
from labkit.cli.execute import execute
from labkit.lessons import notebooks

LESSONS = notebooks.lessons()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_student_copy_runs_to_not_yet_and_the_lesson_itself_to_passed(path, tmp_path):
    solved = results(notebooks.read(path))
    student.verb(parser.parse(["student", path.stem, "--to", str(tmp_path / "class")]))
    environment = {"LABKIT_STORE": str(tmp_path / "runs"), "LABKIT_FAST": "1"}
    _, error = execute(tmp_path / "class" / path.name, tmp_path / "done.ipynb", parameters={},
                       environment=environment, log=tmp_path / "log", timeout=1800)
    assert error is None
    assert solved == ["passed"] * len(solved)
    assert results(notebooks.read(tmp_path / "done.ipynb")) == ["not yet"] * len(solved)
