"""A run folder as it was written before there were checksums: to test that such stores stay readable."""

import json

from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def without_checksums(folder):
    """Take the checksums out of every file of a run."""
    about = json.loads((folder / "config.json").read_text())
    del about["checksum"]
    (folder / "config.json").write_text(json.dumps(about, indent=1, sort_keys=True))
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for line in lines:
        del line["crc32"]
    (folder / "events.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    for file in folder.rglob("*.safetensors"):
        with safe_open(file, "np") as opened:
            words = {name: value for name, value in opened.metadata().items() if name != "checksum"}
        save_file(load_file(file), file, words)
