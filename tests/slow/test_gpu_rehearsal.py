"""The check of a GPU runs through here from its one command, at reduced width and length."""

import json
import subprocess
import sys

from labkit.settings import REPO


def test_the_whole_check_is_rehearsed_by_its_command(tmp_path):
    done = subprocess.run([sys.executable, REPO / "tools" / "gpu_check.py", "--rehearse", "--out", tmp_path / "out"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {part: result["end"] for part, result in results.items()} == {"equality": "done", "races": "done", "speed": "done"}
    assert {part: len(result["rows"]) - 1 for part, result in results.items()} == {"equality": 10, "races": 3, "speed": 19}
    races = results["races"]["rows"][1:3]
    assert all(row["difference"] < 1e-3 and row["loss"] == row["recorded_loss"] for row in races)
