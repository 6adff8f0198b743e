"""A folder of ten thousand pictures is read in seconds, read again without opening one of them, and of any content."""

import base64
import io
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from labkit.datasets import picture_folder
from labkit.datasets.copies import groups
from labkit.datasets.folders import load_folder, territory
from labkit.datasets.pixels import THUMB, Look

pytestmark = pytest.mark.usefixtures("ordinary_alone")

SIDE, MANY = 8, 10_000                                        # pixels a side, pictures


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Write ten thousand small pictures, each of its own colour and grain, and their captions."""
    folder, source = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(buffer, "BMP")
    head = buffer.getvalue()[:54]                             # of a BMP of this size, before its pixels
    colours = source.integers(20, 236, (MANY, 1, 3))
    pixels = (colours + source.integers(-20, 20, (MANY, SIDE * SIDE, 3))).astype(np.uint8)
    rows = []
    for i in range(MANY):
        (folder / f"{i:05}.bmp").write_bytes(head + pixels[i].tobytes())
        rows.append(json.dumps({"file_name": f"{i:05}.bmp", "text": f"a room, number {i}"}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(rows))
    return folder


def test_ten_thousand_pictures_are_read_and_not_opened_again(large, monkeypatch):
    own = territory(large)
    assert (len(own.train), len(own.validation), own.notes) == (MANY - 128, 128, ())
    assert not set(own.train.hashes) & set(own.validation.hashes)
    monkeypatch.setattr(picture_folder, "look", lambda path: pytest.fail(f"{path} was opened again"))
    assert set(load_folder(large).hashes) == {*own.train.hashes, *own.validation.hashes}


def test_thousands_of_frames_of_one_film_are_one_group_and_not_millions_of_pairs():
    source, n = np.random.default_rng(0), 2000
    frames = source.integers(20, 236, 3 * THUMB**2) + source.integers(-2, 3, (n, 3 * THUMB**2))
    looks = [Look("", 1, 1, str(i), base64.b64encode(frame.tobytes()).decode(), "")
             for i, frame in enumerate(frames.astype(np.uint8))]
    tracemalloc.start()
    found = groups(looks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [list(range(n))] and peak < 60e6          # bytes; the two million pairs take 180
