"""Damaged files, texts and settings of every format: each works or is refused with one clean sentence, in bounded time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.settings import REPO

CASES = {"design_yaml": 1500, "design_json": 1500, "share": 1500, "adapters": 1500, "base_weights": 1500, "base_configs": 80, "recorded": 300, "captions": 1000, "pictures": 1000,
         "memos": 500, "encoded": 500, "notebook_files": 1000, "settings": 300}


@pytest.mark.parametrize("name", CASES)
def test_every_damaged_input_works_or_is_refused_with_one_sentence(name, tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("doors.py")), name, str(CASES[name]), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(REPO), str(REPO / "tests" / "support"))), "LABKIT_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    counts = found["counts"]
    print(f"{name}: {CASES[name]} cases, {counts.get('works', 0)} work, {counts.get('refused', 0)} refused")
    assert not {said: f"{count} cases, the first is {found['first'][said]}" for said, count in counts.items() if said not in ("works", "refused")}
    assert counts.get("refused", 0) + counts.get("works", 0) == CASES[name]
