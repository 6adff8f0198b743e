"""The reader's branch for the style: it is trained alone, and nothing else of the reader moves."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from labkit.engine.attribute_reader import NO_PLACE, Reader, ReaderNet
from labkit.settings import data_dir
from recipes.model import attribute_reader, style_head
from recipes.model.training import BLOCK, Pictures


@pytest.fixture
def worlds(tmp_path):
    """Grey and red noise as two styles, of ten pictures each, two of them held out."""
    found, draw = [], np.random.default_rng(0)
    for name, style, red in (("ordinary", {}, 0), ("near", {"style": "storybook"}, 120)):
        folder, rows = tmp_path / name, []
        folder.mkdir()
        held_out = BLOCK * (style_head.HELD_OUT - 1)
        for i in (*range(8), held_out, held_out + 1):
            pixels = draw.integers(0, 120, (128, 128, 1), dtype=np.uint8) + np.array([red, 0, 0], np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:06d}.png")
            rows.append({"file_name": f"{i:06d}.png", "text": "a room", "index": i, "kind": "office", **style})
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found.append(Pictures(folder))
    return found


def test_the_branch_learns_and_nothing_else_moves(worlds, tmp_path, monkeypatch):
    monkeypatch.setattr(attribute_reader, "BATCH", 8)
    answers = {"kind": ["office", NO_PLACE], "light": ["day", "night"]}
    torch.manual_seed(1)
    before = Reader(ReaderNet(answers), answers, {"kind": 0.5})
    vae = AutoencoderKL.from_pretrained(data_dir() / "base" / "vae").eval().requires_grad_(False)
    after, again = (style_head.train(before, worlds, vae, 12, log_to=tmp_path / "log.jsonl") for _ in range(2))
    old, new = before.net.state_dict(), after.net.state_dict()
    assert {name for name in new if name not in old} == {name for name in new if name.startswith("style")}
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert all(torch.equal(tensor, again.net.state_dict()[name]) for name, tensor in new.items())
    pictures = worlds[1].pixels.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(before.read(pictures).scores, after.read(pictures).scores)
    assert np.array_equal(before.read(pictures).features, after.read(pictures).features)
    assert after.thresholds["kind"] == 0.5 and after.answers["style"] == ["plain", "storybook", NO_PLACE]
    assert np.mean(after.read(pictures).log_odds["style"].argmax(1) == 1) > 0.5
