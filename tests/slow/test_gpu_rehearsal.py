"""The check of a GPU runs through here from its one command, at reduced width and length."""

import json
import subprocess
import sys

from labkit.settings import REPO


def test_the_whole_check_is_rehearsed_by_its_command(tmp_path):
    command = [sys.executable, REPO / "tools" / "gpu_check.py", "--rehearse", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {part: len(result["rows"]) - 1 for part, result in results.items()}
    assert rows == {"equality": 10, "races": 3, "speed": 19}
    assert {part: result["end"] for part, result in results.items()} == dict.fromkeys(rows, "done")
    races = results["races"]["rows"][1:3]
    assert all(row["difference"] < 1e-3 and row["loss"] == row["recorded_loss"] for row in races)
