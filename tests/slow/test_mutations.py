"""Damaged inputs of every format: each works or is refused with one clean sentence, in bounded time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.settings import REPO

CASES = {
    "design_yaml": 1500, "design_json": 1500, "share": 1500, "adapters": 1500, "base_weights": 1500,
    "base_configs": 80, "recorded": 300, "captions": 1000, "pictures": 1000, "memos": 500, "encoded": 500,
    "notebook_files": 1000, "settings": 300,
}


@pytest.mark.parametrize("name", CASES)
def test_every_damaged_input_works_or_is_refused_with_one_sentence(name, tmp_path):
    script = Path(__file__).with_name("damaged_inputs.py")
    command = [sys.executable, str(script), name, str(CASES[name]), str(tmp_path)]
    path = os.pathsep.join((str(REPO), str(REPO / "tests" / "support")))
    environment = {**os.environ, "PYTHONPATH": path, "LABKIT_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    counts, first = result["counts"], result["first"]
    print(f"{name}: {CASES[name]} cases, {counts.get('works', 0)} work, {counts.get('refused', 0)} refused")
    faults = {fault: count for fault, count in counts.items() if fault not in ("works", "refused")}
    assert not {fault: f"{count} cases, the first is {first[fault]}" for fault, count in faults.items()}
    assert counts.get("refused", 0) + counts.get("works", 0) == CASES[name]
