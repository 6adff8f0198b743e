"""The form of the sources: the rules that pyproject.toml asks of ruff, and files of at most 350 lines."""

import subprocess
import sys

from labkit.settings import REPO

MOST_LINES = 350


def ruff(*arguments):
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", *arguments]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True)


def test_ruff_finds_nothing():
    result = ruff()
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_line_of_120_columns_is_found(tmp_path):
    (tmp_path / "long.py").write_text(f'"""Hold one long line."""\nx = {"1" * 116}\n')
    result = ruff("--config", str(REPO / "pyproject.toml"), str(tmp_path / "long.py"))
    assert result.returncode == 1 and "E501" in result.stdout


def test_no_source_has_more_lines_than_a_reader_keeps_in_mind():
    sources = [path for room in ("labkit", "tools", "data", "tests") for path in (REPO / room).rglob("*.py")]
    lines = {path.relative_to(REPO).as_posix(): len(path.read_text("utf-8").splitlines()) for path in sources}
    assert not {path for path, count in lines.items() if count > MOST_LINES}
